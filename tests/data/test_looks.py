"""What changes a look and what doesn't, and which images count as the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from autoonco.data.looks import NEAR, distances, look_alikes, look_of


def scene(seed: int, shape: tuple[int, ...] = (180, 240)) -> np.ndarray:
    """Blobs of random place and of several sizes, as tissue has."""
    rng = np.random.default_rng(seed)
    layers = [
        ndimage.gaussian_filter(rng.normal(size=shape), s) for s in np.array([1 / 12, 1 / 40]) * max(shape)
    ]
    return sum(40 * layer / layer.std() for layer in layers) + 100


def with_print(picture: np.ndarray) -> np.ndarray:
    """White strokes two pixels thin, four letters of them, where a scanner writes the side."""
    found = picture.copy()
    for left in (8, 16, 24, 32):
        found[10:18, left : left + 2] = 255
        found[10:12, left : left + 6] = 255
    return found


def distance(one: str, other: str) -> float:
    return bin(int(one, 16) ^ int(other, 16)).count("1") / (4 * len(one))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: ndimage.zoom(x, 0.5, order=1),
        lambda x: ndimage.zoom(x, 1.7, order=1),
        lambda x: 0.5 * x + 900,
        lambda x: x + np.random.default_rng(9).normal(size=x.shape) * 0.3 * x.std(),
        lambda x: np.asarray(Image.fromarray(np.clip(x, 0, 255).astype(np.uint8)).quantize(24).convert("L")),
        with_print,
        lambda x: x[2:-2, 3:-3],
    ],
    ids=["smaller", "larger", "brighter", "noisy", "few greys", "small print", "cropped a little"],
)
def test_a_picture_keeps_its_look(change) -> None:
    assert distance(look_of(scene(0)), look_of(change(scene(0)))) <= NEAR


def test_other_pictures_and_volumes_look_otherwise() -> None:
    for shape in ((180, 240), (20, 40, 50)):
        looks = [look_of(scene(seed, shape)) for seed in range(30)]
        assert look_alikes(looks, [str(i) for i in range(30)]) == []
        assert min(distance(looks[i], looks[j]) for i in range(30) for j in range(i)) > 2 * NEAR


def test_a_volume_keeps_its_look_on_another_grid() -> None:
    volume = scene(0, (30, 60, 60))
    assert distance(look_of(volume), look_of(ndimage.zoom(volume, (0.4, 0.6, 0.8), order=1))) <= NEAR


def test_distances_are_those_of_a_loop() -> None:
    looks = [look_of(scene(seed)) for seed in range(12)] + [look_of(scene(3))]
    found = np.concatenate([block for _, block in distances(looks)])
    expected = [[distance(one, other) for other in looks] for one in looks]
    np.testing.assert_allclose(found, expected)


def test_groups_are_chains_of_look_alikes_and_nothing_else() -> None:
    looks = [look_of(scene(seed)) for seed in range(20)]
    looks[7], looks[15], looks[4] = looks[2], looks[2], looks[9]
    assert look_alikes(looks, [str(i) for i in range(20)]) == [[2, 7, 15], [4, 9]]
    assert look_alikes([], []) == look_alikes(looks[:1], ["a"]) == []


def test_where_all_resemble_one_another_only_the_same_is_the_same() -> None:
    """Registered heads: one anatomy and little beside it. Without a narrower limit all would be one heap."""
    head = scene(0)
    looks = [look_of(head + 0.25 * (scene(seed) - 100)) for seed in range(1, 40)] + [look_of(1.1 * head + 5)]
    looks.append(looks[3])
    near = sum(distance(looks[i], looks[j]) <= NEAR for i in range(39) for j in range(i))
    assert near > 100
    assert look_alikes(looks, [str(i) for i in range(41)]) == [[3, 40]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 3), (1, 4, 4)])
def test_the_smallest_images_have_a_look(shape: tuple[int, ...]) -> None:
    assert len(look_of(np.random.default_rng(0).random(shape))) == {2: 64, 3: 54}[len(shape)]


def test_what_is_not_finite_counts_as_zero() -> None:
    picture = scene(0)
    holes = picture.copy()
    holes[:3], holes[3:5] = np.nan, np.inf
    filled = picture.copy()
    filled[:5] = 0
    assert look_of(holes) == look_of(filled)
