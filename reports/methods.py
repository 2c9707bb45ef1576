"""A methods paragraph, ready for a paper."""

from collections.abc import Iterable, Mapping
from typing import Any

from reports.chapters.training import Training
from reports.chapters.workflow import Workflow
from reports.findings.making import Optimised
from reports.findings.planted import planted_in
from reports.findings.searches import in_words, opened
from reports.results import Results
from reports.words import NAMES, banner_lines, labels_of, listed, sentence, shape_of


def methods_text(results: Results) -> str:
    """Return `methods.md`: data, features, protocol, tests, corrections and exclusions, as they were."""
    facts, method, names = results.facts, results.method, labels_of(results)
    corpus, features = facts["corpus"], facts.get("features", {})
    trained, making = results.value(Training), results.value(Workflow)
    used = sum(count.used for count in results.classes)
    groups = f" no {listed(facts['groups'])} is in two parts;" if facts.get("groups") else ""
    lines = [
        f"# Methods: {facts['name']}",
        "",
        f"**Data.** {used} samples of the corpus {corpus['name']} ({corpus['pairing']}; source: {corpus['source']}), "
        f"labelled with {listed(facts['classes'])} (scheme {facts['scheme']}). "
        f"{_planted(facts)}{_missing(facts)} Left out: {_counts(facts.get('excluded', {}))}; "
        f"dropped while the corpus was read: {_counts(corpus.get('dropped', {}))}.",
        "",
        "**Features.** " + " ".join(_feature(name, feature) for name, feature in sorted(features.items())),
        "",
        *([f"**Training.** {_training(making.optimisers)}", ""] if making and making.optimisers else []),
        f"**Protocol.** {shape_of(results)};{groups} seed {facts['seed']}. "
        f"All models share splits and are scored on the same samples: {listed(names.values())}.",
        "",
        *([f"**Search.** {sentence(in_words(trained.searches))}", ""] if trained and trained.searches else []),
        f"**Test parts.** Opened, all settings these models ever had counted: {opened(results.openings)}.",
        "",
        f"**Scores.** {sentence(NAMES[method.primary_metric])} was primary beforehand. Macro averages run over the "
        "classes present in a test part.",
        "",
        f"**Tests.** {sentence(method.primary_test)} ({method.primary_source}), two-sided, alpha {method.alpha:g}, "
        + (
            f"realised n2/n1 {method.ratio:.4f}"
            if method.draws is None
            else f"{method.draws} draws, {method.groups} groups"
        )
        + f"; Holm within each family of comparisons ({_families(results)}). The naive paired t and the one-way ANOVA "
        "of the reference paper are given beside them and flagged, since they take overlapping repeats as independent.",
        "",
        f"**Versions.** {_versions(results)}.",
        "",
        *(f"- {line}" for line in banner_lines(results.banners)),
        f"- Study {results.study}, report {results.id}, snapshot {facts['snapshot']}.",
    ]
    return "\n".join(lines) + "\n"


def _training(optimisers: Iterable[Optimised]) -> str:
    """Say with what heads and encoders were trained, and what stopped them."""
    told = "; ".join(_optimised(row) for row in optimisers)
    return (
        f"{sentence(told)}. Heads stop by the loss on the validation part, encoders by that on groups held back from "
        "their own training samples; neither sees a test sample."
    )


def _optimised(row: Optimised) -> str:
    settings = {name: value for name, value in vars(row).items() if name not in ("what", "optimiser")}
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items() if value is not None)
    return f"{row.what}: {row.optimiser or 'no optimiser named'}, {told}"


def _families(results: Results) -> str:
    return ", ".join(f"{family.name}: {len(family.pairs)}" for family in results.families)


def _versions(results: Results) -> str:
    """Name what rows were computed with and on, and the versions of heads, as the sealed parts and runs say."""
    features, making = results.facts.get("features", {}), results.value(Workflow)
    used = sorted({version for feature in features.values() for version in feature.get("versions") or ()})
    devices = sorted({device for feature in features.values() for device in feature.get("computed_on") or {}})
    own = [f"{it.extractor} {it.version}" for it in making.encoders if it.version] if making else []
    parts = [
        f"features by {', '.join(used) or 'versions that were not stored'}",
        f"computed on {', '.join(devices) or 'what was not stored'}",
        *([f"extractor versions {', '.join(own)}"] if own else []),
        f"results.json schema {results.schema_version}",
    ]
    return sentence("; ".join(parts))


def _planted(facts: Mapping[str, Any]) -> str:
    told = [f"{m} tells {listed(labels) if labels else 'nothing'}" for m, labels in sorted(planted_in(facts).items())]
    return f"Planted: {listed(told)}. " if told else ""


def _missing(facts: Mapping[str, Any]) -> str:
    """Say who takes part without all modalities, and what heads make of that."""
    if facts.get("missing") != "mask":
        return "All of them have every modality."
    counts = sorted(facts.get("lacking", {}).items())
    lacking = listed([f"{count} lack {m}" for m, count in counts if count] or ["none"])
    return (
        f"Of these some lack a modality ({lacking}): a head sees what is there, and one that sees nothing predicts the "
        "class shares of its training part."
    )


def _feature(name: str, feature: Mapping[str, Any]) -> str:
    ids = feature["ids"]
    count = "" if len(ids) == 1 else f", one a repeat, {len(ids)} in all"
    grids = feature.get("grids", [])
    chosen = f"; settings chosen among {max(map(len, grids))} on the encoder's own held-back groups" if grids else ""
    return f"{sentence(name)}: {feature['extractor']} ({feature['weights']}; {ids[0]}{count}{chosen}).{_views(feature)}"


def _views(feature: Mapping[str, Any]) -> str:
    views = feature.get("views")
    if not views:
        return ""
    readers = (
        views["used_by"] if views["used_by"] != "both" else "encoder and heads" if feature["encoders"] else "heads"
    )
    varied = ", ".join(f"{name} {value}" for name, value in sorted(views["settings"].items()))
    return f" Augmented: {views['count']} views of each training sample ({varied}), read by {readers}; no other part."


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
