"""Extraction settings in words, as the methods part of a paper has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoonco.features.lesions import LesionMode
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec, Filter, Margin, Preparation

_AGGREGATIONS = {
    "2d": "features of each slice and direction averaged",
    "2d_merged": "matrices of a slice's directions summed, features of slices averaged",
    "2.5d": "matrices of slices summed for each direction, features of directions averaged",
    "2.5d_merged": "matrices of all slices and directions summed",
    "3d": "matrices of the volume for each direction, features of directions averaged",
    "3d_merged": "matrices of the volume's directions summed",
}
_LESIONS = {
    LesionMode.UNION: "taken together",
    LesionMode.LARGEST: "of which the largest counts",
    LesionMode.MEAN: "features averaged",
    LesionMode.MAX: "of each feature the maximum",
    LesionMode.SUM: "features summed",
}


def settings_rows(spec: ExtractionSpec, *, software: str) -> list[tuple[str, str]]:
    """Return the settings as (what, value), the order that of the processing."""
    rows = [("Software", software), ("Dimensions", f"{spec.ndim}D")]
    is_multiple = len(spec.channels) > 1
    for channel in spec.channels:
        where = f" ({channel.name})" if is_multiple else ""
        rows += [(f"{what}{where}", value) for what, value in _channel_rows(channel)]
    rows.append(("Images", ", ".join(_filter(item) for item in spec.filters)))
    if spec.ndim == 3:
        kind = str(spec.aggregation)
        rows.append(("Texture matrices", _AGGREGATIONS.get(kind, kind)))
    rows.append(("Location and orientation", "yes" if spec.location else "no"))
    if spec.delta is not None:
        rows.append(("Between channels", f"{spec.delta} of equal features"))
    return rows


def settings_sentence(spec: ExtractionSpec, *, software: str) -> str:
    """Return the settings as a sentence.

    Examples
    --------
    >>> from autoonco.features.spec import Binning
    >>> channel = ChannelSpec(name="image", binning=Binning(kind="width", value=25))
    >>> spec = ExtractionSpec(ndim=3, channels=(channel,), log_sigmas_mm=(1.0, 2.0))
    >>> settings_sentence(spec, software="x 1").split("; ")[:3]
    ['Features were computed with x 1 in 3D', 'grid: as scanned', 'mask: as drawn, several lesions taken together']
    """
    rows = settings_rows(spec, software=software)
    parts = [f"{what[0].lower()}{what[1:]}: {value}" for what, value in rows[2:]]
    return f"Features were computed with {software} in {spec.ndim}D; {'; '.join(parts)}."


def _channel_rows(channel: ChannelSpec) -> list[tuple[str, str]]:
    how, filtered = channel.preparation, channel.filtered_binning
    return [
        ("Grid", _grid(how)),
        ("Mask", _mask(how)),
        ("Grey values that count", _resegmentation(how)),
        ("Normalisation of first-order features", _normalisation(channel.normalise)),
        ("Discretisation", _binning(channel.binning)),
        *([] if filtered is None else [("Discretisation of filtered images", _binning(filtered))]),
    ]


def _normalisation(choice: Any) -> str:
    """Return the words for what is a switch, or a named choice."""
    if isinstance(choice, bool):
        return "z-score over the image" if choice else "none"
    return str(choice)


def _grid(how: Preparation) -> str:
    if how.spacing_mm is None:
        return "as scanned"
    where = "within slices" if how.in_plane else "in every direction"
    return f"{how.spacing_mm:g} mm {where}, {'cubic spline' if how.cubic else 'linear'} interpolation"


def _mask(how: Preparation) -> str:
    by = "" if how.margin is Margin.DRAWN else f" by {how.margin_mm:g} mm"
    margin = {Margin.DRAWN: "as drawn", Margin.RING: "ring around it"}.get(how.margin, str(how.margin))
    return f"{margin}{by}, several lesions {_LESIONS[how.lesions]}"


def _resegmentation(how: Preparation) -> str:
    parts = [] if how.value_range is None else [f"from {how.value_range[0]:g} to {how.value_range[1]:g}"]
    parts += [] if how.sigmas is None else [f"within {how.sigmas:g} standard deviations of the mean"]
    return " and ".join(parts) or "all"


def _binning(binning: Binning) -> str:
    if binning.kind == "width":
        return f"bins of width {binning.value:g}"
    return f"{binning.value:g} bins between minimum and maximum"


def _filter(item: Filter) -> str:
    if item.name == "log":
        return f"Laplacian of Gaussian (σ {item.sigma_mm:g} mm)"
    if item.name == "wavelet":
        return f"wavelet ({item.wavelet}, one level, all sub-bands)"
    return item.name if item.sigma_mm is None else f"{item.name} (σ {item.sigma_mm:g} mm)"


def described_classes(columns: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return (class, filtered image, number of features) of a table's columns, in their order."""
    from collections import Counter

    from autoonco.features.nomenclature import describe

    found = Counter(
        (item.feature_class or "other", f"{item.channel}: {item.filter}" if item.channel else item.filter)
        for item in map(describe, columns)
    )
    return [(*key, n) for key, n in found.items()]
