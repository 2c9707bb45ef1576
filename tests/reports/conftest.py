"""A small study, written with the stores alone: posteriors drawn from a seed, with effects planted in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reports.case import Case
from reports.chapters._chapter import chapters
from reports.config import ReportConfig
from reports.drawing import Figure
from reports.page.render import render_page
from reports.report import evaluate, read_case, render_files, write_report
from reports.results import Results
from stores.encoders import EncoderRecipe, EncoderStore, Epoch, Trainee
from stores.root import Root
from stores.studies import Predicted, Run, RunSpec, StudyStore

CLASSES = ("joy", "sadness", "anger", "fear", "neutral")
MODALITIES = ("image", "speech", "text")
PLANTED = {"text": ("neutral",), "speech": ("anger", "fear"), "image": ("joy", "sadness")}
SUBSETS = (("image", "speech"), ("image", "text"), ("speech", "text"), MODALITIES)
N, REPEATS = 240, 6

Write = Callable[..., tuple[StudyStore, list[str]]]


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


def evidence_logits(labels: np.ndarray, modality: str, classes: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Return (n, K) logits in which `modality` sees its planted classes clearly and the others dimly."""
    strength = np.array([2.6 if name in PLANTED[modality] else 0.5 for name in classes])
    return rng.normal(size=(len(labels), len(classes))) + np.eye(len(classes))[labels] * strength[labels][:, None]


def _combine(head: str, logits: Mapping[str, np.ndarray], subset: Sequence[str]) -> np.ndarray:
    if head == "vote":
        votes = sum(np.eye(logits[m].shape[1])[logits[m].argmax(axis=1)] for m in subset)
        return ((votes + 0.1 * sum(_softmax(logits[m]) for m in subset)) / (1.1 * len(subset))).astype(np.float32)
    dulled = 0.8 if head == "concat" else 1.0
    return _softmax(sum(logits[m] * (dulled if m == "text" else 1.0) for m in subset))


def _curves(rng: np.random.Generator, epochs: int) -> tuple[dict[str, float], ...]:
    noise = rng.normal(scale=0.03, size=epochs)
    return tuple(
        {
            "epoch": e + 1,
            "train_loss": float(1.6 * np.exp(-e / 4) + 0.3),
            "val_loss": float(1.5 * np.exp(-e / 5) + 0.6 + 0.01 * e + noise[e]),
            "val_accuracy": float(0.7 + noise[e]),
        }
        for e in range(epochs)
    )


def _models(modalities: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    single = [("unimodal", (m,)) for m in modalities]
    fused = [(h, s) for s in SUBSETS if set(s) <= set(modalities) for h in ("concat", "vote", "weighted")]
    return single + fused


def facts_of(
    classes: Sequence[str], modalities: Sequence[str], protocol: str, pairing: str, repeats: int
) -> dict[str, Any]:
    planted = {m: list(names) for m, names in PLANTED.items() if m in modalities and classes == CLASSES}
    return {
        "name": "planted",
        "seed": 7,
        "snapshot": "5b1f0c9a7d3e",
        "corpus": {
            "name": "planted",
            "pairing": pairing,
            "source": "drawn in the tests",
            "licence": "CC0",
            "notes": {"planted": planted},
            "dropped": {"label outside the list": 2},
            "samples": N + 12,
        },
        "scheme": "emotion",
        "classes": list(classes),
        "modalities": list(modalities),
        "groups": ["speaker"],
        "group_counts": {"speaker": {"groups": 41, "blank": 0, "twins": []}},
        "in_two_parts": 0,
        "protocol": {
            "kind": protocol,
            "repeats": repeats,
            "folds": repeats,
            "rounds": 1,
            "val": 0.15,
            "test": 0.15,
            "encoder_share": 0.5,
        },
        "missing": "complete",
        "features": {
            m: {
                "ids": [f"{m}-0123456789ab"],
                "extractor": {"text": "bert", "speech": "lstm_cnn", "image": "resnet"}[m],
                "weights": {"text": "all-MiniLM-L6-v2 (packaged)"}.get(m, "trained encoder"),
                "random": False,
                "encoders": [],
                "encoder_samples": "reserved",
                "identity": {},
                "rows": N,
                "computed_on": {"cpu, bfloat16": N},
                "versions": ["torch 2.14.1"],
            }
            for m in modalities
        },
        "excluded": {"reserved for encoders": 9, "absent: image": 3},
        "warnings": [],
    }


def _parts(protocol: str, groups: np.ndarray, repeats: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    names, rng = np.unique(groups), np.random.default_rng(11)
    if protocol == "leave-one-group-out":
        held = [({name}, {names[i - 1]}) for i, name in enumerate(names)]
    elif protocol == "fixed":
        held = [(set(names[:10]), set(names[10:16]))] * repeats
    else:
        orders = [rng.permutation(names) for _ in range(repeats)]
        held = [(set(order[:6]), set(order[6:12])) for order in orders]
    where = np.arange(len(groups))
    tests, vals = ([np.isin(groups, sorted(h[i])) for h in held] for i in (0, 1))
    return [(where[~t & ~v], where[v], where[t]) for t, v in zip(tests, vals, strict=True)]


@pytest.fixture(scope="session")
def write_study() -> Write:
    """Return a function that writes a study and returns its store and run ids."""

    def write(
        root: Root,
        *,
        classes: Sequence[str] = CLASSES,
        modalities: Sequence[str] = MODALITIES,
        protocol: str = "repeated",
        pairing: str = "synthetic",
        repeats: int = REPEATS,
        facts: Mapping[str, Any] | None = None,
        skip: Callable[[str, int], bool] = lambda model, repeat: False,
        unfinished: Mapping[str, int] | None = None,
    ) -> tuple[StudyStore, list[str]]:
        rng = np.random.default_rng(3)
        labels, groups = np.arange(N) % len(classes), np.array([f"s{i // 5 % 40:02d}" for i in range(N)])
        ids = np.array([f"planted/{i:04d}" for i in range(N)])
        samples = pa.table(
            {
                "sample_id": [*ids, *(f"planted/x{i}" for i in range(12))],
                "label": [*(classes[k] for k in labels), *(classes[i % len(classes)] for i in range(12))],
                "group": [*groups, *["x"] * 12],
                "excluded": pa.array([None] * N + ["reserved for encoders"] * 9 + ["absent: image"] * 3, pa.string()),
                "gender": pa.nulls(N + 12, pa.string()),
                "age": pa.nulls(N + 12, pa.string()),
                "culture": pa.nulls(N + 12, pa.string()),
            }
        )
        parts = _parts(protocol, groups, repeats)
        splits = pa.Table.from_pylist(
            [
                {"repeat": r, "sample_id": str(ids[i]), "part": name}
                for r, triple in enumerate(parts)
                for name, where in zip(("train", "val", "test"), triple, strict=True)
                for i in where
            ]
        )
        content = facts_of(classes, modalities, protocol, pairing, len(parts)) | dict(facts or {})
        store = StudyStore.create(root, "study-test", content, samples, splits)
        everything = {m: evidence_logits(labels, m, classes, rng) for m in modalities}
        runs = []
        for repeat, (_, val, test) in enumerate(parts):
            jitter = {m: rng.normal(scale=0.25, size=logits.shape) for m, logits in everything.items()}
            seen = {m: logits + jitter[m] for m, logits in everything.items()}
            for head, subset in _models(modalities):
                spec = RunSpec(
                    study=store.id, head=head, version=1, config={}, modalities=subset, repeat=repeat, training={}
                )
                posteriors = _combine(head, seen, subset)
                raw = rng.dirichlet(40 * np.ones(len(subset)))
                predicted = [
                    Predicted(
                        sample_ids=tuple(ids[where]),
                        labels=labels[where],
                        groups=groups[where],
                        posteriors=posteriors[where],
                    )
                    for where in (val, test)
                ]
                if not skip(spec.model, repeat):
                    epochs = int(rng.integers(9, 16))
                    runs.append(
                        Run(
                            spec=spec,
                            seed=repeat,
                            val=predicted[0],
                            test=predicted[1],
                            best_epoch=None if head == "vote" else epochs - 4,
                            curves=() if head == "vote" else _curves(rng, epochs),
                            unfinished=repeat < (unfinished or {}).get(spec.model, 0),
                            weights=tuple((m, None, float(w)) for m, w in zip(subset, raw, strict=True))
                            if head == "weighted"
                            else (),
                            seconds=float(rng.random()),
                        )
                    )
        store.write_runs(runs)
        return store, [run.spec.id for run in runs]

    return write


@dataclass(frozen=True, kw_only=True)
class Written:
    """A study and its report, shared by the tests that only read them; what no test asks for is not made."""

    root: Root
    store: StudyStore
    runs: list[str]

    @cached_property
    def case(self) -> Case:
        """The study as chapters see it; `case.value(Chapter)` computes one of them alone."""
        return read_case(self.store, self.runs, ReportConfig())

    @cached_property
    def content(self) -> Results:
        """What the report says, nothing of it drawn."""
        return evaluate(self.root, self.store.id, self.runs, ReportConfig())

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every file of the report by its path: with all its figures, seconds of work."""
        return render_files(self.content)

    @cached_property
    def folder(self) -> Path:
        """Where the report has been written."""
        return Path(write_report(self.root, self.store.id, self.runs, ReportConfig()).index).parent

    @property
    def page(self) -> str:
        return self.files["index.html"].decode()

    def section(self, name: str) -> str:
        """Return a chapter as it stands on the page, its figures drawn and no others."""
        value = self.content.chapters[name]
        return cut_out(self.content, name, tuple(chapters()[name].figures(value, self.content)))

    def rows(self, table: str) -> list[Mapping[str, Any]]:
        """Return the rows of `tables/<table>.csv`, values as they are before they are written."""
        values = self.content.chapters
        own = (chapter.tables(values[name], self.content) for name, chapter in chapters().items() if name in values)
        return next(list(tables[table]) for tables in own if table in tables)


def cut_out(results: Results, name: str, figures: Sequence[Figure]) -> str:
    """Return one chapter of the page, on which no other has figures."""
    drawn: dict[str, Sequence[Figure]] = dict.fromkeys(("summary", *results.chapters), ())
    text = render_page(results, drawn | {name: figures})
    start = text.index(f'<section id="{name}">')
    return text[start : text.index("</section>", start)]


@pytest.fixture(scope="session")
def report_of(write_study: Write, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Written]:
    """Return a function that writes a study and promises its report, once for the same arguments."""
    written: dict[str, Written] = {}

    def report_of(**study: Any) -> Written:
        key = repr(sorted(study.items()))
        if key not in written:
            root = Root(tmp_path_factory.mktemp("root"))
            store, runs = write_study(root, **study)
            written[key] = Written(root=root, store=store, runs=runs)
        return written[key]

    return report_of


@pytest.fixture(scope="module")
def own_case(write_study: Write, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A planted study of the module's own, into whose store its tests may write."""
    return read_case(*write_study(Root(tmp_path_factory.mktemp("root"))), ReportConfig())


@pytest.fixture
def section_of(report_of: Callable[..., Written]) -> Callable[..., str]:
    """Return a function that shows one chapter, given its name and value, on a page that has no other."""

    def section_of(name: str, value: Any, /, figures: Sequence[Figure] = (), **changed: Any) -> str:
        return cut_out(replace(report_of().content, chapters={name: value}, **changed), name, figures)

    return section_of


@pytest.fixture
def root(tmp_path: Any) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def encoder(root: Root) -> str:
    """Return the id of a trained speech encoder in `root`."""
    trainee = Trainee(sample_id="planted/x0", key="00", label="joy", use="fit", groups={"speaker": "x"})
    recipe = EncoderRecipe(
        extractor="lstm_cnn", version=1, config={}, seed=0, classes=CLASSES, trainees=(trainee,), upstream="acoustic-00"
    )
    curve = [
        Epoch(
            epoch=e + 1, train_loss=1.6 / (e + 1), train_accuracy=0.5, val_loss=1.6 / (e + 1) + 0.2, val_accuracy=0.4,
            learning_rate=1e-3, seconds=0.5 + e,
        )
        for e in range(8)
    ]  # fmt: skip
    return EncoderStore(root).seal(recipe, {"w": np.zeros(2, dtype=np.float32)}, curve, best_epoch=6)
