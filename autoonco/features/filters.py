"""Filtered images beyond LoG and wavelets: pyradiomics' transforms and gradient, local patterns and Gabor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.features.gabor import gabor, wavelength_of
from autoonco.features.local_patterns import local_binary_pattern_2d, local_binary_pattern_3d
from autoonco.features.surroundings import Edge, with_room, without_room

if TYPE_CHECKING:
    from autoonco.features.images import Roi

Floats = NDArray[np.float64]
Transform = Callable[[Floats, float], Floats]
# Each maps the largest magnitude m to m, so that a transformed image keeps the range of its grey values.
TRANSFORMS: dict[str, Transform] = {
    "square": lambda x, m: x**2 / m,
    "squareroot": lambda x, m: np.sign(x) * np.sqrt(np.abs(x) * m),
    "logarithm": lambda x, m: np.sign(x) * np.log1p(np.abs(x)) * (m / np.log1p(m)),
    "exponential": lambda x, m: np.exp(x / m * np.log(m)),
}
PATTERNS_3D = ("count", "mean", "deviation")
FILTERS = (*TRANSFORMS, "gradient", "lbp", "gabor")
"""Names that `filtered` and `filtered_names` know."""


def filtered(roi: Roi, name: str, *, sigma_mm: float | None = None) -> dict[str, Floats]:
    """Return what the filter `name` makes of the grey values within the lesion's box, by name of the image.

    Parameters
    ----------
    roi
        The lesion.
    name
        One of `FILTERS`.
    sigma_mm
        σ of ``gabor``, whose wavelength is that of one octave of bandwidth; nothing for the others.

    Returns
    -------
    dict
        float64 arrays of the box's shape by the names of `filtered_names`.

    Raises
    ------
    UnknownNameError
        If there is no such filter.
    AutoOncoError
        If ``gabor`` has no σ.

    Examples
    --------
    >>> from autoonco.features.images import Roi
    >>> roi = Roi(image=np.eye(9), mask=np.eye(9) > 0, box=(slice(0, 9),) * 2, spacing_mm=(1.0, 1.0))
    >>> list(filtered(roi, "gabor", sigma_mm=2.0))
    ['gabor-sigma-2-0-mm-2D']
    """
    names = filtered_names(name, roi.image.ndim, sigma_mm=sigma_mm)
    if name in TRANSFORMS:
        return {names[0]: intensity_transform(name, roi.image[roi.box], image=roi.image)}
    if name == "gradient":
        return {names[0]: gradient_magnitude(roi)}
    if name == "lbp":
        patterns = {names[0]: local_binary_pattern_2d(roi)}
        if roi.image.ndim == 3:
            patterns |= {f"lbp-3D-{part}": found for part, found in local_binary_pattern_3d(roi).items()}
        return patterns
    sigma = _sigma(sigma_mm)
    return {names[0]: gabor(roi, sigma_mm=sigma, wavelength_mm=wavelength_of(sigma))}


def filtered_names(name: str, ndim: int, *, sigma_mm: float | None = None) -> tuple[str, ...]:
    """Return the names of `filtered` without computing any: pyradiomics' where it has the filter.

    Examples
    --------
    >>> filtered_names("square", 2), filtered_names("lbp", 3)
    (('square',), ('lbp-2D', 'lbp-3D-count', 'lbp-3D-mean', 'lbp-3D-deviation'))
    """
    if name not in FILTERS:
        raise UnknownNameError("filter", name, FILTERS)
    if name == "lbp":
        return ("lbp-2D", *(f"lbp-3D-{part}" for part in PATTERNS_3D if ndim == 3))
    if name == "gabor":
        return (f"gabor-sigma-{str(_sigma(sigma_mm)).replace('.', '-')}-mm-2D",)
    return (name,)


def intensity_transform(name: str, image_in_box: NDArray[Any], *, image: NDArray[Any]) -> Floats:
    """Return pyradiomics' square, squareroot, logarithm or exponential of grey values x.

    With a the magnitude of x and m the largest of the whole image: a²/m; √(ma) and m ln(a + 1) / ln(m + 1), both
    with the sign of x; m^(x/m).

    Parameters
    ----------
    name
        One of ``TRANSFORMS``.
    image_in_box
        Grey values to transform.
    image
        The whole image, which gives the scale.

    Returns
    -------
    NDArray
        float64, shape of `image_in_box`: NaN where that is, and 0 where the whole image is.

    Raises
    ------
    UnknownNameError
        If there is no such transform.

    Examples
    --------
    >>> intensity_transform("squareroot", np.array([-4.0, 1.0]), image=np.array([-4.0, 1.0])).tolist()
    [-4.0, 2.0]
    """
    if name not in TRANSFORMS:
        raise UnknownNameError("intensity transform", name, TRANSFORMS)
    values = image_in_box.astype(np.float64)
    # Not of |image|: the whole image would be held a second time.
    known = [float(end) for end in (np.fmin.reduce(image, axis=None), np.fmax.reduce(image, axis=None))]
    largest = max(abs(end) for end in known)
    if largest == 0:
        return np.zeros_like(values)
    return TRANSFORMS[name](values, largest)


def gradient_magnitude(roi: Roi) -> Floats:
    """Return the length of the gradient in grey values per mm within the lesion's box: pyradiomics' ``gradient``.

    From central differences, the border of the image repeated beyond it, as ITK's GradientMagnitude does.

    Returns
    -------
    NDArray
        float64, shape of the box; NaN where a NaN is next to a voxel along an axis.

    Examples
    --------
    >>> from autoonco.features.images import Roi
    >>> ramp = 4.0 * np.indices((3, 3))[1]
    >>> roi = Roi(image=ramp, mask=ramp == 4, box=(slice(0, 1), slice(1, 2)), spacing_mm=(1.0, 0.5))
    >>> gradient_magnitude(roi).tolist()
    [[8.0]]
    """
    room = [1] * roi.image.ndim
    values = with_room(roi, room, Edge.NEAREST)
    total = np.zeros(roi.lesion.shape)
    for axis, side in enumerate(roi.spacing_mm):
        others = [0 if other == axis else 1 for other in range(values.ndim)]
        lines = np.moveaxis(without_room(values, others), axis, 0)
        total += np.moveaxis((lines[2:] - lines[:-2]) / (2 * side), 0, axis) ** 2
    return np.sqrt(total)


def _sigma(sigma_mm: float | None) -> float:
    if sigma_mm is None:
        raise AutoOncoError(
            "the filter 'gabor' needs sigma_mm, got none: give the width of its window in mm."
        )
    return sigma_mm
