"""Which models a figure or a table shows first. The tables beside the page hold all of them."""

from collections.abc import Iterable, Sequence

from reports.comparisons import DROPPED, FURTHER, STRATEGIES, Comparison
from reports.evidence import CHANCE, Model
from reports.results import Results

MOST = 24  # models one figure can show and still be read
RIVALS = 4  # confusion matrices of rivals
SINGLE, FUSED, LESS = "single modalities", "other strategies", "versions of itself with one modality less"


def gains(results: Results) -> dict[str, list[Comparison]]:
    """Return what the reference is set against, on the primary metric, by what it is; a group without any is absent."""
    strategies = [*results.compared(STRATEGIES), *results.compared(FURTHER)]
    groups = {
        SINGLE: [c for c in strategies if not results.model(c.b).fused],
        FUSED: [c for c in strategies if results.model(c.b).fused],
        LESS: results.compared(DROPPED),
    }
    return {name: own for name, own in groups.items() if own}


def shown_first(results: Results) -> set[str]:
    """Return the models to show first: all if they are few, else the majority class and `on_one_or_all`."""
    if len(results.models) <= MOST:
        return {model.name for model in results.models}
    return on_one_or_all(results) | {CHANCE}


def on_one_or_all(results: Results) -> set[str]:
    """Return those of `alike` on a single modality or on the reference's modalities."""
    full = set(results.model(results.reference).modalities)
    return {m.name for m in alike(results) if len(m.modalities) == 1 or set(m.modalities) == full}


def alike(results: Results) -> list[Model]:
    """Return the models trained as the reference is, and the reference trained otherwise."""
    return _alike(results.models, results.model(results.reference))


def _alike(models: Iterable[Model], reference: Model) -> list[Model]:
    same = (reference.head, reference.modalities)
    return [m for m in models if m.variant == reference.variant or (m.head, m.modalities) == same]


def worth_a_matrix(results: Results) -> list[str]:
    """Return the reference, the best of its rivals on the same modalities, and the best single modality."""
    return foremost(results.models, results.model(results.reference), [score.model for score in results.ranking()])


def foremost(models: Sequence[Model], reference: Model, order: Sequence[str]) -> list[str]:
    """Return the names `worth_a_matrix` does, of models whose `order` is the best first."""
    full, by_name = set(reference.modalities), {model.name: model for model in models}
    same = {m.name for m in _alike(models, reference) if set(m.modalities) == full}
    rivals = [name for name in order if name in same and name != reference.name]
    single = [name for name in order if len(by_name[name].modalities) == 1]
    return list(dict.fromkeys([reference.name, *rivals[:RIVALS], *single[:1]]))


def side_by_side(results: Results) -> list[str]:
    """Return the models whose repeats are joined: single modalities, the reference, and its best rivals."""
    full = set(results.model(results.reference).modalities)
    order = [score.model for score in results.ranking()]
    same = {m.name for m in alike(results)}
    single = [n for n in order if n in same and len(results.model(n).modalities) == 1 and n != results.reference]
    rivals = [n for n in order if n in same and set(results.model(n).modalities) == full and n != results.reference]
    return [*reversed(single), results.reference, *(n for n in rivals[:RIVALS] if n not in single)]
