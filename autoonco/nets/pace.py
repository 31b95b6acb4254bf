"""How a network is computed while training: in which precision, memory order, threads and parts of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch


class Precision(StrEnum):
    """Of what a network multiplies; weights and sums are in single precision."""

    SINGLE = "float32"
    HALF = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One way to compute the same training step.

    Parameters
    ----------
    channels_last
        Whether the channels of a pixel lie side by side in memory.
    n_threads
        Threads of an operation; None takes what is given.
    n_parts
        Into how many parts a batch is cut, whose gradients add up. More than one only where no layer takes
        statistics of what it sees.
    """

    precision: Precision = Precision.SINGLE
    channels_last: bool = False
    n_threads: int | None = None
    n_parts: int = 1

    @classmethod
    def prior(cls, ndim: int, *, on_gpu: bool) -> Pace:
        """Return the choice without a measurement, for batches of `ndim` dimensions.

        On a GPU half precision is faster for every network; on a CPU it halves the speed of depthwise convolutions as
        often as it doubles that of dense ones. Pictures go channels-last; strided 3D convolutions train slower so.
        """
        precision = Precision.HALF if on_gpu else Precision.SINGLE
        return cls(precision=precision, channels_last=ndim == 4)

    @property
    def is_half(self) -> bool:
        """Whether the precision is half."""
        return self.precision == Precision.HALF

    def order(self, batch: torch.Tensor) -> torch.memory_format:
        """Return the memory order of a batch."""
        if not self.channels_last or batch.ndim not in (4, 5):
            return torch.contiguous_format
        return torch.channels_last if batch.ndim == 4 else torch.channels_last_3d

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self) | {"precision": str(self.precision)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Pace:
        """Read what `to_json` wrote."""
        return cls(**{**plain, "precision": Precision(plain["precision"])})
