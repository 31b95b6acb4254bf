"""A lesion cut out of its scan, and its filtered images: crop with room for the filter, then filter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.grids import components, lesion_box, luminance
from autoonco.data.readers import Scan
from autoonco.errors import DataError
from autoonco.features.filters import filtered, filtered_names
from autoonco.features.recursive import laplacian
from autoonco.features.spec import Component, Filter, Normalise
from autoonco.features.wavelets import wavelet_bands

LOG_PAD_SIGMAS = 12.0
"""Room around the lesion for the recursive Gaussian, which there remembers 7e-8: as much as float32 tells apart."""
PERCENTILES = (1.0, 99.0)
"""Of an image's grey values: a few hot voxels don't set the scale."""
MIN_LOG_VOXELS = 4
"""The recursive Gaussian needs so many voxels along each axis."""


@dataclass(frozen=True, kw_only=True)
class Roi:
    """A grey image, a lesion on it and the lesion's box; arrays in (z, y, x) or (y, x) order.

    Parameters
    ----------
    image
        Grey values, float32 or float64; may hold NaN.
    mask
        True inside the lesion, same shape.
    box
        The smallest box that holds the lesion.
    spacing_mm
        Voxel sides in the order of the arrays' axes.
    """

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    box: tuple[slice, ...]
    spacing_mm: tuple[float, ...]

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """The mask within the box."""
        return self.mask[self.box]

    def normalised(self, how: Normalise = Normalise.ZSCORE) -> Roi:
        """Return the same lesion on grey values that are made comparable over the whole image.

        An image without contrast is 0 throughout.
        """
        if how is Normalise.NONE:
            return self
        values = self.image[np.isfinite(self.image)].astype(np.float64)
        if not values.size:
            return self
        if how is Normalise.PERCENTILE:
            zero, high = np.percentile(values, PERCENTILES)
            unit = high - zero
        else:
            zero, unit = values.mean(), values.std(ddof=1) if values.size > 1 else 0.0
        return replace(self, image=(self.image - zero) / (unit or 1.0))


def roi_of(scan: Scan, component: Component = Component.LUMINANCE) -> Roi:
    """Return the lesion of a scan on the brightness, or one colour, of a picture; grey is of every colour.

    A volume is turned to LPS first: features must not depend on how the file stores its axes.

    Raises
    ------
    DataError
        If there is no mask or it is empty. The message holds no row: the caller knows it.
    """
    if scan.mask is None:
        raise DataError("radiomics needs a mask of the lesion and there is none: name one in the manifest.")
    image, mask_image = _component(scan.image, component), scan.mask
    values, mask = sitk.GetArrayFromImage(image), sitk.GetArrayViewFromImage(mask_image) != 0
    spacing = image.GetSpacing()[::-1]
    if image.GetDimension() == 3:
        order, turned = _turn_to_lps(image)
        values, mask = (np.flip(array.transpose(order), turned) for array in (values, mask))
        spacing = tuple(spacing[axis] for axis in order)
    box = lesion_box(mask)
    if box is None:
        raise DataError("the mask is empty: draw the lesion or leave the case out.")
    return Roi(image=values, mask=mask, box=box, spacing_mm=spacing)


def _turn_to_lps(image: sitk.Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the order of a volume's arrays' axes, and which of them then are to be flipped, for LPS.

    Views of the arrays are turned, where `DICOMOrient` would copy a whole scan.
    """
    letters = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())[::-1]
    ends = ("SI", "PA", "LR")
    order = tuple(next(axis for axis in range(3) if letters[axis] in pair) for pair in ends)
    return order, tuple(axis for axis, pair in enumerate(ends) if letters[order[axis]] != pair[0])


def _component(image: sitk.Image, component: Component) -> sitk.Image:
    if component is Component.LUMINANCE or image.GetNumberOfComponentsPerPixel() == 1:
        return luminance(image)
    return components(image)[list(Component).index(component) - 1]


def responses(roi: Roi, item: Filter) -> dict[str, NDArray[Any]]:
    """Return the filtered images within the lesion's box by pyradiomics' name of the image type.

    Examples
    --------
    >>> roi = Roi(image=np.eye(9), mask=np.eye(9) > 0, box=(slice(0, 9),) * 2, spacing_mm=(1.0, 1.0))
    >>> list(responses(roi, Filter(name="wavelet", wavelet="coif1")))
    ['wavelet-LH', 'wavelet-HL', 'wavelet-HH', 'wavelet-LL']
    """
    names = response_names(item, roi.image.ndim)
    if item.name == "original":
        return {names[0]: roi.image[roi.box]}
    if item.name == "log" and item.sigma_mm is not None:
        return {names[0]: _laplacian_of_gaussian(roi, item.sigma_mm)}
    if item.name == "wavelet":
        bands = wavelet_bands(roi, str(item.wavelet))
        return {name: bands[name.removeprefix("wavelet-")] for name in names}
    return filtered(roi, item.name, sigma_mm=item.sigma_mm)


def response_names(item: Filter, ndim: int) -> tuple[str, ...]:
    """Return the names of `responses` without computing any.

    pyradiomics writes ``mm-3D`` for pictures as well; its names are kept so that tables can be compared.

    Examples
    --------
    >>> response_names(Filter(name="log", sigma_mm=1.0), 2)
    ('log-sigma-1-0-mm-3D',)
    """
    if item.name == "original":
        return ("original",)
    if item.name == "log":
        return (f"log-sigma-{str(item.sigma_mm).replace('.', '-')}-mm-3D",)
    if item.name != "wavelet":
        return filtered_names(item.name, ndim, sigma_mm=item.sigma_mm)
    bands = [format(number, f"0{ndim}b").replace("0", "L").replace("1", "H") for number in range(2**ndim)]
    return tuple(f"wavelet-{band}" for band in (*bands[1:], bands[0]))


def _laplacian_of_gaussian(roi: Roi, sigma_mm: float) -> NDArray[Any]:
    """Return the scale-normalised LoG, NaN where the image has too few voxels along an axis for it."""
    pads = [int(np.ceil(LOG_PAD_SIGMAS * sigma_mm / side)) for side in roi.spacing_mm]
    outer = tuple(
        slice(max(0, part.start - pad), min(length, part.stop + pad))
        for part, pad, length in zip(roi.box, pads, roi.image.shape, strict=True)
    )
    crop = roi.image[outer]
    needed = [max(MIN_LOG_VOXELS, np.ceil(sigma_mm / side) + 1) for side in roi.spacing_mm]
    if any(length < least for length, least in zip(crop.shape, needed, strict=True)):
        return np.full_like(roi.image[roi.box], np.nan)
    inner = tuple(
        slice(part.start - frame.start, part.stop - frame.start)
        for part, frame in zip(roi.box, outer, strict=True)
    )
    return laplacian(crop, inner, roi.spacing_mm, sigma_mm)
