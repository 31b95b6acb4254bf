"""Random changes of how crops look: grey values, colours, stains, noise and blur, as their imaging allows.

Point operations take a whole batch at a time. What isn't one comes from torchvision for pictures and from MONAI for
volumes, case by case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import torch

from autoonco.data.fingerprint import Fingerprint, Intensity

if TYPE_CHECKING:
    from autoonco.nets.augmentation import Augmentation

Colour = Literal["none", "jitter", "stain"]

HUE = 0.05
HUE_SHARE = 0.2
"""Share of the pictures whose hue is turned: it takes seven times as long as all else that a jitter does."""
STAIN = 0.15
"""Largest change of a stain's density: a factor within 1 ± 0.15 and an offset within ± 0.15 of a density of 0.2."""
MAX_BLUR = 2.0  # pixels or voxels, standard deviation
MAX_NOISE = 0.1  # of the range of grey values
MAX_BIAS = 0.4


class Look(StrEnum):
    """What kind of picture a channel is, told by the measured unit of its values."""

    COLOUR = "colour"  # photographs, dermatoscopy, histology
    GREY = "grey"  # ultrasound, radiographs
    CT = "ct"
    PET = "pet"
    MR = "mr"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Largest change of grey values in 0..1: contrast as an exponent of e, brightness, exponent of gamma."""

    contrast: float
    brightness: float
    gamma: float = 0.0


LIMITS = {
    Look.COLOUR: Limits(contrast=0.3, brightness=0.15),
    Look.GREY: Limits(
        contrast=0.3, brightness=0.15, gamma=0.3
    ),  # gain and its curve are the operator's choice
    Look.CT: Limits(contrast=0.1, brightness=0.05),  # calibrated: only scanners and contrast phase differ
    Look.PET: Limits(contrast=0.2, brightness=0.02, gamma=0.2),  # zero uptake stays near zero
    Look.MR: Limits(contrast=0.3, brightness=0.15, gamma=0.4),  # no unit at all
}

_LOOKS = {Intensity.HOUNSFIELD: Look.CT, Intensity.SUV: Look.PET, Intensity.ARBITRARY: Look.MR}


def looks_of(fingerprint: Fingerprint, *, channels_each: Sequence[int] = ()) -> tuple[Look, ...]:
    """Return the look of each channel of a dataset; colour pictures are one.

    `channels_each` says how many channels of a crop each one becomes, one by default.
    """
    if fingerprint.is_colour:
        return (Look.COLOUR,)
    looks = (_LOOKS.get(fingerprint.intensity[name], Look.GREY) for name in fingerprint.channels)
    repeats = channels_each or (1,) * len(fingerprint.channels)
    return tuple(look for look, n in zip(looks, repeats, strict=True) for _ in range(n))


def change_looks(
    crops: torch.Tensor, how: Augmentation, *, n_image_channels: int, generator: torch.Generator
) -> torch.Tensor:
    """Return crops ``(n, channels, *space)`` of 0..1 with changed grey values, colours and noise; masks stay.

    Channels of several looks change each by itself, as far as they are as many parts; all others together, for they
    are one picture.
    """
    if not (how.intensity or how.noise) or not n_image_channels:
        return crops
    looks = how.looks or (Look.COLOUR if how.colour != "none" else Look.GREY,)
    n_parts = len(looks) if len(set(looks)) > 1 and n_image_channels % len(looks) == 0 else 1
    parts = crops[:, :n_image_channels].chunk(n_parts, dim=1)
    changed = [_change(part, look, how, generator) for part, look in zip(parts, looks, strict=False)]
    return torch.cat([*changed, crops[:, n_image_channels:]], dim=1)


def _change(image: torch.Tensor, look: Look, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Return one picture of each case, of one look, changed."""
    if how.intensity:
        if look == Look.COLOUR and how.colour == "stain" and image.shape[1] == 3:
            image = stain_jitter(image, STAIN * how.intensity, generator)
        elif look == Look.COLOUR and how.colour == "jitter" and image.shape[1] == 3:
            image = _colour_jitter(image, how.intensity, generator)
        image = _grey_values(image, LIMITS[look], how.intensity, generator)
        if look == Look.MR and image.ndim == 5:
            image = _bias_field(image, how.intensity, generator)
    return _noise(image, look, how.noise, generator) if how.noise else image


def _uniform(image: torch.Tensor, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Return one number of ±limit a case, in the shape that an image is multiplied by."""
    drawn = (torch.rand(len(image), generator=generator) * 2 - 1) * limit
    return drawn.to(image.device).reshape(-1, *(1,) * (image.ndim - 1))


def _grey_values(
    image: torch.Tensor, limits: Limits, strength: float, generator: torch.Generator
) -> torch.Tensor:
    mean = image.flatten(1).mean(dim=1).reshape(-1, *(1,) * (image.ndim - 1))
    contrast = torch.exp(_uniform(image, strength * limits.contrast, generator))
    # (image - mean) * contrast + mean + brightness, in one pass over the pixels
    offset = mean * (1 - contrast) + _uniform(image, strength * limits.brightness, generator)
    image = torch.addcmul(offset, image, contrast).clamp_(0, 1)
    if limits.gamma:
        image = image ** torch.exp(_uniform(image, strength * limits.gamma, generator))
    return image


def _colour_jitter(image: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Change saturation, and now and then the hue; brightness and contrast are changed with the grey values."""
    from torchvision.transforms.v2 import functional

    drawn = torch.rand(len(image), 3, generator=generator).tolist()
    changed = []
    for one, (saturation, hue, turns) in zip(image, drawn, strict=True):
        seen = functional.adjust_saturation(one, 1 + 0.4 * strength * (2 * saturation - 1))
        changed.append(
            functional.adjust_hue(seen, HUE * strength * (2 * hue - 1)) if turns < HUE_SHARE else seen
        )
    return torch.stack(changed)


def stain_jitter(image: torch.Tensor, limit: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return histology pictures ``(n, 3, height, width)`` of 0..1 with changed densities of their three stains.

    Colours are unmixed into haematoxylin, eosin and a residual, each ``d`` becomes ``(1 + a) d + b`` with `a` within
    ±limit and `b` within a fifth of that, and they are mixed again. (Stains: Ruifrok & Johnston, "Quantification of
    histochemical staining by color deconvolution", 2001; jitter: Tellez et al., "Whole-slide mitosis detection in
    H&E breast histology using PHH3 as a reference", 2018, section III-D.)
    """
    mix = torch.tensor(
        [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=image.dtype, device=image.device
    )
    mix = mix / mix.norm(dim=1, keepdim=True)
    drawn = (torch.rand(len(image), 3, 2, generator=generator) * 2 - 1).to(image)
    factor, offset = 1 + limit * drawn[..., 0], 0.2 * limit * drawn[..., 1]
    # unmixing, a factor a stain and mixing are one matrix a picture: density' = density @ inv(M) @ diag(f) @ M + b @ M
    through = torch.linalg.inv(mix) @ (factor[:, :, None] * mix)
    density = -image.clamp(min=1e-3).log()
    changed = torch.einsum("nchw,ncd->ndhw", density, through) + (offset @ mix)[:, :, None, None]
    return torch.exp(-changed).clamp(0, 1)


def _bias_field(image: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    from monai.transforms.intensity.array import RandBiasField

    field = RandBiasField(degree=3, coeff_range=(0.0, MAX_BIAS * strength), prob=1.0)
    field.set_random_state(seed=_seed(generator))
    changed = [torch.as_tensor(field(one.cpu())).to(image) for one in image]
    return torch.stack(changed).clamp(0, 1)


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=generator))


def _noise(image: torch.Tensor, look: Look, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Blur a quarter of the cases, give another quarter noise, leave half as they are."""
    kinds = torch.randint(4, (len(image),), generator=generator).tolist()
    effects = {0: _blurred, 1: _noisy}
    changed = [
        effects[kind](one, look, strength, generator) if kind in effects else one
        for one, kind in zip(image, kinds, strict=True)
    ]
    return torch.stack(changed).clamp(0, 1)


def _blurred(one: torch.Tensor, look: Look, strength: float, generator: torch.Generator) -> torch.Tensor:
    sigma = float(torch.rand(1, generator=generator)) * MAX_BLUR * strength + 0.1
    if one.ndim == 4:
        from monai.transforms.intensity.array import GaussianSmooth

        return torch.as_tensor(GaussianSmooth(sigma=sigma)(one.cpu())).to(one)
    from torchvision.transforms.v2 import functional

    if look == Look.CT and float(torch.rand(1, generator=generator)) < 0.5:  # a sharper reconstruction kernel
        sharper: torch.Tensor = functional.adjust_sharpness(one, 1 + sigma) if one.shape[0] in (1, 3) else one
        return sharper
    blurred: torch.Tensor = functional.gaussian_blur(one, [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)
    return blurred


def _noisy(one: torch.Tensor, look: Look, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Return the case with the noise of its imaging: Rician, speckle (it grows with the signal), or Gaussian."""
    sigma = max(float(torch.rand(1, generator=generator)) * MAX_NOISE * strength, 1e-4)
    if look == Look.MR and one.ndim == 4:
        from monai.transforms.intensity.array import RandRicianNoise

        rician = RandRicianNoise(prob=1.0, std=sigma, sample_std=False)
        rician.set_random_state(seed=_seed(generator))
        return torch.as_tensor(rician(one.cpu())).to(one)
    # channels of one picture share it: a grey picture stays grey
    noise = torch.randn(1, *one.shape[1:], generator=generator).to(one) * sigma
    return one * (1 + 3 * noise) if look == Look.GREY else one + noise
