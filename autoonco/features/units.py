"""In which unit a feature is: lengths are millimetres, intensities what the image's grey values are in."""

from __future__ import annotations

from autoonco.features.nomenclature import NOT_FILTERED, describe

NONE = "1"
"""What has no unit."""
GREY = "grey value"
"""The unit of the image's grey values: Hounsfield, SUV, or whatever the scanner gives."""
_SHAPE = {
    "MeshVolume": "mm³",
    "VoxelVolume": "mm³",
    "SurfaceArea": "mm²",
    "MeshSurface": "mm²",
    "PixelSurface": "mm²",
    "Perimeter": "mm",
    "SurfaceVolumeRatio": "1/mm",
    "PerimeterSurfaceRatio": "1/mm",
}
_LENGTHS = ("AxisLength", "Diameter", "DiameterSlice", "DiameterRow", "DiameterColumn")
_FIRST_ORDER = {
    "Energy": "{grey}²",
    "TotalEnergy": "{grey}² mm³",
    "Variance": "{grey}²",
    "Entropy": "bit",
    "Uniformity": NONE,
    "Skewness": NONE,
    "Kurtosis": NONE,
}


def unit_of(column: str) -> str:
    """Return the unit of a column of a feature table; empty for one that no extraction of autoonco makes.

    Textures are of numbered grey levels, outlines and locations relative to the lesion and the image: they have none.
    Of a filtered image the grey value is the filter's answer. ``TotalEnergy`` of a picture counts mm².

    Examples
    --------
    >>> [unit_of(name) for name in ("original_shape_MeshVolume", "original_shape2D_MajorAxisLength")]
    ['mm³', 'mm']
    >>> unit_of("ct:original_firstorder_Variance"), unit_of("wavelet-LLH_firstorder_Mean")
    ('grey value²', 'filtered grey value')
    >>> unit_of("original_glcm_Contrast"), unit_of("original_shape_Sphericity"), unit_of("age")
    ('1', '1', '')
    """
    known = describe(column)
    if not known.feature_class:
        return ""
    kind, _, feature = column.rpartition(":")[2].rpartition("_")
    kind = kind.rpartition("_")[2]
    if kind.startswith("shape"):
        return _SHAPE.get(feature, "mm" if feature.endswith(_LENGTHS) else NONE)
    if kind != "firstorder":
        return NONE
    grey = GREY if known.filter == NOT_FILTERED else f"filtered {GREY}"
    return _FIRST_ORDER.get(feature, "{grey}").format(grey=grey)
