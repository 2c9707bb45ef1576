"""How a study was made, read from what is stored with it: facts, samples, splits, runs and encoders.

Durations are those sealed with runs and encoders when they were trained; nothing of the clock or the machine of now.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.case import Case
from reports.chapters.costs import Costs
from reports.heads import FUSES
from stores.encoders import EncoderStore
from stores.root import Root


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Who was there and who takes part; `train`, `val` and `test` are mean sizes over repeats."""

    name: str
    pairing: str
    source: str
    licence: str
    scheme: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    samples: int
    used: int
    groups: tuple[str, ...]
    repeats: int
    train: float
    val: float
    test: float


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Where the features of a modality come from. What was not trained here, or is not stored, is None.

    Of the `trained` encoders `missing` are not in this root; of the others `training_s` is the sum of the seconds of
    all epochs, `weights_mb` the size of one.
    """

    modality: str
    extractor: str
    version: int | None
    weights: str
    width: int | None
    feature_id: str
    rows: int
    trained: int
    missing: int
    fitted_on: int | None
    best_epoch: int | None
    training_s: float | None
    weights_mb: float | None


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model: its size, and what training took a run, which has its share of the stack it was trained in.

    `epochs` is the median of the epochs trained; it and the seconds are None of a head that trains nothing.
    """

    model: str
    head: str
    modalities: str
    variant: str
    runs: int
    parameters: int | None
    epochs: float | None
    training_s: float | None
    total_s: float | None


@dataclass(frozen=True, kw_only=True)
class Optimised:
    """With what something was trained; None where it has no such setting."""

    what: str
    optimiser: str | None
    learning_rate: float | None
    weight_decay: float | None
    momentum: float | None
    dropout: float | None
    batch_size: int | None
    epochs: int | None
    patience: int | None
    epoch_steps: int | None = None
    least_gain: float | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of the study, as text."""

    part: str
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A head: how it fuses, on how many subsets it ran, and the model on all modalities (None if there is none)."""

    head: str
    fuses: str
    subsets: int
    model: str | None


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """A symbol of the formulas, and what it is here."""

    symbol: str
    meaning: str
    here: str


@dataclass(frozen=True, kw_only=True)
class Making:
    """Everything this report says of how its study was made. `width` is that of projections, None where none is set."""

    corpus: Corpus
    encoders: tuple[Encoder, ...]
    models: tuple[Built, ...]
    optimisers: tuple[Optimised, ...]
    settings: tuple[Setting, ...]
    strategies: tuple[Strategy, ...]
    notation: tuple[Symbol, ...]
    predictions: int
    width: int | None


def read_making(case: Case) -> Making:
    """Return how the study of a case was made."""
    evidence = case.evidence
    runs = evidence.runs.to_pylist()
    specs = [json.loads(row["spec"]) for row in runs]
    corpus, encoders = _corpus(case), tuple(_encoders(evidence.facts, case.store.root))
    width = next((spec["training"]["width"] for spec in specs if "width" in spec["training"]), None)
    return Making(
        corpus=corpus,
        encoders=encoders,
        models=tuple(_models(runs, case)),
        optimisers=(*_of_heads(specs), *_of_encoders(evidence.facts, case.store.root)),
        settings=tuple(_settings(evidence.facts, specs)),
        strategies=tuple(_strategies(case)),
        notation=tuple(_notation(corpus, encoders, width, case)),
        predictions=len(evidence.trained) * len(evidence.labels),
        width=width,
    )


def _corpus(case: Case) -> Corpus:
    facts, parts = case.evidence.facts, case.evidence.held_out
    splits = case.store.splits().group_by(["repeat", "part"]).aggregate([("sample_id", "count")]).to_pylist()
    tested = {part.repeat for part in parts}
    counts: dict[str, list[int]] = {}
    for row in splits:
        if row["repeat"] in tested:
            counts.setdefault(row["part"], []).append(row["sample_id_count"])
    sizes: dict[str, Any] = {part: statistics.fmean(counts.get(part, [0])) for part in ("train", "val", "test")}
    excluded = case.store.samples()["excluded"]
    return Corpus(
        **{name: facts["corpus"][name] for name in ("name", "pairing", "source", "licence")},
        scheme=facts["scheme"],
        classes=case.evidence.classes,
        modalities=tuple(facts["modalities"]),
        samples=facts["corpus"].get("samples", len(excluded)),
        used=excluded.null_count,
        groups=tuple(facts["groups"]),
        repeats=len(parts),
        **sizes,
    )


def _encoders(facts: Mapping[str, Any], root: Root) -> Iterable[Encoder]:
    store = EncoderStore(root)
    for modality, feature in sorted(facts["features"].items()):
        ids = feature.get("encoders") or []
        there = [encoder for encoder in ids if encoder in store]
        described = store.describe(there[0]) if there else {}
        size = root.stamps("encoders", there[0]).get("weights.safetensors", (0, 0.0))[0] if there else None
        identity = feature.get("identity", {})
        yield Encoder(
            modality=modality,
            extractor=feature["extractor"],
            version=identity.get("version"),
            weights=feature["weights"],
            width=identity.get("spec", {}).get("dim"),
            feature_id=feature["ids"][0],
            rows=feature["rows"],
            trained=len(ids),
            missing=len(ids) - len(there),
            fitted_on=described.get("fitted_on"),
            best_epoch=described.get("best_epoch"),
            training_s=sum(e.seconds for own in there for e in store.curves(own)) if there else None,
            weights_mb=None if size is None else size / 1e6,
        )


def _models(runs: Sequence[Mapping[str, Any]], case: Case) -> Iterable[Built]:
    timed = case.value(Costs)
    parameters = {cost.model: cost.parameters for cost in timed.costs} if timed else {}
    own: dict[str, list[Mapping[str, Any]]] = {}
    for row in runs:
        own.setdefault(row["model"], []).append(row)
    for model in case.evidence.trained:
        rows = own[model.name]
        epochs = [len(json.loads(row["curves"])) for row in rows]
        seconds = [row["seconds"] for row in rows]
        yield Built(
            model=model.name,
            head=model.head,
            modalities=" + ".join(model.modalities),
            variant=model.variant,
            runs=len(rows),
            parameters=parameters.get(model.name),
            epochs=float(statistics.median(epochs)) if any(epochs) else None,
            training_s=statistics.fmean(seconds) if any(epochs) else None,
            total_s=sum(seconds) if any(epochs) else None,
        )


def _of_heads(specs: Sequence[Mapping[str, Any]]) -> Iterable[Optimised]:
    """Return the settings of heads, once for each way of training."""
    ways = {(spec.get("variant") or "", json.dumps(spec["training"], sort_keys=True)) for spec in specs}
    for variant, text in sorted(ways):
        training = json.loads(text)
        if training:
            yield _optimised(f"heads{f', {variant}' if variant else ''}", training)


def _of_encoders(facts: Mapping[str, Any], root: Root) -> Iterable[Optimised]:
    store = EncoderStore(root)
    for modality, feature in sorted(facts["features"].items()):
        for encoder in [own for own in feature.get("encoders") or () if own in store][:1]:
            training = store.describe(encoder)["recipe"]["config"].get("training")
            if training:
                yield _optimised(f"{modality} encoder ({feature['extractor']})", training)


def _optimised(what: str, training: Mapping[str, Any]) -> Optimised:
    names = ("optimiser", "learning_rate", "weight_decay", "momentum", "dropout", "batch_size", "epochs", "patience")
    return Optimised(what=what, **{name: training.get(name) for name in (*names, "epoch_steps", "least_gain")})


def _settings(facts: Mapping[str, Any], specs: Sequence[Mapping[str, Any]]) -> Iterable[Setting]:
    parts: list[tuple[str, Mapping[str, Any]]] = [
        ("study", {name: facts[name] for name in ("scheme", "groups", "missing", "seed")}),
        ("protocol", facts["protocol"]),
    ]
    parts += [(m, own.get("identity", {}).get("config", {})) for m, own in sorted(facts["features"].items())]
    for head, version in sorted({(spec["head"], spec["version"]) for spec in specs}):
        configs = {json.dumps(spec["config"], sort_keys=True) for spec in specs if spec["head"] == head}
        parts += [(f"head {head}", {"version": version, **json.loads(text)}) for text in sorted(configs)[:1]]
    for name, config in parts:
        yield from (Setting(part=name, name=_words(key), value=_text(config[key])) for key in sorted(config))


def _text(value: Any) -> str:
    """Return a stored setting in words: `extractor acoustic, config (hop 160)` of a table."""
    if isinstance(value, dict):
        return ", ".join(f"{_words(key)} {_inner(value[key])}" for key in sorted(value)) or "none"
    if isinstance(value, list):
        return ", ".join(map(_inner, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _inner(value: Any) -> str:
    return f"({_text(value)})" if isinstance(value, dict | list) and value else _text(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _strategies(case: Case) -> Iterable[Strategy]:
    models = [model for model in case.evidence.trained if not model.variant]
    full = set(case.evidence.facts["modalities"])
    for head in dict.fromkeys(model.head for model in models):
        own = [model for model in models if model.head == head]
        whole = [model.name for model in own if set(model.modalities) == full]
        yield Strategy(
            head=head,
            fuses=FUSES.get(head, "a head of this study"),
            subsets=len(own),
            model=whole[0] if whole else None,
        )


def _notation(corpus: Corpus, encoders: Sequence[Encoder], width: int | None, case: Case) -> Iterable[Symbol]:
    for encoder in encoders:
        wide = f", {encoder.width} numbers" if encoder.width else ""
        meaning = f"what is known of a sample's {encoder.modality}"
        yield Symbol(symbol=f"x_{encoder.modality}", meaning=meaning, here=f"{encoder.extractor} embedding{wide}")
    ratio = case.measures.design.ratio
    fitted = sum(part.fitted for part in case.evidence.held_out) / len(case.evidence.held_out)
    rows = (
        ("z_m", "projection of x_m to the shared width, normalised", f"{width} numbers" if width else "not set"),
        ("w_m", "weight of modality m: at least 0, total 1", " + ".join(corpus.modalities)),
        ("K, y", "number of classes; the label of a sample", f"{len(corpus.classes)}: {', '.join(corpus.classes)}"),
        ("p", "posterior of a model, total 1; the largest entry is its prediction", "stored for every test sample"),
        ("J", "repeats: splits with training, validation and test part", str(corpus.repeats)),
        ("n1, n2", "samples a repeat fits heads and encoders on, and tests; means", f"{fitted:.0f}, {corpus.test:.0f}"),
        ("n2/n1", "what corrects for the overlap of repeats", f"{ratio:.4f}"),
        ("d_j", "difference of two models in repeat j, in percentage points where it is shown", "tables/repeats.csv"),
        ("alpha", "level of every test, Holm within a family", f"{case.config.alpha:g}"),
        ("pp", "percentage point: 60 % to 62 % is a gain of 2 pp", "gains and intervals"),
        ("told", "the interval keeps clear of 0 and p, after Holm, is below alpha", "verdicts"),
        ("d_z, g_z", "mean of d_j over its standard deviation; g_z: corrected for few repeats", "differences"),
        ("noncentral t", "law of t where there is a true gain: it gives power", "what this study can see"),
        ("Wilson", "interval of a share that stays within 0 and 1", "false positives"),
        ("omega2", "eta2, the models' share of all variation, without what chance gives", "as in the paper"),
    )
    yield from (Symbol(symbol=symbol, meaning=meaning, here=here) for symbol, meaning, here in rows)
