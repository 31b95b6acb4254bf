"""Predicting a scan whose lesion is pointed at or boxed in: who can answer, and what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

import autoonco
from autoonco.bundle import Bundle
from autoonco.cli import app
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Intensity
from autoonco.data.mark import point
from autoonco.data.preprocessing import SliceView, VolumeView
from autoonco.errors import DataError, OutlineNeededError
from autoonco.families.contract import Runtime
from autoonco.families.networks import TrainedNetwork
from autoonco.nets.builders import build_3d
from autoonco.nets.inputs import InputSpec, crop
from tests.fingerprints import PICTURES

CENTRE = (4.0, -6.0, 10.0)
FINGERPRINT = dataclasses.replace(
    PICTURES, ndim=3, channels=("image",), intensity={"image": Intensity.UNIT}, spacing_mm=(1.0, 1.0, 2.0),
    shape=(48, 44, 26), lesion_mm=(12.0, 12.0, 12.0), has_mask=True, is_colour=False,
)  # fmt: skip


@pytest.fixture
def scan(tmp_path: Path) -> tuple[Path, Path]:
    """Write a ball in noise, turned and without a mask in its name, and the mask."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((26, 44, 48))
    origin = np.array([20.0, 18.0, -18.0])
    places = origin + np.stack([-x, -y, 2.0 * z], axis=-1)
    ball = np.linalg.norm(places - CENTRE, axis=-1) < 6
    paths = tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz"
    for path, values in zip(paths, (0.3 + 0.5 * ball + rng.normal(0, 0.02, ball.shape), ball), strict=True):
        image = sitk.GetImageFromArray(values.astype(np.uint8 if values.dtype == bool else np.float32))
        image.SetSpacing((1.0, 1.0, 2.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        image.SetOrigin(origin.tolist())
        sitk.WriteImage(image, str(path))
    return paths


class Outlines:
    """A member that measures within a mask, as radiomics does."""

    no_map = "It sees a table."

    def predict_proba(self, cases: Sequence[Case]) -> np.ndarray:
        raise OutlineNeededError(f"row {cases[0].row}: it is measured within the outline: give a mask.")


def network(tmp_path: Path, view: SliceView | VolumeView) -> TrainedNetwork:
    spec = InputSpec(intensity={"image": Intensity.UNIT}, view=view, ndim=3)
    made = build_3d("monai_resnet10", n_classes=2, in_channels=spec.shape[0], size=16, seed=1).eval()
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "cache"))
    return TrainedNetwork(network=made, build={}, spec=spec, runtime=runtime)


def model(*members: tuple[float, Any]) -> autoonco.AutoOncoClassifier:
    found = autoonco.AutoOncoClassifier()
    names = tuple("radiomics" if isinstance(one, Outlines) else "volumetric3d" for _, one in members)
    bundle = Bundle(classes=("no", "yes"), fingerprint=FINGERPRINT, members=members, facts={}, families=names)
    found._predict_with(bundle, Path("x.onco"))
    return found


CUBE = VolumeView(size=16, extent_mm=24.0)


def test_a_point_finds_what_the_mask_does(scan: tuple[Path, Path], tmp_path: Path) -> None:
    image, mask = scan
    given = network(tmp_path, CUBE)
    clf = model((1.0, given))
    drawn = Case(case="a", patient="a", images={"image": image}, masks={"mask": mask}, row=1)
    truth = clf.predict_proba([drawn])
    for places in (
        {"lesion": CENTRE},
        {"lesion": (-4.0, 6.0, 10.0), "axes": "RAS"},
        {"box": ((-2, -12, 4), (10, 0, 16))},
    ):
        found = clf.predict_table([image], **places)
        np.testing.assert_allclose(found[["probability_no", "probability_yes"]], truth, atol=0.03)
        assert found["status"].tolist() == ["ok"]
        how = "boxed in" if "box" in places else "pointed at"
        assert found["message"].str.contains(how).all()
        assert clf.predict(image, **places).tolist() == clf.predict([drawn]).tolist()
    seen = [
        crop(case, given.spec) for case in (drawn, dataclasses.replace(drawn, masks={}, mark=point(CENTRE)))
    ]
    assert np.abs(seen[0].astype(int) - seen[1]).mean() < 4  # a voxel off at most
    (other,) = (crop(dataclasses.replace(drawn, masks={}, mark=point((-8.0, 5.0, 0.0))), given.spec),)
    assert np.abs(seen[0].astype(int) - other).mean() > 10


def test_members_that_need_an_outline_leave_the_answer_to_the_others(
    scan: tuple[Path, Path], tmp_path: Path
) -> None:
    given = network(tmp_path, CUBE)
    table = model((0.7, Outlines()), (0.3, given)).predict_table([scan[0]], lesion=CENTRE)
    alone = model((1.0, given)).predict_proba([scan[0]], lesion=CENTRE)
    assert table["status"].tolist() == ["partial"]
    assert "enough for volumetric3d alone" in table["message"][0]
    np.testing.assert_allclose(table[["probability_no", "probability_yes"]], alone)


@pytest.mark.parametrize("mask", ["channel", "attention"])
def test_where_all_need_an_outline_a_mask_is_asked_for(
    mask: str, scan: tuple[Path, Path], tmp_path: Path
) -> None:
    sees = network(tmp_path, dataclasses.replace(CUBE, mask=mask))
    table = model((0.5, Outlines()), (0.5, sees)).predict_table([scan[0]], lesion=CENTRE)
    assert table["status"].tolist() == ["error"]
    assert "give a mask" in table["message"][0]
    with pytest.raises(DataError, match="mask"):
        model((1.0, sees)).predict_proba([scan[0]], lesion=CENTRE)


def test_radiomics_refuses_a_place(scan: tuple[Path, Path]) -> None:
    from autoonco.features.blocks import _read

    case = Case(case="a", patient="a", images={"image": scan[0]}, mark=point(CENTRE), row=3)
    with pytest.raises(OutlineNeededError, match="row 3: radiomic features"):
        _read(case, "image", 3)


def test_a_manifest_may_point_and_a_wrong_place_loses_no_other(
    scan: tuple[Path, Path], tmp_path: Path
) -> None:
    table = tmp_path / "new.csv"
    table.write_text(
        "case,image,lesion_x,lesion_y,lesion_z\n"
        f"a,{scan[0].name},4,-6,10\nb,{scan[0].name},400,0,0\nc,{scan[0].name},,,\n"
    )
    found = model((1.0, network(tmp_path, CUBE))).predict_table(table)
    assert found["status"].tolist() == ["ok", "error", "error"]
    assert "lies outside of the scan" in found["message"][1]
    assert "mask" in found["message"][2]


def test_a_map_is_of_the_members_that_can_do_with_a_place(scan: tuple[Path, Path], tmp_path: Path) -> None:
    clf = model((0.7, Outlines()), (0.3, network(tmp_path, CUBE)))
    found = clf.explain(scan[0], "yes", lesion=CENTRE)
    assert found.map.shape == (26, 44, 48)
    written = sitk.ReadImage(str(found.save(tmp_path / "map.nii.gz")))
    truth = sitk.ReadImage(str(scan[0]))
    np.testing.assert_allclose(written.GetOrigin(), truth.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(written.GetDirection(), truth.GetDirection(), atol=1e-6)


def test_slices_are_taken_through_the_middle_of_what_is_marked(scan: tuple[Path, Path]) -> None:
    view = SliceView(size=32, focus="lesion", margin=0.5, use_mask=True)
    spec = InputSpec(intensity={"image": Intensity.UNIT}, view=view, ndim=3)
    drawn = Case(case="a", patient="a", images={"image": scan[0]}, masks={"mask": scan[1]}, row=1)

    def alike(place: tuple[float, float, float]) -> float:
        mark = dataclasses.replace(point(place), usual_mm=(12.0, 12.0, 12.0))
        seen = [crop(case, spec) for case in (drawn, dataclasses.replace(drawn, masks={}, mark=mark))]
        return float(np.corrcoef(*(one.ravel() for one in seen))[0, 1])

    assert alike(CENTRE) > 0.8  # a pixel off at most
    assert alike((-6.0, 2.0, 4.0)) < 0.6


def test_the_command_line_points_too(
    scan: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clf = model((1.0, network(tmp_path, CUBE)))
    monkeypatch.setattr("autoonco.classifier.load", lambda *_, **__: clf)
    (tmp_path / "m.onco").touch()
    expected = clf.predict_table([scan[0]], lesion=CENTRE)
    for number, options in enumerate(
        (["--lesion=4,-6,10"], ["--lesion=-4,6,10", "--axes", "RAS"], ["--box=-2,-12,4,10,0,16"])
    ):
        out = tmp_path / f"{number}.csv"
        result = CliRunner().invoke(
            app, ["predict", str(tmp_path / "m.onco"), str(scan[0]), *options, "-o", str(out)]
        )
        assert result.exit_code == 0, result.output
        found = pd.read_csv(out)
        np.testing.assert_allclose(found["probability_yes"], expected["probability_yes"], atol=0.03)
