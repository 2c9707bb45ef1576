"""The share of an encoder's own samples it stops on: no group on both sides."""

import warnings
from collections.abc import Sequence

import numpy as np

from stores.errors import ConfigError


def stop_share(labels: Sequence[str], kinds: Sequence[Sequence[str | None]], share: float, seed: int) -> np.ndarray:
    """Return (n,) bool: about `share` of the samples, stratified, none sharing a group of any kind with the rest.

    Raises ConfigError if no such share leaves every class on the other side.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = np.asarray(labels)
    merged = _merged(kinds, len(classes))
    largest = int(np.unique(classes, return_counts=True)[1].max(initial=0))
    folds = min(max(2, round(1 / share)), len(np.unique(merged)), largest)  # scikit-learn takes no more
    if folds >= 2:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class rarer than folds: checked below
            found = [held for _, held in splitter.split(classes, classes, merged)]
        for held in found:
            stopping = np.zeros(len(classes), bool)
            stopping[held] = True
            if held.size and set(classes[~stopping]) == set(classes):
                return stopping
    raise ConfigError(
        f"{len(classes)} samples in {len(np.unique(merged))} groups, at most {largest} samples a class: no "
        "group-disjoint share to stop on leaves every class to be fitted on; give the encoder more groups (equal "
        "recordings count as one group)"
    )


def _merged(kinds: Sequence[Sequence[str | None]], n: int) -> np.ndarray:
    """Return (n,) the connected component of each sample over all group kinds; one without a group is alone."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = {pair: n + i for i, pair in enumerate({(k, g): None for k, gs in enumerate(kinds) for g in gs if g})}
    edges = [(row, names[k, group]) for k, gs in enumerate(kinds) for row, group in enumerate(gs) if group]
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n + len(names), n + len(names)))
    components: np.ndarray = connected_components(graph, directed=False)[1][:n]
    return components
