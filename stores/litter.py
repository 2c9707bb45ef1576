"""What nobody needs: writings that were never finished, parts that were replaced, and, when asked, what is unused.

Readers go by seals, so a seal is deleted before its values. Nothing that changed within the grace is touched: a writer
may still be at it, or a reader may have listed it; a time of change that lies in the future counts as now.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from stores.encoders import CHECKPOINT, EncoderStore
from stores.errors import ConfigError, NotFound
from stores.features import FeatureStore, all_features, feature_ids
from stores.inventory import INVENTORY
from stores.layout import is_temporary, place_of
from stores.parts import listed
from stores.root import Root, StoredFile
from stores.rows import DAMAGED
from stores.studies import StudyStore
from stores.verifying import verify

GRACE_S = 24 * 3600.0
REPLACED = "replaced by a larger part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Litter:
    """Something to delete: its paths in the order of deletion, why, bytes, and seconds since it last changed.

    Of a damaged part its rows are withdrawn first: what was made of them while they were right stays right.
    """

    paths: tuple[str, ...]
    why: str
    size: int
    age: float
    damaged: tuple[FeatureStore, pa.Table] | None = None


def find_litter(root: Root, *, grace: float = GRACE_S, unused: bool = False, damaged: bool = False) -> list[Litter]:
    """Return what may go: seals that count for nothing, and what is unfinished or replaced and untouched for `grace`
    seconds; with `unused`, features and encoders nothing refers to; with `damaged`, parts whose rows have changed.
    """
    files = _Files(root)
    found = [files.litter([path], "a writing that was never finished") for path in files if is_temporary(path)]
    for store in all_features(root):
        found += _of_feature(store, files)
    for name in root.names("encoders"):
        if name not in EncoderStore(root):
            found.append(files.litter([f"encoders/{name}"], "a training that was never finished"))
        elif root.exists("encoders", name, CHECKPOINT):
            found.append(files.litter([f"encoders/{name}/{CHECKPOINT}"], "the training it is of is finished"))
    for name in root.names("studies"):
        found += _of_study(root, name, files, damaged=damaged)
    if unused:
        used = references(root)
        found += [files.litter([path], "nothing refers to it") for path, name in _wholes(root) if name not in used]
    if damaged:
        worn = list(_damaged(root, files))  # while they go, what was replaced stays: it may come back to life
        found = [*(litter for litter in found if not worn or litter.why != REPLACED), *worn]
    once = {litter.paths: litter for litter in reversed(found)}
    return [litter for litter in found if litter.age > grace and once[litter.paths] is litter]


def named_litter(root: Root, names: Sequence[str], *, even_if_used: bool) -> list[Litter]:
    """Return whole features and encoders by id. Raises NotFound, or ConfigError for one a study refers to."""
    files, there, used = _Files(root), {name: path for path, name in _wholes(root)}, references(root)
    for name in names:
        if name not in there:
            raise NotFound(f"no feature or encoder {name!r} under {root.address}: `affuse store ls` lists them")
        if name in used and not even_if_used:
            raise ConfigError(
                f"{name} is used by {', '.join(sorted(used[name]))}: --even-if-used deletes it all the same"
            )
    made = [store.id for store in all_features(root) if store.identity.encoder in names]
    return [files.litter([there[name]], "named") for name in dict.fromkeys([*made, *names])]


def sweep(root: Root, litter: Sequence[Litter]) -> None:
    """Delete it."""
    for item in litter:
        if item.damaged is not None:
            store, rows = item.damaged
            store.withdraw(rows, DAMAGED)
        for path in item.paths:
            root.delete(path)


def references(root: Root) -> dict[str, set[str]]:
    """Return feature or encoder id -> what refers to it: studies, and the features an encoder has made."""
    found: dict[str, set[str]] = defaultdict(set)
    for study in root.names("studies"):
        if not root.exists("studies", study, "study.json"):
            continue
        for modality, feature in StudyStore(root, study).facts()["features"].items():
            tried = [point["encoder"] for grid in feature.get("grids", []) for point in grid]
            for name in [*feature["ids"], *feature["encoders"], *feature.get("views", {}).get("ids", []), *tried]:
                found[name].add(study)
            upstream = feature["identity"].get("upstream")
            if upstream in feature_ids(root, modality):
                found[upstream].add(study)
    for store in all_features(root):
        if store.identity.encoder is not None:  # trained again it would not be the same: both go, or neither
            found[store.identity.encoder].add(store.id)
    return found


def _of_feature(store: FeatureStore, files: "_Files") -> Iterator[Litter]:
    names = store.root.names(store.folder, "parts")
    replaced = defaultdict(list)
    for own, _ in store.parts.every():
        for part in own.replaces:
            replaced[part].append(f"{store.folder}/parts/{own.part}.parquet")
    for part, why in store.parts.lost().items():
        seal, values = (f"{store.folder}/parts/{part}{kind}" for kind in (".parquet", ".zarr"))
        unreadable = f"{part}.zarr" in names  # a listing is not of one moment: else the values may not have been seen
        found = files.litter([seal, values] if unreadable else [seal], f"its rows are extracted again: {why}")
        yield replace(found, age=float("inf")) if unreadable else found  # there is nothing to wait for
    # the oldest seal first: a part whose replacement has gone would come back to life
    for part in sorted(
        {name.rpartition(".")[0] for name in names},
        key=lambda p: files.age(f"{store.folder}/parts/{p}.parquet"),
        reverse=True,
    ):
        seal, values = f"{store.folder}/parts/{part}.parquet", f"{store.folder}/parts/{part}.zarr"
        if f"{part}.parquet" not in names and f"{part}.zarr" in names:
            yield files.litter([values], "values that were never sealed")
        elif part in replaced:
            yield files.litter([seal, values], REPLACED, since=replaced[part])


def _damaged(root: Root, files: "_Files") -> Iterator[Litter]:
    """Yield the parts that do not verify; there is nothing in them to wait for."""
    for damage in verify(root).damages:
        seal, values = (damage.path + kind for kind in (".parquet", ".zarr"))
        if "/parts/" in damage.path and seal in files:
            why = f"damaged: {damage.problem.partition('; `')[0]}"
            _, modality, feature, _, part = damage.path.split("/")
            store = FeatureStore.open(root, modality, feature)
            rows = next(((store, listed(part, table)) for own, table in store.parts.every() if own.part == part), None)
            yield replace(files.litter([seal, values], why), age=float("inf"), damaged=rows)


def _of_study(root: Root, study: str, files: "_Files", *, damaged: bool) -> Iterator[Litter]:
    """Yield what was never sealed, and runs that count for nothing: once they are made again, or if asked for."""
    folder, store = f"studies/{study}", StudyStore(root, study)
    if study.endswith((".json", ".splits.parquet")):
        return
    if not root.exists(folder, "study.json"):
        own = [path for path in files if path.startswith(f"{folder}/")]
        if not any(path.endswith(INVENTORY) or place_of(path) is None for path in own):  # of ours, and never finished
            yield files.litter([folder], "a study that was never finished")
        return
    for name, (path, why, made_again) in store.lost().items():
        if made_again or damaged:
            told = "its runs were made again" if made_again else f"{path}: {why}"
            age = files.age(f"{folder}/runs/{name}") if made_again else float("inf")
            yield replace(files.litter([f"{folder}/runs/{name}"], told), age=age)
    sealed = root.names(folder, "runs")
    for kind in ("predictions", "weights"):
        for name in root.names(folder, kind):
            if name not in sealed:
                yield files.litter([f"{folder}/{kind}/{name}"], "runs that were never sealed")


def _wholes(root: Root) -> list[tuple[str, str]]:
    """Return (path, id) of every feature and encoder."""
    features = [(store.folder, store.id) for store in all_features(root)]
    return features + [(f"encoders/{name}", name) for name in root.names("encoders") if name in EncoderStore(root)]


class _Files:
    """All files under a root, listed once."""

    def __init__(self, root: Root) -> None:
        self._files = {file.path: file for file in root.files()}
        self._paths = sorted(self._files)
        self._now = time.time()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def age(self, path: str) -> float:
        """Return the seconds since a file changed; infinite if there is none."""
        return self._now - self._files[path].modified if path in self._files else float("inf")

    def litter(self, paths: Sequence[str], why: str, since: Sequence[str] = ()) -> Litter:
        """Return paths as litter whose age is that of its last change, or of the last change of `since`."""
        files = {path: self._below(path) for path in (*paths, *since)}
        own = [file for path in paths for file in files[path]]
        changes = [file.modified for found in files.values() for file in found]
        # what appeared since the listing, or tells no time, counts as of this moment
        known = all(files.values()) and all(changes)
        age = self._now - max(changes) if known else 0.0
        return Litter(paths=tuple(paths), why=why, size=sum(file.size for file in own), age=age)

    def _below(self, path: str) -> list[StoredFile]:
        if path in self._files:
            return [self._files[path]]
        first, last = (bisect_left(self._paths, f"{path}{end}") for end in ("/", "0"))  # "0" follows "/"
        return [self._files[name] for name in self._paths[first:last]]
