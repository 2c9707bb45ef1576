"""Check a whole root: every seal, every digest, every file that does not belong."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import zarr

from stores import quarantine
from stores.derivations import orphans, strays
from stores.encoders import EncoderStore
from stores.errors import DamagedError, RootError, StoreError
from stores.features import FeatureStore
from stores.inventory import INVENTORY, check_latest, latest_path, losses
from stores.layout import is_temporary, place_of
from stores.logs import LOGS
from stores.manifest import Manifest
from stores.parts import read_seal
from stores.progress import Progress, Silent
from stores.root import Root
from stores.rows import Index, Opened, read_part
from stores.samples import MODALITIES
from stores.studies import StudyStore

_STRETCH = {"vector": 4096, "ragged": 256}  # rows held in memory at once


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was written, or does not belong; `path` is relative to the root."""

    path: str
    problem: str


@dataclass(kw_only=True)
class Verdict:
    """What was looked at and what was found. `litter` is no damage: writings that were never finished."""

    files: int = 0
    rows: int = 0
    damages: list[Damage] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)


def verify(root: Root, report: Progress | None = None) -> Verdict:
    """Read everything under a root and return what is damaged, missing or foreign; writes nothing."""
    verdict, told = Verdict(), report or Silent()
    files = [file.path for file in root.files()]
    verdict.files = len(files)
    sealed = {path.removesuffix(".parquet") for path in files if path.endswith(".parquet")}
    for path in files:
        values, found, _ = path.partition(".zarr/")
        if found and values not in sealed:
            continue  # inside values that were never sealed: litter as a whole
        if is_temporary(path):
            verdict.litter.append(path)
        elif place_of(path) is None:
            verdict.damages.append(Damage(path, "does not belong here"))
    _run(_checks(root, verdict), verdict, told)
    return verdict


def verify_study(root: Root, study_id: str, name: str | None = None) -> list[Damage]:
    """Return what is damaged, missing or foreign in a study, and in what says that a name means it."""
    verdict = Verdict()
    named = [(latest_path(name), partial(check_latest, root, name))] if name and root.exists(latest_path(name)) else []
    _run([*_study_checks(StudyStore(root, study_id), verdict), *named], verdict, Silent())
    return verdict.damages


def _run(found: Iterable[tuple[str, Callable[[], object]]], verdict: Verdict, told: Progress) -> None:
    checks = list(found)
    told.start("verify", len(checks), "parts")
    for path, check in checks:
        try:
            check()
        except (RootError, ImportError, MemoryError):
            raise  # the disk or this machine, not what was written
        except Exception as error:  # a flipped bit may make of metadata anything at all
            problem = f"missing: {error}" if isinstance(error, FileNotFoundError) else str(error)
            verdict.damages.append(Damage(path, f"{problem}; {_remedy(path)}"))
        told.advance("verify")
    told.finish("verify")


def _remedy(path: str) -> str:
    if "/parts/" in path:
        return "`affuse store gc --damaged --delete` removes it, the next run extracts its rows again"
    if path.startswith("encoders/"):
        return "restore it, or `affuse store gc ID --delete --even-if-used`: it goes with the features it made"
    if "/openings/" in path:
        return "restore it, or `affuse study STUDY` makes those runs again and notes that their test parts were opened"
    if path.startswith("studies/") and path.split("/")[2:3] in (["runs"], ["predictions"], ["weights"]):
        return "`affuse study STUDY` makes its runs again, `affuse store gc --damaged --delete` removes what is left"
    if path.startswith("studies/") and not path.endswith((".json", ".parquet")):
        return "delete the folder: `affuse study STUDY` trains its heads again"
    return "delete it if it is there: the next run writes it again"


def _checks(root: Root, verdict: Verdict) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield (path, a function that raises if what lies there is not what was written)."""
    for name in root.names("manifests"):
        yield f"manifests/{name}", partial(Manifest.load, root, name.removesuffix(".parquet"))
    for modality in MODALITIES:
        for name in root.names("features", modality):
            if "." not in name:  # a foreign file is told already
                yield from _feature_checks(root, modality, name, verdict)
    for name in root.names("encoders"):
        if name in EncoderStore(root):
            yield f"encoders/{name}", partial(_check_encoder, root, name)
        else:
            verdict.litter.append(f"encoders/{name}")
    for name in root.names("studies"):
        if root.exists("studies", name, "study.json") or root.exists("studies", name, INVENTORY):
            yield from _study_checks(StudyStore(root, name), verdict)
        elif name.endswith(".latest.json"):
            yield f"studies/{name}", partial(check_latest, root, name.removesuffix(".latest.json"))
        elif name.endswith(".splits.parquet"):
            yield f"studies/{name}", partial(root.read_table, "studies", name)
        else:
            verdict.litter.append(f"studies/{name}")


def _study_checks(store: StudyStore, verdict: Verdict) -> Iterator[tuple[str, Callable[[], object]]]:
    yield f"{store.folder}/study.json", store.facts
    yield f"{store.folder}/samples.parquet", store.samples
    yield f"{store.folder}/splits.parquet", store.splits
    yield f"{store.folder}/radar.parquet", store.radar
    for log, schema in LOGS.items():
        for part in store.root.names(store.folder, log):
            if part.endswith(".parquet"):  # a foreign file is told already
                path = f"{store.folder}/{log}/{part}"
                yield path, partial(store.root.read_table, path, like=schema)
    yield f"{store.folder}/{INVENTORY}", partial(_check_inventory, store, verdict)


def _check_inventory(store: StudyStore, verdict: Verdict) -> None:
    """Tell of every file that the study or a sealed run of it needs and has not; none is told twice."""
    lost, told = store.lost(), {damage.path for damage in verdict.damages}
    verdict.litter += [f"{store.folder}/runs/{part}" for part, (_, _, made_again) in lost.items() if made_again]
    verdict.damages += [
        Damage(path, f"{why}; {_remedy(path)}") for path, why in losses(store).items() if path not in told
    ]


def _feature_checks(
    root: Root, modality: str, name: str, verdict: Verdict
) -> Iterator[tuple[str, Callable[[], object]]]:
    folder = f"features/{modality}/{name}"
    try:
        store = FeatureStore.open(root, modality, name)
    except (StoreError, OSError, KeyError, TypeError, ValueError) as error:
        path = f"{folder}/feature.json"
        verdict.damages.append(Damage(path, f"{error}; {_remedy(path)}"))
        return
    names, readable = root.names(folder, "parts"), {seal.part: table for seal, table in store.parts.every()}
    for part in sorted({entry.rpartition(".")[0] for entry in names}):
        if f"{part}.parquet" not in names:
            if f"{part}.zarr" not in names:
                continue  # a foreign file is told already
            verdict.litter.append(f"{folder}/parts/{part}.zarr")
        else:
            yield f"{folder}/parts/{part}", partial(_check_part, store, part, readable.get(part), verdict)
    yield folder, partial(_check_sources, store)
    for entry in root.names(folder, "withdrawn"):
        yield f"{folder}/withdrawn/{entry}", partial(root.read_table, folder, "withdrawn", entry)
    for entry in root.names(folder, "quarantine"):
        path = f"{folder}/quarantine/{entry}"
        yield path, partial(_check_quarantine, root, path)
    yield f"{folder}/books", store.books


def _check_quarantine(root: Root, path: str) -> None:
    quarantine.from_table(root.read_table(path, like=quarantine.SCHEMA))


def _check_encoder(root: Root, name: str) -> None:
    EncoderStore(root).check(name)
    if lost := strays(root, name):
        raise DamagedError(f"it was trained on rows no longer held for right ({lost}): the next run trains it again")


def _check_sources(store: FeatureStore) -> None:
    if lost := len(orphans(store)):
        raise DamagedError(f"rows made of rows no longer held for right ({lost}): the next run makes them again")


def _check_part(store: FeatureStore, part: str, readable: pa.Table | None, verdict: Verdict) -> None:
    """Check a part; `readable` are its rows that were not withdrawn, None if they count for nothing."""
    seal, table = read_seal(store.root, f"{store.folder}/parts", part, check=True)
    if f"{part}.zarr" not in store.root.names(store.folder, "parts"):
        raise DamagedError("the values are gone")
    zarr.open_group(store.root.zarr(store.folder, "parts", f"{part}.zarr"), mode="r")
    if not np.array_equal(np.sort(table["row"]), np.arange(seal.rows)):
        raise DamagedError("the seal does not name every row once")
    index = Index([(part, table if readable is None else readable)])
    order, opened = np.argsort(index.row), dict[str, Opened]()
    step = _STRETCH[store.identity.spec.layout]
    for start in range(0, len(order), step):
        chosen = order[start : start + step]
        for entry in read_part(store, index, chosen, opened=opened)[1]:
            key = index.keys_column[entry].as_py()
            raise DamagedError(f"row {index.row[entry]} (key {key[:12]}) has changed or cannot be read")
        verdict.rows += len(chosen)
