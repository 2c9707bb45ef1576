"""ResNet-50 rows of picture files: ours, against the usual torchvision loop over a DataLoader, on the same weights.

`ratio` has everything in it: opening the model, decoding, computing, storing. The peer computes a part of the pictures,
half before and half after our run, and its time is extrapolated linearly (`peer_images` of `images`). `ratio_steady`
leaves the opening out: both go on with an open model, in turn, ours with decoding and storing. `limit_share` is our
steady rate against what this machine's matrix products in bfloat16 would allow at 8.2 GFLOP a picture, measured in the
same turns. `cosine_min` compares our stored rows with the peer's float32.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet50
from torchvision.transforms import Compose, Grayscale, Normalize, Resize, ToTensor

from benchmarks._measure import ROUNDS, tell
from extractors.extractor import Inputs, Runtime
from extractors.image.resnet import ResNet, ResNetConfig
from extractors.run import extract
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

SIDE, BATCH, GFLOP = 256, 32, 2 * 4.09
PEER_IMAGES, PEER_TURN, OUR_TURN = 192, 64, 192
PREPARE = Compose(
    [Grayscale(3), Resize((224, 224)), ToTensor(), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
)


class Pictures(Dataset[torch.Tensor]):
    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(self.paths[number]) as image:
            return PREPARE(image.convert("RGB"))


class Peer:
    """What a script would do."""

    def __init__(self, weights: Path, workers: int) -> None:
        self.workers = workers
        self.network = resnet50()
        self.network.load_state_dict(load_file(weights))
        self.network.fc = torch.nn.Identity()
        self.network.eval()

    def rows(self, paths: Sequence[Path]) -> np.ndarray:
        loader = DataLoader(Pictures(paths), batch_size=BATCH, num_workers=self.workers)
        with torch.no_grad():
            return torch.cat([self.network(pictures) for pictures in loader]).numpy()


class Ours:
    def __init__(self, weights: Path, root: Root) -> None:
        self.root, self.weights = root, weights
        self.resnet = ResNet(ResNetConfig(weights=str(weights)), Inputs(root=root))

    def extract(self, paths: Sequence[Path]) -> None:
        samples = [Sample(id=f"c/{path.stem}", corpus="c", image=path) for path in paths]
        books = extract(self.resnet, samples, self.root, Runtime(), report=Silent())
        if books.extracted != len(paths):
            raise RuntimeError(f"expected {len(paths)} rows, got {books}")

    def stored(self, paths: Sequence[Path]) -> np.ndarray:
        keys = [Sample(id="c/1", corpus="c", image=path).key("image") for path in paths]
        return np.stack(FeatureStore(self.root, self.resnet.identity).read(keys))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image_extraction")
    parser.add_argument("--images", type=int, default=2000, help="pictures of the run with everything in it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        paths = write_pictures(folder / "pictures", asked.images + (ROUNDS + 1) * OUR_TURN)
        save_file({k: v.contiguous() for k, v in resnet50().state_dict().items()}, folder / "resnet50.safetensors")
        result = measured(folder, paths[: asked.images], paths[asked.images :])
    tell("image_extraction", {**result, "of": f"JPEG of {SIDE} px, {torch.get_num_threads()} threads"}, asked.json)


def measured(folder: Path, run: Sequence[Path], further: Sequence[Path]) -> dict[str, float | int]:
    weights, numbers = folder / "resnet50.safetensors", itertools.count()
    few = run[: min(PEER_IMAGES, len(run)) // 2]
    workers = min((0, 2), key=lambda count: timed(lambda: Peer(weights, count).rows(few[:BATCH])))
    opening = statistics.median(timed(lambda: Peer(weights, workers)) for _ in range(3))

    def peer_from_the_start() -> np.ndarray:
        made: np.ndarray = Peer(weights, workers).rows(few)
        np.save(folder / "rows.npy", made)
        return made

    halves = [timed(peer_from_the_start)]
    started = time.perf_counter()
    ours = Ours(weights, Root(folder / str(next(numbers))))
    ours.extract(run)
    our_s = time.perf_counter() - started
    halves.append(timed(peer_from_the_start))
    peer_s = opening + (sum(halves) - 2 * opening) * len(run) / (2 * len(few))
    wanted, found = np.load(folder / "rows.npy").astype(float), ours.stored(few).astype(float)
    cosines = (wanted * found).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1)
    steady = turns(Peer(weights, workers), ours, further)
    return {
        "ratio": round(peer_s / our_s, 2),
        "ratio_steady": round(steady["ours"] / steady["peer"], 2),
        "limit_share": round(steady["ours"] * GFLOP / steady["gflops"], 3),
        "cosine_min": float(f"{cosines.min():.7f}"),
        "images": len(run),
        "peer_images": 2 * len(few),
        "peer_s": round(peer_s, 1),
        "ours_s": round(our_s, 1),
        "peer_workers": workers,
        "peer_per_s": round(steady["peer"], 1),
        "ours_per_s": round(steady["ours"], 1),
        "matmul_gflops": round(steady["gflops"]),
    }


def turns(peer: Peer, ours: Ours, paths: Sequence[Path]) -> dict[str, float]:
    """Return medians over rounds: pictures a second of the peer and of ours, and GFLOP/s of bfloat16 products."""
    seen: dict[str, list[float]] = {"peer": [], "ours": [], "gflops": []}
    square = torch.randn(2048, 2048).bfloat16()
    for start in range(0, len(paths), OUR_TURN):
        some = paths[start : start + OUR_TURN]
        seen["peer"].append(PEER_TURN / timed(lambda some=some: peer.rows(some[:PEER_TURN])))
        products = [timed(lambda: square @ square) for _ in range(20)]
        seen["ours"].append(len(some) / timed(lambda some=some: ours.extract(some)))
        products += [timed(lambda: square @ square) for _ in range(20)]
        seen["gflops"].append(2 * 2048**3 / statistics.median(products) / 1e9)
    return {name: statistics.median(values[1:]) for name, values in seen.items()}  # the first turn warms up


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write smooth random pictures, each another, and return their paths."""
    folder.mkdir()
    random = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize((SIDE, SIDE))
        Image.fromarray(np.asarray(coarse) // 2 + random.integers(0, 64, (SIDE, SIDE, 1), np.uint8)).save(path)
    return paths


if __name__ == "__main__":
    main()
