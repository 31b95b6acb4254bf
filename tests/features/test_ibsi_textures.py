"""IBSI-1's consensus values of the digital phantom, for every feature and aggregation that are computed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from autoonco.features.conventions import Aggregation, Definition
from autoonco.features.first_order import first_order_values
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


@pytest.fixture
def references(shared_data: Path) -> dict[str, tuple[float, float]]:
    """Consensus value and tolerance by tag."""
    table = pd.read_csv(shared_data / "ibsi" / "ibsi1_reference_values.csv")
    rows = table[(table["config"] == "digital_phantom") & table["reference"].notna()]
    return {
        tag: (value, off)
        for tag, value, off in zip(rows["tag"], rows["reference"], rows["tolerance"], strict=True)
    }


@pytest.fixture
def levels(shared_data: Path) -> np.ndarray:
    return _levels(shared_data / "ibsi" / "ibsi_1_digital_phantom" / "nifti")


@cache
def _levels(folder: Path) -> np.ndarray:
    grey, lesion = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))
        for name in ("image/phantom.nii.gz", "mask/mask.nii.gz")
    )
    return np.where(lesion > 0, grey, 0).astype(np.int64)


def assert_consensus(value: float, reference: tuple[float, float], tag: str) -> None:
    """IBSI's rule: equal within the tolerance after rounding to three significant digits."""
    consensus, tolerance = reference
    assert float(f"{value:.3g}") == pytest.approx(consensus, abs=tolerance + 1e-9 * abs(consensus)), tag


@pytest.mark.parametrize("prefix", TEXTURES)
def test_textures(prefix, levels, references):
    name, features, aggregations = TEXTURES[prefix]
    tags = {tag for tag in references if tag.startswith(f"{prefix}_")} - NOT_COMPUTED
    for suffix, aggregation in aggregations.items():
        how = Aggregation(aggregation)
        found = texture_values(levels, definition=Definition.IBSI, aggregation=how)[name]
        for short, feature in features.items():
            tag = f"{prefix}_{short}_{suffix}"
            assert_consensus(found[feature], references[tag], tag)
            tags.remove(tag)
    assert not tags


@pytest.mark.parametrize("prefix", ["stat", "ih"])
def test_first_order(prefix, levels, references):
    """The phantom's grey values are its levels, so that both groups describe the same numbers."""
    values = levels[levels > 0]
    found = first_order_values(values, spacing_mm=(2.0, 2.0, 2.0), levels=levels, definition=Definition.IBSI)
    tags = {tag for tag in references if tag.startswith(f"{prefix}_")} - NOT_COMPUTED
    names = {**FIRST_ORDER, "entropy": "Entropy", "uniformity": "Uniformity"}
    for tag in sorted(tags):
        assert_consensus(found[names[tag.removeprefix(f"{prefix}_")]], references[tag], tag)
    assert len(tags) == 15


def test_the_definitions_differ_where_they_are_said_to(levels, references):
    """Excess kurtosis, and nothing else on this phantom: each of its voxels has a neighbour."""
    values = levels[levels > 0]
    ibsi, pyradiomics = (
        first_order_values(values, spacing_mm=(2.0, 2.0, 2.0), definition=definition)
        for definition in (Definition.IBSI, Definition.PYRADIOMICS)
    )
    assert {name for name in ibsi if ibsi[name] != pyradiomics[name]} == {"Kurtosis"}
    assert texture_values(levels, definition=Definition.IBSI) == texture_values(levels)
