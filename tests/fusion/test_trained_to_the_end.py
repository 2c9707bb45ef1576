"""A small corpus and large batches: heads are trained to the end, or it is noted that they were not."""

from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch

from fusion.balance import make_roster
from fusion.heads._head import FusionHead, HeadConfig
from fusion.heads.unimodal import Unimodal
from fusion.heads.weighted import Weighted, WeightedConfig
from fusion.inputs import to_device
from fusion.splits import ProtocolConfig, Split, make_splits
from fusion.stack import Member, Stack, Trainee
from fusion.training import train_together
from fusion.training_config import PRESETS, TrainingConfig
from stores.block import FeatureBlock

SPEAKERS, CLIPS, EMOTIONS, SENTENCES, REPEATS = 9, 24, 4, 60, 4
FAST = TrainingConfig(**PRESETS["fast"], width=16)


@pytest.fixture(scope="module")
def clips() -> FeatureBlock:
    """216 clips of 9 speakers: 88 numbers tell the emotion; the sentence, in 256, tells it by accident only."""
    rng = np.random.default_rng(0)
    n = SPEAKERS * CLIPS
    labels, speakers, said = np.arange(n) % EMOTIONS, np.arange(n) // CLIPS, rng.integers(SENTENCES, size=n)
    emotions, voices = rng.normal(size=(EMOTIONS, 88)), rng.normal(size=(SPEAKERS, 88))
    speech = 0.6 * emotions[labels] + voices[speakers] + rng.normal(size=(n, 88))
    return FeatureBlock(
        sample_ids=tuple(f"clip/{i:03d}" for i in range(n)),
        labels=labels,
        groups=np.array([f"s{i}" for i in speakers]),
        classes=("anger", "fear", "joy", "sadness"),
        values={"speech": speech.astype(np.float32), "text": rng.normal(size=(SENTENCES, 256)).astype(np.float32)},
        rows={"speech": np.arange(n)[None], "text": said[None]},
    )


def _splits(clips: FeatureBlock) -> list[Split]:
    """Return the first of the splits with one speaker out: 4 take half the time of 9, and tell the same."""
    protocol = ProtocolConfig(kind="leave-one-group-out")
    return make_splits(clips.labels, clips.groups, EMOTIONS, protocol, seed=0)[:REPEATS]


def _train(clips: FeatureBlock, head: type[FusionHead], config: Any, training: TrainingConfig) -> tuple[Stack, float]:
    """Return the stack of one head, on speech alone if it has one modality, and its mean test accuracy."""
    splits = _splits(clips)
    modalities = ("speech",) if head is Unimodal else ("speech", "text")
    members = [Member(split=split, seed=split.repeat, training=training) for split in splits]
    stack = train_together(head, config, clips, to_device(clips, torch.device("cpu")), modalities, members)
    tests = zip(stack.predict("test"), splits, strict=True)
    return stack, mean(float(np.mean(own.posteriors.argmax(axis=1) == clips.labels[s.test])) for own, s in tests)


def test_a_small_corpus_is_trained_to_the_end_and_weighting_is_no_longer_far_below_speech(clips: FeatureBlock) -> None:
    heads: list[tuple[type[FusionHead], Any]] = [(Unimodal, HeadConfig()), (Weighted, WeightedConfig())]
    paper = replace(FAST, epochs=50, epoch_steps=1)
    gaps = {}
    for training in (paper, FAST):
        (alone, speech), (fused, weighted) = (_train(clips, *head, training) for head in heads)
        gaps[training] = weighted - speech
        ended = [fitted.unfinished for stack in (alone, fused) for fitted in stack.fitted]
        assert ended == [training is paper] * 2 * REPEATS
    assert gaps[paper] < -0.2  # of one step each, 50 epochs tell which head learns faster
    assert gaps[FAST] > -0.1


def _trainee(clips: FeatureBlock, size: int, **settings: Any) -> Trainee:
    split = replace(_splits(clips)[0], train=np.arange(size))
    roster = make_roster(clips, split.train, ("text",), 0, balance="none", target=0.35, seed=0)
    batch = replace(FAST, **settings).batch_for(size)
    return Trainee(
        place=0, batch=batch, member=Member(split=split, seed=0, training=replace(FAST, **settings)), roster=roster
    )


@pytest.mark.parametrize(
    ("size", "settings", "batch", "epochs"),
    [
        (200, {"batch_size": 16}, 16, 1),  # 13 steps
        (200, {"batch_size": 20}, 20, 1),  # just 10
        (200, {}, 32, 2),  # 7 steps, so 5 epochs of patience are 10
        (200, {"epoch_steps": 4}, 64, 1),
        (200, {"epoch_steps": 1}, 256, 1),
        (20, {}, 32, 10),
        (20, {"batch_size": 8}, 8, 4),
    ],
)
def test_epochs_count_in_steps(
    clips: FeatureBlock, size: int, settings: dict[str, int], batch: int, epochs: int
) -> None:
    trainee = _trainee(clips, size, **settings)
    assert (trainee.batch, trainee.epochs_of(5)) == (batch, 5 * epochs)


def test_patience_asks_for_a_gain_that_counts_and_the_lowest_loss_is_kept(clips: FeatureBlock) -> None:
    trainee = _trainee(clips, 20, epoch_steps=1, patience=3, least_gain=0.01, epochs=9)
    going = []
    for epoch, loss in enumerate((1.0, 0.9, 0.895, 0.889, 0.888, 0.887, 0.886), start=1):
        trainee.record(epoch, {}, 1.0, loss, 0.5)
        going.append(trainee.goes_on(epoch))
    assert going == [True] * 6 + [False]  # the last gain was that of epoch 4, by 0.011 since epoch 2
    assert (trainee.best_epoch, trainee.waits(7)) == (7, False)


def test_what_the_limit_ends_is_unfinished(clips: FeatureBlock) -> None:
    trainee = _trainee(clips, 20, epoch_steps=1, epochs=2)
    for epoch, loss in enumerate((1.0, 0.9), start=1):
        trainee.record(epoch, {}, 1.0, loss, 0.5)
    assert (trainee.goes_on(1), trainee.goes_on(2), trainee.waits(2)) == (True, False, True)
