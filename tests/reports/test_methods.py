"""methods.md: what a methods section has to say, from the study's own facts."""

from dataclasses import replace
from typing import Any

from reports.chapters.workflow import Workflow
from reports.findings.making import Optimised
from reports.methods import methods_text


def test_the_methods_name_data_features_protocol_tests_corrections_exclusions_and_versions(report_of: Any) -> None:
    results = report_of().paths.content
    text = methods_text(results)
    for part in ("Data", "Features", "Protocol", "Test parts", "Scores", "Tests", "Versions"):
        assert f"**{part}.**" in text
    assert "240 samples of the corpus planted (synthetic; source: drawn in the tests)" in text
    assert "Left out: 3 absent: image, 9 reserved for encoders; dropped while the corpus was read: 2 label" in text
    assert "no speaker is in two parts; seed 7" in text
    assert f"realised n2/n1 {results.method.ratio:.4f}; Holm within each family" in text
    assert "strategies: 5" in text
    assert "torch 2.14.1; computed on cpu, bfloat16" in text
    assert results.id in text


def test_training_is_told_from_the_settings_that_are_stored(report_of: Any) -> None:
    results = report_of().paths.content
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
