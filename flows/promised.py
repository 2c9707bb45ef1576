"""The splits as they are drawn, before any row is known: written down before anything is trained or extracted by them.

A study's own `splits.parquet` is named after rows that encoders trained per repeat have yet to make.
"""

from flows.candidates import Cast
from flows.facts import splits_table
from stores.errors import StoreError
from stores.root import Root


def promise_splits(name: str, cast: Cast, root: Root) -> None:
    """Write `studies/<name>.splits.parquet`: who is in which part of which repeat, encoders included."""
    root.put_table(splits_table(cast.splits, cast.candidates.ids), "studies", _file(name))


def check_promise(name: str, cast: Cast, root: Root) -> None:
    """Raise StoreError unless these are the splits that were written down before anything was trained."""
    if not root.exists("studies", _file(name)):
        raise StoreError(f"studies/{_file(name)} is not there, which is written before anything is trained: run again")
    if not root.read_table("studies", _file(name)).equals(splits_table(cast.splits, cast.candidates.ids)):
        raise StoreError(
            f"studies/{_file(name)} holds other splits than those encoders were trained on: another command of a "
            f"study named {name!r} has run meanwhile; give them different names, or run this one again"
        )


def _file(name: str) -> str:
    return f"{name}.splits.parquet"
