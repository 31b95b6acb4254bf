"""The surface of a lesion as a triangle or line mesh: its measure, and how far apart its vertices are.

Vertices lie half-way between a voxel inside and its neighbour outside (marching cubes: Lorensen and Cline,
SIGGRAPH 1987). The 256 neighbourhoods of eight voxels have 254 kinds of surface pieces; each piece's area is
fixed and its share of the volume is linear in where it stands. So it suffices to count neighbourhoods and to sum
their positions, once: no triangle is ever made.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from autoonco.features.compiled import compiled

Floats = NDArray[np.float64]

# The triangles of neighbourhoods 1 to 127, three hexadecimal edge numbers each; 128 to 254 are their complements,
# turned inside out. Bit 4z + 2y + x of a neighbourhood says whether that voxel is inside; edges are numbered by
# their lower, then their upper end. Which pieces ambiguous faces get is chosen so that areas and volumes are those
# of pyradiomics, for every neighbourhood and any spacing; as there, some pairs of pieces leave a hole, so that the
# volume of a lesion with voxels that touch at an edge depends on its place: it is cropped to its box first.
_TRIANGLES = """
210 034 213423 516 650260 034516 426653463 357 102357 574054 742215725 167317 267730270 674164014 267427
892 910890 034892 913893483 516892 965895850 034516892 653963893483 357892 089109357 574054892
915895485745 167317892 967730970890 674164014892 674964894 4a8 2104a8 3a8038 821a81a13 5164a8 6502604a8
3a8038516 826653863a83 3574a8 1023574a8 7a8578058 215825a857a5 1673174a8 2677302704a8 1677a8178018
2677a8278 924a94 a91a104a0 3a9392032 913a93 516924a94 a96650a604a0 3a9392032516 653963a93 357924a94
04a10a1a9357 a927a2572052 a91a157a5 167317924a94 730670960a904a0 01606707a0a9092 967a97 69b 610b609b0290
03469b 29b42bb61b134b3 19b51b b509b0290 534b549b4401941 b539b3293423 5693599b7397 730b709b0290615
5690599b7974094 61574229b72b 3199b7397 730b709b0290 19bb741b4014 74229b72b b628b2 610b608b0
34838b3b6362032 8b6613863483 12851858b b508b0 2018b5853483 8b5853483 35636232838b3b7 730b708b0615
562052b748b4 615b748b4 8b7287127317 730b708b0 012b748b4 b748b4 ab64a6846986 610b60ab04a0982
ab63a6036698068 b61ab1a13982 9841945144ab54b b50ab04a0982 801981b53ab3 b53ab3982 984694564354ab7
430615982ab7 698568058ab7 615982ab7 319984394ab7 430982ab7 198018ab7 982ab7 624b64ab4 610b60ab04a0
3abb623b2032 b61ab1a13 1244ab14b51b b50ab04a0 201b53ab3 b53ab3 624564354ab7 430615ab7 562052ab7 615ab7
124314ab7 430ab7 012ab7 ab7
""".split()  # noqa: SIM905 - a list of 127 lines is harder to read  # noqa: SIM905 - a list literal would take a line each
_CORNERS = np.array([(i >> 2 & 1, i >> 1 & 1, i & 1) for i in range(8)], dtype=np.float64)
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1]
_MIDPOINTS = np.array([(_CORNERS[a] + _CORNERS[b]) / 2 for a, b in _EDGES])
_FEW_POINTS = 600  # all pairs of so many are quicker than their hull


@lru_cache(maxsize=8)
def _pieces(spacing_mm: tuple[float, float, float]) -> tuple[Floats, Floats, Floats]:
    """Return area, volume at the origin and normal of each neighbourhood: (256,), (256,), (256, 3)."""
    area, volume, normal = np.zeros(256), np.zeros(256), np.zeros((256, 3))
    for code, digits in enumerate(_TRIANGLES, start=1):
        numbers = np.array([int(digit, 16) for digit in digits]).reshape(-1, 3)
        a, b, c = np.moveaxis(_MIDPOINTS[numbers] * spacing_mm, 1, 0)
        cross = np.cross(b - a, c - a)
        area[[code, 255 - code]] = np.linalg.norm(cross, axis=1).sum() / 2
        volume[code] = np.einsum("ti,ti", a, np.cross(b, c)) / 6
        normal[code] = cross.sum(axis=0) / 6
    volume[128:255], normal[128:255] = -volume[127:0:-1], -normal[127:0:-1]
    return area, volume, normal


def surface_and_volume(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Return area and enclosed volume of the mesh around `mask` (z, y, x), in mm² and mm³ (IBSI C0JK, RNU0).

    Examples
    --------
    >>> area, volume = surface_and_volume(np.ones((1, 1, 1), dtype=bool), (1.0, 1.0, 1.0))  # an octahedron
    >>> round(area, 6), round(volume, 6)
    (1.732051, 0.166667)
    """
    code = _neighbourhoods(mask)
    # Neither all outside nor, as 255 + 1 is 0 in a byte, all inside.
    places = np.nonzero(code + np.uint8(1) > 1)
    codes = code[places]
    count = np.bincount(codes, minlength=256)
    sums = np.stack([np.bincount(codes, weights=place, minlength=256) for place in places], axis=1)
    area, volume, normal = _pieces(spacing_mm)
    # A tetrahedron moved by p gains p . (sum of its cross products) / 6; what is quadratic in p cancels.
    return float(count @ area), float(count @ volume + (sums * np.array(spacing_mm) * normal).sum())


def perimeter_and_area(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return length and enclosed area of the line mesh around `mask` (y, x), in mm and mm².

    Two pixels that touch at a corner are two outlines.

    Examples
    --------
    >>> length, area = perimeter_and_area(np.ones((1, 1), dtype=bool), (1.0, 1.0))
    >>> round(length, 6), area
    (2.828427, 0.5)
    """
    count = np.bincount(_neighbourhoods(mask).ravel(), minlength=16)
    height, width = spacing_mm
    # One or three of four inside cut a corner off, two diagonal ones two; two neighbours make a straight line.
    cut = count[[1, 2, 4, 8, 7, 11, 13, 14]].sum() + 2 * count[[6, 9]].sum()
    length = cut * np.hypot(height, width) / 2 + count[[3, 12]].sum() * width + count[[5, 10]].sum() * height
    eighths = count[[1, 2, 4, 8]].sum() + 4 * count[[3, 5, 10, 12]].sum() + 2 * count[[6, 9]].sum()
    eighths += 7 * count[[7, 11, 13, 14]].sum() + 8 * count[15]
    return float(length), float(eighths * height * width / 8)


def _neighbourhoods(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the code of every neighbourhood, from one voxel before `mask` to one after it."""
    code: NDArray[Any] = np.pad(mask, 1).astype(np.uint8)
    for weight, axis in enumerate(reversed(range(mask.ndim))):  # x is the lowest bit
        before = [slice(None)] * mask.ndim
        after = list(before)
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        code = code[tuple(before)] | (code[tuple(after)] << np.uint8(1 << weight))
    return code


def vertices(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the vertices of the mesh in half voxels, (n_vertices, n_axes): exact, so that planes can be told."""
    inside = np.pad(mask, 1)
    found = []
    for axis in range(mask.ndim):
        is_face = np.diff(inside, axis=axis)
        place = 2 * np.argwhere(is_face)
        place[:, axis] += 1
        found.append(place)
    return np.concatenate(found)


def largest_distance(points: NDArray[np.intp], spacing_mm: tuple[float, ...]) -> float:
    """Return the largest distance in mm between any two of `points`, given in half voxels; 0 for one point."""
    kept = _line_ends(points) * (np.array(spacing_mm) / 2)
    if len(kept) > _FEW_POINTS:
        with suppress(QhullError):  # raised where all points lie in a plane
            kept = kept[ConvexHull(kept).vertices]
    in_space = np.zeros((len(kept), 3))
    in_space[:, : kept.shape[1]] = kept
    return float(np.sqrt(_largest_square(in_space, np.array([0, len(kept)]))))


def largest_in_planes(points: NDArray[np.intp], axis: int, spacing_mm: tuple[float, ...]) -> float:
    """Return the largest distance in mm between two of `points`, in half voxels, of one plane across `axis`."""
    order = [axis, *(other for other in range(3) if other != axis)]
    ends = _line_ends(points[:, order])
    bounds = np.r_[0, np.flatnonzero(np.diff(ends[:, 0])) + 1, len(ends)]
    places = ends * (np.array(spacing_mm)[order] / 2)
    return float(np.sqrt(_largest_square(places, bounds)))


@compiled
def _largest_square(places: Floats, bounds: NDArray[np.intp]) -> float:
    """Return the largest squared distance between two places (n, 3) of one group, of all pairs."""
    largest = 0.0
    for group in range(len(bounds) - 1):
        for i in range(bounds[group], bounds[group + 1]):
            for j in range(i + 1, bounds[group + 1]):
                z, y, x = (
                    places[i, 0] - places[j, 0],
                    places[i, 1] - places[j, 1],
                    places[i, 2] - places[j, 2],
                )
                square = z * z + y * y + x * x
                if square > largest:
                    largest = square
    return largest


def _line_ends(points: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the first and the last point of every line along the last axis, in ascending order.

    None between them can be the farthest from anything.
    """
    low = points.min(axis=0)
    shape = tuple((points.max(axis=0) - low + 1).tolist())
    place = np.sort(np.ravel_multi_index(tuple((points - low).T), shape))
    is_new = np.diff(place // shape[-1]) > 0
    kept = place[np.r_[True, is_new] | np.r_[is_new, True]]
    ends: NDArray[np.intp] = np.stack(np.unravel_index(kept, shape), axis=1) + low
    return ends
