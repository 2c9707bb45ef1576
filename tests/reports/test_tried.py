from reports.tried import tried_settings


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
