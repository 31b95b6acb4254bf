"""Volumes at the edge of what there is: thin, coarse, cut off, turned, on grids of their own, of four dimensions."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Intensity, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.preprocessing import VolumeView
from autoonco.errors import DataError
from autoonco.families import get_family
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.cubes import cube_spec
from autoonco.nets.inputs import InputSpec, crop
from autoonco.tabular.pipeline import complete

CENTRE = np.array([5.0, -3.0, 12.0])


def write_case(
    folder: Path,
    *,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    direction: np.ndarray | None = None,
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    radius_mm: float = 8.0,
    name: str = "a",
) -> Case:
    """Write a ball about `CENTRE` in smooth tissue, both made of formulas, in a scan centred `offset_mm` from it."""
    axes = np.eye(3) if direction is None else direction
    middle = (np.array(size) - 1) / 2
    origin = CENTRE + offset_mm - axes @ (middle * spacing)
    index = np.moveaxis(np.indices(size[::-1])[::-1], 0, -1)
    places = index * np.array(spacing) @ axes.T + origin
    ball = np.linalg.norm(places - CENTRE, axis=-1) < radius_mm
    values = 0.3 + 0.1 * np.sin(places[..., 0] / 6) + 0.1 * np.sin(places[..., 1] / 8 + 1) + 0.4 * ball
    paths = {}
    for kind, array in (("image", values.astype(np.float32)), ("mask", ball.astype(np.uint8))):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        image.SetOrigin(origin.tolist())
        image.SetDirection(axes.ravel().tolist())
        paths[kind] = folder / f"{name}_{kind}.nii.gz"
        sitk.WriteImage(image, str(paths[kind]))
    return Case(
        case=name, patient=name, images={"image": paths["image"]}, masks={"mask": paths["mask"]}, row=1
    )


def spec_of(view: VolumeView) -> InputSpec:
    return InputSpec(intensity={"image": Intensity.UNIT}, view=view, ndim=3)


CUBE = VolumeView(size=16, extent_mm=32.0, mask="channel")
SCANS = {
    "three slices": {"size": (40, 40, 3), "spacing": (1.0, 1.0, 6.0)},
    "one slice": {"size": (40, 40, 1), "spacing": (1.0, 1.0, 5.0)},
    "0.3 x 0.3 x 9 mm": {"size": (160, 160, 5), "spacing": (0.3, 0.3, 9.0)},
    "at the border": {"size": (30, 30, 20), "spacing": (1.0, 1.0, 2.0), "offset_mm": (14.0, -14.0, 0.0)},
    "in the corner": {"size": (30, 30, 20), "spacing": (1.0, 1.0, 2.0), "offset_mm": (14.0, 14.0, 19.0)},
    "tiny lesion": {"size": (30, 30, 20), "spacing": (2.0, 2.0, 2.0), "radius_mm": 1.8},
}


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
@pytest.mark.parametrize("depth", [None, 8])
def test_odd_scans_give_cubes_that_show_the_lesion(scan: dict, depth: int | None, tmp_path: Path) -> None:
    case = write_case(tmp_path, **scan)
    view = dataclasses.replace(CUBE, depth=depth)
    for cache in (None, ArtefactCache(tmp_path / "cache")):
        seen = crop(case, spec_of(view), cache)
        assert seen.shape == (2, *view.sides)
        image, mask = seen
        assert mask.any()
        assert image[mask > 128].mean() > image[mask < 64].mean() if (mask > 128).any() else mask.max() > 0
    middle = np.argwhere(seen[1] > seen[1].max() / 2).mean(axis=0)
    assert np.abs(middle / view.sides - 0.5).max() < 0.15  # what there is of the lesion is centred


ORIENTATIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "upside down": np.diag([1.0, -1.0, -1.0]),
}


@pytest.mark.parametrize("mask", ["channel", "attention", "none"])
def test_mixed_orientations_give_one_cube(mask: str, tmp_path: Path) -> None:
    """Scans of one patient, turned each its own way, of cubic voxels: the network can't tell which is which."""
    view = dataclasses.replace(CUBE, mask=mask)
    seen = [
        crop(
            write_case(tmp_path, size=(40, 40, 40), spacing=(1.0,) * 3, direction=axes, name=name),
            spec_of(view),
        )
        for name, axes in ORIENTATIONS.items()
    ]
    for other in seen[1:]:
        assert np.abs(seen[0].astype(int) - other).max() <= 12  # voxels do not lie on one another
        assert np.abs(seen[0].astype(int) - other).mean() < 1


@pytest.mark.parametrize(
    ("axes", "size", "spacing"),
    [
        (np.eye(3), (40, 40, 8), (1.0, 1.0, 5.0)),
        (ORIENTATIONS["coronal"], (40, 40, 8), (1.0, 1.0, 5.0)),
        (ORIENTATIONS["sagittal"], (40, 40, 8), (1.0, 1.0, 5.0)),
        (np.eye(3), (8, 40, 40), (5.0, 1.0, 1.0)),
    ],
)
def test_layers_of_a_cube_are_the_slices_of_the_scan(
    axes: np.ndarray, size: tuple, spacing: tuple, tmp_path: Path
) -> None:
    """A plate across the slices is seen whole in one layer, whichever way the scan was taken, and never mirrored."""
    from autoonco.data.preprocessing import volume_grid
    from autoonco.data.readers import read_scan

    case = write_case(tmp_path, size=size, spacing=spacing, direction=axes)
    scan = read_scan(case, "image")
    grid = volume_grid([scan], dataclasses.replace(CUBE, depth=8))
    assert grid.GetSize() == (16, 16, 8)
    turn = np.array(grid.GetDirection()).reshape(3, 3)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    thick = axes[:, int(np.argmax(spacing))]
    assert abs(turn[:, 2] @ thick) == pytest.approx(1.0)
    np.testing.assert_allclose(grid.GetSpacing(), (2.0, 2.0, 4.0))


def test_sequences_on_grids_of_their_own_are_sampled_on_one(tmp_path: Path) -> None:
    """The same ball as an MR, a PET and a CT would show it, each on its own grid: channels lie on one another."""
    grids = [
        {"size": (40, 40, 24), "spacing": (1.0, 1.0, 2.0)},
        {"size": (20, 20, 12), "spacing": (3.0, 3.0, 4.0), "direction": ORIENTATIONS["RAS"]},
        {"size": (60, 24, 60), "spacing": (0.9, 2.0, 0.9), "direction": ORIENTATIONS["coronal"]},
    ]
    names = ("mr", "pet", "ct")
    parts = [write_case(tmp_path, name=name, **grid) for name, grid in zip(names, grids, strict=True)]
    case = Case(
        case="x",
        patient="x",
        images={name: part.images["image"] for name, part in zip(names, parts, strict=True)},
        masks={name: part.masks["mask"] for name, part in zip(names, parts, strict=True)},
        row=1,
    )
    spec = InputSpec(intensity=dict.fromkeys(names, Intensity.UNIT), view=CUBE, ndim=3)
    seen = crop(case, spec, ArtefactCache(tmp_path / "cache")).astype(float)
    assert seen.shape == (4, 16, 16, 16)
    for one, other in itertools.combinations(seen[:3], 2):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.75  # voxels of 3 and 4 mm blur the ball
    for one in seen[:3]:
        assert one[seen[3] > 200].mean() > 1.5 * one[seen[3] < 50].mean()


def test_four_dimensions_are_refused_in_a_sentence_or_taken_by_volume(tmp_path: Path) -> None:
    case = write_case(tmp_path, size=(20, 20, 10), spacing=(1.0, 1.0, 2.0))
    image = sitk.ReadImage(str(case.images["image"]))
    many = sitk.JoinSeries([image, image])
    path = tmp_path / "many.nii.gz"
    sitk.WriteImage(many, str(path))
    with pytest.raises(DataError, match=r"row 1.*(4D|dimensions|volumes)"):
        crop(dataclasses.replace(case, images={"image": path}), spec_of(CUBE))
    table = tmp_path / "one.csv"
    table.write_text(f"image,mask\n{path.name}[1],a_mask.nii.gz\n")
    (picked,) = Dataset.from_csv(table, labelled=False).cases
    assert (crop(picked, spec_of(CUBE)) == crop(case, spec_of(CUBE))).all()


@pytest.mark.slow
def test_thick_slices_train_and_predict_with_few_layers(tmp_path: Path) -> None:
    """From the manifest to probabilities, 0.3 x 0.3 x 9 mm, cut off at the border for half of the cases."""
    rows = []
    for number in range(6):
        scan = SCANS["0.3 x 0.3 x 9 mm"] | ({"offset_mm": (22.0, 0.0, 0.0)} if number % 2 else {})
        case = write_case(tmp_path, name=f"n{number}", radius_mm=6.0 + number, **scan)
        rows.append(f"{case.images['image'].name},{case.masks['mask'].name},{'ab'[number % 2]}")
    manifest = tmp_path / "m.csv"
    manifest.write_text("image,mask,label\n" + "\n".join(rows))
    data = Dataset.from_csv(manifest)
    known = fingerprint(data, inspect(data))
    family = get_family("volumetric3d")
    chosen = {"network": "monai_resnet10", "size": 32, "layers": "slices", "training:batch_size": 8}
    config = complete(family.space(known), chosen)
    assert cube_spec(config, known).shape[1:] == (8, 32, 32)
    context = FitContext(
        runtime=Runtime(artefacts=ArtefactCache(tmp_path / "cache")), fingerprint=known, seed=0
    )
    model = family.fit(config, data.cases, data.y, fidelity=Fidelity(folds=1, epochs=1), context=context)
    proba = model.predict_proba(data.unlabelled().cases)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    (found,) = model.explain(data.cases[:1], 1)
    assert found.map.shape == (5, 160, 160)
