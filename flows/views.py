"""Augmented views in a study: rows of their own, made of what heads or an encoder are trained on and of nobody else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from extractors.extractor import Extractor
from extractors.training import FIT
from flows.candidates import Cast
from flows.encoder_plans import Alternatives, extractor_of
from flows.feature_plan import PER_REPEAT, FeaturePlan
from flows.features import Feature, Workbench, extract_feature
from flows.study_config import StudyConfig
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import Sample


def with_views(features: Mapping[str, Feature], cast: Cast | None, bench: Workbench) -> dict[str, Feature]:
    """Return the features, each with the views of it that heads read; those that are missing are extracted.

    `cast` may be None unless the study needs one.
    """
    return {name: replace(feature, views=_for_heads(feature, cast, bench)) for name, feature in features.items()}


def with_upstream_views(
    features: Mapping[str, Feature],
    config: StudyConfig,
    manifest: Manifest,
    planned: Mapping[str, Sequence[Alternatives]],
    cast: Cast | None,
    bench: Workbench,
) -> dict[str, Feature]:
    """Return the features, those that others read with the views that the `planned` encoders, or heads, ask for."""
    found = dict(features)
    for modality, plan in config.features.items():
        if plan.upstream is not None:
            views = _upstream_views(plan, planned.get(modality, ()), manifest, cast, bench)
            found[plan.upstream.name] = replace(found[plan.upstream.name], views=views)
    return found


def viewed_by_heads(plan: FeaturePlan, cast: Cast) -> list[list[Sample]]:
    """Return of whom heads read views: the samples some repeat trains on, or those of each repeat on its own."""
    parts = [split.train.tolist() for split in cast.splits]
    if plan.train_on != PER_REPEAT:
        parts = [sorted({position for part in parts for position in part})]
    return [[cast.candidates.samples[position] for position in part] for part in parts]


def view_extractors(
    config: StudyConfig, found: Mapping[str, Sequence[Extractor[Any]]], root: Root
) -> Iterator[Extractor[Any]]:
    """Yield what makes each view; `found` is what makes the features they are views of, by name."""
    for modality, plan in config.features.items():
        for view in plan.head_views:
            for original in found[modality]:
                varied = replace(plan.of_view(view), config=original.config)  # which a grid may have chosen
                yield extractor_of(varied, root, encoder=original.inputs.encoder)
        yield from (extractor_of(varied, root) for varied in _varied_upstream(plan))


def _for_heads(feature: Feature, cast: Cast | None, bench: Workbench) -> tuple[Feature, ...]:
    plan, made = feature.plan, []
    for view in plan.head_views:
        assert cast is not None
        varied = plan.of_view(view)
        extractors = [extractor_of(varied, bench.root, encoder=store.identity.encoder) for store in feature.stores]
        crowds = viewed_by_heads(plan, cast)
        made.append(extract_feature(varied, crowds, extractors, bench, encoders=feature.encoders))
    return tuple(made)


def _upstream_views(
    plan: FeaturePlan, repeats: Sequence[Alternatives], manifest: Manifest, cast: Cast | None, bench: Workbench
) -> tuple[Feature, ...]:
    """Extract the views of what a feature reads: of whom its encoder is fitted on, and of whom heads are trained on."""
    plans = _varied_upstream(plan)
    wanted: dict[str, Sample] = {}
    if plans and plan.encoder_views:
        recipes = [first.recipe for first, *_ in repeats]  # all of a grid are fitted on the same
        fitted = {trainee.sample_id for recipe in recipes for trainee in recipe.trainees if trainee.use == FIT}
        wanted |= {sample.id: sample for sample in manifest.samples if sample.id in fitted}
    if plans and plan.head_views:
        assert cast is not None
        wanted |= {sample.id: sample for own in viewed_by_heads(plan, cast) for sample in own}
    samples = [wanted[name] for name in sorted(wanted)]
    return tuple(extract_feature(varied, [samples], [extractor_of(varied, bench.root)], bench) for varied in plans)


def _varied_upstream(plan: FeaturePlan) -> list[FeaturePlan]:
    """Return the plan of each view of what a feature reads; none if it varies its own media."""
    plans = [plan.of_view(view).upstream for view in plan.head_views or plan.encoder_views]
    return [varied for varied in plans if varied is not None and varied.view is not None]
