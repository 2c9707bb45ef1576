"""What a study consists of, written down at the end of every run, so that what is gone is missed.

`studies/<study id>/inventory.json` lists the files and runs of a study and the names that mean it.
`studies/<name>.latest.json` says which study and which runs a name means: of each, the other tells if it is deleted.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from stores.errors import DamagedError, NotFound
from stores.logs import LOGS
from stores.root import Root
from stores.studies import StudyStore

INVENTORY = "inventory.json"
_ALWAYS = ("study.json", "samples.parquet", "splits.parquet", "radar.parquet")


def take_stock(store: StudyStore, name: str | None = None) -> None:
    """Write the inventory: the files and runs there are, and the names that mean this study, `name` too.

    What a run has made again is there under another name; runs and names that were there once stay listed.
    """
    before: dict[str, list[str]] = {}
    with suppress(DamagedError):
        before = _stock(store)
    there = [path for path in _ALWAYS if store.root.exists(store.folder, path)]
    stock = {
        "files": [*there, *(path for log in LOGS for path in store.log_parts(log))],
        "runs": sorted({*before.get("runs", []), *store.run_ids()}),
        "names": sorted({*before.get("names", []), *([name] if name else [])}),
    }
    if stock != before:
        store.root.put_json(stock, store.folder, INVENTORY)


def missing_files(store: StudyStore) -> list[str]:
    """Return the files of a study that its inventory lists and that are not there."""
    there = {file.path for file in store.root.files(store.folder)}
    return [path for path in (f"{store.folder}/{name}" for name in _stock(store)["files"]) if path not in there]


def losses(store: StudyStore, name: str = "") -> dict[str, str]:
    """Return what is missing or damaged of a study, that `name` may mean: path -> what is wrong."""
    found = {path: why for path, why, made_again in store.lost().values() if not made_again}
    runs: set[str] = set()
    try:
        stock = _stock(store)
        runs |= {*stock["runs"]}
        names = (path for path in map(latest_path, stock["names"]) if not store.root.exists(path))
        found |= dict.fromkeys([*missing_files(store), *names], "it is missing")
    except DamagedError as error:
        found[f"{store.folder}/{INVENTORY}"] = str(error)
    with suppress(DamagedError, FileNotFoundError):
        latest = store.root.read_json(latest_path(name))
        runs |= {*latest["runs"]} if latest["study"] == store.id else set()
    if gone := sorted(runs - store.run_ids()):
        found[f"{store.folder}/runs"] = f"{len(gone)} runs are not there, {gone[0]} for one"
    return found


def _stock(store: StudyStore) -> dict[str, list[str]]:
    """Return the inventory; a study of an earlier version has none, which says nothing."""
    try:
        return store.root.read_json(store.folder, INVENTORY)
    except FileNotFoundError:
        return {"files": [], "runs": [], "names": []}


def latest_path(name: str) -> str:
    """Return where what a study's name means now is written down."""
    return f"studies/{name}.latest.json"


def promised_path(name: str) -> str:
    """Return where the splits of a study's name are written down before anything is trained by them."""
    return f"studies/{name}.splits.parquet"


def put_latest(root: Root, name: str, store: StudyStore, latest: Mapping[str, Any]) -> None:
    """Write down what a study's name means now. The inventory is there before, and lists the name after."""
    take_stock(store)
    root.put_json({"study": store.id, **latest}, latest_path(name))


def check_latest(root: Root, name: str) -> None:
    """Raise DamagedError, or NotFound, unless the study and the runs a name means are there."""
    latest = root.read_json(latest_path(name))
    store = StudyStore.open(root, latest["study"])
    if gone := sorted(set(latest["runs"]) - store.run_ids()):
        raise NotFound(f"{len(gone)} of its runs are not in {store.folder}, {gone[0]} for one")
    needed = (f"{store.folder}/{INVENTORY}", promised_path(name))
    if "file" in latest and (lost := [path for path in needed if not root.exists(path)]):
        raise NotFound(f"{lost[0]} is missing")
