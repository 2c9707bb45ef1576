"""BERT over utterances of very different length: padded in the order they come, against batches alike in length."""

import tempfile

import numpy as np

from benchmarks._measure import ratio, say
from extractors.extractor import Inputs, Runtime
from extractors.text.bert import Bert, BertConfig
from stores.root import Root
from stores.samples import Sample

UTTERANCES, BATCH = 320, 32
WORDS = ["never", "again", "the", "long", "winter", "by", "sea", "we", "thought"]


def main() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, int(rng.integers(1, 60)))) for _ in range(UTTERANCES)]
    with tempfile.TemporaryDirectory() as folder:
        bert = Bert(BertConfig(), Inputs(root=Root(folder)))
        bert.open(Runtime())
        items = [bert.decode(Sample(id=str(i), corpus="c", text=text), str(i)) for i, text in enumerate(texts)]

        def embed(order: list[int]) -> None:
            for start in range(0, UTTERANCES, BATCH):
                list(bert.embed([items[i] for i in order[start : start + BATCH]]))

        as_they_come = list(range(UTTERANCES))
        by_length = sorted(as_they_come, key=lambda i: bert.length(items[i]))
        timed = ratio(lambda: embed(as_they_come), lambda: embed(by_length))
    say("text_batches", {**timed, "of": f"{UTTERANCES} utterances of 1-60 words, batches of {BATCH}"})


if __name__ == "__main__":
    main()
