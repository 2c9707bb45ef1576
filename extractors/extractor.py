"""What an extractor is: one sample in, one row out; the loop around it lives in `run`."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.metadata import version as package_version
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from extractors._upstream import UpstreamRows
from stores.encoders import EncoderStore
from stores.errors import ConfigError
from stores.features import FeatureStore
from stores.identity import fingerprint
from stores.plugins import find_plugin
from stores.root import Root
from stores.samples import Sample
from stores.spec import FeatureIdentity, FeatureSpec

Item = TypeVar("Item")
_MOST_DECODERS = 16  # Python runs one of them at a time but for what codecs do


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_threads() -> int:
    """Return how many threads decode by default: half the cores this process may use, at least 2 and at most 16."""
    return max(2, min(_MOST_DECODERS, usable_cores() // 2))


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How extraction is run; none of it is part of an identity.

    Batches are as large as the extractor's `budget` allows, or at most of `batch_size` items. `decode_workers` are
    decoding threads (half the cores by default, at least 2), `queue` the items decoded ahead (batches are formed by
    length among them), `block_size` the samples of a block, the unit of work and of retry, `time_limit` the seconds of
    a processor a sample may take to decode. A training keeps its state every `checkpoint_every` seconds.
    """

    device: str = "auto"
    batch_size: int | None = None
    decode_workers: int = field(default_factory=decode_threads)
    queue: int = 512
    block_size: int = 1024
    time_limit: float = 120.0
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|(cuda|mps|xpu)(:\d+)?", self.device):
            raise ConfigError(f"expected a device such as auto, cpu, cuda or cuda:1, got {self.device!r}")
        for name in ("batch_size", "decode_workers", "queue", "block_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} should be at least 1, got {value}")
        if not self.time_limit > 0:  # so that NaN is refused as well
            raise ConfigError(f"time_limit should be above 0 s, got {self.time_limit}")


@dataclass(frozen=True, kw_only=True)
class View:
    """View `number` (from 1) of samples: their media varied at random as `settings` (an extractor's `view_type`) say.

    It is a feature of its own, and the same row whenever it is made: all chance comes from view and sample key.
    """

    settings: Any
    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ConfigError(f"views are numbered from 1, got {self.number}")

    def as_dict(self) -> dict[str, Any]:
        return {"number": self.number, **settings(self.settings)}

    def generator(self, key: str) -> np.random.Generator:
        """Return the random numbers of this view of the sample with that key."""
        return np.random.default_rng(int(fingerprint([self.as_dict(), key])[:32], 16))


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an extractor reads besides the sample: an upstream feature, a trained encoder (by id).

    With `view`, its rows are of varied media, for training only.
    """

    root: Root
    numerics: str = "standard"
    upstream: FeatureStore | None = None
    encoder: str | None = None
    view: View | None = None


class Extractor(ABC, Generic[Item]):
    """Turns samples of one modality into rows. Constructing one is cheap; `open` loads the model.

    `version` is raised by hand when the maths changes, `preprocessing` when decoding does. `replaced` names the
    settings that say where weights lie: digests stand in their place. `packages` are named in the receipt. `budget` is
    what a batch may cost on a CPU: the number of items times the longest `length`. `decodes_unopened` says that
    `decode` needs nothing `open` loads: media are then decoded while the model is opened. `view_type` is the settings
    of its views, if its media can be varied.
    """

    modality: ClassVar[str]
    version: ClassVar[int]
    preprocessing: ClassVar[int] = 1
    config_type: ClassVar[type]
    upstream: ClassVar[str | None] = None
    trainable: ClassVar[bool] = False
    replaced: ClassVar[frozenset[str]] = frozenset()
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    budget: ClassVar[int] = 32
    decodes_unopened: ClassVar[bool] = False
    view_type: ClassVar[type | None] = None

    def __init__(self, config: Any, inputs: Inputs) -> None:
        if not isinstance(config, self.config_type):
            raise ConfigError(f"{self.name} expects a {self.config_type.__name__}, got {type(config).__name__}")
        if self.upstream and inputs.upstream is None:
            raise ConfigError(f"{self.name} reads the feature {self.upstream!r}: pass its store as `upstream`")
        if inputs.view and (self.view_type is None or not isinstance(inputs.view.settings, self.view_type)):
            raise ConfigError(f"{self.name} has no views of this kind: {inputs.view.settings}")
        self.config = config
        self.inputs = inputs
        self.upstream_rows = UpstreamRows(inputs.upstream) if inputs.upstream else None
        self.computed_on = ("cpu", "float32")
        self.capacity = self.budget  # what a batch may cost here: more on a GPU, less once memory has run out

    @property
    def name(self) -> str:
        """The name of the plug-in: that of its module."""
        return extractor_name(type(self))

    @cached_property
    def identity(self) -> FeatureIdentity:
        """Everything that decides what a row is; known before the model is loaded."""
        view = self.inputs.view
        return FeatureIdentity(
            extractor=self.name,
            version=self.version,
            modality=self.modality,
            preprocessing=self.preprocessing,
            config={**self.own_settings(), **({"view": view.as_dict()} if view else {})},
            spec=self.spec(),
            numerics=self.inputs.numerics,
            weights=self.weights_digest(),
            tokenizer=self.tokenizer_digest(),
            upstream=self.inputs.upstream.id if self.inputs.upstream else None,
            encoder=self.inputs.encoder,
        )

    @abstractmethod
    def spec(self) -> FeatureSpec:
        """Return the form of a row."""

    @abstractmethod
    def decode(self, sample: Sample, key: str) -> Item:
        """Read one sample into memory; runs on CPU threads. Raises MediaError."""

    @abstractmethod
    def embed(self, items: Sequence[Item]) -> Iterator[np.ndarray]:
        """Yield one row an item, in order; a row does not depend on its neighbours."""

    def check(self) -> None:
        """Raise ConfigError unless the weights it names can be read, those a training starts from included."""
        self.weights_digest(), self.tokenizer_digest()

    def warm(self) -> None:
        """Import what `decode` needs, and read what it reads once: its time is not that of the first sample."""

    def open(self, runtime: Runtime) -> None:
        """Load the model, once, and set `computed_on` to (device, dtype)."""

    def varied(self, item: Item, settings: Any, generator: np.random.Generator) -> Item:
        """Return a decoded item varied as `settings` (a `view_type`) say; all chance comes from `generator`."""
        raise NotImplementedError(f"{self.name} has a view_type, but cannot vary an item")

    def length(self, item: Item) -> int:
        """Return how long an item is (tokens, frames): batches are formed of items alike in length."""
        return 1

    def remarks(self, item: Item) -> Sequence[str]:
        """Return what the receipt should count about an item, for instance `truncated`."""
        return ()

    @classmethod
    def needs_encoder(cls, config: Any) -> bool:
        """Return whether these settings read the weights of an encoder trained here."""
        return False

    def own_settings(self) -> Mapping[str, Any]:
        """Return the config as identities hold it: without `replaced`, but with digests of other files it names."""
        return settings(self.config, self.replaced)

    def weights_digest(self) -> str | None:
        """Return the digest of the weights, if it has any that were not trained here."""
        return None

    def tokenizer_digest(self) -> str | None:
        return None

    def weights_note(self) -> str:
        """Return what the report says of the weights."""
        return "no weights"

    @property
    def is_random(self) -> bool:
        """True if the weights were never trained; the report then carries a banner."""
        return False

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that made the rows."""
        return {name: package_version(name) for name in self.packages}


@dataclass(frozen=True, kw_only=True)
class Description:
    """An extractor in plain words: cheap to send to another process, which builds it again.

    `weights` tells an encoder that was trained again, under the same id, from the one a process may have open.
    """

    modality: str
    name: str
    config: Any
    numerics: str
    root: str
    upstream: str | None
    encoder: str | None
    weights: str | None
    view: View | None
    feature: str

    @classmethod
    def of(cls, extractor: Extractor[Any]) -> "Description":
        inputs, encoders = extractor.inputs, EncoderStore(extractor.inputs.root)
        trained = inputs.encoder is not None and inputs.encoder in encoders
        return cls(
            modality=extractor.modality,
            name=extractor.name,
            config=extractor.config,
            numerics=inputs.numerics,
            root=inputs.root.address,
            upstream=inputs.upstream.id if inputs.upstream else None,
            encoder=inputs.encoder,
            weights=encoders.describe(str(inputs.encoder))["weights"] if trained else None,
            view=inputs.view,
            feature=extractor.identity.id,
        )

    def build(self) -> Extractor[Any]:
        """Return the extractor. Raises ConfigError if here it would make another feature (other weights)."""
        root = Root(self.root)
        upstream = FeatureStore.open(root, self.modality, self.upstream) if self.upstream else None
        inputs = Inputs(root=root, numerics=self.numerics, upstream=upstream, encoder=self.encoder, view=self.view)
        extractor = find_extractor(self.modality, self.name)(self.config, inputs)
        if extractor.identity.id != self.feature:
            raise ConfigError(
                f"expected feature {self.feature}, but this process would make {extractor.identity.id}: "
                "its weights differ; put the same weights on every machine"
            )
        return extractor


def find_extractor(modality: str, name: str) -> type[Extractor[Any]]:
    """Return the extractor class of that name. Raises NotFound naming the nearest."""
    found: type[Extractor[Any]] = find_plugin(f"extractors.{modality}", name, Extractor)  # type: ignore[type-abstract]
    return found


def extractor_name(extractor_type: type[Extractor[Any]]) -> str:
    return extractor_type.__module__.rpartition(".")[2]


def settings(config: Any, without: frozenset[str] = frozenset()) -> Mapping[str, Any]:
    """Return every field of a config, whole numbers given for a float coerced to it."""
    found = {f.name: (f.type, getattr(config, f.name)) for f in fields(config) if f.name not in without}
    return {name: float(value) if kind in (float, "float") else value for name, (kind, value) in found.items()}
