"""Blocks of feature values: filter, bin, then the native shape, first-order and texture features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.features.contour import contour_features, contour_names
from autoonco.features.first_order import HISTOGRAM_NAMES, first_order_values, histogram_values
from autoonco.features.images import Roi, response_names, responses
from autoonco.features.lesions import join_lesions
from autoonco.features.levels import bin_by_count, bin_by_width
from autoonco.features.location import location_values, orientation_values
from autoonco.features.preparation import prepare
from autoonco.features.shape import NAMES_2D, NAMES_3D, shape_values
from autoonco.features.spec import Binning, Block, Component, Filter, Kind, Normalise, Preparation
from autoonco.features.texture_features import texture_values

BACKEND = "native-2"
"""What computes the features, for a model's record; the number rises whenever a value changes."""
MAX_LEVELS = 256
"""A fixed bin width that would give more grey levels is widened to the next multiple that doesn't."""
FIRST_ORDER = (
    "10Percentile", "90Percentile", "Energy", "InterquartileRange", "Kurtosis", "Maximum", "Mean",
    "MeanAbsoluteDeviation", "Median", "Minimum", "Range", "RobustMeanAbsoluteDeviation", "RootMeanSquared",
    "Skewness", "TotalEnergy", "Variance",
)  # fmt: skip
"""The first-order features that no binning changes."""
TEXTURES: dict[str, tuple[str, ...]] = {
    "glcm": (
        "Autocorrelation", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast",
        "Correlation", "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "Id", "Idm",
        "Idmn", "Idn", "Imc1", "Imc2", "InverseVariance", "JointAverage", "JointEnergy",
        "JointEntropy", "MCC", "MaximumProbability", "SumAverage", "SumEntropy", "SumSquares",
    ),
    "glrlm": (
        "GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized", "GrayLevelVariance",
        "HighGrayLevelRunEmphasis", "LongRunEmphasis", "LongRunHighGrayLevelEmphasis",
        "LongRunLowGrayLevelEmphasis", "LowGrayLevelRunEmphasis", "RunEntropy",
        "RunLengthNonUniformity", "RunLengthNonUniformityNormalized", "RunPercentage",
        "RunVariance", "ShortRunEmphasis", "ShortRunHighGrayLevelEmphasis",
        "ShortRunLowGrayLevelEmphasis",
    ),
    "glszm": (
        "GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized", "GrayLevelVariance",
        "HighGrayLevelZoneEmphasis", "LargeAreaEmphasis", "LargeAreaHighGrayLevelEmphasis",
        "LargeAreaLowGrayLevelEmphasis", "LowGrayLevelZoneEmphasis", "SizeZoneNonUniformity",
        "SizeZoneNonUniformityNormalized", "SmallAreaEmphasis", "SmallAreaHighGrayLevelEmphasis",
        "SmallAreaLowGrayLevelEmphasis", "ZoneEntropy", "ZonePercentage", "ZoneVariance",
    ),
    "gldm": (
        "DependenceEntropy", "DependenceNonUniformity", "DependenceNonUniformityNormalized",
        "DependenceVariance", "GrayLevelNonUniformity", "GrayLevelVariance",
        "HighGrayLevelEmphasis", "LargeDependenceEmphasis", "LargeDependenceHighGrayLevelEmphasis",
        "LargeDependenceLowGrayLevelEmphasis", "LowGrayLevelEmphasis", "SmallDependenceEmphasis",
        "SmallDependenceHighGrayLevelEmphasis", "SmallDependenceLowGrayLevelEmphasis",
    ),
    "ngtdm": (
        "Busyness", "Coarseness", "Complexity", "Contrast", "Strength",
    ),
}  # fmt: skip
"""The features of the grey-level matrices, by class."""


def block_names(block: Block) -> tuple[str, ...]:
    """Return the names of a block's features (``original_glcm_Contrast``), in the order of its values."""
    if block.kind is Kind.CONTOUR:
        return contour_names(block.ndim)
    if block.kind is Kind.LOCATION:
        return _location_names(block.ndim)
    colour = "" if block.component is Component.LUMINANCE else f"{block.component}-"
    return tuple(
        f"{colour}{response}_{name}_{feature}"
        for response in response_names(block.filter, block.ndim)
        for name, features in _selection(block.kind, block.ndim).items()
        for feature in features
    )


@cache
def _selection(kind: Kind, ndim: int) -> Mapping[str, tuple[str, ...]]:
    """Return the classes and features of a kind of block, in the order of its columns."""
    if kind is Kind.SHAPE:
        return {"shape2D": NAMES_2D} if ndim == 2 else {"shape": NAMES_3D}
    if kind is Kind.FIRSTORDER:
        return {"firstorder": FIRST_ORDER}
    return {"firstorder": HISTOGRAM_NAMES, **TEXTURES}


def compute_blocks(roi: Roi, blocks: Sequence[Block]) -> dict[Block, NDArray[np.float64]]:
    """Return the values of each block, in the order of `block_names`; what is undefined is NaN.

    `roi` holds the image that the blocks are of: their `component` is not looked at.

    Grey values that aren't numbers within the lesion (or within a filter's reach of it) give NaN for the
    features of that response, and a lesion of one voxel gives NaN for its textures.
    """

    @cache
    def lesions(how: Preparation, normalise: Normalise) -> tuple[Roi, ...]:
        return prepare(roi.normalised(normalise), how)

    @cache
    def filtered(
        item: Filter, how: Preparation, normalise: Normalise, number: int
    ) -> dict[str, NDArray[Any]]:
        return responses(lesions(how, normalise)[number], item)

    def values(block: Block) -> NDArray[np.float64]:
        if block.kind is Kind.LOCATION:
            return np.array(list(_location(roi.mask, roi.box, roi.spacing_mm).values()))
        how, normalise = block.preparation, block.normalise
        found = [
            _lesion_values(block, lesion, filtered(block.filter, how, normalise, number))
            for number, lesion in enumerate(lesions(how, normalise))
        ]
        return found[0] if len(found) == 1 else _joined(found, block)

    with np.errstate(all="ignore"):  # 0/0 is what an undefined feature is
        return {block: np.where(np.isfinite(found := values(block)), found, np.nan) for block in blocks}


def _joined(lesions: Sequence[NDArray[np.float64]], block: Block) -> NDArray[np.float64]:
    names = block_names(block)
    tables = [dict(zip(names, values.tolist(), strict=True)) for values in lesions]
    return np.array(list(join_lesions(tables, block.preparation.lesions).values()))


def _location(
    mask: NDArray[np.bool_], box: tuple[slice, ...], spacing_mm: tuple[float, ...]
) -> dict[str, float]:
    return location_values(mask, spacing_mm) | orientation_values(mask[box], spacing_mm)


@cache
def _location_names(ndim: int) -> tuple[str, ...]:
    names = _location(np.ones((1,) * ndim, dtype=bool), (slice(0, 1),) * ndim, (1.0,) * ndim)
    return tuple(f"location_{name}" for name in names)


def _lesion_values(block: Block, roi: Roi, images: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    if block.kind is Kind.CONTOUR:
        return contour_features(roi.lesion, roi.spacing_mm)
    return np.concatenate([_response_values(image, roi, block) for image in images.values()])


def _response_values(image: NDArray[Any], roi: Roi, block: Block) -> NDArray[np.float64]:
    """Return the values of a block on one filtered image."""
    selection = _selection(block.kind, block.ndim)
    inside = image[roi.lesion]
    is_intensity = block.kind is not Kind.SHAPE
    if (is_intensity and not np.isfinite(inside).all()) or (block.kind is Kind.TEXTURE and inside.size < 2):
        return np.full(sum(map(len, selection.values())), np.nan)
    found = _classes(image, inside, roi, block)
    return np.array([found[name][feature] for name, features in selection.items() for feature in features])


def _classes(
    image: NDArray[Any], inside: NDArray[Any], roi: Roi, block: Block
) -> Mapping[str, Mapping[str, float]]:
    if block.kind is Kind.SHAPE:
        return {"shape2D" if block.ndim == 2 else "shape": shape_values(roi.lesion, roi.spacing_mm)}
    if block.kind is Kind.FIRSTORDER:
        return {"firstorder": first_order_values(inside, spacing_mm=roi.spacing_mm)}
    levels = discretise(image, roi.lesion, block.binning)
    return {"firstorder": histogram_values(levels), **texture_values(levels, aggregation=block.aggregation)}


def discretise(image: NDArray[Any], lesion: NDArray[np.bool_], binning: Binning | None) -> NDArray[np.int64]:
    """Return grey levels from 1 within the lesion, 0 outside, as pyradiomics bins them; one level for None.

    A lesion without contrast has one level. A bin width that gives more than `MAX_LEVELS` levels is multiplied
    by the smallest whole number that doesn't.
    """
    levels = lesion.astype(np.int64)
    if binning is None:
        return levels
    values = image[lesion]
    if binning.kind == "count":
        levels[lesion] = bin_by_count(values, int(binning.value))
    else:
        levels[lesion] = bin_by_width(values, binning.value, max_levels=MAX_LEVELS)
    return levels
