"""From a config of the radiomics space to what is extracted: measured units and spacing decide what settings mean."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.features.conventions import Aggregation
from autoonco.features.delta import Delta
from autoonco.features.lesions import LesionMode
from autoonco.features.spec import (
    Binning,
    ChannelSpec,
    ExtractionSpec,
    Filter,
    Margin,
    Normalise,
    Preparation,
)

PLAUSIBLE_SPACING_MM = (0.2, 3.0)
"""In-plane spacings for which filter scales in millimetres make sense; else scales count pixels."""
LOG_SIGMAS: dict[str, tuple[float, ...]] = {"none": (), "fine": (1.0,), "multiscale": (1.0, 2.0, 3.0)}
BODY_HU = (-1000.0, 400.0)
"""Air to soft tissue and contrast; bone and metal above it (IBSI-1's configurations C and E)."""
OUTLIER_SIGMAS = 3.0
"""IBSI-1's configurations D and E, after Collewet et al., Magn Reson Imaging 2004;22:81."""
ANISOTROPIC = 1.5
"""From this ratio of slice distance to pixel size on, features by slice are a choice."""
INTENSITY_FILTERS = ("square", "squareroot", "logarithm", "exponential")
FILTER_CHOICES = {
    "intensity_filters": INTENSITY_FILTERS,
    "gradient_filter": ("gradient",),
    "pattern_filter": ("lbp",),
    "gabor_filter": ("gabor",),
}
"""The switches of the space and the filters that each puts on."""
WIDTHS = {Intensity.HOUNSFIELD: "bin_width", Intensity.SUV: "suv_width"}
"""The units that mean the same in every scan, and the setting of a bin's width in each."""
FILTERED_LEVELS = 32.0
"""Of filtered images where the original is binned by width: a response has another unit and scale, for which IBSI-2
advises a fixed number of levels (Whybra et al., Radiology 2024;310:e231319)."""
GABOR_SIGMA = 2.0
"""σ of the Gabor filter in units of `scale_unit_mm`."""


def spec_of(config: Mapping[str, Any], fingerprint: Fingerprint) -> ExtractionSpec:
    """Return the spec of a radiomics config (see ``spaces/radiomics.yaml``) on this kind of data."""
    unit = scale_unit_mm(fingerprint.spacing_mm)
    wavelet = config["wavelet"]
    delta = config.get("delta", "none")
    return ExtractionSpec(
        ndim=fingerprint.ndim,
        channels=tuple(_channel(name, config, fingerprint) for name in fingerprint.channels),
        log_sigmas_mm=tuple(_round(sigma * unit) for sigma in LOG_SIGMAS[config["log_filter"]]),
        wavelet=None if wavelet == "none" else wavelet,
        other_filters=tuple(
            Filter(name=name, sigma_mm=_round(GABOR_SIGMA * unit) if name == "gabor" else None)
            for switch, names in FILTER_CHOICES.items()
            for name in names
            if config.get(switch, "off") == "on"
        ),
        aggregation=Aggregation(config.get("aggregation", "3d")),
        location=config.get("location", "off") == "on",
        delta=None if delta == "none" else Delta(delta),
    )


def _channel(name: str, config: Mapping[str, Any], fingerprint: Fingerprint) -> ChannelSpec:
    """Return the channel's settings: the measured unit of its grey values decides width against count."""
    unit = fingerprint.intensity[name]
    preparation = _preparation(
        config, scale_unit_mm(fingerprint.spacing_mm), is_hounsfield=unit is Intensity.HOUNSFIELD
    )
    if unit in WIDTHS:
        binning = Binning(kind="width", value=float(config[WIDTHS[unit]]))
        filtered = Binning(kind="count", value=FILTERED_LEVELS)
        return ChannelSpec(name=name, binning=binning, filtered_binning=filtered, preparation=preparation)
    return ChannelSpec(
        name=name,
        binning=Binning(kind="count", value=float(config["bin_count"])),
        normalise=Normalise(config["normalise"]),
        preparation=preparation,
        by_colour=config.get("colour", "luminance") == "channels",
    )


def _preparation(config: Mapping[str, Any], unit_mm: float, *, is_hounsfield: bool) -> Preparation:
    grid = config.get("resample", "none")
    margin = Margin(config.get("margin", "drawn"))
    is_body = is_hounsfield and config.get("value_range", "all") == "body"
    return Preparation(
        spacing_mm=None if grid == "none" else float(config["resample_mm"]),
        in_plane=grid == "in_plane",
        cubic=grid != "none" and config["interpolator"] == "cubic",
        margin=margin,
        margin_mm=0.0 if margin is Margin.DRAWN else _round(config["margin_mm"] * unit_mm),
        lesions=LesionMode(config.get("lesions", "union")),
        value_range=BODY_HU if is_body else None,
        sigmas=OUTLIER_SIGMAS if config.get("outliers", "keep") == "drop" else None,
    )


def absent_settings(fingerprint: Fingerprint) -> set[str]:
    """Return the hyperparameters of ``spaces/radiomics.yaml`` that would change nothing on these data."""
    units = set(fingerprint.intensity.values())
    absent = {setting for unit, setting in WIDTHS.items() if unit not in units}
    if Intensity.HOUNSFIELD not in units:
        absent.add("value_range")
    if units <= WIDTHS.keys():
        absent |= {"bin_count", "normalise"}
    if not fingerprint.is_colour:
        absent.add("colour")
    grid = {"resample", "resample_mm", "interpolator"}
    if fingerprint.ndim == 2:
        absent |= grid | {"aggregation"}
    else:
        in_plane = median(fingerprint.spacing_mm[:2])
        absent |= grid if not _is_plausible(in_plane) else set()
        absent |= {"aggregation"} if fingerprint.spacing_mm[2] < ANISOTROPIC * in_plane else set()
    if len(fingerprint.channels) == 1:
        absent.add("delta")
    return absent


def _is_plausible(in_plane_mm: float) -> bool:
    low, high = PLAUSIBLE_SPACING_MM
    return low <= in_plane_mm <= high


def _round(value: float) -> float:
    """Return `value` without the noise of its last digits, which would be another name in the cache."""
    return float(f"{value:.6g}")


def scale_unit_mm(spacing_mm: tuple[float, ...]) -> float:
    """Return what a filter scale of 1 is in millimetres: 1, or a pixel where the spacing is no scanner's.

    Examples
    --------
    >>> scale_unit_mm((0.7, 0.7, 5.0)), scale_unit_mm((0.004, 0.004))
    (1.0, 0.004)
    """
    in_plane = median(spacing_mm[:2])
    return 1.0 if _is_plausible(in_plane) else in_plane
