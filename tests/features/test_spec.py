"""The fingerprint's measured units decide the settings; blocks share what doesn't differ."""

from __future__ import annotations

import json

import pytest

from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.errors import AutoOncoError
from autoonco.features.choices import scale_unit_mm, spec_of
from autoonco.features.spec import Binning, ExtractionSpec, Filter, Kind, Normalise

CONFIG = {
    "log_filter": "multiscale",
    "wavelet": "coif1",
    "bin_width": 10,
    "bin_count": 16,
    "suv_width": 0.25,
    "normalise": "zscore",
}


def fingerprint(spacing_mm=(1.0, 1.0), **intensity: Intensity) -> Fingerprint:
    ndim = len(spacing_mm)
    return Fingerprint(
        n_cases=40,
        n_patients=40,
        classes=("a", "b"),
        class_counts=(20, 20),
        ndim=ndim,
        channels=tuple(intensity),
        is_colour=False,
        has_mask=True,
        clinical=(),
        has_site=False,
        spacing_mm=spacing_mm,
        shape=(64,) * ndim,
        lesion_mm=None,
        lesion_voxels=100.0,
        intensity=intensity,
    )


def test_units_decide_between_width_and_count():
    units = {
        "ct": Intensity.HOUNSFIELD,
        "pet": Intensity.SUV,
        "mr": Intensity.ARBITRARY,
        "us": Intensity.BYTE,
        "x": Intensity.UNIT,
    }
    spec = spec_of(CONFIG, fingerprint(**units))
    by_name = {channel.name: channel for channel in spec.channels}
    assert by_name["ct"].binning == Binning(kind="width", value=10)
    assert by_name["pet"].binning == Binning(kind="width", value=0.25)
    assert by_name["ct"].normalise is by_name["pet"].normalise is Normalise.NONE
    for name in ("mr", "us", "x"):
        assert by_name[name].binning == Binning(kind="count", value=16)
        assert by_name[name].normalise is Normalise.ZSCORE


@pytest.mark.parametrize(
    ("spacing", "unit"),
    [((1.0, 1.0), 1.0), ((0.7, 0.7, 5.0), 1.0), ((0.004, 0.004), 0.004), ((50.0, 50.0), 50.0)],
)
def test_scales_are_pixels_where_no_scanner_has_that_spacing(spacing, unit):
    assert scale_unit_mm(spacing) == unit
    spec = spec_of(CONFIG, fingerprint(spacing, image=Intensity.BYTE))
    assert spec.log_sigmas_mm == pytest.approx([unit, 2 * unit, 3 * unit])


def test_json_round_trip_keeps_the_spec_and_its_blocks():
    config = CONFIG | {
        "value_range": "body",
        "lesions": "mean",
        "delta": "ratio",
        "location": "on",
        "margin": "ring",
        "margin_mm": 2,
        "gabor_filter": "on",
        "colour": "channels",
    }
    spec = spec_of(config, fingerprint(a=Intensity.HOUNSFIELD, b=Intensity.UNIT))
    again = ExtractionSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert [b.key for c in again.channels for b in again.blocks(c)] == [
        b.key for c in spec.channels for b in spec.blocks(c)
    ]


def keys(**changes) -> dict[tuple[Kind, str, float | None], str]:
    spec = spec_of(CONFIG | changes, fingerprint(image=Intensity.BYTE))
    blocks = spec.blocks(spec.channels[0])
    assert len({block.key for block in blocks}) == len(blocks)
    return {(b.kind, b.filter.name, b.filter.sigma_mm): b.key for b in blocks}


def differing(one: dict, other: dict) -> set[Kind]:
    return {name[0] for name in one.keys() & other.keys() if one[name] != other[name]}


def test_bin_settings_touch_textures_only():
    assert differing(keys(), keys(bin_count=64)) == {Kind.TEXTURE}


def test_normalisation_touches_first_order_only():
    assert differing(keys(), keys(normalise="none")) == {Kind.FIRSTORDER}


def test_outliers_and_grids_leave_what_does_not_depend_on_them():
    intensity = {Kind.FIRSTORDER, Kind.TEXTURE}
    assert differing(keys(), keys(outliers="drop")) == intensity
    assert differing(keys(), keys(margin="eroded", margin_mm=2)) == intensity | {Kind.SHAPE, Kind.CONTOUR}
    grid = keys(resample="isotropic", resample_mm=2, interpolator="linear")
    assert differing(grid, keys(resample="isotropic", resample_mm=2, interpolator="cubic")) == intensity
    assert differing(keys(), keys(aggregation="2d")) == {Kind.TEXTURE}


def test_filters_add_blocks_and_change_none():
    plain = keys(log_filter="none", wavelet="none")
    assert differing(plain, keys()) == set()
    assert plain.keys() < keys(log_filter="fine", wavelet="none").keys() < keys().keys()
    switches = ("intensity_filters", "gradient_filter", "pattern_filter", "gabor_filter")
    for switch in switches:
        assert differing(keys(), keys(**{switch: "on"})) == set()
        assert keys().keys() < keys(**{switch: "on"}).keys()
    spec = spec_of(CONFIG | dict.fromkeys(switches, "on"), fingerprint((0.01, 0.01), image=Intensity.BYTE))
    assert spec.other_filters[-1] == Filter(name="gabor", sigma_mm=0.02)


def test_colours_come_after_the_brightness_and_share_its_outline():
    facts = fingerprint(image=Intensity.BYTE)
    plain, colour = (spec_of(CONFIG | {"colour": choice}, facts) for choice in ("luminance", "channels"))
    grey, every = (spec.blocks(spec.channels[0]) for spec in (plain, colour))
    assert every[: len(grey)] == grey
    assert len(every) - len(grey) == 3 * 2 * len(plain.filters)
    assert {block.kind for block in every[len(grey) :]} == {Kind.FIRSTORDER, Kind.TEXTURE}


@pytest.mark.parametrize(("kind", "value"), [("count", 1), ("count", 129), ("width", 0.0), ("width", -1.0)])
def test_binning_out_of_range_is_refused(kind, value):
    with pytest.raises(AutoOncoError, match="bin"):
        Binning(kind=kind, value=value)


def test_filtered_images_have_a_fixed_number_of_levels_whatever_the_unit():
    """A bin width means something in the image's own unit alone."""
    config = CONFIG | dict.fromkeys(("intensity_filters", "gradient_filter", "pattern_filter"), "on")
    for unit, original in (
        (Intensity.HOUNSFIELD, "width"),
        (Intensity.SUV, "width"),
        (Intensity.BYTE, "count"),
    ):
        spec = spec_of(config, fingerprint(image=unit))
        textures = [block for block in spec.blocks(spec.channels[0]) if block.kind is Kind.TEXTURE]
        assert [b.binning.kind for b in textures] == [original] + ["count"] * (len(textures) - 1)
        assert len({b.binning for b in textures[1:]}) == 1
    plain = spec_of(config, fingerprint(image=Intensity.HOUNSFIELD)).to_json()
    del plain["channels"][0]["filtered_binning"]  # as models of older versions were stored
    older = ExtractionSpec.from_json(plain)
    assert {b.binning.kind for b in older.blocks(older.channels[0]) if b.binning} == {"width"}
