"""How busy an extraction keeps the device: all three modalities, from files to sealed rows.

`busy_share` is the seconds to embed the same items, already decoded and in memory, in batches alike in length / the
seconds of the whole extraction (files hashed, read and decoded, rows embedded, written, read back and sealed): 1 if
everything else were free. Models are opened before either. The files are those of AFFUSE_REAL_DATA (MELD sentences,
nEMO clips, FER2013 faces), else of the synthetic corpus.
"""

import csv
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._measure import say
from corpora.synthetic import Synthetic, SyntheticConfig
from extractors._embedding import Embedding
from extractors.extractor import Description, Extractor, Inputs, Runtime
from extractors.image.resnet import ResNet, ResNetConfig
from extractors.run import _open_once, extract
from extractors.speech.acoustic import Acoustic, AcousticConfig
from extractors.text.bert import Bert, BertConfig
from stores.digests import forget
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

SAMPLES, ROUNDS = 160, 3
_WARM = 32
CORPORA = {"text": "meld", "speech": "nemo", "faces": "fer2013"}


def real_samples(folder: Path) -> list[Sample]:
    """Return SAMPLES samples of each real corpus, spread evenly over its manifest."""
    found = []
    for kind, corpus in CORPORA.items():
        with (folder / f"manifest_{kind}.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["corpus"] == corpus]
        for row in rows[:: max(1, len(rows) // SAMPLES)][:SAMPLES]:
            path = folder / row.get("path", "")
            media: dict[str, Any] = {"text": row["text"]} if kind == "text" else {}
            media |= {"audio": path} if kind == "speech" else {"image": path} if kind == "faces" else {}
            found.append(Sample(id=f"{corpus}/{len(found)}", corpus=corpus, **media))
    return found


def embed(extractor: Extractor[Any], items: Sequence[Any]) -> float:
    """Return the seconds to embed items in memory, batched as the loop batches them."""
    started = time.perf_counter()
    embedding, ordered = Embedding(extractor), sorted(items, key=extractor.length)
    lengths, start = [extractor.length(item) for item in ordered], 0
    while start < len(ordered):
        end = start + embedding.fitting(lengths[start:], None)
        embedding.rows(ordered[start:end])
        start = end
    return time.perf_counter() - started


def rounds(extractors: Sequence[Extractor[Any]], samples: Sequence[Sample], root: Root) -> Iterator[dict[str, Any]]:
    """Yield, round by round, the seconds of either way by extractor; all are warmed up before."""
    runtime = Runtime()
    opened = [_open_once(Description.of(extractor), runtime.device) for extractor in extractors]
    decoded = []
    for extractor in opened:
        own = [sample for sample in samples if sample.medium(extractor.modality) is not None]
        distinct = {sample.key(extractor.modality): sample for sample in own}
        decoded.append([extractor.decode(sample, key) for key, sample in distinct.items()])
        embed(extractor, decoded[-1][:_WARM])
    while True:
        took = {}
        for extractor, ready, items in zip(extractors, opened, decoded, strict=True):
            forget()
            root.delete("features")
            started = time.perf_counter()
            books = extract(extractor, samples, root, runtime, report=Silent())
            seconds = time.perf_counter() - started
            if books.distinct != len(items) or books.receipt is None:
                raise RuntimeError(f"expected {len(items)} rows, got {books}")
            took[extractor.name] = (embed(ready, items), seconds, books.receipt.verdict)
        yield took


def main() -> None:
    data = os.environ.get("AFFUSE_REAL_DATA")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root = Root(Path(folder))
        synthetic = Synthetic(SyntheticConfig(speakers=10, reserved=0, samples_per_speaker=SAMPLES // 10))
        samples = real_samples(Path(data)) if data else list(synthetic.build(root, base=Path()).samples)
        inputs = Inputs(root=root)
        extractors: list[Extractor[Any]] = [
            Bert(BertConfig(), inputs),
            Acoustic(AcousticConfig(), inputs),
            ResNet(ResNetConfig(weights="random"), inputs),
        ]
        turns = rounds(extractors, samples, root)
        measured = [next(turns) for _ in range(ROUNDS)]
    shares = [sum(own[0] for own in took.values()) / sum(own[1] for own in took.values()) for took in measured]
    say(
        "end_to_end",
        {
            "busy_share": round(statistics.median(shares), 3),
            **{
                name: {
                    "busy_share": round(statistics.median(took[name][0] / took[name][1] for took in measured), 3),
                    "seconds": round(statistics.median(took[name][1] for took in measured), 2),
                    "verdict": measured[-1][name][2],
                }
                for name in measured[0]
            },
            "of": f"{'real files' if data else 'synthetic corpus'}, {len(samples)} samples, ResNet-50 at 224 px",
        },
    )


if __name__ == "__main__":
    main()
