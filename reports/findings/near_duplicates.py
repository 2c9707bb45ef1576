"""Which cached rows are possibly near-duplicates: far nearer to each other than most rows of different recordings.

No fixed distance says so: rows of an encoder that was trained on labels lie close together by class. The rule is about
ratios. Where rows are spread evenly on the scale of a few neighbours, the nearest lies at most the share t of the way
to the K-th with probability 1 - (1 - t^q)^(K-1), q being the number of dimensions the rows really fill; q is read from
how far the (K/2)-th lies, whose ratio to the power of q is Beta(K/2, K/2) with median 1/2, so that a few copies do not
move it. Both follow from a Poisson process, as in Facco et al. 2017, Scientific Reports 7 (TwoNN), for two neighbours.

Where rows scatter unlike one another about their class, dense and sparse places fill other dimensions than the middle
one, and more is near by this rule than should be. Sure is what is near even if each of up to STRATA shares of the rows,
by their distance to the K-th, has the smaller of its own q and that of all (`python -m benchmarks.near_alarms`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

IDENTICAL, EQUAL, NEAR, UNSURE = "identical", "equal rows", "near", "near, unsure"  # what may be flagged, closest first
GROUP = "group"
SEEN, SEEN_GROUP = "identical, encoder", "group, encoder"  # the same, of what an encoder and no head was trained on
NEIGHBOURS = 10  # K; of a recording with K or more copies that are near but not equal, none is found
ALPHA = 0.05  # the chance of one false alarm or more in a whole modality, if rows are spread evenly
FLOOR = 0.95  # cosine of centred rows below which nothing is called near, however lonely the two are
FEWEST_ROWS = 30  # of a corpus, and of a stratum
STRATA = 20
_BLOCK = 1 << 24  # similarities held at once, 64 MB


@dataclass(frozen=True, kw_only=True)
class Near:
    """Pairs of near-duplicates: `pairs` (P, 2) int64 positions of query and base, `similarity` (P,) their cosine.

    `dimension` is q of all rows; a neighbour counts as near up to the share `ratio` of the distance to the K-th. Both
    are None, with a `reason`, where nothing can be told. `sure` (P,) bool: near among rows as dense as these, too.
    """

    pairs: np.ndarray
    similarity: np.ndarray
    sure: np.ndarray
    dimension: float | None = None
    ratio: float | None = None
    reason: str = ""


def find_near(query: np.ndarray, query_groups: np.ndarray, base: np.ndarray, base_groups: np.ndarray) -> Near:
    """Return which rows of `query` (n, dim) nearly are a row of `base` (m, dim), float16 or float32.

    Groups are (n,) and (m,) int64: rows of one group are not compared, and a row that is in both is of one group with
    itself. Distances are those of rows that are centred and of unit length. Memory: 64 MB and float32 copies of both.
    """
    if min(len(query), len(base)) < FEWEST_ROWS:
        return _nothing(f"only {min(len(query), len(base))} different rows, of {FEWEST_ROWS} asked for")
    centre = base.mean(axis=0, dtype=np.float64).astype(np.float32)
    unit = _unit(base, centre)
    distances, found = _neighbours(unit if query is base else _unit(query, centre), query_groups, unit, base_groups)
    seen = np.isfinite(distances[:, -1])  # the others have too few rows of other groups around them
    if seen.sum() < FEWEST_ROWS:
        return _nothing(f"only {int(seen.sum())} rows have {NEIGHBOURS} rows of other groups to be compared with")
    ratios = distances / np.where(seen & (distances[:, -1] > 0), distances[:, -1], 1.0)[:, None]
    middle = float(np.median(ratios[seen, NEIGHBOURS // 2 - 1]))
    if not 0 < middle < 1:
        return _nothing("most rows have as many equal neighbours as were looked at")
    dimension = float(np.log(0.5) / np.log(middle))
    lonely, within = np.flatnonzero(seen), np.zeros(len(query))
    by_distance = lonely[np.argsort(distances[lonely, -1], kind="stable")]
    for stratum in np.array_split(by_distance, min(STRATA, max(1, len(lonely) // FEWEST_ROWS))):
        within[stratum] = min(middle, float(np.median(ratios[stratum, NEIGHBOURS // 2 - 1])))
    share = 1 - (1 - ALPHA / len(query)) ** (1 / (NEIGHBOURS - 1))
    limit = share ** (np.log(within, out=np.full(len(query), -np.inf), where=within > 0) / np.log(0.5))
    ratio, similarity = float(share ** (1 / dimension)), 1 - distances**2 / 2
    row, column = np.nonzero(seen[:, None] & (ratios <= ratio) & (similarity >= FLOOR))
    return Near(
        pairs=np.stack([row, found[row, column]], axis=1),
        similarity=similarity[row, column],
        sure=ratios[row, column] <= limit[row],
        dimension=dimension,
        ratio=ratio,
    )


def _nothing(reason: str) -> Near:
    return Near(pairs=np.empty((0, 2), np.int64), similarity=np.empty(0), sure=np.empty(0, bool), reason=reason)


def _unit(rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the rows as float32, centred and of unit length."""
    centred = rows.astype(np.float32) - centre
    length = np.sqrt(np.einsum("nd,nd->n", centred, centred))[:, None]
    unit: np.ndarray = np.divide(centred, length, out=centred, where=length > 0)
    return unit


def _neighbours(
    query: np.ndarray, query_groups: np.ndarray, base: np.ndarray, base_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances (n, K) float64, ascending, and the positions (n, K) in `base` of the K nearest of other groups.

    Infinite where there are fewer.
    """
    k = min(NEIGHBOURS, len(base))
    distances, found = np.full((len(query), NEIGHBOURS), np.inf), np.zeros((len(query), NEIGHBOURS), np.int64)
    for at in _blocks(len(query), len(base)):
        similarity = query[at] @ base.T
        similarity[query_groups[at, None] == base_groups] = -np.inf
        nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]
        apart = query[at, None] - base[nearest]  # 2 - 2 cos would lose what is almost 0
        own = np.sqrt(np.einsum("nkd,nkd->nk", apart, apart, dtype=np.float64))
        own[np.isneginf(np.take_along_axis(similarity, nearest, axis=1))] = np.inf
        order = np.argsort(own, axis=1, kind="stable")
        distances[at, :k] = np.take_along_axis(own, order, axis=1)
        found[at, :k] = np.take_along_axis(nearest, order, axis=1)
    return distances, found


def _blocks(queries: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // width)
    return (slice(start, min(start + step, queries)) for start in range(0, queries, step))
