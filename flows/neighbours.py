"""What is stored nearest to a feature or an encoder that is not: the answer to why it is made again."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import Any

from stores.differences import TRAINEES, Differences, differences, nearest_identity
from stores.encoders import EncoderRecipe, EncoderStore, Trainee
from stores.features import FeatureStore, feature_ids
from stores.root import Root
from stores.spec import FeatureIdentity

_CHANGES = ("relabelled", "with other media", "added", "removed", "moved between fit and stop")  # causes first


class Neighbours:
    """The stored features and encoders of one modality; each is read once, and nothing is written.

    `upstream` is the feature the wanted ones read: it lies among them, and is none of them.
    """

    def __init__(self, root: Root, modality: str, upstream: FeatureIdentity | None) -> None:
        self.root = root
        self.modality = modality
        self.upstream = upstream
        self._trainees: dict[str, list[Trainee]] = {}

    def feature(self, wanted: FeatureIdentity, own: Set[str]) -> tuple[str, Differences] | None:
        """Return (id, differences) of the nearest feature that is not among `own`, or None."""
        upstream = self.upstream.extractor if self.upstream else None
        stored = {i: it for i, it in self.features.items() if it["extractor"] != upstream and i not in own}
        if not stored:
            return None
        nearest, found = nearest_identity(stored, wanted.as_dict())
        return nearest, self._with_upstream(found)

    def encoder(self, wanted: EncoderRecipe, own: Set[str]) -> tuple[str, Differences] | None:
        """Return (id, differences) of the nearest encoder: fewest settings, then fewest trainees that differ.

        None if none of that extractor is stored that is not among `own`.
        """
        recipes = {i: it for i, it in self.encoders.items() if it["extractor"] == wanted.extractor and i not in own}
        if not recipes:
            return None
        found = {i: differences(recipe, wanted.settings()) for i, recipe in recipes.items()}
        fewest = min(map(len, found.values()))
        alike = {i: _trainee_changes(self._trained_on(i), wanted.trainees) for i in found if len(found[i]) == fewest}
        nearest = min(alike, key=lambda i: (sum(alike[i].values()), i))
        trainees = {f"{TRAINEES}.{change}": (0, count) for change, count in alike[nearest].items()}
        return nearest, self._with_upstream(found[nearest]) | trainees

    @cached_property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """The identity of every stored feature of the modality, by id."""
        ids = feature_ids(self.root, self.modality)
        return {i: FeatureStore.open(self.root, self.modality, i).identity.as_dict() for i in ids}

    @cached_property
    def encoders(self) -> Mapping[str, Mapping[str, Any]]:
        """The recipe of every trained encoder, by id; its trainees apart."""
        store = EncoderStore(self.root)
        return {i: store.describe(i)["recipe"] for i in self.root.names("encoders") if i in store}

    def _trained_on(self, encoder: str) -> list[Trainee]:
        if encoder not in self._trainees:
            self._trainees[encoder] = EncoderStore(self.root).trained_on(encoder)
        return self._trainees[encoder]

    def _with_upstream(self, found: Differences) -> Differences:
        """Say of another upstream feature what is other in it, if it is still stored."""
        old = self.features.get(found["upstream"][0]) if "upstream" in found else None
        if old is None or self.upstream is None:
            return found
        inner = differences(old, self.upstream.as_dict())
        return found | {f"upstream.{name}": pair for name, pair in inner.items()}


def _trainee_changes(old: Sequence[Trainee], new: Sequence[Trainee]) -> dict[str, int]:
    """Return how many trainees changed, by how."""
    before, after = ({trainee.sample_id: trainee for trainee in trainees} for trainees in (old, new))
    changes = Counter(_change(before.get(i), after.get(i)) for i in {*before, *after})
    return {change: changes[change] for change in _CHANGES if changes[change]}


def _change(old: Trainee | None, new: Trainee | None) -> str:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.label != new.label:
        return "relabelled"
    if old.key != new.key:
        return "with other media"
    return "moved between fit and stop" if old.use != new.use else ""
