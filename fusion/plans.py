"""What a study is to run: each head with its settings, its training and the modalities it takes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from fusion.heads._head import Combiner, Head, HeadConfig
from fusion.training_config import TrainingConfig
from stores.errors import ConfigError
from stores.plugins import find_plugin
from stores.settings import build


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """A head, its settings, how it is trained, and the modalities to run it on.

    `variant` names a way of training beside the study's own, which is "". Raises NotFound or ConfigError if the head
    cannot be built so.
    """

    head: str
    config: Mapping[str, Any] = field(default_factory=dict)
    subsets: tuple[tuple[str, ...], ...]
    training: TrainingConfig = field(default_factory=TrainingConfig)
    variant: str = ""

    def __post_init__(self) -> None:
        _ = self.settings
        for subset in self.subsets:
            if not self.type.fewest <= len(set(subset)) == len(subset) <= (self.type.most or len(subset)):
                most = f" to {self.type.most}" if self.type.most else " or more"
                raise ConfigError(
                    f"{self.head} takes {self.type.fewest}{most} different modalities, got {list(subset)}"
                )
            if lacking := sorted(set(self.type.needs) - set(subset)):
                raise ConfigError(f"{self.head} cannot do without {lacking[0]}, got {list(subset)}")

    @property
    def type(self) -> type[Head]:
        return find_plugin("fusion.heads", self.head, Head)

    @property
    def combines(self) -> bool:
        return issubclass(self.type, Combiner)

    @property
    def settings(self) -> HeadConfig:
        """The head's config with every default. Raises ConfigError for an unknown key or a wrong type."""
        return build(self.type.config_type, self.config, where=f"heads.{self.head}")


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
