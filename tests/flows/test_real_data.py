"""The studies of examples/ on real recordings, cut down to what a test may take; scores are checked against chance."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.jobs import Options, extract_job, run_job
from fusion.heads._head import Head
from reports.statistics.holm import Holm
from stores.plugins import find_plugin, plugin_names

FUSIONS = [name for name in plugin_names("fusion.heads") if find_plugin("fusion.heads", name, Head).fewest > 1]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("AFFUSE_REAL_DATA" not in os.environ, reason="AFFUSE_REAL_DATA names no folder"),
]


class Outcome:
    """What a run said: the JSON of the command, results.json and the page."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.results = json.loads(Path(said["results"]).read_text(encoding="utf-8"))
        self.page = Path(said["report"]).read_text(encoding="utf-8")

    def score(self, model: str, metric: str = "macro_f1") -> dict[str, Any]:
        found = [s for s in self.results["scores"] if (s["model"], s["metric"]) == (model, metric)]
        assert len(found) == 1, f"{model} {metric}"
        return found[0]

    def leaks(self) -> dict[tuple[str, str], int]:
        """Return how many test samples the radar flags, by what they share with training and how."""
        findings = self.results["chapters"]["leakage"]["findings"]
        return {(found["kind"], found["reason"]): found["samples"] for found in findings}

    def gains_over(self, model: str) -> dict[str, dict[str, Any]]:
        """Return the comparison of every fusion with a model, on the primary metric, by the name of the fusion."""
        metric = self.results["method"]["primary_metric"]
        return {c["a"]: c for c in self.results["comparisons"] if (c["b"], c["metric"]) == (model, metric)}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """One root for all studies: what one has extracted, the next finds."""
    return Options(root=str(tmp_path_factory.mktemp("runs")), quiet=True)


def cut_down(example: str, folder: Path, repeats: int | None = None, corpus: str = "") -> str:
    """Write a copy of an example with fewer repeats, and more settings for its corpus; return its path."""
    text = (EXAMPLES / f"{example}.toml").read_text(encoding="utf-8")
    if repeats is not None:
        text, changed = re.subn(r"^repeats = \d+", f"repeats = {repeats}", text, flags=re.M)
        assert changed == 1
    text = text.replace("[corpus]\n", f"[corpus]\n{corpus}\n", 1)
    path = folder / f"{example}.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(example: str, folder: Path, options: Options, **cut: Any) -> Outcome:
    outcome = Outcome(run_job(cut_down(example, folder, **cut), options))
    for books in outcome.said["features"].values():
        counted = books["absent"] + books["cached"] + books["extracted"] + books["quarantined"]
        assert books["samples"] == counted
    return outcome


def test_text_of_meld_beats_the_majority_class(tmp_path: Path, options: Options) -> None:
    emotion = run("meld-emotion", tmp_path, options, repeats=3)
    assert emotion.said["features"]["text"]["samples"] == 11098
    assert emotion.score("unimodal[text]")["low"] > emotion.score("majority class")["high"] + 0.05
    leaks = emotion.leaks()
    reasons = {"identical", "near", "near, unsure"}
    assert set(leaks) <= {("text", reason) for reason in reasons}  # and no dialogue is in two parts
    assert leaks["text", "identical"] == 129  # “Okay.”, “Yeah.”
    near = sum(leaks.get(("text", reason), 0) for reason in ("near", "near, unsure"))
    assert 5 <= near <= 40  # “Oh my God!!” beside “Oh my God!”
    sentiment = run("meld-sentiment", tmp_path, options, repeats=3)
    assert sentiment.said["features"]["text"]["extracted"] == 0
    assert sentiment.score("unimodal[text]")["low"] > sentiment.score("majority class")["high"] + 0.1


@pytest.fixture(scope="module")
def known_speakers(tmp_path_factory: pytest.TempPathFactory, options: Options) -> Outcome:
    """All strategies on text and speech of nEMO: unseen sentences of known speakers."""
    return run("nemo-text-speech", tmp_path_factory.mktemp("known"), options, repeats=3)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory, options: Options) -> Outcome:
    """All strategies on text and speech of nEMO: one speaker left out at a time."""
    return run("nemo-speaker", tmp_path_factory.mktemp("strangers"), options, corpus="limit = 60")


def test_speech_of_nemo_is_read_on_unseen_sentences(tmp_path: Path, options: Options) -> None:
    known = run("nemo-sentence", tmp_path, options, repeats=3).score("unimodal[speech]", "balanced_accuracy")
    assert known["estimate"] > 0.5


def test_speech_of_nemo_knows_its_speakers_and_not_strangers(known_speakers: Outcome, strangers: Outcome) -> None:
    known = known_speakers.score("unimodal[speech]", "balanced_accuracy")
    stranger = strangers.score("unimodal[speech]", "balanced_accuracy")
    assert stranger["low"] is not None
    assert stranger["low"] < stranger["estimate"] < stranger["high"]
    assert stranger["estimate"] < known["estimate"] - 0.1
    assert strangers.results["method"]["repeats"] == 6
    leaks = strangers.leaks()  # everybody speaks the same sentences: told, and no speaker is in two parts
    assert leaks["sentence", "group"] == leaks["text", "identical"] > 0
    assert ("speaker", "group") not in leaks


@pytest.mark.parametrize("grouped", ["known_speakers", "strangers"])
def test_text_that_tells_nothing_is_not_found_to_help_any_strategy(
    grouped: str, request: pytest.FixtureRequest
) -> None:
    outcome: Outcome = request.getfixturevalue(grouped)
    assert outcome.score("unimodal[text]", "balanced_accuracy")["estimate"] < 0.25
    gains = outcome.gains_over("unimodal[speech]")
    assert set(gains) == {f"{head}[speech+text]" for head in FUSIONS}
    metric = outcome.results["method"]["primary_metric"]
    reached = [outcome.score(model, metric)["estimate"] for model in (*gains, "unimodal[speech]")]
    assert np.mean(reached[:-1]) - reached[-1] < 0.02
    if grouped == "known_speakers":  # a study by sentence, in which training has heard every speaker
        assert outcome.results["banners"][0]["kind"] == "leaks"
        assert {gain["reason"] for gain in gains.values()} == {"training has seen 100.0 % of the test samples"}
        return
    adjusted = Holm().adjust([gain["primary"]["p"] for gain in gains.values()])
    for (model, gain), p in zip(gains.items(), adjusted, strict=True):
        found = p is not None and p < 0.05 and gain["primary"]["difference"] > 0
        assert not found, model


def test_faces_of_fer2013_run_to_the_report(tmp_path: Path, options: Options) -> None:
    outcome = run("fer2013", tmp_path, options, repeats=3, corpus="limit = 50")
    assert outcome.said["features"]["image"]["quarantined"] == 0
    assert outcome.score("unimodal[image]")["estimate"] > outcome.score("majority class")["estimate"]


def test_a_composed_corpus_carries_its_banner_and_claims_nothing(tmp_path: Path, options: Options) -> None:
    outcome = run("composed", tmp_path, options, repeats=3)
    assert any(banner["kind"] == "composed" for banner in outcome.results["banners"])
    assert "pairs were made by label" in outcome.page
    assert outcome.results["facts"]["corpus"]["pairing"] == "composed"
    ran = {model["head"] for model in outcome.results["models"] if model["modalities"] == ["image", "speech", "text"]}
    assert ran == set(FUSIONS)
    fused = [c for c in outcome.results["comparisons"] if not c["a"].startswith("unimodal")]
    assert {c["verdict"] for c in fused} == {"cannot tell"}


def test_one_clip_is_read_as_text_speech_and_faces(tmp_path: Path, options: Options) -> None:
    said = extract_job(cut_down("ravdess-clip", tmp_path), options)
    for books in said["features"].values():
        assert (books["samples"], books["extracted"]) == (1, 1)
