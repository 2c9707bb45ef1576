"""What storing costs an extraction: the whole loop with its parts sealed, against the same loop that drops its rows.

`ratio` is the time without storing / the time with it (1 is free); `overhead` the share that storing adds.
"""

import itertools
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks._measure import ratio, say
from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.text.bert import Bert, BertConfig
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

UTTERANCES, BLOCK = 1536, 512
WORDS = ["never", "again", "the", "long", "winter", "by", "sea", "we", "thought"]


def main() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, int(rng.integers(3, 30)))) + f" {i}" for i in range(UTTERANCES)]
    samples = [Sample(id=f"c/{i}", corpus="c", text=text) for i, text in enumerate(texts)]
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(dir=".") as folder:

        def run() -> None:
            root = Root(Path(folder) / str(next(numbers)))
            runtime = Runtime(block_size=BLOCK)
            books = extract(Bert(BertConfig(), Inputs(root=root)), samples, root, runtime, report=Silent())
            if books.extracted != UTTERANCES:
                raise RuntimeError(f"expected {UTTERANCES} rows, got {books}")

        def run_without_storing() -> None:
            with patch.object(FeatureStore, "write_part", lambda *_, **__: "dropped"):
                run()

        timed = ratio(run_without_storing, run, rounds=7)
    overhead = round(timed["ours_s"] / timed["peer_s"] - 1, 3)
    say("store_overhead", {**timed, "overhead": overhead, "of": f"BERT, {UTTERANCES} utterances, parts of {BLOCK}"})


if __name__ == "__main__":
    main()
