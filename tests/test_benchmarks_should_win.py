"""The tasks that one kind of model alone can solve are made as they say: proven on mirrored pairs and on pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, Intensity, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.preprocessing import SliceView
from autoonco.data.readers import Scan
from autoonco.families import get_family
from autoonco.families.contract import Config, Fidelity, FitContext, Runtime
from autoonco.families.cubes import cube_spec
from autoonco.features.blocks import extract_table
from autoonco.features.choices import spec_of
from autoonco.nets.views import pictures
from autoonco.tabular.pipeline import complete
from benchmarks.families_should_win import FAMILIES, SEES, configs_of, shares, told_arms, winner
from benchmarks.should_win_tasks import (
    TASKS,
    WINNERS,
    Volume,
    as_image,
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


def slants_of(volume: Volume) -> tuple[float, float]:
    """Return by how many degrees the bars in front and behind lean, found in their spectra."""
    inside = np.argwhere(volume.mask)
    middle = round(inside[:, 1].mean())
    found = []
    for part in (volume.image[:, middle - 9 : middle - 4], volume.image[:, middle + 5 : middle + 9]):
        plate = part.mean(axis=1)
        power = np.abs(np.fft.fft2(plate - plate.mean(), (256, 256))) ** 2
        frequency = np.fft.fftfreq(256)
        length = np.hypot(*np.meshgrid(frequency, frequency, indexing="ij"))
        power[(length < 1 / 14) | (length > 1 / 4)] = (
            0  # neither the plate's own shape nor what is finer than bars
        )
        z, x = np.unravel_index(power.argmax(), power.shape)
        found.append(float(np.rad2deg(np.arctan(frequency[z] / frequency[x]))))
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("label", [0, 1])
def test_plates_cross_to_the_side_that_the_label_says_and_a_mirror_turns_them_around(
    seed: int, label: int
) -> None:
    volume = handedness(np.random.default_rng(seed), label)
    for one, hand in ((volume, 1 if label else -1), (mirrored(volume), -1 if label else 1)):
        front, behind = slants_of(one)
        assert front * hand == pytest.approx(35, abs=12)
        assert behind * hand == pytest.approx(-35, abs=12)


def seen(volume: Volume, view: SliceView) -> np.ndarray:
    """Return the pictures ``(n_pictures, n_channels, size, size)`` that a network of slices is shown."""
    scan = Scan(
        image=as_image(volume.image, volume.spacing_mm), mask=as_image(volume.mask, volume.spacing_mm)
    )
    return pictures([scan], [Intensity.ARBITRARY], view)


def both(seed: int) -> tuple[Volume, Volume]:
    """Return a left and a right case that are alike in all but how their bars lean, noise included."""
    return handedness(np.random.default_rng(seed), 0), handedness(np.random.default_rng(seed), 1)


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two pictures show something else, however their grey values are stretched."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.98


ONE = {"size": 96, "focus": "lesion", "use_mask": True}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gap", [0.0, 0.1, 0.25])
def test_of_neighbouring_slices_one_at_most_shows_bars(seed: int, gap: float) -> None:
    left, right = (seen(volume, SliceView(slices="adjacent", gap=gap, **ONE))[0] for volume in both(seed))
    assert len(left) == 3
    assert sum(map(differ, left, right)) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_of_three_planes_only_one_that_a_mirror_leaves_as_it_is_shows_bars(seed: int) -> None:
    planes = SliceView(slices="planes", **ONE)
    left, right = (seen(volume, planes)[:, 0] for volume in both(seed))
    (shows,) = [number for number in range(3) if differ(left[number], right[number])]
    mirror_image = seen(mirrored(both(seed)[0]), planes)[:, 0]
    assert not differ(left[shows], mirror_image[shows])


def test_slices_beyond_the_brim_do_show_bars() -> None:
    """So that the two tests above can fail."""
    left, right = (seen(volume, SliceView(slices="several", n_slices=5, **ONE))[:, 0] for volume in both(0))
    assert sum(map(differ, left, right)) >= 2


@pytest.mark.parametrize("seed", range(4))
def test_a_lesion_is_as_high_above_the_ball_as_below(seed: int) -> None:
    """So that the size of a slice does not say from where in a bag it is."""
    mask = handedness(np.random.default_rng(seed), 0).mask
    areas = mask.sum(axis=(1, 2))[mask.any(axis=(1, 2))]
    ball = areas[4:-4]
    assert np.abs(ball - ball[::-1]).max() < 0.2 * ball.max()
    assert areas.argmax() == 0


@pytest.mark.slow
def test_a_small_3d_network_that_is_taught_without_flips_tells_the_hand(tmp_path: Path) -> None:
    """And one that is taught on mirror images does not."""
    manifest = make_task("handedness", tmp_path, n_train=72, n_test=48)
    data = Dataset.from_csv(manifest)
    known = fingerprint(data, inspect(data))
    family = get_family("volumetric3d")
    small = {"network": "parametric3d", "architecture:width": 16, "size": 16, "extent": 1.0, "epochs": 8}
    config = complete(family.space(known), {**small, "augmentation:flips": "none", "training:batch_size": 8})
    artefacts = ArtefactCache(tmp_path / "cache")
    labels = data.y
    assert labels is not None

    def reached(config: Config) -> float:
        context = FitContext(runtime=Runtime(artefacts=artefacts), fingerprint=known, seed=0)
        model = family.fit(
            config, data.cases[:72], labels[:72], fidelity=Fidelity(folds=5, epochs=8), context=context
        )
        return float(roc_auc_score(labels[72:], model.predict_proba(data.cases[72:])[:, 1]))

    assert reached(config) >= SEES
    assert reached({**config, "augmentation:flips": "left_right"}) < 0.8


def test_networks_of_slices_are_tried_on_every_view(pairs: dict[str, tuple[Dataset, Fingerprint]]) -> None:
    _, known = pairs["handedness"]
    found = configs_of("pretrained2d", known)
    assert {str(config["slices"]) for config in found} >= {"largest", "adjacent", "planes", "several"}
    assert len({tuple(sorted(config.items())) for config in found}) > len(
        get_family("pretrained2d").defaults(known)
    )


def test_a_family_is_held_to_the_bar_that_the_task_sets_it(capsys: pytest.CaptureFixture[str]) -> None:
    told_arms({"radiomics": [0.5, 0.61], "volumetric3d": [0.4, 0.96], "pretrained2d": [0.6]}, "handedness")
    lines = capsys.readouterr().out.splitlines()
    assert ["MISSED" in line for line in lines] == [True, False, False]


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
