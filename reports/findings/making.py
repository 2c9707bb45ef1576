"""How a study was made: data, encoders, models, optimisers, settings, strategies, symbols. The values.

Durations are those sealed with runs and encoders when they were trained; nothing of the clock or the machine of now.
"""

from dataclasses import dataclass


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
