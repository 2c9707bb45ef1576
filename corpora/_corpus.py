"""What every corpus is: a configuration, and a way from raw recordings to a Manifest."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from stores.manifest import Manifest
from stores.root import Root
from stores.settings import as_name, check_name


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """What every corpus is asked for: `name` is the manifest's name and the first part of every sample id.

    It is the corpus' own, whatever studies are called: a table's or folder's name, unless it is given one.
    """

    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", check_name(self.name or self.own_name))

    @property
    def own_name(self) -> str:
        """What the corpus is called if it is given no name: after its `path`, else after its kind."""
        kind = type(self).__name__.removesuffix("Config").lower()
        return as_name(Path(getattr(self, "path", "")).stem, kind)


Config = TypeVar("Config", bound=CorpusConfig)


class Corpus(ABC, Generic[Config]):
    """One way to turn raw recordings into a Manifest; one module is one corpus.

    `config_type` is a frozen keyword-only dataclass of plain TOML types that validates itself (ConfigError).
    """

    config_type: ClassVar[type[CorpusConfig]]

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def build(self, root: Root, *, base: Path) -> Manifest:
        """Return the manifest; the same configuration over the same files gives an equal one.

        `base` is the folder that relative paths in the configuration are relative to, that of the study's TOML.
        Raises ManifestError or ConfigError saying what is wrong, where, and what to do.
        """
