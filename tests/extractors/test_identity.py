"""What changes the id of a feature, and what does not."""

from collections.abc import Callable

import pytest

from extractors.extractor import Extractor, Inputs, Runtime, extractor_name, find_extractor
from extractors.text.bert import Bert, BertConfig
from stores.errors import ConfigError, NotFound
from stores.root import Root


def test_a_feature_is_named_after_its_module() -> None:
    assert extractor_name(find_extractor("speech", "acoustic")) == "acoustic"


def test_an_unknown_extractor_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'bert'"):
        find_extractor("text", "brt")


def test_acoustic_id_is_pinned(make: Callable[..., Extractor]) -> None:
    assert make("speech", "acoustic").identity.id == "acoustic-8c4418a0f110"


def test_packaged_bert_id_is_pinned(make: Callable[..., Extractor]) -> None:
    assert make("text", "bert").identity.id == "bert-70f66dc8d066"


def test_every_setting_changes_the_id(make: Callable[..., Extractor]) -> None:
    changes = (
        {},
        {"layers": 3},
        {"pooling": "cls"},
        {"special_tokens": False},
        {"max_tokens": 64},
        {"long": "window"},
        {"pooling": "last4-concat"},
        {"pooling": "none"},
        {"numerics": "exact"},
    )
    assert len({make("text", "bert", **change).identity.id for change in changes}) == len(changes)


def test_a_whole_number_for_a_float_is_the_same_setting(make: Callable[..., Extractor]) -> None:
    assert make("speech", "acoustic", top_db=80).identity == make("speech", "acoustic", top_db=80.0).identity


def test_a_path_is_not_part_of_the_identity(make: Callable[..., Extractor]) -> None:
    packaged = make("text", "bert")
    assert isinstance(packaged, Bert)
    by_path = Bert(BertConfig(weights=str(packaged.folder)), Inputs(root=packaged.inputs.root))
    assert by_path.identity == packaged.identity
    assert "weights" not in packaged.identity.config


def test_runtime_settings_cannot_get_in(make: Callable[..., Extractor]) -> None:
    extractor = make("image", "resnet")
    before = extractor.identity.as_dict()
    extractor.open(Runtime(device="cpu", batch_size=1, decode_workers=1))
    fresh = type(extractor)(extractor.config, extractor.inputs)
    assert before == fresh.identity.as_dict()


def test_an_encoder_needs_no_training_to_be_planned_with(root: Root, make: Callable[..., Extractor]) -> None:
    kind = find_extractor("image", "resnet")
    config = kind.config_type(depth=18, size=32, weights="trained")
    ids = {kind(config, Inputs(root=root, encoder=name)).identity.id for name in ("resnet-1", "resnet-2")}
    assert len(ids) == 2


def test_an_extractor_without_its_upstream_or_encoder_says_so(root: Root) -> None:
    speech, image = find_extractor("speech", "lstm_cnn"), find_extractor("image", "resnet")
    with pytest.raises(ConfigError, match="reads the feature 'acoustic'"):
        speech(speech.config_type(), Inputs(root=root))
    trained = image(image.config_type(depth=18, size=32, weights="trained"), Inputs(root=root))
    with pytest.raises(ConfigError, match="needs a trained encoder"):
        trained.open(Runtime(device="cpu"))
    with pytest.raises(ConfigError, match="reads given weights"):
        image(image.config_type(weights="random"), Inputs(root=root, encoder="resnet-1"))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"decode_workers": 0}, {"queue": 0}, {"block_size": -1}])
def test_runtime_settings_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Runtime(**wrong)


def test_an_unknown_device_is_refused(make: Callable[..., Extractor]) -> None:
    with pytest.raises(ConfigError, match="expected a device"):
        make("image", "resnet").open(Runtime(device="abacus"))
