"""What every extractor keeps; a new plug-in is picked up by its file."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from extractors.extractor import Description, Extractor, Runtime, find_extractor
from stores.plugins import plugin_names
from stores.samples import MODALITIES, Sample

PLUGINS = [(modality, name) for modality in MODALITIES for name in plugin_names(f"extractors.{modality}")]


@pytest.fixture(params=PLUGINS, ids="-".join)
def opened(request: pytest.FixtureRequest, make: Callable[..., Extractor]) -> Extractor:
    extractor = make(*request.param)
    extractor.open(Runtime(device="cpu"))
    return extractor


def rows(extractor: Extractor, samples: list[Sample]) -> list[np.ndarray]:
    return list(extractor.embed([extractor.decode(s, s.key(extractor.modality)) for s in samples]))


def close(extractor: Extractor, found: np.ndarray, wanted: np.ndarray) -> bool:
    tolerance = extractor.identity.spec.tolerance
    if tolerance.metric == "max_abs":
        return bool(np.abs(found - wanted).max() <= tolerance.bound)
    return bool(found @ wanted >= tolerance.bound * np.linalg.norm(found) * np.linalg.norm(wanted))


def test_same_input_twice_gives_equal_bytes(opened: Extractor, people: list[Sample]) -> None:
    first, second = rows(opened, people), rows(opened, people)
    assert [row.tobytes() for row in first] == [row.tobytes() for row in second]


def test_rows_are_what_the_spec_says(opened: Extractor, people: list[Sample]) -> None:
    for sample, row in zip(people, rows(opened, people), strict=True):
        assert opened.identity.spec.checked(row, sample_id=sample.id).dtype == opened.identity.spec.dtype


def test_alone_or_in_a_batch_a_row_is_the_same(opened: Extractor, people: list[Sample]) -> None:
    together = rows(opened, people)
    alone = [row for sample in people for row in rows(opened, [sample])]
    backwards = rows(opened, people[::-1])[::-1]
    for row, single, other in zip(together, alone, backwards, strict=True):
        assert close(opened, single.astype(float), row.astype(float))
        assert close(opened, other.astype(float), row.astype(float))


def test_different_samples_have_different_rows(opened: Extractor, people: list[Sample]) -> None:
    assert len({row.tobytes() for row in rows(opened, people)}) == len(people)


def test_a_description_builds_the_same_feature_again(opened: Extractor) -> None:
    assert Description.of(opened).build().identity == opened.identity


def test_a_description_with_other_weights_is_refused(opened: Extractor) -> None:
    with pytest.raises(ValueError, match="expected feature x-1"):
        replace(Description.of(opened), feature="x-1").build()


def test_versions_and_note_are_words(opened: Extractor) -> None:
    assert opened.weights_note()
    assert all(opened.versions().values())


@pytest.mark.parametrize(("modality", "name"), PLUGINS, ids="-".join)
def test_an_unknown_config_type_is_refused(modality: str, name: str, make: Callable[..., Extractor]) -> None:
    with pytest.raises(ValueError, match="expects a"):
        find_extractor(modality, name)("settings", make("text", "bert").inputs)


def test_importing_extractors_and_building_configs_imports_no_torch() -> None:
    program = f"""
import sys
from extractors.extractor import find_extractor
import extractors.run, extractors.training
for modality, name in {PLUGINS!r}:
    find_extractor(modality, name).config_type()
heavy = {{"torch", "transformers", "librosa", "torchvision"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
