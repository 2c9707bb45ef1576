"""What was made of what: rows and encoders whose sources nobody holds any more were made of something that was wrong.

A row that was made of an upstream row has its digest in the seal, an encoder those of all rows it was trained on. A
source counts as held wherever it was ever sealed: in a part that was replaced, in a row that is damaged by now or lost
to an equal one. So a second, equally right row raises no alarm.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from stores.encoders import EncoderStore
from stores.features import FeatureStore, feature_ids
from stores.parts import WITHDRAWN, listed
from stores.root import Root
from stores.rows import DERIVED
from stores.samples import MODALITIES


def withdraw_orphans(store: FeatureStore) -> int:
    """Withdraw the rows of a feature that were made of what nobody holds any more, and return how many there are."""
    rows = orphans(store)
    store.withdraw(rows, DERIVED)
    return len(rows)


def orphans(store: FeatureStore) -> pa.Table:
    """Return (part, key, digest) of the rows that were made of what nobody holds any more.

    Where the whole upstream feature is gone, or the seal of an earlier version says nothing, none are told.
    """
    sealed = store.parts.live()  # before what they were made of
    held = _held(store.root, store.identity.modality, [store.identity.upstream])
    made = [(seal.part, table) for seal, table in sealed if held is not None and "upstream" in table.column_names]
    lost = [listed(part, table.filter(pc.invert(pc.is_in(table["upstream"], held)))) for part, table in made]
    return pa.concat_tables([WITHDRAWN.empty_table().drop_columns("why"), *lost])


def strays(root: Root, encoder_id: str) -> int:
    """Return how many of the rows that an encoder was trained on nobody holds any more."""
    encoders = EncoderStore(root)
    upstream = encoders.describe(encoder_id)["recipe"]["upstream"]
    read = [digest for trainee in encoders.trained_on(encoder_id) for digest in trainee.digests]
    name = (upstream or "").rpartition("-")[0]  # views are features of the same extractor
    for modality in MODALITIES:
        ids = feature_ids(root, modality)
        held = _held(root, modality, [i for i in ids if i.rpartition("-")[0] == name]) if upstream in ids else None
        if read and held is not None:
            return int(pc.sum(pc.invert(pc.is_in(pa.array(read), held))).as_py())
    return 0


def _held(root: Root, modality: str, ids: Sequence[str | None]) -> pa.Array | None:
    """Return every digest ever sealed in these features as one of a right row; None if there is no such feature."""
    there = [i for i in ids if i is not None and root.exists("features", modality, i, "feature.json")]
    known = [FeatureStore.open(root, modality, i).parts.digests() for i in there]
    return pa.concat_arrays([chunk for column in known for chunk in column.chunks]) if known else None
