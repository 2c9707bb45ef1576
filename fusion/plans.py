"""What a study is to run: each head with its settings, its training and the modalities it takes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch

from fusion.heads._head import Combiner, Frame, FusionHead, Head, HeadConfig
from fusion.search import Search, SearchConfig, plan_search
from fusion.spaces import shapes
from fusion.training_config import TrainingConfig
from stores.errors import ConfigError
from stores.plugins import find_plugin
from stores.settings import build
from stores.studies import model_name


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """A head, its settings, how it is trained, and the modalities to run it on.

    `variant` names a way of training beside the study's own, which is "". With a `search`, `config` and `training` are
    what is not searched. Raises NotFound or ConfigError if the head cannot be built or searched so.
    """

    head: str
    config: Mapping[str, Any] = field(default_factory=dict)
    subsets: tuple[tuple[str, ...], ...]
    training: TrainingConfig = field(default_factory=TrainingConfig)
    variant: str = ""
    search: SearchConfig | None = None

    def __post_init__(self) -> None:
        _ = self.settings, self.searched
        for subset in self.subsets:
            if not self.type.fewest <= len(set(subset)) == len(subset) <= (self.type.most or len(subset)):
                most = f" to {self.type.most}" if self.type.most else " or more"
                raise ConfigError(
                    f"{self.head} takes {self.type.fewest}{most} different modalities, got {list(subset)}"
                )
            if lacking := sorted(set(self.type.needs) - set(subset)):
                raise ConfigError(f"{self.head} cannot do without {lacking[0]}, got {list(subset)}")
            if not self.combines:
                self._try_out(subset, self.settings, self.training)
        if self.searched is not None and self.subsets:
            for config, training in shapes(self.searched.space, self.settings, self.training):
                self._try_out(max(self.subsets, key=len), config, training)

    def _try_out(self, subset: Sequence[str], config: HeadConfig, training: TrainingConfig) -> None:
        """Build the head once, without memory: what it says against its settings is said before any extraction."""
        widths, hidden = dict.fromkeys(subset, 1), training.width
        frame = Frame(widths=widths, n_classes=2, hidden=hidden, dropout=[0.0], seeds=[0])
        with torch.device("meta"):
            cast(type[FusionHead], self.type)(config, frame)

    @cached_property
    def type(self) -> type[Head]:
        return find_plugin("fusion.heads", self.head, Head)

    def model(self, subset: Sequence[str]) -> str:
        """Return the name of the head on a subset of its modalities, as reports have it."""
        return model_name(self.head, sorted(subset), self.variant)

    @property
    def combines(self) -> bool:
        return issubclass(self.type, Combiner)

    @cached_property
    def settings(self) -> HeadConfig:
        """The head's config with every default. Raises ConfigError for an unknown key or a wrong type."""
        return build(self.type.config_type, self.config, where=f"heads.{self.head}")

    @cached_property
    def searched(self) -> Search | None:
        """The search of a head that is trained, if there is one. Raises ConfigError for a setting it lacks."""
        if self.search is None:
            return None
        if self.combines:
            raise ConfigError(f"{self.head} trains nothing, so there is nothing to search: search what it reads")
        return plan_search(self.search, cast(type[FusionHead], self.type), self.settings, self.training)


def subsets(modalities: Sequence[str], head: str) -> tuple[tuple[str, ...], ...]:
    """Return every subset of the modalities that a head makes sense on, small ones first.

    `unimodal` takes one at a time, a fusion two or more; with one modality a fusion has none.
    """
    kind = find_plugin("fusion.heads", head, Head)
    sizes = range(kind.fewest, min(kind.most or len(modalities), len(modalities)) + 1)
    found = itertools.chain.from_iterable(itertools.combinations(sorted(modalities), size) for size in sizes)
    return tuple(subset for subset in found if set(kind.needs) <= set(subset))


def check_plans(plans: Sequence[HeadPlan]) -> None:
    """Raise ConfigError for a combiner whose voters are not planned; cheap, so it can be asked before any work."""
    for plan in plans:
        for subset in plan.subsets if plan.combines else ():
            voter_of(plans, plan, subset)


def voter_of(plans: Sequence[HeadPlan], plan: HeadPlan, subset: Sequence[str]) -> HeadPlan:
    """Return the plan of the head whose posteriors a combiner reads: of its own variant."""
    reads = cast(type[Combiner], plan.type).reads
    for candidate in plans:
        same = (candidate.head, candidate.variant) == (reads, plan.variant)
        if same and {(m,) for m in subset} <= set(candidate.subsets):
            return candidate
    raise ConfigError(
        f"{plan.head} on {'+'.join(subset)} reads the posteriors of {reads} on each of them, which is not planned: "
        f"add [heads.{reads}], or leave {plan.head} out"
    )
