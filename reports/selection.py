"""Which models a figure or a table shows first. The tables beside the page hold all of them."""

from reports.evidence import CHANCE, Model
from reports.results import Results

MOST = 24  # models one figure can show and still be read
RIVALS = 4  # confusion matrices of rivals


def listed(results: Results) -> set[str]:
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
    reference = results.model(results.reference)
    return [
        m
        for m in results.models
        if m.variant == reference.variant or (m.head, m.modalities) == (reference.head, reference.modalities)
    ]


def worth_a_matrix(results: Results) -> list[str]:
    """Return the reference, the best of its rivals on the same modalities, and the best single modality."""
    full = set(results.model(results.reference).modalities)
    same = {m.name for m in alike(results) if set(m.modalities) == full}
    order = [score.model for score in results.ranking()]
    rivals = [name for name in order if name in same and name != results.reference]
    single = [name for name in order if len(results.model(name).modalities) == 1]
    return list(dict.fromkeys([results.reference, *rivals[:RIVALS], *single[:1]]))
