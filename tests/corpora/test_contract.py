"""What every corpus plug-in promises; a new module in corpora/ is picked up and needs an example here."""

import dataclasses
import subprocess
import sys

import pytest

from corpora._corpus import Corpus, CorpusConfig
from stores.errors import ConfigError
from stores.manifest import Manifest
from stores.plugins import find_plugin, plugin_names
from stores.spelling import plain

TABLE = {"path": "t.csv", "columns": {"id": "id", "text": "text"}, "labels": {"emotion": "label"}}
LABELS = ("joy", "anger")
PLUGINS = plugin_names("corpora")
EXAMPLES = {
    "table": {"name": "t", **TABLE},
    "folder": {
        "name": "f",
        "path": "clips",
        "pattern": r"(?P<speaker>\d+)_(?P<emotion>[a-z]+)\.wav",
        "labels": {"emotion": "emotion"},
        "groups": {"speaker": "speaker"},
    },
    "composed": {
        "name": "c",
        "classes": LABELS,
        "parts": {
            "text": {"kind": "table", **TABLE},
            "speech": {
                "kind": "folder",
                "path": "clips",
                "pattern": r"\d+_(?P<emotion>[a-z]+)\.wav",
                "labels": {"emotion": "emotion"},
            },
        },
    },
    "synthetic": {"name": "s", "speakers": 2, "reserved": 1, "samples_per_speaker": 5},
}


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "clips").mkdir()
    lines = ["id,text,label"]
    for number in range(20):
        label = LABELS[number % 2]
        lines.append(f"{number},words {number},{label}")
        (tmp_path / "clips" / f"{number}_{label}.wav").write_bytes(bytes([number]))
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def plugin(name):
    return find_plugin("corpora", name, Corpus)


def test_every_plugin_has_an_example_here():
    assert set(EXAMPLES) == set(PLUGINS)


@pytest.mark.parametrize("name", PLUGINS)
class TestEveryCorpus:
    def test_config_is_a_frozen_keyword_only_dataclass_with_a_name(self, name):
        config_type = plugin(name).config_type
        config = config_type(**EXAMPLES[name])
        assert issubclass(config_type, CorpusConfig)
        assert all(field.kw_only for field in dataclasses.fields(config_type))
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.name = "other"

    def test_a_name_that_cannot_be_a_file_name_is_refused(self, name):
        with pytest.raises(ConfigError, match="name should be letters"):
            plugin(name).config_type(**{**EXAMPLES[name], "name": "../up"})

    def test_building_twice_gives_an_equal_manifest_that_survives_saving(self, name, sources, root):
        corpus = plugin(name)(plugin(name).config_type(**EXAMPLES[name]))
        first, second = corpus.build(root, base=sources), corpus.build(root, base=sources)
        first.save(root)
        assert first == second == Manifest.load(root, first.name)

    def test_ids_carry_the_corpus_and_media_are_absolute(self, name, sources, root):
        manifest = plugin(name)(plugin(name).config_type(**EXAMPLES[name])).build(root, base=sources)
        media = [path for s in manifest.samples for path in (s.audio, s.image, s.video) if path is not None]
        assert manifest.name == EXAMPLES[name]["name"]
        assert all(sample.id.startswith(f"{sample.corpus}/") for sample in manifest.samples)
        assert all(path.is_absolute() and path.is_file() for path in media)

    def test_names_have_the_one_spelling(self, name, sources, root):
        table = sources / "t.csv"
        table.write_text(table.read_text("utf-8").replace(",joy", ",joy\u00a0"), "utf-8")
        manifest = plugin(name)(plugin(name).config_type(**EXAMPLES[name])).build(root, base=sources)
        names = [s.id for s in manifest.samples]
        names += [value for s in manifest.samples for value in (*s.labels.values(), *s.groups.values())]
        assert names == [plain(name) for name in names]


def test_importing_every_corpus_imports_no_torch():
    modules = ", ".join(f"corpora.{name}" for name in PLUGINS)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
