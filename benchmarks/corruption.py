"""Damage one file of a finished root at a time, run the study again, and see whether anything changed in silence.

Every kind of file takes its turn, and so does every way: a bit flipped, a stretch overwritten, cut short, emptied,
deleted, exchanged with another of its kind. Then `affuse store verify` looks at the root and `affuse run` runs as ever.
`silent` counts what must not be: predictions that differ from those of the sound root with exit 0, or a page that
differs although the run said nothing. `refused` ended with an error, `remade` said what was wrong and ended with the
very predictions and a page, `unharmed` changed nothing and said nothing. `unseen` are the damages `verify` passed over;
of files that may change or go (reports, digests, the manifest) it need not know.
"""

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from benchmarks._measure import tell
from stores.layout import place_of
from stores.root import Root
from stores.studies import StudyStore

SPEAKERS, CLASSES = 12, ("anger", "joy")
LEFT_OUT = ("corpora/", "checkpoint")
FREE = ("reports/", "digests/", "manifests/", "books/")  # written anew by every run, or only read by people
TELLING = re.compile(
    "damag|missing|lack|gone|again|anew|another's|not read|chang|differ|not what|cannot|refus|made of|samples to do"
)
Unit = tuple[str, ...]  # paths that are damaged together
STUDY = """
name = "damaged"
seed = 1

[corpus]
kind = "table"
path = "samples.csv"
columns = { id = "id", text = "text", audio = "audio", image = "image" }
labels = { emotion = "emotion" }
groups = { speaker = "speaker" }

[study]
groups = ["speaker"]

[protocol]
repeats = 2

[features.text]
extractor = "bert"
weights = "packaged"

[features.speech]
extractor = "lstm_cnn"
filters = 4
hidden = 4
train = { samples = "per-repeat", epochs = 1 }

[features.image]
extractor = "resnet"
depth = 18
size = 32
weights = "random"

[heads.unimodal]
[heads.weighted]

[training]
epochs = 2

[search]
space = { learning_rate = [1e-3, 1e-2] }

[robustness]
noise = [1.0]
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corruption", description=__doc__)
    parser.add_argument("--damages", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the output of runs that changed something in silence")
    parser.add_argument("--verbose", action="store_true", help="print a line a damage on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _Campaign(Path(folder), options.keep, options.verbose).outcomes(options.damages, options.seed)
    tell("corruption", found, options.json)


class _Campaign:
    """A finished root that is copied, damaged, verified and run again, each time in a process of its own."""

    def __init__(self, folder: Path, keep: Path | None, verbose: bool) -> None:
        self._folder, self._keep, self._verbose = folder, keep, verbose
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["flows.cli", "flows.jobs", "transformers", "torchvision", "optuna"])
        self._study = _write_corpus(folder / "corpus")
        self._sound = folder / "sound"
        for _ in range(2):
            code, self._calm = self._affuse("run", str(self._study), "--root", str(self._sound))
            if code:
                raise RuntimeError(f"the study does not run:\n{self._calm}")
        self._expected = _predictions(self._sound), _page(self._sound)

    def outcomes(self, damages: int, seed: int) -> dict[str, Any]:
        kinds = _kinds(self._sound)
        turns = [(kind, way) for way in WAYS for kind in sorted(kinds) if not kind.startswith("whole") or way in MOVED]
        counts: Counter[str] = Counter(dict.fromkeys(("refused", "remade", "unharmed", "silent"), 0))
        unseen, silent = [], []
        for number in range(damages):
            kind, way = turns[number % len(turns)]
            outcome, noticed, told = self._damaged(kinds[kind], way, np.random.default_rng([seed, number]))
            counts[outcome] += 1
            line = f"{number}: {kind}: {way}"
            silent += [line] if outcome == "silent" else []
            unseen += [line] if not noticed and outcome != "unharmed" and not any(word in kind for word in FREE) else []
            if self._verbose:
                seen = "seen" if noticed else "NOT SEEN"
                print(
                    f"{line}: {outcome}, {seen} by verify | {' | '.join(sorted(told))[:300]}",
                    file=sys.stderr,
                    flush=True,
                )
        listed = {"silent_ones": silent, "unseen_ones": unseen}
        return {"damages": damages, "turns": len(turns), **counts, "unseen": len(unseen), **listed}

    def _damaged(self, units: list[Unit], way: str, rng: np.random.Generator) -> tuple[str, bool, set[str]]:
        """Return what became of the run, whether `verify` noticed, and what the run said besides the usual."""
        root = self._folder / "copy"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self._sound, root)
        first, *others = (units[i] for i in rng.permutation(len(units)))
        WAYS[way](root, first, others[0] if others else first, rng)
        noticed = self._affuse("store", "verify", "--root", str(root))[0] != 0
        code, said = self._affuse("run", str(self._study), "--root", str(root))
        told = {line for line in _lines(said) - _lines(self._calm) if TELLING.search(line)}
        if code:
            return ("silent" if "Not foreseen" in said or code < 0 else "refused"), noticed, told
        same = _predictions(root) == self._expected[0]
        if same and _page(root) == self._expected[1]:
            return ("remade" if told else "unharmed"), noticed, told
        if same and told:
            return "remade", noticed, told
        if self._keep:
            kept = self._keep / re.sub(r"\W+", "_", f"{first[0]}_{way}")
            shutil.copytree(root, kept, dirs_exist_ok=True)
            (kept / "output.txt").write_text(said)
        return "silent", noticed, told

    def _affuse(self, *arguments: str) -> tuple[int, str]:
        said = self._folder / "said.txt"
        child = self._context.Process(target=_call, args=(arguments, str(said)))
        child.start()
        child.join()
        return int(child.exitcode or 0), said.read_text(errors="replace")


def _call(arguments: tuple[str, ...], said: str) -> None:
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.pop("PREFECT_API_URL", None)
    import fusion.latency
    from flows.cli import main as affuse

    fusion.latency.time_calls.__kwdefaults__["seconds"] = 0.0  # nobody reads these times
    sys.argv = ["affuse", *arguments]
    affuse()


def _lines(said: str) -> set[str]:
    """Return what was said, without numbers, ids and blanks, which differ from run to run."""
    return {
        re.sub(r"[\d.,%-]+|\b[0-9a-f]{6,}\b|\s+", " ", line).strip()
        for line in said.splitlines()
        if "Report:" not in line
    }


def _predictions(root: Path) -> str:
    """Return a digest of every posterior of the study as it stands."""
    latest = Root(root).read_json("studies", "damaged.latest.json")
    store = StudyStore.open(Root(root), latest["study"])
    digest = hashlib.sha256()
    for part in ("val", "test"):
        table = store.predictions(latest["runs"], part)
        for name in ("run_id", "sample_id", "label", "posterior"):
            digest.update(repr(table[name].to_pylist()).encode())
    return digest.hexdigest()


def _page(root: Path) -> str:
    pages = sorted((root / "reports").glob("*/index.html"))
    return "".join(hashlib.sha256(page.read_bytes()).hexdigest() for page in pages)


def _kinds(root: Path) -> dict[str, list[Unit]]:
    """Return what can be damaged by its kind: single files, and what lies or goes together as a whole."""
    kinds = defaultdict(list)
    for path in sorted(file.path for file in Root(root).files()):
        if not any(word in path for word in LEFT_OUT):
            kinds[str(place_of(path))].append((path,))
        if re.search(r"/parts/[0-9a-f]+\.parquet", path):
            kinds["whole part"].append((path, path.replace(".parquet", ".zarr")))
    for name in ("encoders/*", "features/*/*", "studies/*/*", "studies/study-*"):
        kinds[f"whole {name}"] = [(str(f.relative_to(root)),) for f in sorted(root.glob(name)) if f.is_dir()]
    return kinds


def _flip(root: Path, unit: Unit, _: Unit, rng: np.random.Generator) -> None:
    content = bytearray((root / unit[0]).read_bytes())
    content = content or bytearray(1)  # an empty file is no longer empty
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    (root / unit[0]).write_bytes(content)


def _overwrite(root: Path, unit: Unit, _: Unit, rng: np.random.Generator) -> None:
    content = bytearray((root / unit[0]).read_bytes())
    place = int(rng.integers(max(1, len(content))))
    content[place : place + 64] = rng.bytes(len(content[place : place + 64]))
    (root / unit[0]).write_bytes(content)


def _cut(root: Path, unit: Unit, _: Unit, rng: np.random.Generator) -> None:
    content = (root / unit[0]).read_bytes()
    (root / unit[0]).write_bytes(content[: int(rng.integers(max(1, len(content))))])


def _delete(root: Path, unit: Unit, _: Unit, rng: np.random.Generator) -> None:
    for path in unit:
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def _exchange(root: Path, unit: Unit, other: Unit, rng: np.random.Generator) -> None:
    """Exchange two of a kind; parts keep their names and go to the other's folder. What is alone loses its end."""
    if unit == other:
        return _delete(root, unit, other, rng) if (root / unit[0]).is_dir() else _cut(root, unit, other, rng)
    for one, two in zip(unit, other, strict=True):
        here, there = root / one, root / two
        if len(unit) > 1 and here.parent != there.parent:
            here.rename(there.parent / here.name)
            there.rename(here.parent / there.name)
        else:
            here.rename(root / "aside")
            there.rename(here)
            (root / "aside").rename(there)
    return None


WAYS: dict[str, Callable[[Path, Unit, Unit, np.random.Generator], None]] = {
    "a bit flipped": _flip,
    "exchanged": _exchange,
    "deleted": _delete,
    "64 bytes overwritten": _overwrite,
    "cut": _cut,
    "another bit flipped": _flip,
}
MOVED = ("exchanged", "deleted")


def _write_corpus(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["id,text,audio,image,emotion,speaker"]
    for speaker in range(SPEAKERS):
        for label in CLASSES:
            name = f"{speaker}_{label}"
            times = np.arange(3200 + 160 * speaker) / 16000
            soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * (200 + 40 * len(rows)) * times), 16000)
            Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).save(folder / f"{name}.png")
            rows.append(f"{name},number {speaker} says {label},{name}.wav,{name}.png,{label},s{speaker}")
    (folder / "samples.csv").write_text("\n".join(rows) + "\n")
    study = folder / "damaged.toml"
    study.write_text(STUDY)
    return study


if __name__ == "__main__":
    main()
