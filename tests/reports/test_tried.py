from reports.chapters.training import tried_settings
from reports.methods import _feature


def point(rate: float, loss: float, chosen: bool) -> dict:
    settings = {"learning_rate": rate}
    return {"encoder": f"e{rate}{loss}", "settings": settings, "val_loss": loss, "val_accuracy": 1 - loss} | {
        "best_epoch": 3,
        "chosen": chosen,
    }


def test_settings_are_summed_up_over_repeats_in_the_order_of_the_grid() -> None:
    grids = [
        [point(0.1, 0.5, False), point(0.01, 0.25, True)],
        [point(0.1, 0.25, True), point(0.01, 0.75, False)],
        [point(0.1, 0.75, False), point(0.01, 0.5, True)],
    ]
    first, second = tried_settings({"features": {"speech": {"grids": grids}, "text": {}}})
    assert (first.modality, first.settings, first.n) == ("speech", "learning_rate = 0.1", 3)
    assert (first.val_loss, first.val_accuracy, first.used) == (0.5, 0.5, 1)
    assert (second.settings, second.val_loss, second.used) == ("learning_rate = 0.01", 0.5, 2)


def test_a_study_without_grids_has_none() -> None:
    assert tried_settings({"features": {"text": {"ids": ["bert-1"]}}}) == []


def test_methods_say_what_was_varied_and_how_settings_were_chosen() -> None:
    feature = {
        "ids": ["lstm_cnn-1"],
        "extractor": "lstm_cnn",
        "weights": "trained here",
        "encoders": ["lstm_cnn-2"],
        "grids": [[point(0.1, 0.5, False), point(0.01, 0.25, True)]],
        "views": {"count": 2, "used_by": "both", "settings": {"pitch": 2.0, "noise": 0.0}, "ids": []},
    }
    assert _feature("speech", feature) == (
        "Speech: lstm_cnn, weights: trained here; rows: lstm_cnn-1; settings chosen among 2 on the encoder's own "
        "held-back groups. "
        "Augmented: 2 views of each training sample (noise 0.0, pitch 2.0), read by encoder and heads; no other part."
    )
    assert "read by heads;" in _feature("speech", {**feature, "encoders": []})
