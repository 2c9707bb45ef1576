"""A methods paragraph, ready for a paper."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reports.chapters.training import Training
from reports.chapters.workflow import Workflow
from reports.evidence import CHANCE
from reports.findings.gains import planted_in
from reports.findings.making import Optimised
from reports.findings.searches import in_words, opened
from reports.results import Results
from reports.words import NAMES, banner_lines, counted, groups_of, labels_of, listed, sentence, shape_of, tested_of
from stores.spelling import few

_FEW = 12  # models that are named one by one
_REASONS = {
    "reserved for encoders": "were reserved for training encoders",
    "absent": "lacked",
    "quarantined": "had an unreadable file for",
}


def methods_text(results: Results) -> str:
    """Return `methods.md`: data, features, protocol, tests, corrections and exclusions, as they were."""
    facts, trained, making = results.facts, results.value(Training), results.value(Workflow)
    paragraphs = {
        "Data": _data(results),
        "Features": " ".join(_feature(*named) for named in sorted(facts.get("features", {}).items())),
        "Training": _training(making.optimisers) if making and making.optimisers else "",
        "Protocol": _protocol(results),
        "Search": sentence(in_words(trained.searches)) if trained and trained.searches else "",
        "Test parts": f"Opened, all models and settings of this study counted: {opened(results.openings)}.",
        "Record": _record(results),
        "Scores": f"{sentence(NAMES[results.method.primary_metric])} was the primary metric. Macro averages run over "
        "the classes present in a test part.",
        "Tests": _tests(results),
        "Versions": f"{_versions(results)}.",
    }
    source = f"Study {results.study}, report {results.id}, snapshot {facts['snapshot']}."
    blocks = [
        f"# Methods: {_unread(results.name)}",
        *(f"**{title}.** {_unread(text)}" for title, text in paragraphs.items() if text),
        "\n".join(f"- {_unread(line)}" for line in (*banner_lines(results.banners), source)),
    ]
    return "\n\n".join(blocks) + "\n"


def _unread(text: str) -> str:
    """Return a line whose names are no HTML, link, picture or code to a reader of Markdown."""
    return re.sub(r"[\\`\[\]]|<(?=[\w/!?])", r"\\\g<0>", " ".join(text.split()))


def _data(results: Results) -> str:
    facts, used = results.facts, sum(count.used for count in results.classes)
    corpus = facts["corpus"]
    return (
        f"{used} samples of the corpus {corpus['name']} ({corpus['pairing']}; source: {corpus['source']}), "
        f"labelled with {listed(facts['classes'])} (scheme {facts['scheme']}). "
        f"{_planted(facts)}{_missing(facts)} {_left_out(facts)}"
    )


def _protocol(results: Results) -> str:
    facts = results.facts
    groups = f" {told};" if (told := groups_of(facts)) else ""
    tested = f" {sentence(told)}." if (told := tested_of(facts)) else ""
    return (
        f"{shape_of(results)};{groups} seed {facts['seed']}.{tested} All models share splits and are scored on the "
        f"same samples: {_models(results)}."
    )


def _record(results: Results) -> str:
    """Say what was ever scored and by what files, references and metrics it was asked for, in order of time."""
    record = results.record
    told = [
        f"{it['reference']} by {NAMES[it['primary_metric']]} (file {it['file'][:12] or 'unknown'}, after "
        f"{it['after']:,} openings)"
        for it in record.asked
        if it["study"] == results.study and it["primary_metric"]
    ]
    others = [f"{it['protocol']}, seed {it['seed']}, {counted(it['runs'], 'run')}" for it in record.others]
    models = few([f"{model} ({runs})" for model, (runs, _) in record.scored.items()], _FEW)
    return (
        f"{counted(record.runs, 'run')} of {counted(len(record.scored), 'model')} were ever scored in this study: "
        f"{models}. Reference and metric that were asked for, in order of time, with the test parts of this corpus "
        f"that had been opened by then: {'; '.join(dict.fromkeys(told)) or 'not noted'}. Other "
        f"studies of the corpus under this root: {'; '.join(others) or 'none'}."
    )


def _tests(results: Results) -> str:
    method = results.method
    overlap, draws = f"realised n2/n1 {method.ratio:.4f}", f"{method.draws} draws, {method.groups} groups"
    families = ", ".join(f"{family.name}: {len(family.pairs)}" for family in results.families)
    return (
        f"{sentence(method.primary_test)} ({method.primary_source}), two-sided, alpha {method.alpha:g}, "
        f"{overlap if method.draws is None else draws}; Holm "
        f"within each family of comparisons ({families}); families, metrics and questions are not corrected against "
        "one another. Claims that all of their parts must hold for are supported if each part is above at alpha "
        "(intersection-union test, Berger 1982). The naive paired t and the one-way ANOVA of the reference "
        "paper are given beside them and flagged, since they take overlapping repeats as independent."
    )


def _training(optimisers: Sequence[Optimised]) -> str:
    """Say with what heads and encoders were trained, and what stopped them."""
    told = "; ".join(_optimised(row) for row in optimisers)
    counted = any(row.epoch_steps for row in optimisers)
    epochs = (
        " Limit and patience of heads count epochs of `epoch steps` optimiser steps or more: batches of small corpora "
        "are halved, to 32 at least, and they train more epochs. Patience ends where the loss does not fall by `least "
        "gain`. The reference paper trained 50 epochs at most (Table 7), when heads of small corpora still learn."
    )
    return (
        f"{sentence(told)}. Heads stop by the loss on the validation part, encoders by that on groups held back from "
        f"their own training samples; neither sees a test sample.{epochs if counted else ''}"
    )


def _optimised(row: Optimised) -> str:
    settings = {name: value for name, value in vars(row).items() if name not in ("what", "optimiser")}
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items() if value is not None)
    return f"{row.what}: {row.optimiser or 'no optimiser named'}, {told}"


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
        f"statistics by {', '.join(results.computed_by)}",
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
    lacking = listed([f"{count} lack {m}" for m, count in counts if count])
    return (
        f"Of these some lack a modality ({lacking}): a head sees what is there, and one that sees nothing predicts the "
        "class shares of its training part."
    )


def _feature(name: str, feature: Mapping[str, Any]) -> str:
    ids = feature["ids"]
    count = "" if len(ids) == 1 else f", one a repeat, {len(ids)} in all"
    grids = feature.get("grids", [])
    chosen = f"; settings chosen among {max(map(len, grids))} on the encoder's own held-back groups" if grids else ""
    made = f"{feature['extractor']}, weights: {feature['weights']}; rows: {ids[0]}{count}{chosen}"
    return f"{sentence(name)}: {made}.{_views(feature)}"


def _views(feature: Mapping[str, Any]) -> str:
    views = feature.get("views")
    if not views:
        return ""
    readers = (
        views["used_by"] if views["used_by"] != "both" else "encoder and heads" if feature["encoders"] else "heads"
    )
    varied = ", ".join(f"{name} {value}" for name, value in sorted(views["settings"].items()))
    return f" Augmented: {views['count']} views of each training sample ({varied}), read by {readers}; no other part."


def _models(results: Results) -> str:
    """Name the models one by one; where they are many, the heads with the number of models of each."""
    if len(results.models) <= _FEW:
        return listed(labels_of(results).values())
    counts = Counter(f"{it.head} {it.variant}".strip() for it in results.models if it.name != CHANCE)
    heads = listed(f"{head} ({count})" for head, count in sorted(counts.items()))
    return f"{counts.total()} models, each of these heads on as many subsets of modalities: {heads}; and {CHANCE}"


def _left_out(facts: Mapping[str, Any]) -> str:
    """Say who takes no part, and why, and what the corpus itself passed over."""
    told = [f"{count} {_why(reason)}" for reason, count in sorted(facts.get("excluded", {}).items())]
    dropped = [f"{count} ({reason})" for reason, count in sorted(facts["corpus"].get("dropped", {}).items())]
    passed = f" Not read into the corpus: {listed(dropped)}." if dropped else ""
    return (f"Of the others {'; '.join(told)}." if told else "Nobody is left out.") + passed


def _why(reason: str) -> str:
    """Return `lacked the image` of `absent: image`, as study.json gives the reason."""
    if reason in _REASONS:
        return _REASONS[reason]
    parts = [part.partition(": ") for part in reason.split("; ")]
    if any(why not in _REASONS for why, _, _ in parts):
        return f"were left out ({reason})"
    return " and ".join(
        f"{_REASONS[why]} the {' and the '.join(modalities.split(', '))}" for why, _, modalities in parts
    )
