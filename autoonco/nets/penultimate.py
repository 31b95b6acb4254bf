"""What a trained network sees in a case: the values that its last layer turns into logits."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoonco.nets.embeddings import forward


class Penultimate(nn.Module):  # type: ignore[misc]
    """A network that answers with the input of its last linear layer ``(n, n_features)``; logits where it has none."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        self._last = linear[-1:]  # a list: it isn't registered twice

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the features of crops ``(n, channels, ...)``."""
        # cases are predicted by several threads at once, and a hook sees them all
        own, seen = threading.get_ident(), []

        def keep(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            if threading.get_ident() == own:
                seen.append(given[0])

        hooks = [layer.register_forward_pre_hook(keep) for layer in self._last]
        try:
            logits = self.network(crops)
        finally:
            for hook in hooks:
                hook.remove()
        return (seen[-1] if seen else logits).flatten(1)


def penultimate(
    network: nn.Module, inputs: NDArray[np.uint8], *, device: str, n_threads: int
) -> NDArray[np.float64]:
    """Return what a trained network sees in crops ``(n, channels, ...)`` as ``(n, n_features)``."""
    found = forward(Penultimate(network), inputs, device=device, n_threads=n_threads)
    return found.astype(np.float64)
