"""The tasks that one kind of model alone can solve are made as they say: proven on mirrored pairs and on pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families import get_family
from autoonco.families.cubes import cube_spec
from autoonco.features.blocks import extract_table
from autoonco.features.choices import spec_of
from benchmarks.families_should_win import FAMILIES, shares, winner
from benchmarks.should_win_tasks import (
    ARMS,
    HALF_TURNS,
    TASKS,
    THICKNESS,
    WINNERS,
    Volume,
    handedness,
    make_task,
    mirrored,
    outline,
    stripes,
    write,
)


@pytest.mark.parametrize("task", list(TASKS))
def test_a_task_is_written_balanced_and_the_same_again(task: str, tmp_path: Path) -> None:
    one, other = (make_task(task, tmp_path / name, n_train=4, n_test=2, seed=3) for name in "ab")
    table = pd.read_csv(one)
    assert table["split"].tolist() == ["train"] * 4 + ["test"] * 2
    assert table["label"].value_counts().tolist() == [3, 3]
    for file in ("images/0003.nii.gz", "masks/0003.nii.gz"):
        seen = [sitk.GetArrayFromImage(sitk.ReadImage(str(path.parent / file))) for path in (one, other)]
        assert (seen[0] == seen[1]).all()
    assert set(WINNERS[task]) <= set(FAMILIES)


def signs_of(volume: Volume) -> set[int]:
    """Return the handedness of each tripod that stands free, found by its corner and ends, not by how it was made."""
    bright = volume.image > 0.5 * (volume.image[volume.mask].mean() + volume.image.max())
    labels, n = ndimage.label(ndimage.binary_opening(bright, np.ones((2, 2, 2))))
    found = set()
    for number in range(1, n + 1):
        places = np.argwhere(labels == number)
        low, high = places.min(axis=0), places.max(axis=0)
        lengths = high - low + 1
        expected = np.array(ARMS[::-1]) + THICKNESS
        if np.abs(lengths - expected).max() > 1 or len(places) > 1.2 * THICKNESS**2 * (sum(ARMS) + THICKNESS):
            continue  # two that touch
        # the corner is where most of the voxels are: each arm leaves it to one side of the box
        median = np.median(places, axis=0)
        found.add(int(np.prod(np.sign((low + high) / 2 - median))))
    return found


def test_tripods_of_a_case_are_of_one_hand_and_a_mirror_makes_the_other() -> None:
    seen: dict[int, set[int]] = {0: set(), 1: set()}
    for seed in range(6):
        for label in (0, 1):
            volume = handedness(np.random.default_rng(seed), label)
            hands = signs_of(volume)
            assert signs_of(mirrored(volume)) == {-hand for hand in hands}
            seen[label] |= hands
    assert sorted(map(len, seen.values())) == [1, 1]
    assert seen[0] != seen[1]


def test_half_turns_are_turns_and_show_every_pair_of_arms_alike() -> None:
    assert all(np.linalg.det(np.diag(signs)) > 0 for signs in HALF_TURNS)
    for axes in ((0, 1), (0, 2), (1, 2)):
        for hand in (1, -1):
            seen = {tuple(signs[list(axes)]) for signs in HALF_TURNS * (1, 1, hand)}
            assert len(seen) == 4  # all that two arms can do, in both classes
    mirror = {tuple(signs) for signs in HALF_TURNS * (1, 1, -1)}
    assert not mirror & {tuple(signs) for signs in HALF_TURNS}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Dataset, Fingerprint]]:
    """Write six cases of each task that mirror images relate, and the mirror image of each."""
    found = {}
    for task in (handedness, stripes):
        folder, rows = tmp_path_factory.mktemp(task.__name__), []
        for number in range(6):
            volume = task(np.random.default_rng(number), number % 2)
            for kind, one in (("as made", volume), ("mirrored", mirrored(volume))):
                name = f"{number}{kind[0]}"
                write(folder / f"{name}.nii.gz", one.image, one.spacing_mm)
                write(folder / f"{name}m.nii.gz", one.mask, one.spacing_mm)
                label = (number + (kind == "mirrored")) % 2
                rows.append({"image": f"{name}.nii.gz", "mask": f"{name}m.nii.gz", "label": f"c{label}"})
        pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
        data = Dataset.from_csv(folder / "m.csv")
        found[task.__name__] = (data, fingerprint(data, inspect(data)))
    return found


@pytest.mark.parametrize("task", ["handedness", "stripes"])
def test_radiomics_of_a_case_and_its_mirror_image_are_equal(
    task: str, pairs: dict[str, tuple[Dataset, Fingerprint]], tmp_path: Path
) -> None:
    """The classes are mirror images of one another, so equal features of pairs are equal distributions of classes."""
    data, known = pairs[task]
    config = get_family("radiomics").defaults(known)[0]
    spec = spec_of(config, known)
    table, names = extract_table(data.cases, spec, artefacts=ArtefactCache(tmp_path), n_threads=1)
    one, other = table[::2], table[1::2]
    # wavelets are not symmetric, and where a lesion lies in the scan is left and right
    fair = [i for i, name in enumerate(names) if not name.startswith(("wavelet", "location"))]
    assert len(fair) > 50
    spread = np.nanstd(one[:, fair], axis=0)
    np.testing.assert_allclose(one[:, fair] / (spread + 1e-9), other[:, fair] / (spread + 1e-9), atol=0.02)


def test_only_one_diagonal_has_waves() -> None:
    """A slice's spectrum peaks along the diagonal that the label says."""
    powers = []
    for seed in range(8):
        volume = stripes(np.random.default_rng(seed), seed % 2)
        middle = (volume.image - volume.image.mean())[len(volume.image) // 2]
        spectrum = np.abs(np.fft.fft2(middle)) ** 2
        n = round(len(middle) / (3.0 * np.sqrt(2)))
        columns = slice(n - 2, n + 3), slice(-n - 2, -n + 3)
        same, opposite = (spectrum[n - 2 : n + 3, some].sum() for some in columns)
        powers.append(same / opposite)
    assert roc_auc_score(np.arange(8) % 2, powers) in (0.0, 1.0)
    assert min(max(power, 1 / power) for power in powers) > 5


def test_stripes_are_finer_than_cubes_of_the_usual_resolution_show(
    pairs: dict[str, tuple[Dataset, Fingerprint]],
) -> None:
    _, known = pairs["stripes"]
    config = get_family("volumetric3d").defaults(known)[0]
    view = cube_spec({"extent": 2.0, "crop": "fixed", **config, "size": 32}, known).view
    period_mm = 3.0 * 0.4
    assert view.extent_mm / view.size > period_mm / 2  # Nyquist


def test_an_outline_leaves_no_trace_in_the_grey_values() -> None:
    volumes = [outline(np.random.default_rng(seed), seed % 2) for seed in range(10)]
    inside = np.concatenate([v.image[v.mask] / v.image.mean() for v in volumes])
    outside = np.concatenate([v.image[~v.mask] / v.image.mean() for v in volumes])
    assert ks_2samp(inside[::50], outside[::500]).pvalue > 0.01
    moments = []
    for volume in (outline(np.random.default_rng(seed), seed % 2) for seed in range(40)):
        places = np.argwhere(volume.mask)
        length = np.sqrt(np.linalg.eigvalsh(np.cov(places.T)))
        moments.append(np.log(length[2] / length[1]) - np.log(length[1] / length[0]))
    assert roc_auc_score(np.arange(40) % 2, moments) > 0.9  # long against flat


def test_shuffled_labels_mean_nothing(tmp_path: Path) -> None:
    table = pd.read_csv(make_task("outline", tmp_path, n_train=12, n_test=0, seed=1, shuffled=True))
    assert table["label"].value_counts().tolist() == [6, 6]
    plain = make_task("outline", tmp_path / "plain", n_train=12, n_test=0, seed=1)
    differ = [
        not np.array_equal(
            sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f))),
            sitk.GetArrayFromImage(sitk.ReadImage(str(plain.parent / f))),
        )
        for f in table["mask"]
    ]
    assert 0 < sum(differ) <= 12


def test_the_winner_is_a_family_and_time_is_shared_among_them() -> None:
    table = pd.DataFrame({"model": ["ensemble", "radiomics", "volumetric3d"], "auc": [1.0, 0.7, 0.9]})
    assert winner(table) == "volumetric3d"
    trials = pd.DataFrame(
        {
            "family": ["radiomics", "volumetric3d", "volumetric3d"],
            "budget": [1.0, 0.1, 1.0],
            "score": [0.6, 0.99, 0.9],
            "seconds": [10.0, 10.0, 20.0],
        }
    )
    found = shares(trials).set_index("family")
    assert found.loc["volumetric3d"].tolist() == [2, 0.75, 0.9]
    assert found["share_of_time"].sum() == pytest.approx(1.0)
