"""Several lesions of a case: how a mask is taken apart, and what becomes of their features."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.errors import AutoOncoError
from autoonco.features.lesions import LesionMode, join_lesions, lesion_masks, split_lesions
from autoonco.features.shape import shape_values


def flood(mask):
    """Sets of voxels that touch, found one voxel after another."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            part.add(voxel)
            near = {
                other for other in left if max(abs(a - b) for a, b in zip(voxel, other, strict=True)) <= 1
            }
            left -= near
            edge += near
        found.append(frozenset(part))
    return found


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_parts_of_one_label_are_those_of_a_flood(seed, ndim):
    rng = np.random.default_rng(seed)
    mask = rng.random((9,) * ndim) < (0.2 if ndim == 2 else 0.05)
    parts = [
        frozenset(map(tuple, np.argwhere(part).tolist())) for part in split_lesions(7 * mask.astype(int))
    ]
    assert len(parts) > 1
    assert set(parts) == set(flood(mask))
    assert [len(part) for part in parts] == sorted((len(part) for part in parts), reverse=True)


def test_labels_are_lesions_even_where_they_touch_and_where_they_are_torn():
    labels = np.array([[1, 2, 2, 0, 2], [1, 2, 2, 0, 0]])
    two, one = split_lesions(labels)
    assert np.array_equal(two, labels == 2)
    assert np.array_equal(one, labels == 1)


def test_of_equal_lesions_the_first_in_the_array_comes_first():
    first, second = split_lesions(np.array([[0, 9, 9, 0, 4, 4]]))
    assert first[0, 1]
    assert second[0, 4]


def test_an_empty_mask_has_no_lesions_and_no_features():
    assert split_lesions(np.zeros((3, 3), dtype=np.uint8)) == ()
    with pytest.raises(AutoOncoError, match="at least one voxel"):
        lesion_masks(np.zeros((3, 3), dtype=np.uint8), LesionMode.MEAN)


def test_each_mode_on_volumes_of_a_mask():
    labels = np.zeros((4, 4, 9), dtype=np.uint8)
    labels[1:3, 1:3, 1:4], labels[2, 2, 6:8] = 1, 1  # 12 and 2 voxels of 2 mm3
    expected = {"union": 28.0, "largest": 24.0, "mean": 14.0, "max": 24.0, "sum": 28.0}
    for mode in LesionMode:
        tables = [shape_values(mask, (2.0, 1.0, 1.0)) for mask in lesion_masks(labels, mode)]
        assert join_lesions(tables, mode)["VoxelVolume"] == expected[mode], mode
    united = shape_values(labels > 0, (2.0, 1.0, 1.0))
    (mask,) = lesion_masks(labels, LesionMode.UNION)
    assert join_lesions([shape_values(mask, (2.0, 1.0, 1.0))], LesionMode.UNION) == united


@pytest.mark.parametrize("mode", LesionMode)
def test_one_lesion_keeps_its_features(mode):
    table = {"a": 1.5, "b": float("nan"), "c": -2.0}
    assert join_lesions([table], mode) == pytest.approx(table, nan_ok=True)


@pytest.mark.parametrize("mode", [LesionMode.MEAN, LesionMode.MAX, LesionMode.SUM])
def test_order_is_irrelevant_and_a_lesion_too_small_for_a_feature_is_left_out(mode):
    tables = [{"a": 1.0, "b": float("nan")}, {"b": 4.0, "a": 3.0}, {"a": -7.0, "b": float("nan")}]
    found = join_lesions(tables, mode)
    assert found == pytest.approx(join_lesions(tables[::-1], mode))
    assert found["a"] == {"mean": -1.0, "max": 3.0, "sum": -3.0}[mode]
    assert found["b"] == 4.0


def test_what_cannot_be_joined_is_named():
    with pytest.raises(AutoOncoError, match="Lesion 2 has other features than lesion 1: b, c"):
        join_lesions([{"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0}], LesionMode.MEAN)
    with pytest.raises(AutoOncoError, match="union of 2 lesions"):
        join_lesions([{"a": 1.0}, {"a": 1.0}], LesionMode.UNION)
    with pytest.raises(AutoOncoError, match="got none"):
        join_lesions([], LesionMode.SUM)
