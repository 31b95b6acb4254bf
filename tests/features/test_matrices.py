"""Each matrix is what a loop over voxels, lines or connected components counts."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from autoonco.errors import AutoOncoError
from autoonco.features.matrices import MAX_LEVEL, SizeTable, count_matrices, directions

SHAPES = ((5, 6, 4), (1, 7, 5), (4, 1, 6), (3, 3, 3), (9, 8), (1, 9))


def array_of(seed: int) -> np.ndarray:
    """Few levels with gaps between them, in a lesion with holes."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    levels = rng.choice([1, 2, 5, 9][: 1 + seed % 4], shape)
    lesion = rng.random(shape) < rng.uniform(0.3, 1.0)
    lesion.flat[0] = True
    return np.where(lesion, levels, 0)


def around(levels: np.ndarray, at: tuple[int, ...], steps) -> list[int]:
    """Levels of the neighbours within the lesion."""
    found = []
    for step in steps:
        place = tuple(int(a + s) for a, s in zip(at, step, strict=True))
        if all(0 <= p < side for p, side in zip(place, levels.shape, strict=True)) and levels[place]:
            found.append(int(levels[place]))
    return found


def all_steps(ndim: int, in_plane: bool) -> list[tuple[int, ...]]:
    steps = [step for step in product((-1, 0, 1), repeat=ndim) if any(step)]
    return [step for step in steps if not (in_plane and ndim == 3 and step[0])]


def cells(table: SizeTable, levels: np.ndarray) -> list[Counter]:
    """The table as counts by level and size, one counter a group."""
    found = [Counter() for _ in range(table.n_groups)]
    for group, level, size, count in zip(table.group, table.level, table.size, table.count, strict=True):
        found[group][int(levels[level]), int(size)] += int(count)
    return found


def lines(levels: np.ndarray, step: np.ndarray) -> list[list[int]]:
    """The levels along each line in direction `step`, from border to border."""
    found = []
    inside = set(np.ndindex(levels.shape))
    for start in inside:
        if tuple(np.subtract(start, step)) in inside:
            continue
        line, at = [], start
        while at in inside:
            line.append(int(levels[at]))
            at = tuple(np.add(at, step).tolist())
        found.append(line)
    return found


def runs_of(line: list[int]) -> Counter:
    found: Counter = Counter()
    begin = 0
    for end in range(1, len(line) + 1):
        if end == len(line) or line[end] != line[begin]:
            if line[begin]:
                found[line[begin], end - begin] += 1
            begin = end
    return found


@pytest.mark.parametrize("in_plane", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_matrices_against_loops(seed, in_plane):
    levels = array_of(seed)
    found = count_matrices(levels, in_plane=in_plane)
    present = found.levels
    assert present.tolist() == sorted(set(levels.ravel().tolist()) - {0})
    rank = {int(level): index for index, level in enumerate(present)}
    half = directions(levels.ndim, in_plane=in_plane)
    glcm, glrlm, voxels = [], [], [tuple(at) for at in np.argwhere(levels).tolist()]
    for step in half:
        pairs = np.zeros((len(present), len(present)), dtype=int)
        for at in voxels:
            for neighbour in around(levels, at, (step, -step)):
                pairs[rank[int(levels[at])], rank[neighbour]] += 1
        all_lines = lines(levels, step)
        if pairs.any():
            glcm.append(pairs)
        if any(np.count_nonzero(line) > 1 for line in all_lines):
            glrlm.append(sum((runs_of(line) for line in all_lines), Counter()))
    np.testing.assert_array_equal(found.glcm, np.reshape(glcm, found.glcm.shape))
    assert cells(found.glrlm, present) == glrlm

    gldm, ngtdm = Counter(), np.zeros((3, len(present)))
    for at in voxels:
        level, neighbours = int(levels[at]), around(levels, at, all_steps(levels.ndim, in_plane))
        gldm[level, 1 + neighbours.count(level)] += 1
        ngtdm[0 if neighbours else 1, rank[level]] += 1
        ngtdm[2, rank[level]] += abs(level - np.mean(neighbours)) if neighbours else 0
    assert cells(found.gldm, present) == [gldm]
    np.testing.assert_allclose(found.ngtdm, ngtdm, rtol=1e-12)


@pytest.mark.parametrize("in_plane", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_zones_are_connected_components(seed, in_plane):
    levels = array_of(seed)
    neighbours = np.ones((3,) * levels.ndim, dtype=bool)
    if in_plane and levels.ndim == 3:
        neighbours[[0, 2]] = False
    expected: Counter = Counter()
    for level in np.unique(levels[levels > 0]).tolist():
        labels, _ = ndimage.label(levels == level, structure=neighbours)
        expected.update((level, int(size)) for size in np.bincount(labels.ravel())[1:])
    found = count_matrices(levels, in_plane=in_plane)
    assert cells(found.glszm, found.levels) == [expected]


def test_directions_are_half_of_all_neighbours():
    for ndim, in_plane, n in ((3, False, 13), (3, True, 4), (2, False, 4), (2, True, 4)):
        half = {tuple(step) for step in directions(ndim, in_plane=in_plane).tolist()}
        opposite = {tuple(-s for s in step) for step in half}
        assert len(half) == n
        assert half | opposite == set(all_steps(ndim, in_plane))


def test_empty_margins_and_the_type_of_the_levels_change_nothing():
    levels = array_of(0)
    wide = np.pad(levels, ((3, 0), (1, 2), (0, 4)))
    one = count_matrices(levels)
    for other in (count_matrices(wide.astype(np.uint8)), count_matrices(np.asfortranarray(wide))):
        np.testing.assert_array_equal(one.glcm, other.glcm)
        np.testing.assert_array_equal(one.ngtdm, other.ngtdm)
        assert cells(one.glrlm, one.levels) == cells(other.glrlm, other.levels)
        assert cells(one.glszm, one.levels) == cells(other.glszm, other.levels)


def test_mirrored_lesions_have_the_same_zones_and_dependences():
    levels = array_of(6)
    one, other = count_matrices(levels), count_matrices(levels[::-1, :, ::-1])
    assert cells(one.glszm, one.levels) == cells(other.glszm, other.levels)
    assert cells(one.gldm, one.levels) == cells(other.gldm, other.levels)
    np.testing.assert_array_equal(one.glcm.sum(axis=0), other.glcm.sum(axis=0))


def test_the_input_is_left_as_it_was():
    levels = array_of(3)
    before = levels.copy()
    count_matrices(levels)
    np.testing.assert_array_equal(levels, before)


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        (np.zeros((3, 3), dtype=int), "without any"),
        (np.zeros((0, 3), dtype=int), "without any"),
        (np.ones(3, dtype=int), r"\(z, y, x\) or \(y, x\)"),
        (np.array([[1, -1]]), "got -1 to 1"),
        (np.array([[1, MAX_LEVEL + 1]]), "wider bins"),
    ],
)
def test_errors_say_what_is_wrong(levels, says):
    with pytest.raises(AutoOncoError, match=says):
        count_matrices(levels)
