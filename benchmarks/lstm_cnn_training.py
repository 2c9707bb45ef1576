"""An epoch of the LSTM-CNN on cached frames, against the usual loop: decode, featurise and pad again every epoch.

Both train on one thread, on which both are fastest; the peer decodes in two processes beside it. `worst_db` is how far
the frames of both are apart at most; the losses are those of the last epoch on what is fitted (ours weighs classes).
"""

import csv
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks._measure import ratio, say
from benchmarks.acoustic_features import by_librosa
from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.speech._network import LstmCnnNetwork
from extractors.speech.acoustic import Acoustic, AcousticConfig
from extractors.speech.lstm_cnn import LstmCnn, LstmCnnConfig
from extractors.trainable import at_most
from extractors.training import FIT, STOP, TrainConfig, plan_recipe, train
from stores.encoders import EncoderRecipe, EncoderStore
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

CLIPS, EPOCHS, WORKERS = 96, 2, 2
CLASSES = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")
PLAN = TrainConfig(epochs=EPOCHS, patience=EPOCHS)


def main() -> None:
    runtime, seeds = Runtime(device="cpu"), count()
    with tempfile.TemporaryDirectory() as folder:
        root = Root(f"{folder}/runs")
        real = os.environ.get("AFFUSE_REAL_DATA")
        samples = _nemo(Path(real)) if real else _synthetic(Path(folder))
        acoustic = Acoustic(AcousticConfig(), Inputs(root=root))
        extract(acoustic, samples, root, runtime, report=Silent())
        upstream = FeatureStore(root, acoustic.identity)

        def planned() -> EncoderRecipe:
            return plan_recipe(
                LstmCnn,
                LstmCnnConfig(),
                replace(PLAN, seed=next(seeds)),
                samples,
                scheme="emotion",
                classes=CLASSES,
                groups=["speaker"],
                upstream=upstream,
            )

        def ours() -> float:
            encoder = train(LstmCnn, planned(), samples, root, runtime, config=LstmCnnConfig(), report=Silent())
            return EncoderStore(root).curves(encoder)[-1].train_loss

        timed = ratio(lambda: _usual_loop(planned(), samples), ours)
        losses = {"ours_loss": round(ours(), 3), "peer_loss": round(_usual_loop(planned(), samples), 3)}
        rows = upstream.read([sample.key("speech") for sample in samples])
        heard = [by_librosa(librosa.load(sample.audio, sr=16000)[0]) for sample in samples]
        worst = max(float(np.abs(a - b).max()) for a, b in zip(rows, heard, strict=True))
    of = f"{EPOCHS} epochs over {len(samples)} {'real' if real else 'synthetic'} clips, ours with reading and sealing"
    say(
        "lstm_cnn_training",
        {
            **timed,
            "peer_epoch_s": timed["peer_s"] / EPOCHS,
            "ours_epoch_s": timed["ours_s"] / EPOCHS,
            **losses,
            "worst_db": float(f"{worst:.1e}"),
            "of": of,
        },
    )


def _usual_loop(recipe: EncoderRecipe, samples: Sequence[Sample]) -> float:
    """Train the same network on the same samples, look at the same held-back ones, and return the last epoch's loss."""
    by_id = {sample.id: sample for sample in samples}
    loaders: dict[str, DataLoader[Any]] = {
        use: DataLoader(
            [(by_id[t.sample_id].audio, CLASSES.index(t.label)) for t in recipe.trainees if t.use == use],  # type: ignore[arg-type]
            batch_size=PLAN.batch_size,
            shuffle=use == FIT,
            num_workers=WORKERS,
            persistent_workers=True,
            worker_init_fn=_on_one_thread,
            collate_fn=_loaded,
        )
        for use in (FIT, STOP)
    }
    network = LstmCnnNetwork(168, filters=64, kernel=5, hidden=128, dropout=0.0, attention=False)
    model = nn.ModuleList([network, nn.Sequential(nn.Dropout(PLAN.dropout), nn.Linear(256, len(CLASSES)))])
    optimiser = torch.optim.Adam(model.parameters(), lr=PLAN.learning_rate)
    losses: list[float] = []
    for _ in range(EPOCHS):
        losses.clear()
        for use, loader in loaders.items():
            model.train(use == FIT)
            with at_most(1), torch.set_grad_enabled(use == FIT):
                for frames, lengths, labels in loader:
                    loss = nn.functional.cross_entropy(model[1](network(frames, lengths)), labels)
                    if use == FIT:
                        losses.append(loss.item())
                        optimiser.zero_grad()
                        loss.backward()  # type: ignore[no-untyped-call]
                        optimiser.step()
    return float(np.mean(losses))


def _on_one_thread(_: int) -> None:
    threadpool_limits(1)  # as DataLoader does for torch: BLAS threads of several workers wait for each other


def _loaded(items: Sequence[tuple[Path, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return padded frames, lengths and labels of some files."""
    rows = [torch.from_numpy(by_librosa(librosa.load(path, sr=16000)[0])) for path, _ in items]
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths, torch.tensor([label for _, label in items])


def _nemo(folder: Path) -> list[Sample]:
    with (folder / "manifest_speech.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["speaker"].startswith("nemo")]
    chosen = lines[:: max(1, len(lines) // CLIPS)]
    return [_sample(i, folder / line["path"], line["label"], line["speaker"]) for i, line in enumerate(chosen)]


def _synthetic(folder: Path) -> list[Sample]:
    """Write clips of 1.5 to 3.5 s of noise at 24 kHz."""
    generator, samples = np.random.default_rng(0), []
    for i in range(CLIPS):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(int(generator.integers(36000, 84000))), 24000)
        samples.append(_sample(i, path, CLASSES[i % len(CLASSES)], f"s{i // 12}"))
    return samples


def _sample(number: int, path: Path, label: str, speaker: str) -> Sample:
    labels: dict[str, Any] = {"emotion": label}
    return Sample(id=f"c/{number}", corpus="c", audio=path, labels=labels, groups={"speaker": speaker})


if __name__ == "__main__":
    main()
