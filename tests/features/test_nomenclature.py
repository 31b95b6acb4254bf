"""Every column of an extraction has a name; codes are of the manual's form, one feature each."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from autoonco.features.blocks import column_names
from autoonco.features.delta import Delta
from autoonco.features.filters import FILTERS
from autoonco.features.images import response_names
from autoonco.features.nomenclature import describe, is_known, nomenclature_table
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec, Filter
from autoonco.resources import load_nomenclature
from autoonco.tabular.groups import EVERY_GROUP, group_of

# From the manual (arXiv:1612.07003), one feature of each of its families.
MANUAL = {
    "original_shape_MeshVolume": "RNU0",
    "original_shape_VoxelVolume": "YEKZ",
    "original_firstorder_Mean": "Q4LE",
    "original_firstorder_Entropy": "TLU2",
    "log-sigma-1-0-mm-3D_glcm_JointEntropy": "TU9B",
    "wavelet-LLH_glrlm_RunPercentage": "9ZK5",
    "original_glszm_ZonePercentage": "P30P",
    "original_gldm_DependenceEntropy": "FCBV",
    "original_ngtdm_Coarseness": "QCDE",
}


def full_spec(ndim: int, channels: tuple[str, ...]) -> ExtractionSpec:
    """Everything that a spec can ask for, every filter in every colour among it."""
    binning = Binning(kind="count", value=32)
    named = tuple(ChannelSpec(name=name, binning=binning, by_colour=True) for name in channels)
    return ExtractionSpec(
        ndim=ndim,
        channels=named,
        log_sigmas_mm=(1.0, 2.0),
        wavelet="coif1",
        other_filters=tuple(Filter(name=name, sigma_mm=2.0 if name == "gabor" else None) for name in FILTERS),
        location=True,
        delta=Delta.DIFFERENCE if len(channels) > 1 else None,
    )


@pytest.mark.parametrize("channels", [("image",), ("ct", "pet")])
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_column_of_an_extraction_is_described(ndim, channels):
    columns = column_names(full_spec(ndim, channels))
    assert [column for column in columns if not is_known(column)] == []
    table = nomenclature_table(columns)
    assert len(table.drop_duplicates(["channel", "filter", "feature_class", "name"])) == len(columns)
    assert {group_of(column) for column in columns} == set(EVERY_GROUP)
    assert (table["name"].str.len() > 0).all()
    assert not table["name"].isin(columns).any()  # a name of its own, where the manual has no code
    images = {
        response for item in full_spec(ndim, channels).filters for response in response_names(item, ndim)
    }
    assert {name.partition("-")[2] for name in set(table["filter"]) if name.startswith("red-")} == images
    assert set(table["channel"]) == ({""} if len(channels) == 1 else {"ct", "pet", "pet-ct"})


@pytest.mark.parametrize(("column", "code"), MANUAL.items())
def test_codes_are_the_manuals(column, code):
    assert describe(column).code == code


def test_codes_have_four_characters_and_are_used_once():
    known = load_nomenclature()
    codes = [entry[0] for part in ("classes", "features") for entry in known[part].values() if entry[0]]
    assert all(isinstance(code, str) and re.fullmatch(r"[0-9A-Z]{4}", code) for code in codes)
    assert [code for code, n in Counter(codes).items() if n > 1] == []
    assert len(codes) > 100


def test_what_is_not_ours_keeps_its_name():
    found = describe("original_glcm_Invented")
    assert (found.name, found.code, is_known(found.column)) == ("original_glcm_Invented", None, False)
