"""Extractors that embed with one torch network, which `training` can train; where it runs, and in which precision."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from extractors.extractor import Extractor, Inputs, Item, Runtime
from stores.encoders import EncoderStore
from stores.errors import ConfigError

if TYPE_CHECKING:
    import torch

TRAINED = "trained"  # what settings say of weights that are trained here


class Trainable(Extractor[Item]):
    """A network from a batch of items to rows (n, dim).

    `trains_mixed` and `serves_mixed` say that in class `standard` it may be trained, or its rows be computed, in
    bfloat16, where the device has that; `threads` is the number of CPU threads that still pay for a network of small
    steps; `paper_grid` holds the values the reference paper tried (section 2.2.3), by setting.
    """

    trainable = True
    trains_mixed: ClassVar[bool] = False
    serves_mixed: ClassVar[bool] = False
    threads: ClassVar[int | None] = None
    paper_grid: ClassVar[Mapping[str, Sequence[Any]]] = {}
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(self, config: Any, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        if inputs.encoder and not self.needs_encoder(config):
            raise ConfigError(f'{self.name} reads given weights: set weights = "trained" to use {inputs.encoder}')

    @classmethod
    def needs_encoder(cls, config: Any) -> bool:
        return getattr(config, "weights", None) == TRAINED

    def weights_digest(self) -> str | None:
        return None if self.needs_encoder(self.config) else self.given_digest()

    def weights_note(self) -> str:
        return f"trained here ({self.inputs.encoder})" if self.inputs.encoder else super().weights_note()

    @abstractmethod
    def network(self, seed: int) -> torch.nn.Module:
        """Return the network, initialised from a seed."""

    @abstractmethod
    def batch(self, items: Sequence[Item]) -> tuple[torch.Tensor, ...]:
        """Return what the network is called with for these items."""

    def given_state(self) -> Mapping[str, torch.Tensor] | None:
        """Return the weights training starts from, or that are used as they are; None if there are none."""
        return None

    def given_digest(self) -> str | None:
        """Return the digest of `given_state`."""
        return None

    def check(self) -> None:
        super().check()
        self.given_digest()

    def learn_statistics(self, network: Any, items: Sequence[Item]) -> None:
        """Store in the network what it must know of the samples it is fitted on."""

    def augmented(self, items: Sequence[Item], generator: np.random.Generator) -> Sequence[Item]:
        """Return varied items; called in training only."""
        return items

    def serving(self, network: torch.nn.Module, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
        """Return what computes rows fastest with this network, which is in `eval` on its device and may be changed.

        It is called with a `batch` and computes in `dtype` by itself, without autocast.
        """
        return network

    def open(self, runtime: Runtime) -> None:
        import torch

        state: Mapping[str, torch.Tensor] | None
        if self.needs_encoder(self.config):
            if self.inputs.encoder is None:
                raise ConfigError(f"{self.name} needs a trained encoder: train one and pass its id as `encoder`")
            weights = EncoderStore(self.inputs.root).weights(self.inputs.encoder)
            state = {name: torch.from_numpy(value) for name, value in weights.items()}
        else:
            state = self.given_state()
        self._device = pick_device(runtime.device)
        dtype = pick_dtype(self._device, self.inputs.numerics if self.serves_mixed else "exact")
        network = self.network(0)
        if state is not None:
            network.load_state_dict(state)
        self._serve = self.serving(network.to(self._device).eval(), dtype)
        self.computed_on = (str(self._device), str(dtype).removeprefix("torch."))

    def embed(self, items: Sequence[Item]) -> Iterator[np.ndarray]:
        import torch

        with at_most(self.threads), torch.inference_mode(), computing(self._device, torch.float32):
            rows = self._serve(*(moved(tensor, self._device) for tensor in self.batch(items)))
        yield from rows.float().cpu().numpy()


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is the GPU if there is one. Raises ConfigError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"expected a device such as auto, cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but torch finds no GPU: use device = 'auto' or 'cpu'")
    return device


def pick_dtype(device: torch.device, numerics: str) -> torch.dtype:
    """Return bfloat16 for class `standard` where the device computes it natively, else float32."""
    import torch

    if numerics == "exact":
        return torch.float32
    native = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Compute on no more CPU threads than that inside the block; None leaves torch's setting.

    The setting is the process's: only one thread at a time may be inside.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, threads or before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def computing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute in `dtype` inside the block; float32 means full float32, not TF32, and deterministic convolutions."""
    import torch

    if dtype != torch.float32:
        with torch.autocast(device.type, dtype):
            yield
    else:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; to a GPU it is copied from pinned memory while the next is made ready."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
