"""Three small volumes, and a model file of four kinds of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import autoonco
from autoonco.bundle import Content, write_bundle
from autoonco.data.cache import ArtefactCache
from autoonco.families.contract import Runtime
from autoonco.families.state import write_state
from tests.exporting.kinds import VOLUMES, frozen, trained_2d, trained_3d


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of three volumes with a lesion each, of another size."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(5)
    lines = ["case,image,mask"]
    for number in range(3):
        mask = np.zeros((12, 24, 24), np.uint8)
        mask[3 : 6 + number, 6 : 14 + number, 8:16] = 1
        values = rng.normal(40, 60, mask.shape).astype(np.float32) + 120 * mask
        for name, array in (("image", values), ("mask", mask)):
            picture = sitk.GetImageFromArray(array)
            picture.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(picture, folder / f"{name}{number}.nii.gz")
        lines.append(f"SECRETCASE{number},image{number}.nii.gz,mask{number}.nii.gz")
    (folder / "scans.csv").write_text("\n".join(lines) + "\n")
    return folder / "scans.csv"


@pytest.fixture(scope="session")
def model(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> autoonco.AutoOncoClassifier:
    """A loaded model file with members 0 trained 2D, 1 frozen and pipeline, 2 frozen and linear, 3 trained 3D."""
    folder = tmp_path_factory.mktemp("model")
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    cases = autoonco.Dataset.from_csv(scans, labelled=False).cases
    made = [
        ("pretrained2d", trained_2d(runtime, views=2)),
        ("pretrained2d", frozen(runtime, cases, linear=False)),
        ("pretrained2d", frozen(runtime, cases, linear=True)),
        ("volumetric3d", trained_3d(runtime)),
    ]
    members = []
    for number, (family, fitted) in enumerate(made):
        write_state(folder / str(number), fitted.state())
        members.append((family, 0.25, folder / str(number)))
    facts = {"metric": "roc_auc", "inner_score": 0.5, "versions": {"python": "3.11.7", "numpy": "2.4.6"}}
    write_bundle(
        folder / "model.onco",
        Content(members=members, classes=["no", "yes"], fingerprint=VOLUMES, facts=facts),
    )
    return autoonco.load(folder / "model.onco", device="cpu")
