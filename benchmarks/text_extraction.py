"""BERT rows of unique utterances, from text to sealed part, against two peers with the same packaged weights.

`ratio` is against `sentence_transformers.encode` with its defaults, `ratio_padded` against the usual float32 loop over
batches of 32 padded in the order they come; neither peer stores anything. The utterances are MELD's if AFFUSE_REAL_DATA
names a folder of real data (or it lies beside the checkout), else invented ones of like lengths. `cosine_min` is over
all rows against the padded loop, `cosine_min_peer` against `encode`, which reads the last layer only: for it that is
extracted, which is done in float32.
"""

import csv
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertModel, BertTokenizer

from benchmarks._measure import ratio, say
from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.text.bert import Bert, BertConfig
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

UTTERANCES, BATCH = 1024, 32
WORDS = ["never", "again", "the", "long", "winter", "by", "sea", "we", "thought", "you", "said", "really", "wonderful"]


def main() -> None:
    texts, source = _utterances()
    with tempfile.TemporaryDirectory() as folder:
        ours = partial(_extracted, texts, Path(folder))
        encoder = SentenceTransformer(str(Bert(BertConfig(), Inputs(root=Root(folder))).folder), device="cpu")
        padded = _padded_loop(encoder)
        timed = ratio(lambda: encoder.encode(texts), ours)
        slow = ratio(lambda: padded(texts), ours)
        result = {
            **timed,
            "ratio_padded": slow["ratio"],
            "padded_s": slow["peer_s"],
            "utterances_s": round(len(texts) / timed["ours_s"]),
            "cosine_min": _lowest(_rows(ours(), texts), padded(texts)),
            "cosine_min_peer": _lowest(_rows(ours(layers=1), texts), encoder.encode(texts)),
        }
    say("text_extraction", {**result, "of": f"{len(texts)} utterances {source}, {torch.get_num_threads()} threads"})


def _utterances() -> tuple[list[str], str]:
    table = Path(os.environ.get("AFFUSE_REAL_DATA", "../shared/data")) / "manifest_text.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            found = dict.fromkeys(line["text"] for line in csv.DictReader(file))
        return list(found)[:UTTERANCES], "of MELD"
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(2.0, 0.8, UTTERANCES), 1, 60).astype(int)  # median 7 words, as MELD's
    return [f"{i}: " + " ".join(rng.choice(WORDS, n)) for i, n in enumerate(lengths)], "invented"


def _extracted(texts: list[str], folder: Path, **settings: Any) -> FeatureStore:
    """Extract into an empty store; the model stays open from one time to the next, as the peers' do."""
    shutil.rmtree(folder / "features", ignore_errors=True)
    root = Root(folder)
    bert = Bert(BertConfig(**settings), Inputs(root=root))
    extract(bert, _samples(texts), root, Runtime(device="cpu"), report=Silent())
    return FeatureStore(root, bert.identity)


def _samples(texts: list[str]) -> list[Sample]:
    return [Sample(id=f"c/{i}", corpus="c", text=text) for i, text in enumerate(texts)]


def _rows(store: FeatureStore, texts: list[str]) -> np.ndarray:
    return np.stack(store.read([sample.key("text") for sample in _samples(texts)]))


def _padded_loop(encoder: SentenceTransformer) -> Any:
    folder = encoder[0].auto_model.name_or_path
    model, tokenizer = BertModel.from_pretrained(folder).eval(), BertTokenizer.from_pretrained(folder)

    def rows(texts: list[str]) -> np.ndarray:
        found = []
        for start in range(0, len(texts), BATCH):
            tokens = tokenizer(texts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                states = model(**tokens, output_hidden_states=True).hidden_states
            mask = tokens["attention_mask"][:, :, None]
            found.append((torch.stack(states[-4:]).mean(dim=0) * mask).sum(dim=1) / mask.sum(dim=1))
        return torch.cat(found).numpy()

    return rows


def _lowest(rows: np.ndarray, wanted: np.ndarray) -> float:
    a, b = rows.astype(np.float64), wanted.astype(np.float64)
    return round(float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()), 6)


if __name__ == "__main__":
    main()
