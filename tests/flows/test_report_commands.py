"""`affuse report STUDY`, `--check`, `--open`, `--pdf` and `affuse report compare A B`, as they are typed."""

import json
import shutil
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.jobs import Options, run_job
from flows.report_jobs import show_page
from stores.root import Root


@dataclass(frozen=True)
class Ran:
    """Two studies of faces that have run, the other with another seed and fewer epochs, and the pages of both."""

    one: Path
    other: Path
    root: Path
    pages: tuple[Path, Path]


@pytest.fixture(scope="module")
def ran(make_faces: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("faces")
    one, root = make_faces(folder / "corpus"), folder / "runs"
    other = one.with_name("other.toml")
    text = one.read_text(encoding="utf-8").replace("seed = 3", "seed = 4").replace("epochs = 4", "epochs = 2")
    other.write_text(text.replace('name = "faces"', 'name = "other"'), encoding="utf-8")
    done = [run_job(str(study), Options(root=str(root), device="cpu", quiet=True)) for study in (one, other)]
    return Ran(one=one, other=other, root=root, pages=(Path(done[0]["report"]), Path(done[1]["report"])))


def test_pdfs_are_written_where_asked_for_and_checked_with_the_rest(result: Callable[..., Any], ran: Ran) -> None:
    figures = ran.pages[0].parent / "figures"
    assert list(figures.glob("*.pdf")) == []
    assert result("report", "--pdf", str(ran.one), root=ran.root)["report"] == str(ran.pages[0])
    assert {f.stem for f in figures.glob("*.pdf")} == {f.stem for f in figures.glob("*.svg")}
    found = result("report", "--check", str(ran.one), root=ran.root)
    assert found["ok"]
    assert found["files"] == sum(file.is_file() for file in ran.pages[0].parent.rglob("*"))
    for file in figures.glob("*.pdf"):
        file.unlink()


def test_check_exits_with_1_and_names_what_differs(affuse: Callable[..., Any], ran: Ran) -> None:
    page, command = ran.pages[1], ("report", str(ran.other), "--check", "--root", str(ran.root))
    whole = affuse(*command)
    assert (whole.returncode, whole.stdout) == (0, "")
    assert "follows from its predictions" in whole.stderr
    written = page.read_bytes()
    page.write_bytes(written.replace(b"affuse report", b"affuse rapport", 1))
    wrong = affuse(*command, "--json")
    page.write_bytes(written)
    assert wrong.returncode == 1
    found = json.loads(wrong.stdout)
    assert not found["ok"]
    assert [m["where"].split(", ")[0] for m in found["mismatches"]] == ["index.html"]
    assert "1 differences" in wrong.stderr
    assert affuse(*command, "--pdf").returncode == 2


class Recorder(webbrowser.BaseBrowser):
    """A browser that notes what it was asked to show, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.works, self.shown = True, list[str]()

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        self.shown.append(url)
        return self.works


def test_open_shows_the_local_page_or_says_that_no_browser_was_found(
    affuse: Callable[..., Any], ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = Recorder()
    monkeypatch.setattr(webbrowser, "_browsers", {"recorder": [None, browser]})
    monkeypatch.setattr(webbrowser, "_tryorder", ["recorder"])
    done = affuse("report", "--root", str(ran.root), "--json", str(ran.one), "--open")
    assert (done.returncode, json.loads(done.stdout)["report"]) == (0, str(ran.pages[0]))
    assert browser.shown == [ran.pages[0].as_uri()]
    assert "No browser was found" not in done.stderr
    browser.works = False
    show_page(str(ran.pages[0]))
    assert "No browser was found" in capsys.readouterr().err


def test_a_page_on_an_object_store_is_not_opened_but_named(capsys: pytest.CaptureFixture[str]) -> None:
    show_page("s3://bucket/reports/report-0/index.html")
    assert "not on this machine, so it was not opened: s3://bucket" in capsys.readouterr().err.replace("\n", " ")


def test_two_studies_are_compared_by_file_name_and_id(
    affuse: Callable[..., Any], result: Callable[..., Any], ran: Ran
) -> None:
    one, other, root = ran.one, ran.other, ran.root
    reports = [page.parent.name for page in ran.pages]
    found = result("report", "compare", str(one), str(other), root=root)
    words = {(change["kind"], change["words"]) for change in found["changes"]}
    assert ("seeds", "seed 3 -> 4") in words
    assert any(kind == "settings" and text.endswith("epochs 4 -> 2") for kind, text in words)
    assert found["kept"] + len(found["flips"]) > 0
    assert Path(found["report"]).is_file()
    assert Path(found["report"]).parent.name.startswith("compare-")
    study = Root(root).read_json("studies", "faces.latest.json")["study"]
    page = Path(found["report"]).read_bytes()
    for a, b in (("faces", "other"), (reports[0], reports[1]), (study, str(other))):
        again = result("report", "compare", a, b, root=root)
        assert Path(again["report"]).read_bytes() == page
        assert [again[name] for name in ("results", "changes", "kept")] == [
            found[name] for name in ("results", "changes", "kept")
        ]
    same = affuse("report", "compare", "faces", str(one), "--root", str(root)).stderr.replace("\n", " ")
    assert "None of " in same
    assert "verdicts flips" in same
    assert "Nothing that is written down differs" in same
    assert "Verdicts that flip" not in same
    said = affuse("report", "compare", "faces", "other", "--root", str(root))
    flips = "Verdicts that flip" if found["flips"] else f"None of {found['kept']} verdicts flips."
    assert flips in said.stderr
    assert "seed 3 -> 4" in said.stderr


def test_a_study_without_a_written_report_is_computed_and_not_written(result: Callable[..., Any], ran: Ran) -> None:
    one, other, root, written = ran.one, ran.other, ran.root, ran.pages[1].parent
    hidden = written.rename(root / "hidden")
    try:
        assert result("report", "compare", str(one), str(other), root=root)["kept"] > 0
        assert not written.exists()
    finally:
        hidden.rename(written)


def test_what_cannot_be_meant_is_said_with_what_there_is(affuse: Callable[..., Any], ran: Ran, tmp_path: Path) -> None:
    one, root = ran.one, ran.root
    nobody = affuse("report", "compare", "faces", "nobody", "--root", str(root))
    assert nobody.returncode == 1
    assert "no study file, no study and no report" in nobody.stderr.replace("\n", " ")
    assert affuse("report", "compare", "faces", "--root", str(root)).returncode == 2
    assert affuse("report").returncode == 2
    assert affuse("report", str(one), "--root", str(tmp_path)).returncode == 1
    unwritten = affuse("report", str(one), "--check", "--root", str(tmp_path))
    assert unwritten.returncode == 1
    assert "has not run" in unwritten.stderr


def test_a_study_with_several_reports_is_not_guessed_at(affuse: Callable[..., Any], ran: Ran) -> None:
    twin = ran.root / "reports" / "report-twin"
    shutil.copytree(ran.pages[0].parent, twin)
    done = affuse("report", "compare", "faces", "other", "--root", str(ran.root))
    shutil.rmtree(twin)
    assert done.returncode == 2
    assert "faces has 2 reports: name one of report-" in done.stderr.replace("\n", " ")


def test_help_teaches_both_forms(affuse: Callable[..., Any]) -> None:
    said = affuse("report", "--help").stdout
    for part in ("report [OPTIONS] STUDY", "report compare [OPTIONS] A B", "--check", "--open", "--pdf", "compare "):
        assert part in said
    assert "A and B are study files" in affuse("report", "compare", "--help").stdout
    assert "Usage: affuse report [OPTIONS] STUDY" in affuse("report", "--json").stderr


def test_a_study_is_reported_by_its_name_with_the_report_settings_of_its_last_run(
    affuse: Callable[..., Any], result: Callable[..., Any], ran: Ran, tmp_path: Path
) -> None:
    assert result("report", "faces", root=ran.root)["report"] == str(ran.pages[0])
    assert result("report", "faces", "--check", root=ran.root)["ok"]
    stored = Root(ran.root).read_json("studies", "faces.latest.json")
    Root(tmp_path).put_json({**stored, "report": {"alpha": 0.01}}, "studies", "strict.latest.json")
    shutil.copytree(ran.root / "studies", tmp_path / "studies", dirs_exist_ok=True)
    written = json.loads(Path(result("report", "strict", root=tmp_path)["results"]).read_text(encoding="utf-8"))
    assert (written["name"], written["method"]["alpha"]) == ("strict", 0.01)
    nobody = affuse("report", "nobody", "--root", str(ran.root))
    assert (nobody.returncode, "no study file nobody" in nobody.stderr) == (2, True)


def test_two_study_files_of_one_stored_study_have_each_a_report_of_its_own_name(
    result: Callable[..., Any], ran: Ran, tmp_path: Path
) -> None:
    shutil.copytree(ran.root / "studies", tmp_path / "studies")
    twin = ran.one.with_name("twin.toml")
    twin.write_text(ran.one.read_text(encoding="utf-8").replace('name = "faces"', 'name = "twin"'), encoding="utf-8")
    root = Root(tmp_path)
    stored = root.read_json("studies", "faces.latest.json")
    root.put_json({**stored, "file": str(twin)}, "studies", "twin.latest.json")
    first, second = (Path(result("report", str(study), root=tmp_path)["report"]) for study in (ran.one, twin))
    assert first != second
    for page, name in ((first, "faces"), (second, "twin")):
        text = page.read_text(encoding="utf-8")
        assert f"<title>{name}: " in text
        assert f">{name}</h1>" in text
        assert f'<th>study</th><td class="words">{name}</td>' in text
        assert page.with_name("methods.md").read_text(encoding="utf-8").startswith(f"# Methods: {name}\n")
    pages = []
    for a, b in (("faces", "twin"), (first.parent.name, second.parent.name), (str(ran.one), str(twin))):
        found = result("report", "compare", a, b, root=tmp_path)
        pages.append((found["report"], Path(found["report"]).read_bytes()))
    assert len(set(pages)) == 1
    assert b"<bdi>faces</bdi> and <bdi>twin</bdi>" in pages[0][1]
    twin.unlink()


def test_a_study_file_is_never_shown_the_report_of_another_file_or_corpus_of_its_name(
    affuse: Callable[..., Any], ran: Ran, tmp_path: Path
) -> None:
    """The text of both files may be the same: what they mean is where their corpus is."""
    shutil.copytree(ran.root / "studies", tmp_path / "runs" / "studies")
    elsewhere = tmp_path / "elsewhere.toml"
    shutil.copy(ran.one, elsewhere)
    written = ran.one.read_text(encoding="utf-8")
    commands = [("report",), ("report", "--check"), ("report", "compare", str(ran.other))]

    def refused(study: Path, words: str) -> None:
        for command in commands:
            done = affuse(*command, str(study), "--root", str(tmp_path / "runs"))
            assert done.returncode == 1
            assert words in done.stderr.replace("\n", " ")

    refused(elsewhere, f"is of another study file ({ran.one}), not of {elsewhere}: give the study a `name` of its own")
    ran.one.write_text(written.replace('path = "faces"', 'path = "others"'), encoding="utf-8")
    refused(ran.one, "the [corpus] of")
    ran.one.write_text(written.replace("[heads.unimodal]", "[heads.unimodal]\n[heads.concat]"), encoding="utf-8")
    assert (
        affuse("report", str(ran.one), "--root", str(tmp_path / "runs")).returncode == 0
    )  # more heads: the same study
    ran.one.write_text(written, encoding="utf-8")
    assert affuse("report", "faces", "--root", str(tmp_path / "runs")).returncode == 0


def test_check_and_report_refuse_a_study_that_lacks_a_file_and_a_run_makes_it_again(
    affuse: Callable[..., Any], ran: Ran, tmp_path: Path
) -> None:
    folder = shutil.copytree(ran.root, tmp_path / "runs")
    [latency] = (folder / "studies").glob(
        f"{Root(folder).read_json('studies', 'faces.latest.json')['study']}/latency/*"
    )
    latency.unlink()
    command = (str(ran.one), "--root", str(folder))
    check, report = affuse("report", *command, "--check"), affuse("report", *command)
    assert (check.returncode, report.returncode) == (1, 1)
    assert f"latency/{latency.name}: it is missing" in check.stderr.replace("\n", " ")
    assert "`affuse study` makes them again" in report.stderr.replace("\n", " ")
    said = run_job(str(ran.one), Options(root=str(folder), device="cpu", quiet=True))
    assert said["runs"]["trained"] == 0
    assert affuse("store", "verify", "--root", str(folder)).returncode == 0


def test_a_study_under_a_new_name_uses_all_that_is_stored_and_differs_in_nothing(
    result: Callable[..., Any], ran: Ran, tmp_path: Path
) -> None:
    root = shutil.copytree(ran.root, tmp_path / "runs")
    renamed = ran.one.with_name("renamed.toml")
    renamed.write_text(
        ran.one.read_text(encoding="utf-8").replace('name = "faces"', 'name = "again"'), encoding="utf-8"
    )
    before = Root(root).read_json("studies", "faces.latest.json")
    said = run_job(str(renamed), Options(root=str(root), device="cpu", quiet=True))
    renamed.unlink()
    assert (said["features"]["image"]["extracted"], said["runs"]["trained"]) == (0, 0)
    assert Root(root).read_json("studies", "again.latest.json")["runs"] == before["runs"]
    found = result("report", "compare", "faces", "again", root=root)
    assert (found["changes"], found["flips"]) == ([], [])
