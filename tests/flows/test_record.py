"""What was run and not shown, asked for otherwise, or tried with other seeds is on the page, before any score."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from flows.jobs import Options, study_job
from flows.report_jobs import ask_report, latest_of
from reports.methods import methods_text
from reports.page.render import render_page
from reports.report import evaluate
from reports.results import Results
from stores.root import Root
from stores.studies import StudyStore
from tests.flows.conftest import Talkers

ELEVEN = (
    "concat",
    "weighted",
    "vote",
    "fixed",
    "average",
    "gated",
    "attention",
    "confidence",
    "class_weighted",
    "joint_relu",
    "low_rank",
)
TRAINING = "\n[training]\nepochs = 1\nwidth = 4\n"
WINNER = '\n[report]\nprimary_metric = "accuracy"\nreference = "gated[image+text]"\n'


@dataclass(frozen=True)
class Read:
    """A report that was asked for, as it is read: its page and methods.md as plain text."""

    results: Results
    page: str
    methods: str

    @property
    def warned(self) -> str:
        return " ".join(banner.text for banner in self.results.banners if banner.kind == "selective")


@pytest.fixture
def study(talkers: Talkers) -> Talkers:
    """The talkers of two modalities whose rows are there, in three repeats."""
    start = talkers.study.index("[features.speech]")
    talkers.study = talkers.study[:start] + talkers.study[talkers.study.index("[features.image]") :]
    talkers.replace("repeats = 2", "repeats = 3")
    talkers.study += TRAINING
    talkers.save()
    return talkers


def heads(study: Talkers, *names: str) -> str:
    tables = "".join(f'[heads.{name}]\nsubsets = [["image", "text"]]\n' for name in names)
    return study.study.replace("[heads.unimodal]\n", "[heads.unimodal]\n" + tables)


def run(study: Talkers, text: str) -> None:
    study.path.write_text(text, encoding="utf-8")
    study_job(str(study.path), Options(root=str(study.root), device="cpu", quiet=True))


def report(study: Talkers, text: str = "", as_of: int | None = None) -> Read:
    """Read the report of what has run, as the command makes it but for its figures; `text` is the study file's."""
    if text:
        study.path.write_text(text, encoding="utf-8")
    root = Root(study.root)
    latest = latest_of(str(study.path), root)
    if as_of is None:
        ask_report(latest, root)
    results = evaluate(root, latest.study, latest.runs, latest.report, name=latest.name, as_of=as_of)
    undrawn: Mapping[str, Any] = dict.fromkeys(("summary", *results.chapters), ())
    page = re.sub(r"<[^>]+>", " ", render_page(results, undrawn))
    return Read(results, re.sub(r"\s+", " ", page), methods_text(results).replace("\\", ""))


def test_who_keeps_the_winner_of_eleven_heads_under_another_metric_is_read_to_have_done_so(study: Talkers) -> None:
    run(study, heads(study, *ELEVEN))
    everything = report(study)
    assert everything.warned == ""
    assert "39 runs of 13 models were ever scored in this study" in everything.methods
    run(study, heads(study, "gated") + WINNER)
    kept = report(study)
    assert kept.results.study == everything.results.study
    for text in (kept.page, kept.methods):
        assert (
            "Of 39 runs of 13 models that were scored in this study, 30 runs of 10 models are not on this page: "
            "attention[image+text]," in text
        )
        assert "All of them make 78 pairs" in text
        assert "reference weighted[image+text], now gated[image+text]; primary metric macro_f1, now accuracy" in text
    assert kept.page.index("are not on this page") < kept.page.index("reaches")
    asked = "weighted[image+text] by macro F1 (file "
    assert re.search(re.escape(asked) + r"\w{12}, after 0 openings\); gated\[image\+text\] by accuracy", kept.methods)
    assert "39 to score 39 runs, at most once a model and repeat" in kept.methods
    record = kept.results.record
    assert [(it["models"], it["runs"], it["primary_metric"], it["after"]) for it in record.asked] == [
        (13, 39, "macro_f1", 0),
        (3, 9, "accuracy", 39),
    ]
    assert {model: counts for model, counts in record.scored.items() if counts[1]} == {
        "gated[image+text]": (3, 3), "unimodal[image]": (3, 3), "unimodal[text]": (3, 3),
    }  # fmt: skip
    assert "low_rank[image+text] 3 0" in kept.page


def test_a_metric_changed_between_run_and_report_is_read(study: Talkers) -> None:
    first = heads(study, "weighted")
    run(study, first)
    assert report(study).warned == ""
    named = report(study, first + '\n[report]\nreference = "weighted[image+text]"\n')  # which it was by default
    assert named.warned == ""
    changed = report(study, first + '\n[report]\nprimary_metric = "accuracy"\n')
    told = "What was asked for first was changed after scores were seen: primary metric macro_f1, now accuracy."
    assert changed.warned.startswith(told)
    asked = changed.results.record.asked
    assert len({it["file"] for it in asked}) == 3
    assert [(it["kind"], it["after"]) for it in asked] == [("run", 0), ("report", 9), ("report", 9)]


def test_settings_that_were_scored_before_are_read_and_a_head_that_is_added_is_no_warning(study: Talkers) -> None:
    run(study, heads(study, "concat"))
    run(study, heads(study, "concat", "weighted"))  # whose default is another reference
    added = report(study)
    assert added.warned == ""
    assert [it["reference"] for it in added.results.record.asked] == ["concat[image+text]", "weighted[image+text]"]
    run(study, heads(study, "concat", "weighted").replace("width = 4", "width = 8"))
    tuned = report(study)
    told = "Of 24 runs of 4 models that were scored in this study, 12 runs of 4 models are not on this page: "
    assert tuned.warned.startswith(told)
    assert tuned.results.openings.most == 2


def test_what_was_asked_for_and_never_opened_was_not_scored(study: Talkers, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StudyStore, "open_test", killed)
        with pytest.raises(KeyboardInterrupt):
            run(study, heads(study, "weighted", "gated") + WINNER)
    run(study, heads(study, "weighted"))
    later = report(study)
    assert later.warned == ""  # nobody had seen a score
    assert [(it["primary_metric"], it["models"], it["after"]) for it in later.results.record.asked] == [
        ("accuracy", 4, 0),
        ("macro_f1", 3, 0),
    ]
    assert {*later.results.record.scored} == {
        "unimodal[image]", "unimodal[text]", "weighted[image+text]",
    }  # fmt: skip


def test_other_seeds_of_a_corpus_are_read_and_what_comes_later_changes_no_earlier_report(study: Talkers) -> None:
    text = heads(study, "concat")
    run(study, text)
    assert report(study).warned == ""
    for seed in (2, 3):
        run(study, text.replace("seed = 1", f"seed = {seed}"))
    third = report(study)
    for said in (third.page, third.methods):
        assert "The same corpus was scored with other seeds too: 1, 2 (18 runs)." in said
    assert sorted((it["seed"], it["runs"]) for it in third.results.record.others) == [(1, 9), (2, 9)]
    assert "repeated, seed 1, 9 runs" in third.methods
    own, path = study.path.read_text(encoding="utf-8"), study.path
    other = path.with_name("other.toml")
    for seed in (3, 4):  # more heads of the same study, and another
        name = f'name = "talkers{seed}"'
        other.write_text(
            heads(study, "gated", "concat").replace("seed = 1", f"seed = {seed}").replace('name = "talkers"', name),
            encoding="utf-8",
        )
        study_job(str(other), Options(root=str(study.root), device="cpu", quiet=True))
    assert path.read_text(encoding="utf-8") == own
    again = report(study, as_of=third.results.record.as_of)
    assert (again.results.record, again.results.openings, again.results.banners) == (
        third.results.record, third.results.openings, third.results.banners,
    )  # fmt: skip
    assert again.methods == third.methods
    now = report(study)
    assert now.results.openings.runs == 12
    assert "1, 2, 4 (30 runs)" in now.warned
