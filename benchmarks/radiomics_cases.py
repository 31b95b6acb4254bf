"""Scans on which extraction is timed, the same settings for autoonco and for pyradiomics, and both of them run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.features import blocks
from autoonco.features.backend import block_names
from autoonco.features.blocks import extract_table
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec, Kind

SETS: Mapping[str, tuple[tuple[float, ...], str | None]] = {
    "original": ((), None),
    "filtered": ((1.0, 2.0, 3.0), "coif1"),
}
"""Sets of images: σ of the Laplacian of Gaussian, wavelet; the original is always one."""
PHANTOMS = {"phantom 64³": (64, 4_900), "phantom 128³": (128, 50_000), "phantom 256³": (256, 501_000)}
"""Voxels a side, and in the lesion."""
REAL = {
    "lung1": ("pyradiomics_cases/lung1_image.nrrd", "pyradiomics_cases/lung1_label.nrrd", 25.0),
    "brain1": ("pyradiomics_cases/brain1_image.nrrd", "pyradiomics_cases/brain1_label.nrrd", 25.0),
    "breast1": ("pyradiomics_cases/breast1_image.nrrd", "pyradiomics_cases/breast1_label.nrrd", 25.0),
    "sarcoma CT": ("sarcoma3d/images/STS_001_CT.nii.gz", "sarcoma3d/masks/STS_001_CT.nii.gz", 25.0),
}
"""Image, mask, width of a bin."""


@dataclass(frozen=True, kw_only=True)
class TimedCase:
    """A scan, its mask and the width of a bin."""

    name: str
    case: Case
    bin_width: float


def timed_case(name: str, shared: Path, made: Path) -> TimedCase:
    """Return the case called `name`; phantoms are written to the folder `made`."""
    if name in PHANTOMS:
        image, mask = _phantom(*PHANTOMS[name], made)
        width = 25.0
    else:
        first, second, width = REAL[name]
        image, mask = shared / first, shared / second
    case = Case(case=name, patient=name, images={"image": image}, masks={"mask": mask}, row=1)
    return TimedCase(name=name, case=case, bin_width=width)


def _phantom(side: int, voxels: int, folder: Path) -> tuple[Path, Path]:
    """Write a ball of about `voxels` in smooth noise, and its mask."""
    image_file, mask_file = folder / f"{side}.nii.gz", folder / f"{side}_mask.nii.gz"
    if not mask_file.exists():
        noise = sitk.GetImageFromArray(
            np.random.default_rng(0).normal(0, 200, (side,) * 3).astype(np.float32)
        )
        grid = np.indices((side,) * 3) - (side - 1) / 2
        ball = ((grid**2).sum(axis=0) < np.cbrt(3 * voxels / (4 * np.pi)) ** 2).astype(np.uint8)
        sitk.WriteImage(sitk.DiscreteGaussian(noise, 1.0), image_file)
        sitk.WriteImage(sitk.GetImageFromArray(ball), mask_file)
    return image_file, mask_file


def ours(item: TimedCase, images: str, cache: Path, *, outline: bool = False) -> dict[str, float]:
    """Extract with autoonco, hashing, reading and storing included.

    Without `outline` it computes pyradiomics' features and no other, with it what a search extracts.
    """
    sigmas, wavelet = SETS[images]
    channel = ChannelSpec(name="image", binning=Binning(kind="width", value=item.bin_width))
    spec = ExtractionSpec(ndim=3, channels=(channel,), log_sigmas_mm=sigmas, wavelet=wavelet)
    if outline:
        table, names = extract_table([item.case], spec, artefacts=ArtefactCache(cache))
        return dict(zip(names, table[0].tolist(), strict=True))
    wanted = [block for block in spec.blocks(channel) if block.kind is not Kind.CONTOUR]
    columns: list[Any] = []
    for block in wanted:
        start = columns[-1].stop if columns else 0
        columns.append(blocks._column(channel.name, block, start=start))
    values = blocks._fill([item.case], columns, ArtefactCache(cache), 1)[0]
    return dict(zip([name for block in wanted for name in block_names(block)], values.tolist(), strict=True))


def pyradiomics(item: TimedCase, images: str) -> dict[str, float]:
    """Extract by pyradiomics' plain `execute` on the files, all classes on."""
    from radiomics import featureextractor, setVerbosity

    setVerbosity(60)
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    sigmas, wavelet = SETS[images]
    types: dict[str, dict[str, Any]] = {"Original": {}}
    if sigmas:
        types["LoG"] = {"sigma": list(sigmas)}
    if wavelet:
        types["Wavelet"] = {"wavelet": wavelet}
    extractor = featureextractor.RadiomicsFeatureExtractor(binWidth=item.bin_width)
    extractor.disableAllImageTypes()
    for name, settings in types.items():
        extractor.enableImageTypeByName(name, customArgs=settings)
    found = extractor.execute(str(item.case.images["image"]), str(item.case.masks["mask"]))
    return {name: float(value) for name, value in found.items() if not name.startswith("diagnostics")}


def largest_difference(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[int, float]:
    """Return the number of features that both have, and the largest relative difference of them.

    Relative to the larger of the two values, where that is above 1e-9; NaN in both is no difference.
    """
    common = sorted(set(one) & set(other))
    first, second = (np.array([side[name] for name in common]) for side in (one, other))
    size = np.maximum(np.abs(first), np.abs(second))
    relative = np.abs(first - second) / np.where(size > 1e-9, size, 1.0)
    relative[np.isnan(first) & np.isnan(second)] = 0.0
    return len(common), float(relative.max()) if common else float("nan")
