"""Made-up lesions, 2D and 3D, with known physics: for the demo, for tests, and where no real scan may leave.

A lesion sits in textured tissue, seen by one of two scanners. Its traits are log-normal. Each is shifted
between benign and malignant by the d' in `TRAITS`, in standard deviations, so that the classes overlap in
every one: a single trait, perfectly measured, has ROC AUC Φ(d'/√2), and all of them together, being
independent, Φ(√(Σd'²)/√2), the best that any method can reach (see `ceiling`).

With distance d = r(û) - ‖x‖ to the surface along the direction û from the centre::

    r(û)   = radius · (1 + lobulation · f(û; 2.5) + spiculation · f(û; 8))        shape
    m(x)   = 1 / (1 + exp(-d / margin))                                           margin
    s(x)   = tissue(x) + contrast · m(x) · (1 + heterogeneity · g(x; texture) - 0.8 · core(x))
    scan   = Rice(gain · PSF * s, noise)

f is a Gaussian random field on the sphere around one angular frequency (a sum of plane waves restricted to
it), g a Gaussian random field of a correlation length, Rice the magnitude of a complex signal with Gaussian
noise (Gudbjartsson & Patz, Magn Reson Med 1995;34:910). The mask is d > 0 with a reader's error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from autoonco.data.folds import holdout

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Trait:
    """A log-normal property: median over both classes, deviation of its log, d' between them."""

    median: float
    log_sd: float
    d_prime: float


TRAITS: Mapping[str, Trait] = {
    "radius_mm": Trait(median=11.0, log_sd=0.20, d_prime=0.65),
    "lobulation": Trait(median=0.08, log_sd=0.35, d_prime=0.4),
    "spiculation": Trait(median=0.06, log_sd=0.45, d_prime=1.3),
    "margin_mm": Trait(median=1.0, log_sd=0.40, d_prime=1.0),
    "texture_mm": Trait(median=1.2, log_sd=0.30, d_prime=0.8),
    "heterogeneity": Trait(median=0.30, log_sd=0.35, d_prime=1.2),
    "contrast": Trait(median=0.60, log_sd=0.25, d_prime=0.4),
    "core_share": Trait(median=0.25, log_sd=0.50, d_prime=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """What a scanner does to the signal: resolution (mm), noise (share of tissue's signal), gain."""

    fwhm_mm: float
    noise: float
    gain: float


SCANNERS: Mapping[str, Scanner] = {
    "north": Scanner(fwhm_mm=1.0, noise=0.05, gain=1.0),
    "south": Scanner(fwhm_mm=1.6, noise=0.08, gain=1.4),
}
CLASSES = ("benign", "malignant")

_SIDE_MM = 48.0
_PIXEL_2D_MM = 0.5
_SLICE_MM = 2.0
_TISSUE = 300.0  # grey value of plain tissue in a volume of gain 1
_BYTE_TISSUE = 60.0  # and in a picture: two gains and bright lesions stay below 255
_READER_SD_MM = 0.4
_N_WAVES = 24


def ceiling(difficulty: float = 1.0) -> float:
    """Return the ROC AUC of the best possible classifier, the one that knows every trait.

    Examples
    --------
    >>> round(ceiling(), 2), round(ceiling(difficulty=1e9), 2)
    (0.96, 0.5)
    """
    return float(ndtr(math.sqrt(sum(trait.d_prime**2 for trait in TRAITS.values()) / 2) / difficulty))


def make_phantoms(
    folder: str | Path,
    *,
    n: int,
    ndim: int,
    seed: int = 0,
    test_share: float = 0.3,
    difficulty: float = 1.0,
) -> Path:
    """Write `n` labelled phantoms with masks, and their manifest.

    Parameters
    ----------
    folder
        Where ``images/``, ``masks/`` and ``manifest.csv`` go.
    n
        Number of cases, half of each class, one a patient; half of each class on either scanner.
    ndim
        2 for PNG pictures (96×96, 8 bit), 3 for NIfTI volumes (48×48×24..32, 1×1×2 mm, 16 bit).
    seed
        Of everything; the first cases are the same whatever `n` is.
    test_share
        Share of each class whose split is ``test``, the others' being ``train``.
    difficulty
        Divides every d': 2 halves the distance between the classes.

    Returns
    -------
    Path
        The manifest: case, patient, image, mask, label, split, site.

    Examples
    --------
    >>> import tempfile
    >>> manifest = make_phantoms(tempfile.mkdtemp(), n=4, ndim=2, test_share=0.5)
    >>> pd.read_csv(manifest)[["case", "label", "site"]].iloc[0].tolist()
    ['case_001', 'benign', 'north']
    """
    folder = Path(folder)
    labels = np.arange(n) % 2
    rows = [
        _write_case(folder, number, ndim=ndim, key=(seed, 0), label=int(label), difficulty=difficulty)
        for number, label in enumerate(labels, start=1)
    ]
    table = pd.DataFrame(rows)
    table.insert(4, "label", [CLASSES[label] for label in labels])
    _, test = holdout(labels, table["patient"].to_numpy(), test_share, seed=seed, class_names=CLASSES)
    table.insert(5, "split", np.where(np.isin(np.arange(n), test), "test", "train"))
    return _write_table(table, folder)


def make_new_scans(folder: str | Path, *, n: int, ndim: int, seed: int = 0, difficulty: float = 1.0) -> Path:
    """Write `n` phantoms of unstated class, none of them among those of `make_phantoms`, to predict.

    Parameters and files are those of `make_phantoms`; the manifest has neither label nor split.
    """
    folder = Path(folder)
    labels = np.random.default_rng([seed, 1]).integers(0, 2, n)
    rows = [
        _write_case(folder, number, ndim=ndim, key=(seed, 1), label=int(label), difficulty=difficulty)
        for number, label in enumerate(labels, start=1)
    ]
    return _write_table(pd.DataFrame(rows), folder)


# --- files --------------------------------------------------------------------------------------------------


def _write_table(table: pd.DataFrame, folder: Path) -> Path:
    manifest = folder / "manifest.csv"
    table.to_csv(manifest, index=False, lineterminator="\n")
    return manifest


def _write_case(
    folder: Path, number: int, *, ndim: int, key: tuple[int, int], label: int, difficulty: float
) -> dict[str, str]:
    rng = np.random.default_rng([*key, ndim, number])
    site = list(SCANNERS)[(number - 1) // 2 % 2]
    traits = _draw_traits(rng, label, difficulty)
    scan, mask, spacing = _simulate(rng, ndim, traits, SCANNERS[site])
    name = f"case_{number:03d}"
    files = {kind: f"{kind}s/{name}{'.png' if ndim == 2 else '.nii.gz'}" for kind in ("image", "mask")}
    for kind, values in (("image", scan), ("mask", mask)):
        path = folder / files[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, values, spacing)
    return {"case": name, "patient": f"patient_{number:03d}", **files, "site": site}


def _write(path: Path, values: Array, spacing: Array) -> None:
    if values.ndim == 2:
        bright = 255 if values.dtype == bool else 1
        Image.fromarray((values * bright).clip(0, 255).astype(np.uint8)).save(path)
        return
    image = sitk.GetImageFromArray(values.astype(np.uint8 if values.dtype == bool else np.int16))
    image.SetSpacing(spacing[::-1].tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


# --- physics ------------------------------------------------------------------------------------------------


def _draw_traits(rng: np.random.Generator, label: int, difficulty: float) -> dict[str, float]:
    side = label - 0.5  # half of d' below the common median, half above
    return {
        name: trait.median
        * math.exp(trait.log_sd * (rng.standard_normal() + side * trait.d_prime / difficulty))
        for name, trait in TRAITS.items()
    }


def _simulate(
    rng: np.random.Generator, ndim: int, traits: Mapping[str, float], scanner: Scanner
) -> tuple[Array, Array, Array]:
    """Return scan, mask ``([z,] y, x)`` and spacing in the same order of axes."""
    spacing = np.array([_PIXEL_2D_MM] * 2 if ndim == 2 else [_SLICE_MM, 1.0, 1.0])
    shape = np.round(_SIDE_MM / spacing).astype(int)
    if ndim == 3:
        shape[0] = rng.integers(24, 33)
    centre = (shape - 1) / 2 * spacing + rng.normal(0, 1.5, ndim)
    offset = np.moveaxis(np.indices(tuple(shape)), 0, -1) * spacing - centre
    length = np.linalg.norm(offset, axis=-1)
    unit = offset / np.maximum(length, 1e-6)[..., None]
    relief = traits["lobulation"] * _on_sphere(rng, unit, 2.5) + traits["spiculation"] * _on_sphere(
        rng, unit, 8
    )
    depth = traits["radius_mm"] * np.maximum(1 + relief, 0.3) - length
    signal = _signal(rng, spacing, depth, traits)
    blurred = gaussian_filter(signal, _psf(scanner, spacing))
    noise = rng.normal(0, scanner.noise, (2, *shape))
    measured = scanner.gain * np.hypot(blurred + noise[0], noise[1])
    reader = rng.normal(0, _READER_SD_MM) + _READER_SD_MM * _on_sphere(rng, unit, 3)
    scale = _BYTE_TISSUE if ndim == 2 else _TISSUE
    return np.rint(scale * measured), depth + reader > 0, spacing


def _signal(rng: np.random.Generator, spacing: Array, depth: Array, traits: Mapping[str, float]) -> Array:
    """Return the noiseless signal, plain tissue being 1; `depth` is the distance below the surface in mm."""
    tissue = (
        1 + 0.06 * _field(rng, depth.shape, 2.5 / spacing) + 0.08 * _field(rng, depth.shape, 12 / spacing)
    )
    inside = 1 / (1 + np.exp(-np.clip(depth / traits["margin_mm"], -30, 30)))
    core_depth = traits["radius_mm"] * (1 - min(traits["core_share"], 0.8))
    core = 1 / (1 + np.exp(-np.clip(depth - core_depth, -30, 30)))
    texture = traits["heterogeneity"] * _field(rng, depth.shape, traits["texture_mm"] / spacing)
    return np.maximum(tissue + traits["contrast"] * inside * (1 + texture - 0.8 * core), 0)


def _psf(scanner: Scanner, spacing: Array) -> Array:
    """Return the blur on each axis, a standard deviation in voxels; a thick slice averages over itself."""
    in_plane = scanner.fwhm_mm / 2.355
    slice_mm = np.where(spacing > 1, spacing / math.sqrt(12), 0)
    return np.asarray(np.hypot(in_plane, slice_mm) / spacing)


def _field(rng: np.random.Generator, shape: tuple[int, ...], sigma: Array) -> Array:
    """Return a Gaussian random field of mean 0 and variance 1, smooth over `sigma` voxels."""
    smooth = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray((smooth - smooth.mean()) / smooth.std())


def _on_sphere(rng: np.random.Generator, unit: Array, frequency: float) -> Array:
    """Return a Gaussian random function of the directions `unit`, about `frequency` waves a turn."""
    waves = rng.standard_normal((_N_WAVES, unit.shape[-1]))
    waves *= frequency / np.linalg.norm(waves, axis=1, keepdims=True)
    phases = rng.uniform(0, 2 * np.pi, _N_WAVES)
    angles = unit.astype(np.float32) @ waves.T.astype(np.float32) + phases.astype(np.float32)
    return np.asarray(math.sqrt(2 / _N_WAVES) * np.cos(angles).sum(axis=-1))
