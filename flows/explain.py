"""Why the features of a study are a hit or a miss; nothing is extracted, trained or written for the answer."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from flows.pipeline import cast_study
from flows.progress import console
from flows.study_config import load_study
from flows.verdicts import judge, seen_before, wanted, wanted_views
from flows.whereabouts import find_sample, locate
from stores.differences import listed
from stores.digests import load_digests
from stores.root import Root

_OUTCOMES = {
    "hit": "reused",
    "partial": "completed",
    "first": "extracted for the first time",
    "miss": "to be extracted",
}


def explain_study(study: str, address: str | None, sample: str | None = None) -> dict[str, Any]:
    """Return {modalities: {modality: verdict}, summary}; with a sample id, {sample, ...} and where its rows lie.

    A verdict lists those of the views that heads are trained on. Reads the corpus, the store and the files' digests;
    only a synthetic corpus whose media are not under the root yet is written, since there is no corpus before. Raises
    ConfigError for settings that cannot be, and NotFound, naming the nearest, for an unknown sample.
    """
    config, root = load_study(study), Root(address)
    manifest = config.corpus.build(root, base=config.base)
    load_digests(root, manifest.name)
    asked = find_sample(manifest, sample) if sample is not None else None
    seen = seen_before(manifest.samples)
    cast = cast_study(config, manifest) if config.needs_cast else None
    answers: dict[str, dict[str, Any]] = {}
    for modality in config.modalities:
        own, stores = config.features[modality], wanted(config, modality, manifest, cast, root)
        answer = judge(modality, stores, seen) if asked is None else locate(asked, modality, stores, seen)
        answers[modality] = answer.as_json()
        if asked is None and own.head_views and cast is not None:
            views = wanted_views(own, stores, manifest, cast)
            others = [*stores, *chain.from_iterable(views)]
            answers[modality]["views"] = [
                judge(f"{modality} view {view.number}", varied, seen, others).as_json()
                for view, varied in zip(own.head_views, views, strict=True)
            ]
    found = {"modalities": answers, "summary": summary(_states(answers))}
    return found if asked is None else {"sample": asked.id, **found}


def _states(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    views = {f"{m} view {n}": view for m, own in answers.items() for n, view in enumerate(own.get("views", ()), 1)}
    return {name: answer["state"] for name, answer in {**answers, **views}.items()}


def show_explanation(found: Mapping[str, Any]) -> None:
    """Print one line a modality, and the summary."""
    for answer in (one for own in found["modalities"].values() for one in (own, *own.get("views", ()))):
        console.print(answer["line"], highlight=False, markup=False)
    console.print(found["summary"], highlight=False, markup=False, style="bold")


def summary(states: Mapping[str, str]) -> str:
    """Return `text and speech reused; image recomputed`."""
    by_state: dict[str, list[str]] = {}
    for modality, state in states.items():
        by_state.setdefault(_OUTCOMES.get(state, state), []).append(modality)
    return "; ".join(f"{listed(modalities)} {outcome}" for outcome, modalities in by_state.items())
