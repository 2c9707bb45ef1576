"""docs/report.md says what results.json holds."""

from typing import Any

from reports.chapters._chapter import chapters
from reports.schema import DOCS, END, START, documented, value_of
from stores.identity import canonical

TEXT = DOCS.read_text(encoding="utf-8")


def test_every_key_and_every_chapter_of_results_json_is_documented(report_of: Any) -> None:
    results: Any = canonical(report_of().content)
    fields = TEXT[TEXT.index(START) :]
    top = fields[: fields.index("###", fields.index("###") + 3)]
    for key in results:
        assert f"`{key}` (" in top
    for name in results["chapters"]:
        assert f"### `chapters.{name}`: " in fields


def test_the_document_is_what_the_dataclasses_say() -> None:
    written = TEXT[TEXT.index(START) + len(START) : TEXT.index(END)].strip()
    assert written == documented(), "run `python -m reports.schema`"


def test_every_chapter_says_what_its_value_is() -> None:
    for chapter in chapters().values():
        assert value_of(type(chapter)).__doc__


def test_no_heading_stands_twice() -> None:
    headings = [line for line in TEXT.splitlines() if line.startswith("#")]
    assert len(headings) == len(set(headings))
