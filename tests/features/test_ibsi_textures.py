"""IBSI-1's consensus values of both phantoms, for every feature and aggregation that are computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from autoonco.features.conventions import Aggregation, Definition
from autoonco.features.first_order import first_order_values
from autoonco.features.levels import bin_by_width
from autoonco.features.texture_features import texture_values

pytestmark = pytest.mark.shared

FIRST_ORDER = {
    "mean": "Mean", "var": "Variance", "skew": "Skewness", "kurt": "Kurtosis", "median": "Median", "min": "Minimum",
    "p10": "10Percentile", "p90": "90Percentile", "max": "Maximum", "iqr": "InterquartileRange", "range": "Range",
    "mad": "MeanAbsoluteDeviation", "rmad": "RobustMeanAbsoluteDeviation", "energy": "Energy", "rms": "RootMeanSquared",
}  # fmt: skip
GLCM = {
    "joint_max": "MaximumProbability", "joint_avg": "JointAverage", "joint_var": "SumSquares",
    "joint_entr": "JointEntropy", "diff_avg": "DifferenceAverage", "diff_var": "DifferenceVariance",
    "diff_entr": "DifferenceEntropy", "sum_avg": "SumAverage", "sum_var": "ClusterTendency", "sum_entr": "SumEntropy",
    "energy": "JointEnergy", "contrast": "Contrast", "dissimilarity": "DifferenceAverage", "inv_diff": "Id",
    "inv_diff_norm": "Idn", "inv_diff_mom": "Idm", "inv_diff_mom_norm": "Idmn", "inv_var": "InverseVariance",
    "corr": "Correlation", "auto_corr": "Autocorrelation", "clust_tend": "ClusterTendency",
    "clust_shade": "ClusterShade", "clust_prom": "ClusterProminence", "info_corr1": "Imc1", "info_corr2": "Imc2",
}  # fmt: skip
GLRLM = {
    "sre": "ShortRunEmphasis", "lre": "LongRunEmphasis", "lgre": "LowGrayLevelRunEmphasis",
    "hgre": "HighGrayLevelRunEmphasis", "srlge": "ShortRunLowGrayLevelEmphasis",
    "srhge": "ShortRunHighGrayLevelEmphasis", "lrlge": "LongRunLowGrayLevelEmphasis",
    "lrhge": "LongRunHighGrayLevelEmphasis", "glnu": "GrayLevelNonUniformity",
    "glnu_norm": "GrayLevelNonUniformityNormalized", "rlnu": "RunLengthNonUniformity",
    "rlnu_norm": "RunLengthNonUniformityNormalized", "r_perc": "RunPercentage", "gl_var": "GrayLevelVariance",
    "rl_var": "RunVariance", "rl_entr": "RunEntropy",
}  # fmt: skip
GLSZM = {
    "sze": "SmallAreaEmphasis", "lze": "LargeAreaEmphasis", "lgze": "LowGrayLevelZoneEmphasis",
    "hgze": "HighGrayLevelZoneEmphasis", "szlge": "SmallAreaLowGrayLevelEmphasis",
    "szhge": "SmallAreaHighGrayLevelEmphasis", "lzlge": "LargeAreaLowGrayLevelEmphasis",
    "lzhge": "LargeAreaHighGrayLevelEmphasis", "glnu": "GrayLevelNonUniformity",
    "glnu_norm": "GrayLevelNonUniformityNormalized", "zsnu": "SizeZoneNonUniformity",
    "zsnu_norm": "SizeZoneNonUniformityNormalized", "z_perc": "ZonePercentage", "gl_var": "GrayLevelVariance",
    "zs_var": "ZoneVariance", "zs_entr": "ZoneEntropy",
}  # fmt: skip
GLDM = {
    "lde": "SmallDependenceEmphasis", "hde": "LargeDependenceEmphasis", "lgce": "LowGrayLevelEmphasis",
    "hgce": "HighGrayLevelEmphasis", "ldlge": "SmallDependenceLowGrayLevelEmphasis",
    "ldhge": "SmallDependenceHighGrayLevelEmphasis", "hdlge": "LargeDependenceLowGrayLevelEmphasis",
    "hdhge": "LargeDependenceHighGrayLevelEmphasis", "glnu": "GrayLevelNonUniformity",
    "dcnu": "DependenceNonUniformity", "dcnu_norm": "DependenceNonUniformityNormalized",
    "gl_var": "GrayLevelVariance", "dc_var": "DependenceVariance", "dc_entr": "DependenceEntropy",
}  # fmt: skip
NGTDM = {name.lower(): name for name in ("Coarseness", "Contrast", "Busyness", "Complexity", "Strength")}
DIRECTED = {
    "2D_avg": "2d", "2D_comb": "2d_merged", "2_5D_avg": "2.5d", "2_5D_comb": "2.5d_merged", "3D_avg": "3d",
    "3D_comb": "3d_merged",
}  # fmt: skip
UNDIRECTED = {"2D": "2d", "2_5D": "2.5d", "3D": "3d"}
TEXTURES = {
    "cm": ("glcm", GLCM, DIRECTED),
    "rlm": ("glrlm", GLRLM, DIRECTED),
    "szm": ("glszm", GLSZM, UNDIRECTED),
    "ngl": ("gldm", GLDM, UNDIRECTED),
    "ngt": ("ngtdm", NGTDM, UNDIRECTED),
}
NOT_COMPUTED = {
    *(f"{prefix}_{name}" for prefix in ("stat", "ih") for name in ("medad", "cov", "qcod")),
    "ih_mode", "ih_max_grad", "ih_max_grad_g", "ih_min_grad", "ih_min_grad_g",
    *(f"ngl_{name}_{suffix}" for name in ("glnu_norm", "dc_perc", "dc_energy") for suffix in UNDIRECTED),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Grey values in the lesion, levels in its box, and the consensus value and tolerance by tag."""

    values: np.ndarray
    levels: np.ndarray
    references: dict[str, tuple[float, float]]

    def tags(self, prefix: str) -> set[str]:
        """Tags of a group of features, but for those that aren't computed."""
        return {tag for tag in self.references if tag.startswith(f"{prefix}_")} - NOT_COMPUTED


@pytest.fixture(params=["digital_phantom", "ct_config_a"])
def phantom(request, shared_data: Path) -> Phantom:
    return phantom_of(shared_data / "ibsi", request.param)


@cache
def phantom_of(folder: Path, config: str) -> Phantom:
    """The digital phantom, whose grey values are levels, or the CT with configuration A.

    Of the CT's configurations A alone needs no interpolation: re-segmentation to -500..400 HU, and bins of
    25 HU that begin at its lower bound; neighbours within slices.
    """
    table = pd.read_csv(folder / "ibsi1_reference_values.csv")
    rows = table[(table["config"] == config) & table["reference"].notna()]
    pairs = zip(rows["reference"], rows["tolerance"], strict=True)
    references = dict(zip(rows["tag"], pairs, strict=True))
    name = "ibsi_1_digital_phantom" if config == "digital_phantom" else "ibsi_1_ct_radiomics_phantom"
    grey, mask = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name / "nifti" / file)))
        for file in ("image/phantom.nii.gz", "mask/mask.nii.gz")
    )
    lesion = mask > 0
    if config == "digital_phantom":
        levels = np.where(lesion, grey, 0).astype(np.int64)
    else:
        lesion &= (grey >= -500) & (grey <= 400)
        levels = np.zeros(grey.shape, dtype=np.int64)
        levels[lesion] = bin_by_width(grey[lesion], 25.0, definition=Definition.IBSI, lowest=-500.0)
    return Phantom(values=grey[lesion], levels=levels, references=references)


def assert_consensus(value: float, reference: tuple[float, float], tag: str) -> None:
    """IBSI's rule: equal within the tolerance after rounding to three significant digits."""
    consensus, tolerance = reference
    assert float(f"{value:.3g}") == pytest.approx(consensus, abs=tolerance + 1e-9 * abs(consensus)), tag


@pytest.mark.parametrize("prefix", TEXTURES)
def test_textures(prefix, phantom):
    name, features, aggregations = TEXTURES[prefix]
    tags = phantom.tags(prefix)
    assert len(tags) >= 2 * len(features)
    for suffix, aggregation in aggregations.items():
        if not any(tag.endswith(f"_{suffix}") for tag in tags):
            continue
        how = Aggregation(aggregation)
        found = texture_values(phantom.levels, definition=Definition.IBSI, aggregation=how)[name]
        for short, feature in features.items():
            tag = f"{prefix}_{short}_{suffix}"
            assert_consensus(found[feature], phantom.references[tag], tag)
            tags.remove(tag)
    assert not tags


@pytest.mark.parametrize("prefix", ["stat", "ih"])
def test_first_order(prefix, phantom):
    """Statistics of the grey values, and of the levels: the intensity histogram."""
    inside = phantom.levels[phantom.levels > 0]
    values = phantom.values if prefix == "stat" else inside
    found = first_order_values(values, spacing_mm=(2.0,) * 3, levels=inside, definition=Definition.IBSI)
    tags = phantom.tags(prefix)
    names = {**FIRST_ORDER, "entropy": "Entropy", "uniformity": "Uniformity"}
    for tag in sorted(tags):
        assert_consensus(found[names[tag.removeprefix(f"{prefix}_")]], phantom.references[tag], tag)
    assert len(tags) == 15


def test_on_the_digital_phantom_the_definitions_differ_by_excess_kurtosis_only(shared_data):
    """Each of its voxels has a neighbour."""
    phantom = phantom_of(shared_data / "ibsi", "digital_phantom")
    ibsi, pyradiomics = (
        first_order_values(phantom.values, spacing_mm=(2.0,) * 3, definition=definition)
        for definition in (Definition.IBSI, Definition.PYRADIOMICS)
    )
    assert {name for name in ibsi if ibsi[name] != pyradiomics[name]} == {"Kurtosis"}
    assert texture_values(phantom.levels, definition=Definition.IBSI) == texture_values(phantom.levels)
