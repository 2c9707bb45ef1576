"""A study as its TOML file says it: corpus, features, protocol, heads, training, report."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corpora._corpus import Corpus
from flows.feature_plan import PER_REPEAT, FeaturePlan, read_feature
from fusion.robustness import RobustnessConfig
from fusion.search import SearchConfig
from fusion.spaces import SPACES, named_space
from fusion.splits import ProtocolConfig
from fusion.training_config import PRESETS, TrainingConfig, with_preset
from reports.config import ReportConfig
from stores.errors import ConfigError
from stores.identity import fingerprint
from stores.plugins import find_plugin, plugin_names
from stores.samples import MODALITIES
from stores.settings import as_name, build, check_keys, check_name, table_of

_VARIANT = re.compile(r"[a-z][a-z0-9_-]*")
MISSING = ("complete", "mask")
_SAID = ("name", "seed", "corpus", "study", "features", "protocol")
TABLES = (*_SAID, "heads", "training", "variants", "search", "robustness", "report")


@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """`[study]`: the label scheme, the kinds of group that may not straddle parts, and whom `missing` lets take part.

    `complete`: samples with every modality of the study. `mask`: samples with one at least; heads see what is there.
    """

    scheme: str = "emotion"
    groups: tuple[str, ...] = ()
    missing: str = "complete"

    def __post_init__(self) -> None:
        if self.missing not in MISSING:
            raise ConfigError(f"missing should be one of {', '.join(MISSING)}, got {self.missing!r}")

    @property
    def masks(self) -> bool:
        """Whether a sample that lacks a modality takes part all the same."""
        return self.missing == "mask"


@dataclass(frozen=True, kw_only=True)
class HeadTable:
    """`[heads.<name>]`: the head's own settings and the subsets of modalities it runs on (all that make sense).

    `space` is what a search tries of this head in place of, or besides, what `[search]` names for all.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    subsets: tuple[tuple[str, ...], ...] | None = None
    space: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.subsets is not None:
            if not self.subsets:
                raise ConfigError("subsets names none: leave the key out to run on all that make sense, or the head")
            object.__setattr__(self, "subsets", tuple(tuple(sorted(subset)) for subset in self.subsets))


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Everything a study TOML says; `base` is the folder relative paths in it are relative to.

    `variants` are further trainings by name: every head runs with each of them too; `settled` are the settings each of
    them sets itself. `search`, if there is one, chooses settings for every head that is trained. With `robustness` all
    runs are scored under disturbances too. `origin` is the file it was read from, and the
    digests of its text and of its `[corpus]`.
    """

    name: str
    seed: int
    base: Path
    corpus: Corpus[Any]
    study: StudyTable
    features: Mapping[str, FeaturePlan]
    protocol: ProtocolConfig
    heads: Mapping[str, HeadTable]
    training: TrainingConfig
    variants: Mapping[str, TrainingConfig]
    settled: Mapping[str, frozenset[str]]
    search: SearchConfig | None
    robustness: RobustnessConfig | None
    report: ReportConfig
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(sorted(self.features))

    def search_of(self, head: str, variant: str = "") -> SearchConfig | None:
        """Return the search of a head, with the space that is its own; what a variant sets itself is not in it.

        None if there is no search, or nothing is left to try.
        """
        if self.search is None:
            return None
        space = {**named_space(self.search.space), **self.heads[head].space}
        left = {name: tried for name, tried in space.items() if name not in self.settled.get(variant, ())}
        return replace(self.search, space=left) if left or not space else None

    @property
    def per_repeat(self) -> bool:
        """Whether any encoder is trained inside each repeat."""
        return any(plan.train_on == PER_REPEAT for plan in self.features.values())

    @property
    def needs_cast(self) -> bool:
        """Whether what is extracted depends on who takes part: encoders are trained, or views made for heads."""
        return any(plan.train is not None or plan.head_views for plan in self.features.values())


def load_study(path: Path | str) -> StudyConfig:
    """Read a study TOML.

    Raises ConfigError saying what is wrong, where, and what to write instead.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no study file {path}: give the path of a TOML file; examples/ has some") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}") from None
    whole = path.resolve()
    config = parse_study(content, base=whole.parent, default_name=as_name(path.stem, "study"))
    return replace(
        config,
        origin={
            "file": str(whole),
            "text": fingerprint(path.read_text(encoding="utf-8")),
            "corpus": fingerprint(json.dumps(content["corpus"], sort_keys=True, default=str)),
        },
    )


def parse_study(content: Mapping[str, Any], *, base: Path, default_name: str = "study") -> StudyConfig:
    """Return the StudyConfig of parsed TOML. Raises ConfigError."""
    check_keys(content, TABLES, where="study file")
    name, seed = content.get("name", default_name), content.get("seed", 0)
    if not isinstance(name, str) or not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"name should be text and seed an integer from 0, got {name!r} and {seed!r}")
    robustness = table_of(content, "robustness", where="study file")
    features = {
        modality: read_feature(modality, table_of(content["features"], modality, where="features"))
        for modality in table_of(content, "features", where="study file")
    }
    if not features:
        raise ConfigError("the study has no [features.<modality>] table: name at least one of " + ", ".join(MODALITIES))
    return StudyConfig(
        name=check_name(name, "the study's "),
        seed=seed,
        base=base,
        corpus=_corpus(table_of(content, "corpus", where="study file")),
        study=build(StudyTable, table_of(content, "study", where="study file"), where="study"),
        features=features,
        protocol=build(ProtocolConfig, table_of(content, "protocol", where="study file"), where="protocol"),
        heads=_heads(table_of(content, "heads", where="study file"), tuple(sorted(features))),
        training=_training(table_of(content, "training", where="study file"), where="training"),
        variants=_variants(content),
        settled=_settled(table_of(content, "variants", where="study file")),
        search=_search(content),
        robustness=build(RobustnessConfig, robustness, where="robustness") if "robustness" in content else None,
        report=build(ReportConfig, table_of(content, "report", where="study file"), where="report"),
    )


def _corpus(table: dict[str, Any]) -> Corpus[Any]:
    kind = table.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"[corpus] lacks the key 'kind': one of {', '.join(plugin_names('corpora'))}")
    corpus = find_plugin("corpora", kind, Corpus)  # type: ignore[type-abstract]
    if "name" in table:
        check_name(str(table["name"]), "[corpus] ")  # what is left out is not what is empty
    return corpus(build(corpus.config_type, _expanded(table), where="corpus"))


def _expanded(table: Mapping[str, Any]) -> dict[str, Any]:
    """Put environment variables into every `path` of a corpus: the same study runs where the data lie elsewhere."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            value = _expanded(value)
        elif key == "path" and isinstance(value, str):
            value = os.path.expandvars(value)
            if "$" in value:
                raise ConfigError(f"[corpus] path {value!r}: set the environment variable it names, or write the path")
        found[key] = value
    return found


def _training(table: Mapping[str, Any], where: str) -> TrainingConfig:
    return build(TrainingConfig, with_preset(table, where=where), where=where)


def _variants(content: Mapping[str, Any]) -> dict[str, TrainingConfig]:
    """Return `[variants.<name>]`: each says what it does otherwise than `[training]`.

    The settings of a preset it names come before the study's own.
    """
    base = table_of(content, "training", where="study file")
    own = table_of(content, "variants", where="study file")
    if odd := [name for name in own if not _VARIANT.fullmatch(name)]:
        raise ConfigError(f"[variants] names should be lower-case words such as class_weights, got {odd[0]!r}")
    found = {}
    for name in own:
        table = table_of(own, name, where="variants")
        preset = _preset(table["preset"]) if table.get("preset") in tuple(PRESETS) else {}
        found[name] = _training({**base, **preset, **table}, where=f"variants.{name}")
    return found


def _preset(name: str) -> dict[str, Any]:
    """Return all that presets decide as this one has it; `paper` has the defaults."""
    decided = {key for settings in PRESETS.values() for key in settings}
    return {key: getattr(TrainingConfig, key) for key in decided} | dict(PRESETS[name])


def _settled(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Return by variant the settings it sets itself, those of its preset included."""
    return {
        name: frozenset(table) - {"preset"} | frozenset(_preset(table["preset"]) if "preset" in table else ())
        for name, table in variants.items()
    }


def _search(content: Mapping[str, Any]) -> SearchConfig | None:
    if "search" in content:
        table = table_of(content, "search", where="study file")
        if not isinstance(table.get("space", {}), str | Mapping):
            raise ConfigError(
                f"[search] space should be {' or '.join(SPACES)}, or a table [search.space], got {table['space']!r}"
            )
        return build(SearchConfig, table, where="search")
    for name, head in table_of(content, "heads", where="study file").items():
        if isinstance(head, Mapping) and "search" in head:
            raise ConfigError(f"[heads.{name}.search] says what is tried of a head: add [search] to search at all")
    return None


def _heads(table: dict[str, Any], modalities: tuple[str, ...]) -> dict[str, HeadTable]:
    names = plugin_names("fusion.heads")
    if not table:
        table = {"unimodal": {}} | ({"concat": {}, "weighted": {}, "vote": {}} if len(modalities) > 1 else {})
    check_keys(table, names, where="heads")
    heads = {}
    for name in table:
        own = table_of(table, name, where="heads")
        chosen = {"subsets": own.pop("subsets")} if "subsets" in own else {}
        space = _space(name, own)
        head = build(HeadTable, {"config": own, "space": space, **chosen}, where=f"heads.{name}")
        if unknown := {m for subset in head.subsets or () for m in subset} - set(modalities):
            listed = ", ".join(sorted(unknown))
            raise ConfigError(f"[heads.{name}] subsets name {listed}, which has no [features] table")
        heads[name] = head
    return heads


def _space(head: str, table: dict[str, Any]) -> Mapping[str, Any]:
    """Take `[heads.<name>.search]` out of a head's table; only its space is a head's own, the budget is everybody's."""
    where = f"heads.{head}.search"
    own = table_of(table, "search", where=f"heads.{head}")
    table.pop("search", None)
    check_keys(own, ("space",), where=where)
    return named_space(own["space"]) if isinstance(own.get("space"), str) else table_of(own, "space", where=where)
