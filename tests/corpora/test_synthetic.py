import hashlib
import itertools
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy.signal import find_peaks
from scipy.stats import chi2_contingency

from corpora import synthetic
from corpora._voice import RATE, Manner, Voice, speak
from corpora.synthetic import CLASSES, PLANTED, Synthetic, SyntheticConfig, plan_lines
from stores.errors import ConfigError
from stores.identity import short_id
from stores.root import Root

SMALL = SyntheticConfig(speakers=3, reserved=1, samples_per_speaker=5, missing=0.3)


def built(root, config, tmp_path):
    return Synthetic(config).build(root, base=tmp_path)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    folders = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        built(Root(tmp_path / name), replace(SMALL, seed=seed), tmp_path)
        folders.append(next((tmp_path / name / "corpora").iterdir()))
    first, second, other = map(digests, folders)
    assert first == second
    assert len(first) > 15
    assert folders[0].name == folders[1].name != folders[2].name
    assert not set(first.values()) & set(other.values())


def test_shares_thin_classes_out_and_leave_media_ids_and_reserved_speakers_as_they_are(tmp_path):
    config = replace(SMALL, speakers=4, samples_per_speaker=20)
    full = built(Root(tmp_path), config, tmp_path).samples
    kept = built(Root(tmp_path), replace(config, shares={"anger": 0.0, "fear": 0.5}), tmp_path).samples
    assert len(list((tmp_path / "corpora").iterdir())) == 1
    assert all(sample in full for sample in kept)
    scored = Counter(sample.labels["emotion"] for sample in kept if sample.split != "encoder")
    assert scored.keys() == {"joy", "sadness", "fear", "neutral"}
    assert scored["joy"] == scored["sadness"] == scored["neutral"] == 12
    assert 0 < scored["fear"] < 12
    assert Counter(s.labels["emotion"] for s in kept if s.split == "encoder") == dict.fromkeys(CLASSES, 4)


@pytest.mark.parametrize("shares", [{"rage": 0.5}, {"anger": 1.5}, {"anger": -0.1}])
def test_a_share_of_no_class_or_beyond_0_and_1_is_refused(shares):
    with pytest.raises(ConfigError, match=r"shares are of joy, .* and from 0 to 1, got '(rage|anger)'"):
        replace(SMALL, shares=shares)


@pytest.mark.parametrize("modality", sorted(PLANTED))
def test_a_silent_modality_shows_the_cues_of_no_class_and_changes_no_other(modality):
    config = SyntheticConfig(speakers=60, missing=0.1)
    speakers = range(config.speakers)
    told, silent = (
        [line for s in speakers for line in plan_lines(c, s)] for c in (config, replace(config, silent=modality))
    )
    others = [m for m in PLANTED if m != modality]
    for line, quiet in zip(told, silent, strict=True):
        assert (line.name, line.label, line.lacks) == (quiet.name, quiet.label, quiet.lacks)
        assert [line.cues[m] for m in others] == [quiet.cues[m] for m in others]
        assert modality == "text" or line.text == quiet.text
    cues = sorted({str(line.cues[modality]) for line in silent})
    assert cues == sorted(map(str, (None, *PLANTED[modality])))
    shown = Counter((line.label, str(line.cues[modality])) for line in silent)
    table = [[shown[label, cue] for cue in cues] for label in CLASSES]
    assert chi2_contingency(table).pvalue > 0.01
    before = Counter((line.label, str(line.cues[modality])) for line in told)
    assert chi2_contingency([[before[label, cue] for cue in cues] for label in CLASSES]).pvalue < 1e-9


@pytest.mark.parametrize("modality", sorted(PLANTED))
def test_a_silent_modality_leaves_media_of_the_others_to_the_byte(tmp_path, modality):
    built(Root(tmp_path / "told"), SMALL, tmp_path)
    manifest = built(Root(tmp_path / "silent"), replace(SMALL, silent=modality), tmp_path)
    assert manifest.notes["planted"] == {m: [] if m == modality else list(told) for m, told in PLANTED.items()}
    told, silent = (digests(next((tmp_path / root / "corpora").iterdir())) for root in ("told", "silent"))
    assert told.keys() == silent.keys()
    changed = {name.split("/")[0] for name in told if told[name] != silent[name]}
    assert changed == {"text": set(), "speech": {"speech"}, "image": {"faces"}}[modality]


def test_a_silent_text_is_of_its_cue_and_not_of_its_class(tmp_path):
    told, silent = (
        {s.id: s for s in built(Root(tmp_path), config, tmp_path).samples}
        for config in (SMALL, replace(SMALL, silent="text"))
    )
    assert told.keys() == silent.keys()
    assert sum(told[name].text != silent[name].text for name in told) > len(told) / 2
    assert all((told[name].text is None) == (silent[name].text is None) for name in told)


def test_the_folder_of_media_has_the_name_it_had_before_a_modality_could_be_silent(tmp_path):
    built(Root(tmp_path), SMALL, tmp_path)
    settings = {"name": "synthetic", "seed": 0, "speakers": 3, "reserved": 1, "samples_per_speaker": 5, "missing": 0.3}
    written = short_id("synthetic", {"version": synthetic.VERSION, "config": settings})
    assert [folder.name for folder in (tmp_path / "corpora").iterdir()] == [written]


def test_silence_of_no_modality_is_refused():
    with pytest.raises(ConfigError, match="silent is one of image, speech, text, or empty for none, got 'face'"):
        SyntheticConfig(silent="face")


def test_a_speaker_stays_the_same_when_others_join(tmp_path):
    few, more = plan_lines(SMALL, 1), plan_lines(replace(SMALL, speakers=9), 1)
    assert list(few) == list(more)


def test_default_corpus_is_balanced_with_whole_speakers_reserved():
    config = SyntheticConfig()
    lines = [line for speaker in range(config.speakers) for line in plan_lines(config, speaker)]
    assert len(lines) == 900
    assert Counter(line.label for line in lines) == dict.fromkeys(CLASSES, 180)
    assert sum(line.speaker < config.reserved for line in lines) == 300
    assert 18 <= sum(line.lacks is not None for line in lines) <= 54  # 4 % of 900, plus or minus 3 deviations
    assert len({line.text for line in lines}) > 750


def test_the_manifest_tells_groups_gender_splits_and_the_planted_effects(root, tmp_path):
    manifest = built(root, SMALL, tmp_path)
    assert manifest.pairing == "synthetic"
    assert manifest.labels == {"emotion": ("joy", "sadness", "anger", "fear", "neutral")}
    assert manifest.notes["planted"] == {"text": ["neutral"], "speech": ["anger", "fear"], "image": ["joy", "sadness"]}
    assert [s.split for s in manifest.samples] == ["encoder"] * 5 + [None] * 10
    assert [s.groups["speaker"] for s in manifest.samples[::5]] == ["s00", "s01", "s02"]
    assert all(len({s.gender for s in manifest.samples[i : i + 5]}) == 1 for i in (0, 5, 10))


def test_a_sample_lacks_at_most_one_modality_and_has_files_for_the_rest(root, tmp_path):
    samples = built(root, SMALL, tmp_path).samples
    absent = [[m for m in ("text", "speech", "image") if s.medium(m) is None] for s in samples]
    assert {len(lacking) for lacking in absent} == {0, 1}
    assert all(path.is_file() for s in samples for path in (s.audio, s.image) if path)


def test_media_are_what_the_docstring_says(root, tmp_path):
    for sample in built(root, replace(SMALL, missing=0.0), tmp_path).samples:
        sound = soundfile.info(sample.audio)
        assert (sound.samplerate, sound.channels, sound.subtype) == (16_000, 1, "PCM_16")
        assert 1.0 < sound.duration < 2.5
        with Image.open(sample.image) as face:
            assert (face.size, face.mode) == ((96, 96), "L")
            assert np.asarray(face).std() > 10


def test_a_second_build_renders_nothing(root, tmp_path):
    first = built(root, SMALL, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")}
    assert built(root, SMALL, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")} == before


def test_a_killed_generation_is_not_taken_for_finished(root, tmp_path):
    config = replace(SMALL, speakers=40, samples_per_speaker=25)  # long enough to be killed halfway
    code = "from pathlib import Path; from stores.root import Root; from corpora.synthetic import *; "
    code += f"Synthetic({config!r}).build(Root({root.address!r}), base=Path())"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    while process.poll() is None and not list(tmp_path.rglob("*.png")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert list(tmp_path.rglob("*.png"))
    assert root.names("corpora") == []


@pytest.mark.parametrize("modality", sorted(PLANTED))
def test_a_modality_shows_cues_of_the_classes_it_tells_only(modality):
    config = SyntheticConfig(speakers=40)
    lines = [line for speaker in range(40) for line in plan_lines(config, speaker)]
    shown = Counter((line.label, line.cues[modality]) for line in lines)
    told = PLANTED[modality]
    assert {cue for _, cue in shown} == {None, *told}
    for label in told:
        assert 0.82 < shown[label, label] / 200 < 0.97  # 0.9, plus or minus 4 deviations
    for label in set(CLASSES) - {*told, "neutral"}:
        assert sum(shown[label, cue] for cue in told) / 200 < 0.13  # 0.06


def test_a_perfect_reader_of_cues_is_as_good_as_documented():
    """The best guess from the cues, by enumeration; the figures were first worked out by hand."""

    def likelihood(modality, label, cue):
        told = PLANTED[modality]
        if label in told:
            return {label: synthetic.EXPRESSED, None: 1 - synthetic.EXPRESSED}.get(cue, 0.0)
        stray = synthetic.STRAY_NEUTRAL if label == "neutral" else synthetic.STRAY
        return 1 - stray if cue is None else stray / len(told)

    def accuracy(*modalities):
        right = 0.0
        for cues in itertools.product(*[(None, *PLANTED[m]) for m in modalities]):
            seen = list(zip(modalities, cues, strict=True))
            right += max(math.prod(likelihood(m, label, cue) for m, cue in seen) for label in CLASSES)
        return right / len(CLASSES)

    assert accuracy("text") == pytest.approx(0.368)
    assert accuracy("speech") == accuracy("image") == pytest.approx(0.548)
    assert accuracy("text", "speech") == accuracy("text", "image") == pytest.approx(0.69512)
    assert accuracy("speech", "image") == pytest.approx(0.7768)
    assert accuracy("text", "speech", "image") == pytest.approx(0.854168)


@pytest.mark.parametrize("pitch", [110.0, 220.0])
def test_speech_has_the_pitch_of_its_voice(pitch):
    rng = np.random.default_rng(0)
    sound = speak(rng, Voice(pitch=pitch, tract=1.0, rate=4.5, breath=0.02), Manner(accent=0.0)).astype(float)
    correlation = np.correlate(sound[4000:12000], sound[4000:12000], "full")[8000 - 1 :]
    lags = np.arange(len(correlation))
    peaks, _ = find_peaks(np.where((lags > RATE / 400) & (lags < RATE / 70), correlation, 0))
    lag = peaks[np.argmax(correlation[peaks])]
    assert RATE / lag == pytest.approx(pitch, rel=0.15)


@pytest.mark.parametrize(
    "settings",
    [{"seed": -1}, {"speakers": 4, "reserved": 4}, {"samples_per_speaker": 0}, {"missing": 1.0}, {"missing": -0.1}],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ConfigError):
        SyntheticConfig(**settings)
