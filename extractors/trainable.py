"""Extractors that embed with one torch network, which `training` can train."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from extractors.devices import at_most, computing, moved, pick_device, pick_dtype
from extractors.extractor import Extractor, Inputs, Item, Runtime
from stores.encoders import EncoderStore
from stores.errors import ConfigError

if TYPE_CHECKING:
    import torch


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
