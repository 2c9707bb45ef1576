"""methods.md: what a methods section has to say, from the study's own facts."""

import re
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy

from reports.chapters.workflow import Workflow
from reports.findings.making import Optimised
from reports.methods import methods_text
from reports.words import labels_of


def test_the_methods_name_data_features_protocol_tests_corrections_exclusions_and_versions(report_of: Any) -> None:
    results = report_of().content
    text = methods_text(results)
    for part in ("Data", "Features", "Protocol", "Test parts", "Scores", "Tests", "Versions"):
        assert f"**{part}.**" in text
    assert "240 samples of the corpus planted (synthetic; source: drawn in the tests)" in text
    assert "Of the others 3 lacked the image; 9 were reserved for training encoders." in text
    assert "Not read into the corpus: 2 (label outside the list)." in text
    assert "Image: resnet, weights: trained encoder; rows: image-0123456789ab." in text
    assert f"statistics by affuse {version('affuse')}, numpy {np.__version__}, scipy {scipy.__version__};" in text
    assert (
        "15 models, each of these heads on as many subsets of modalities: concat (4), unimodal (3), vote (4) and"
        in text
    )
    assert "no speaker is in two parts; seed 7" in text
    assert f"realised n2/n1 {results.method.ratio:.4f}; Holm within each family" in text
    assert "strategies: 5" in text
    assert "torch 2.14.1; computed on cpu, bfloat16" in text
    assert results.id in text


def test_reasons_for_leaving_out_are_sentences_and_few_models_are_named(report_of: Any) -> None:
    content = report_of().content
    excluded = {"absent: image, speech": 2, "absent: text; quarantined: image": 1, "no emotion label": 4}
    facts = {**content.facts, "excluded": excluded, "corpus": {**content.facts["corpus"], "dropped": {}}}
    text = methods_text(replace(content, name="mine", models=content.models[:2], facts=facts))
    assert text.startswith("# Methods: mine\n")
    assert "2 lacked the image and the speech; 1 lacked the text and had an unreadable file for the image; 4" in text
    assert "4 were left out (no emotion label)." in text
    assert "Not read" not in text
    names = labels_of(replace(content, models=content.models[:2])).values()
    assert f"on the same samples: {' and '.join(names)}." in text
    assert "Nobody is left out." in methods_text(replace(content, facts={**facts, "excluded": {}}))


def test_folds_and_rounds_are_told_of_cross_validation(report_of: Any) -> None:
    written = report_of(protocol="k-fold", modalities=("text",))
    assert "6 repeats of 1 x 6 folds" in methods_text(written.content)


def test_training_is_told_from_the_settings_that_are_stored(report_of: Any) -> None:
    results = report_of().content
    assert "**Training.**" not in methods_text(results)  # the runs of these tests were trained with nothing
    rows = (
        Optimised(
            what="heads", optimiser="adam", learning_rate=1e-4, weight_decay=None, momentum=None, dropout=0.3,
            batch_size=32, epochs=50, patience=7,
        ),
    )  # fmt: skip
    making = replace(results.value(Workflow), optimisers=rows)
    text = methods_text(replace(results, chapters={**results.chapters, "workflow": making}))
    assert "**Training.** Heads: adam, learning rate 0.0001, dropout 0.3, batch size 32, epochs 50, patience 7." in text


def test_names_are_no_html_link_or_picture_to_a_reader_of_markdown(report_of: Any) -> None:
    content = report_of().content
    corpus = {
        **content.facts["corpus"],
        "source": "<img src=x onerror=alert(1)>\n\n# Data ![a](http://x) `<b>` \\[c](d)",
    }
    text = methods_text(
        replace(content, name="<script>[mine](javascript:alert)", facts={**content.facts, "corpus": corpus})
    )
    assert text.startswith("# Methods: \\<script>\\[mine\\](javascript:alert)\n")
    assert r"source: \<img src=x onerror=alert(1)> # Data !\[a\](http://x) \`\<b>\` \\\[c\](d))" in text
    assert not re.search(r"(?<!\\)(\\\\)*(<[\w/!?]|[\[\]`])", text)
