"""Feature values from pyradiomics' own classes, called directly on cropped arrays with shared grey levels."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.errors import MissingDependencyError
from autoonco.features.contour import contour_features, contour_names
from autoonco.features.images import Roi, response_names, responses
from autoonco.features.spec import Binning, Block, Filter, Kind

MAX_LEVELS = 256
"""A fixed bin width that would give more grey levels is widened to the next multiple that doesn't."""
FLAT_RANGE = 1e-6
"""A range of grey values below this share of their size is float noise: one level."""
BINNED_FIRSTORDER = ("Entropy", "Uniformity")
"""The first-order features that depend on the binning; they belong to the texture block."""
TEXTURES = {
    "glcm": "RadiomicsGLCM",
    "glrlm": "RadiomicsGLRLM",
    "glszm": "RadiomicsGLSZM",
    "gldm": "RadiomicsGLDM",
    "ngtdm": "RadiomicsNGTDM",
}
CLASSES = {
    "shape": "RadiomicsShape",
    "shape2D": "RadiomicsShape2D",
    "firstorder": "RadiomicsFirstOrder",
    **TEXTURES,
}


class _SharedLevels:
    """Mixed into pyradiomics' classes: grey levels are binned once a response, not once a class."""

    def _applyBinning(self, matrix: NDArray[Any]) -> NDArray[Any]:  # noqa: N802, ARG002 - pyradiomics' hook
        levels: NDArray[Any] = self.settings["levels"]  # type: ignore[attr-defined]
        present = np.unique(levels[self.maskArray])  # type: ignore[attr-defined]
        self.coefficients["grayLevels"] = present  # type: ignore[attr-defined]
        self.coefficients["Ng"] = int(present[-1])  # type: ignore[attr-defined]
        return levels.copy()


def is_installed() -> bool:
    """Return whether a package `radiomics` is importable, without importing it."""
    return importlib.util.find_spec("radiomics") is not None


@cache
def backend_version() -> str:
    """Return distribution and version of the installed `radiomics`, whichever distribution it is.

    Raises
    ------
    MissingDependencyError
        If there is none.
    """
    distributions = importlib.metadata.packages_distributions().get("radiomics", [])
    if not distributions:
        raise MissingDependencyError(
            "Radiomics needs the package `radiomics`: install autoonco[radiomics], which needs a C compiler."
        )
    return f"{distributions[0]}=={importlib.metadata.version(distributions[0])}"


@cache
def _feature_class(name: str) -> Any:
    """Return pyradiomics' class for `name` with shared grey levels, having silenced its logger."""
    backend_version()
    importlib.import_module("radiomics").setVerbosity(60)
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    original = getattr(importlib.import_module(f"radiomics.{name}"), CLASSES[name])
    return type(original.__name__, (_SharedLevels, original), {"__module__": original.__module__})


@cache
def _features_of(name: str) -> tuple[str, ...]:
    """Return the names of a class's features that are not deprecated, in alphabetical order."""
    found: Mapping[str, bool] = _feature_class(name).getFeatureNames()
    return tuple(sorted(feature for feature, is_deprecated in found.items() if not is_deprecated))


def _selection(block: Block) -> dict[str, tuple[str, ...]]:
    """Return the classes and features of a block, in the order of its columns."""
    if block.kind is Kind.SHAPE:
        name = "shape2D" if block.ndim == 2 else "shape"
        return {name: _features_of(name)}
    if block.kind is Kind.FIRSTORDER:
        return {"firstorder": tuple(f for f in _features_of("firstorder") if f not in BINNED_FIRSTORDER)}
    return {"firstorder": BINNED_FIRSTORDER, **{name: _features_of(name) for name in TEXTURES}}


@cache
def block_names(block: Block) -> tuple[str, ...]:
    """Return the names of a block's features (``original_glcm_Contrast``), in the order of its values.

    Raises
    ------
    MissingDependencyError
        If no `radiomics` is installed.
    """
    if block.kind is Kind.CONTOUR:
        return contour_names(block.ndim)
    selection = _selection(block)
    return tuple(
        f"{response}_{name}_{feature}"
        for response in response_names(block.filter, block.ndim)
        for name, features in selection.items()
        for feature in features
    )


def compute_blocks(roi: Roi, blocks: Sequence[Block]) -> dict[Block, NDArray[np.float64]]:
    """Return the values of each block, in the order of `block_names`; what is undefined is NaN.

    Grey values that aren't numbers within the lesion (or within a filter's reach of it) give NaN for the
    features of that response, and a lesion of one voxel gives NaN for its textures.
    """

    @cache
    def filtered(item: Filter, normalise: bool) -> dict[str, NDArray[Any]]:
        return responses(roi.normalised() if normalise else roi, item)

    with _quiet():
        return {block: _block_values(block, roi, filtered(block.filter, block.normalise)) for block in blocks}


@contextmanager
def _quiet() -> Iterator[None]:
    """Use one SimpleITK thread (a process a case scales better) and keep numpy silent about 0/0."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _block_values(block: Block, roi: Roi, images: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    if block.kind is Kind.CONTOUR:
        return contour_features(roi.lesion, roi.spacing_mm)
    selection = _selection(block)
    parts = [_response_values(image, roi, selection, block) for image in images.values()]
    values = np.concatenate(parts)
    return np.where(np.isfinite(values), values, np.nan)


def _response_values(
    image: NDArray[Any], roi: Roi, selection: Mapping[str, tuple[str, ...]], block: Block
) -> NDArray[np.float64]:
    """Return the values of the selected features of one filtered image."""
    inside = image[roi.lesion]
    is_intensity = block.kind is not Kind.SHAPE
    if (is_intensity and not np.isfinite(inside).all()) or (block.kind is Kind.TEXTURE and inside.size < 2):
        return np.full(sum(map(len, selection.values())), np.nan)
    levels = discretise(image, roi.lesion, block.binning)
    pair = [
        _to_itk(array, roi) for array in (np.where(np.isfinite(image), image, 0), roi.lesion.astype(np.uint8))
    ]
    values = []
    for name, features in selection.items():
        extractor = _feature_class(name)(*pair, levels=levels)
        for feature in features:
            extractor.enableFeatureByName(feature)
        found = extractor.execute()
        values += [float(found[feature]) for feature in features]
    return np.asarray(values, dtype=np.float64)


def discretise(image: NDArray[Any], lesion: NDArray[np.bool_], binning: Binning | None) -> NDArray[np.int64]:
    """Return grey levels from 1 within the lesion, 0 outside, as pyradiomics bins them; one level for None.

    A lesion without contrast (a range below a millionth of its values, that is float noise) has one level.
    A bin width that gives more than `MAX_LEVELS` levels is multiplied by the smallest whole number that
    doesn't.
    """
    values = image[lesion]
    levels = lesion.astype(np.int64)
    if binning is None or np.ptp(values) <= FLAT_RANGE * np.abs(values).max():
        return levels
    operations = importlib.import_module("radiomics.imageoperations")
    if binning.kind == "count":
        edges = operations.getBinEdges(values, binCount=int(binning.value))
    else:
        edges = operations.getBinEdges(values, binWidth=_capped_width(values, binning.value))
    levels[lesion] = np.digitize(values, edges)
    return levels


def _capped_width(values: NDArray[Any], width: float) -> float:
    """Return the smallest multiple of `width` that gives at most `MAX_LEVELS` levels."""
    factor = max(1, int(np.ceil(np.ptp(values) / width / MAX_LEVELS)))
    while np.floor(values.max() / (factor * width)) - np.floor(values.min() / (factor * width)) >= MAX_LEVELS:
        factor += 1
    return factor * width


def _to_itk(array: NDArray[Any], roi: Roi) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(roi.spacing_mm[::-1])
    return image
