"""Mixing cases of a batch and their labels: mixup and cutmix, by torchvision."""

from __future__ import annotations

from typing import Literal

import torch

Mixing = Literal["none", "mixup", "cutmix"]


def mix(
    batch: torch.Tensor, y: torch.Tensor, *, how: Mixing, alpha: float, n_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cases mixed with others of the batch, and shares of classes ``(n, n_classes)`` in place of labels.

    ``mixup`` adds two cases, λ of the one and 1 - λ of the other; ``cutmix`` puts a box of one into the other, that
    takes 1 - λ of the area. λ is drawn from Beta(alpha, alpha) once a batch, with torch's own generator. (Zhang et
    al., "mixup: Beyond Empirical Risk Minimization", 2018; Yun et al., "CutMix", 2019.)

    Parameters
    ----------
    batch
        Pictures ``(n, channels, height, width)`` or volumes ``(n, channels, depth, height, width)``. The box of a
        volume goes through it whole along an axis drawn at random.
    y
        Labels ``(n,)``.
    """
    if how == "none":
        return batch, y
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    mixer = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[how](alpha=alpha, num_classes=n_classes)
    if batch.ndim == 4:
        mixed, shares = mixer(batch, y)
        return mixed, shares
    # What torchvision takes for a film is (n, time, channels, height, width): any axis may be its time.
    axis = 2 + int(torch.randint(3, (1,)))
    film, shares = mixer(tv_tensors.Video(batch.movedim(axis, 1)), y)
    return film.as_subclass(torch.Tensor).movedim(1, axis), shares
