"""Whether a written report still follows from the predictions: all of it is computed and rendered again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from reports.config import ReportConfig
from reports.report import evaluate, render_files, report_folder, report_id, written_files
from stores.errors import DamagedError, NotFound
from stores.identity import canonical
from stores.root import Root
from stores.verifying import verify_study

ABSENT = "nothing"
_LONG = 120  # characters of a value that are shown


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A place in a report, what stands there, and what was recomputed."""

    where: str
    stored: str
    recomputed: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """How much of a report was compared, and what differs: `fields` of results.json, and `files` byte by byte."""

    report: str
    fields: int
    files: int
    mismatches: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        return not self.mismatches


def check_report(
    root: Root, study_id: str, run_ids: Sequence[str], config: ReportConfig, *, name: str | None = None
) -> Checked:
    """Compute and render a report again and compare; nothing is written.

    Raises NotFound if this report has not been written, and what `evaluate` raises if it cannot be recomputed.
    """
    own = report_id(study_id, run_ids, config, name)
    folder = report_folder(own)
    stored = {path: root.read(folder, path) for path in written_files(root, folder)}
    if not stored:
        raise NotFound(
            f"{own} has not been written under {root.address}: `affuse report` without --check writes it; runs or "
            "settings that changed since make another report"
        )
    if damages := verify_study(root, study_id, name):
        told = f"{damages[0].path}: {damages[0].problem}"
        raise DamagedError(f"{len(damages)} files of {study_id} are not as they were written; {told}")
    results = evaluate(root, study_id, run_ids, config, name=name, as_of=_as_of(stored.get("results.json")))
    rendered = render_files(results, pdf=any(path.endswith(".pdf") for path in stored))
    fields = list(_leaves(canonical(results)))
    return Checked(
        report=own,
        fields=len(fields),
        files=len(rendered),
        mismatches=(
            *_fields_that_differ(stored.get("results.json"), dict(fields)),
            *_files_that_differ(stored, rendered),
        ),
    )


def _as_of(stored: bytes | None) -> int | None:
    """Return how many entries the record had when the report was written; None, all of them, if it does not say."""
    try:
        own = json.loads(stored or b"{}").get("record", {}).get("as_of")
    except (ValueError, AttributeError):
        return None
    return own if isinstance(own, int) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (`scores[3].estimate`, value) of everything that holds nothing further."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}[{i}]")
    else:
        yield path, value


def _fields_that_differ(stored: bytes | None, fields: Mapping[str, Any]) -> Iterator[Mismatch]:
    if stored is None:
        return  # told as a file that is missing
    try:
        own = dict(_leaves(json.loads(stored)))
    except ValueError as error:
        yield Mismatch(where="results.json", stored=f"no JSON: {error}", recomputed="JSON")
        return
    for path in dict.fromkeys((*own, *fields)):
        before, after = (_shown(side[path]) if path in side else ABSENT for side in (own, fields))
        if before != after:
            yield Mismatch(where=f"results.json: {path}", stored=before[:_LONG], recomputed=after[:_LONG])


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _files_that_differ(stored: Mapping[str, bytes], rendered: Mapping[str, bytes]) -> Iterator[Mismatch]:
    for path in sorted({*stored, *rendered}):
        if path not in stored or path not in rendered:
            there, wanted = ("a file" if path in side else ABSENT for side in (stored, rendered))
            yield Mismatch(where=path, stored=there, recomputed=wanted)
        elif stored[path] != rendered[path]:
            yield _first_line(path, stored[path], rendered[path])


def _first_line(path: str, stored: bytes, rendered: bytes) -> Mismatch:
    lines = zip_longest(stored.split(b"\n"), rendered.split(b"\n"), fillvalue=b"")
    number, (own, again) = next((i, pair) for i, pair in enumerate(lines, 1) if pair[0] != pair[1])
    start = max(0, next((i for i, (a, b) in enumerate(zip(own, again, strict=False)) if a != b), 0) - _LONG // 2)
    shown = (line[start : start + _LONG].decode(errors="replace") or ABSENT for line in (own, again))
    return Mismatch(where=f"{path}, line {number}", stored=next(shown), recomputed=next(shown))
