"""The reference protocol of examples/paper.toml, on weight files in the formats of its weights, written here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torchvision.models import resnet50
from transformers import BertConfig, BertModel

CHECKOUT = Path(__file__).resolve().parents[2]
CLASSES = ("joy", "sadness", "anger", "fear", "neutral")
WORDS = ["i", "am", "so", "very", "glad", "sad", "angry", "afraid", "here", "today", "##s", "."]
SPEAKERS = 20


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The caches of the hub and of torch, holding a small BERT and a ResNet-50 with random numbers in them."""
    folder = tmp_path_factory.mktemp("caches")
    torch.manual_seed(0)
    repository = folder / "hf" / "hub" / "models--bert-base-uncased"
    snapshot = repository / "snapshots" / ("0" * 40)
    size = {"hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=5 + len(WORDS), **size)).save_pretrained(snapshot)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (snapshot / "vocab.txt").write_text("\n".join([*special, *WORDS]) + "\n", encoding="utf-8")
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}), encoding="utf-8")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    checkpoints = folder / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(resnet50(weights=None).state_dict(), checkpoints / "resnet50-11ad3fa6.pth")
    return {"HF_HOME": str(folder / "hf"), "TORCH_HOME": str(folder / "torch"), "HF_HUB_OFFLINE": "1"}


def write_corpus(folder: Path) -> None:
    """Write samples.csv with one utterance of every class a speaker, its sound a tone, its face a band."""
    rng = np.random.default_rng(0)
    lines = ["id,text,audio,image,emotion,speaker"]
    for speaker in range(SPEAKERS):
        for number, label in enumerate(CLASSES):
            name = f"{speaker}_{label}"
            time = np.arange(6000) / 16000
            soundfile.write(
                folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * (150 + speaker + 90 * number) * time), 16000
            )
            pixels = rng.integers(0, 80, (40, 40), dtype=np.uint8)
            pixels[number * 8 : number * 8 + 8] += 120
            Image.fromarray(pixels).save(folder / f"{name}.png")
            source = {"joy": "excited", "anger": "angry"}.get(label, label)
            lines.append(f"{name},I am very {label} today.,{name}.wav,{name}.png,{source},s{speaker}")
    lines.append("x,Out of the scheme.,0_joy.wav,0_joy.png,frustrated,s0")
    (folder / "samples.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_reference_protocol_runs_on_files_in_its_formats(tmp_path: Path, caches: dict[str, str]) -> None:
    write_corpus(tmp_path)
    text = (CHECKOUT / "examples" / "paper.toml").read_text(encoding="utf-8")
    text = re.sub(r"^repeats = 20", "repeats = 3", text, flags=re.M)
    text = re.sub(r"^epochs = 1000", "epochs = 2", text, flags=re.M)
    text = text.replace('samples = "per-repeat"', 'samples = "per-repeat"\nepochs = 1')
    (tmp_path / "paper.toml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "flows",
            "run",
            str(tmp_path / "paper.toml"),
            "--root",
            str(tmp_path / "runs"),
            "--json",
        ],
        env={**os.environ, **caches},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["runs"] == {"cached": 0, "trained": 3 * (3 + 4 + 4 + 4)}
    assert len(said["features"]["speech"]["ids"]) == 3
    assert said["features"]["image"]["extracted"] == SPEAKERS * len(CLASSES)
    results = json.loads(Path(said["results"]).read_text(encoding="utf-8"))
    assert results["facts"]["corpus"]["dropped"]
    identity = results["facts"]["features"]["image"]["identity"]
    assert (identity["config"]["depth"], identity["config"]["size"], identity["spec"]["dim"]) == (50, 224, 2048)
    assert results["reference"] == "weighted[image+speech+text]"
