"""Trained encoders: weights, recipe, and everyone they were trained on.

`stores/layout.py` says what lies in `encoders/<encoder id>/`: an encoder without `encoder.json`, written last, does not
exist. The first finished training of a recipe wins.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from stores.errors import DamagedError, NotFound
from stores.identity import canonical, fingerprint, short_id, tensors_digest
from stores.root import Root

FORMAT = 1
CHECKPOINT = "checkpoint.safetensors"
_NOTES = "notes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainee:
    """A sample an encoder is fitted on (`use` = fit) or stops on (`use` = stop).

    `digests` are those of the upstream rows that were read of it, its views' included; they are not part of a recipe.
    """

    sample_id: str
    key: str
    label: str
    use: str
    groups: Mapping[str, str]
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe:
    """All that decides a training; its id can be computed before training starts.

    `config` holds every default and no path; `initial` is the digest of the weights it starts from, if any.
    Groups are kept for the leakage rule and are not part of the id.
    """

    extractor: str
    version: int
    config: Mapping[str, Any]
    seed: int
    classes: tuple[str, ...]
    trainees: tuple[Trainee, ...]
    upstream: str | None = None
    initial: str | None = None

    @property
    def id(self) -> str:
        """`<extractor>-<12 hex>`; relabelling one trainee changes it, a new group name does not."""
        trained_on = sorted([t.sample_id, t.key, t.label, t.use] for t in self.trainees)
        return short_id(self.extractor, {**self.settings(), "trained_on": trained_on})

    def settings(self) -> dict[str, Any]:
        names = ("extractor", "version", "config", "seed", "classes", "upstream", "initial")
        return {name: canonical(getattr(self, name)) for name in names}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of a training curve; `seconds` is the time the epoch took."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


class EncoderStore:
    """All trained encoders under a root."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __contains__(self, encoder_id: str) -> bool:
        return self.root.exists("encoders", encoder_id, "encoder.json")

    def seal(
        self,
        recipe: EncoderRecipe,
        weights: Mapping[str, np.ndarray],
        curves: Sequence[Epoch],
        best_epoch: int,
        skipped: Mapping[str, int] | None = None,
        read: Mapping[str, Sequence[str]] | None = None,
    ) -> str:
        """Store a finished training and return its id; an encoder that exists already is left as it is.

        `skipped` counts, by reason, the trainees of the recipe whose media could not be decoded; `read` has the
        digests of the upstream rows that were read, by sample.
        """
        encoder_id = recipe.id
        folder = f"encoders/{encoder_id}"
        if encoder_id in self:
            self.root.delete(folder, CHECKPOINT)
            return encoder_id
        # safetensors writes the memory as it lies: a channels-last weight would come back scrambled
        ordered = {name: np.asarray(value, order="C") for name, value in weights.items()}
        if not self.root.put_new(save_tensors(ordered), folder, "weights.safetensors"):
            ordered = self._tensors(encoder_id)  # another process has finished the same training: its weights count
        self.root.put_table(_trained_on(recipe, read or {}), folder, "trained_on.parquet")
        self.root.put_table(pa.Table.from_pylist([vars(epoch) for epoch in curves]), folder, "curves.parquet")
        content = {
            "format_version": FORMAT,
            "id": encoder_id,
            "recipe": recipe.settings(),
            "weights": tensors_digest(ordered.items()),
            "best_epoch": best_epoch,
            "fitted_on": sum(t.use == "fit" for t in recipe.trainees),
            "stopped_on": sum(t.use == "stop" for t in recipe.trainees),
            "skipped": dict(skipped or {}),
        }
        self.root.put_json(content, folder, "encoder.json")
        self.root.delete(folder, CHECKPOINT)
        return encoder_id

    def checkpoints(self, encoder_id: str, names: Sequence[str]) -> "Checkpoints":
        """Return where the training of an encoder on the samples of these ids keeps its state."""
        return Checkpoints(self.root, encoder_id, fingerprint([encoder_id, *names]))

    def describe(self, encoder_id: str) -> dict[str, Any]:
        """Return `encoder.json`. Raises NotFound."""
        if encoder_id not in self:
            raise NotFound(f"no trained encoder {encoder_id!r} under {self.root.address}: run `affuse train` first")
        return self.root.read_json("encoders", encoder_id, "encoder.json")

    def check(self, encoder_id: str) -> None:
        """Raise DamagedError unless weights, recipe and trainees are those the encoder was sealed with."""
        content = self.describe(encoder_id)
        self.weights(encoder_id)
        recipe = {**content["recipe"], "classes": tuple(content["recipe"]["classes"])}
        if EncoderRecipe(**recipe, trainees=tuple(self.trained_on(encoder_id))).id != encoder_id:
            raise DamagedError("recipe or trainees have changed")
        self.curves(encoder_id)

    def weights(self, encoder_id: str) -> dict[str, np.ndarray]:
        """Return the weights by name. Raises NotFound, or DamagedError if they are not those that were sealed."""
        found = self._tensors(encoder_id)
        if tensors_digest(found.items()) != self.describe(encoder_id)["weights"]:
            raise DamagedError(f"the weights of {encoder_id} have changed: `affuse store verify` names what is damaged")
        return found

    def _tensors(self, encoder_id: str) -> dict[str, np.ndarray]:
        try:
            return dict(load_tensors(self.root.read("encoders", encoder_id, "weights.safetensors")))
        except SafetensorError as error:
            raise DamagedError(f"the weights of {encoder_id} cannot be read: {error}") from None

    def trained_on(self, encoder_id: str) -> list[Trainee]:
        """Return everyone the encoder was fitted or stopped on."""
        table = self.root.read_table("encoders", encoder_id, "trained_on.parquet")
        read = [(row, json.loads(row["groups"]), tuple(row.get("digests") or ())) for row in table.to_pylist()]
        return [Trainee(**{**row, "groups": groups, "digests": digests}) for row, groups, digests in read]

    def curves(self, encoder_id: str) -> list[Epoch]:
        """Return the training curve, one entry an epoch."""
        return [Epoch(**row) for row in self.root.read_table("encoders", encoder_id, "curves.parquet").to_pylist()]


class Checkpoints:
    """The state of one unfinished training: one file, replaced as a whole, and deleted once the encoder is sealed."""

    def __init__(self, root: Root, encoder_id: str, crowd: str) -> None:
        self._root, self._crowd, self._path = root, crowd, ("encoders", encoder_id, CHECKPOINT)

    def save(self, tensors: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Keep tensors, and notes that JSON can hold."""
        ordered = {name: np.asarray(value, order="C") for name, value in tensors.items()}
        content = {**notes, "crowd": self._crowd, "tensors": tensors_digest(ordered.items())}
        text = np.frombuffer(json.dumps(content).encode(), np.uint8)
        self._root.put(save_tensors({**ordered, _NOTES: text}), *self._path)

    def load(self) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]] | None:
        """Return (tensors, notes) of the last `save`; None if there is none, it is damaged, or of other samples."""
        try:
            tensors = dict(load_tensors(self._root.read(*self._path)))
            notes = json.loads(tensors.pop(_NOTES).tobytes())
            whole = notes["tensors"] == tensors_digest(tensors.items()) and notes["crowd"] == self._crowd
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return (tensors, notes) if whole else None


def _trained_on(recipe: EncoderRecipe, read: Mapping[str, Sequence[str]]) -> pa.Table:
    rows = [
        {"sample_id": t.sample_id, "key": t.key, "label": t.label, "use": t.use, "groups": json.dumps(dict(t.groups))}
        for t in recipe.trainees
    ]
    table = pa.Table.from_pylist(rows)
    if not read:
        return table
    return table.append_column("digests", pa.array([read.get(t.sample_id, ()) for t in recipe.trainees]))
