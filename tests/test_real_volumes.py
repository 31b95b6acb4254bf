"""Real volumes: three modalities on grids of their own, by lung metastases and by grade, and nodules of two classes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

import autoonco
from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Intensity, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.families import get_family
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.cubes import cube_spec
from autoonco.nets.inputs import crop
from autoonco.settings import Settings
from autoonco.tabular.pipeline import complete

pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.mark.parametrize("label", ["label", "grade"])
def test_three_modalities_are_one_cube_and_a_map_lies_in_the_first(label, shared_data, tmp_path):
    data = Dataset.from_csv(shared_data / "sarcoma3d" / "labels.csv", label=label, complete=False)
    data = data.subset(np.flatnonzero(data.y >= 0))  # three patients have no grade
    few = data.subset(np.argsort(data.y, kind="stable")[:: len(data) // 8])
    known = fingerprint(few, inspect(few))
    assert known.intensity == {
        "mr_t1": Intensity.ARBITRARY,
        "pet": Intensity.SUV,
        "ct": Intensity.HOUNSFIELD,
    }
    family = get_family("volumetric3d")
    assert {"window", "uptake", "relative"} <= set(family.space(known))
    chosen = {"network": "monai_resnet10", "size": 24, "window": "three", "training:batch_size": 8}
    config = complete(family.space(known), chosen)
    spec = cube_spec(config, known)
    assert spec.shape[0] == 1 + 1 + 3 + 1  # MR, PET, three windows of CT, mask
    seen = crop(few.cases[0], spec)
    assert (seen.reshape(6, -1).max(axis=1) > 60).all()  # each modality shows something there
    runtime = Runtime(artefacts=ArtefactCache(tmp_path))
    context = FitContext(runtime=runtime, fingerprint=known, seed=0)
    model = family.fit(config, few.cases, few.y, fidelity=Fidelity(folds=1, epochs=1), context=context)
    proba = model.predict_proba(few.unlabelled().cases)
    assert proba.shape == (len(few), len(data.classes))
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    (found,) = model.explain(few.cases[:1], 0)
    written = sitk.ReadImage(str(found.save(tmp_path / "map.nii.gz")))
    scan = sitk.ReadImage(str(few.cases[0].images["mr_t1"]))
    assert written.GetSize() == scan.GetSize()
    np.testing.assert_allclose(written.GetOrigin(), scan.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(written.GetDirection(), scan.GetDirection(), atol=1e-5)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("lidc3d", {"classes": ("benign", "malignant")}),
        ("sarcoma3d", {}),
        ("sarcoma3d", {"label": "grade", "complete": False}),
    ],
    ids=["nodules", "lung metastases", "grade"],
)
def test_a_search_tries_every_family(data, options, shared_data, tmp_path):
    dataset = Dataset.from_csv(shared_data / data / "labels.csv", **options)
    clf = autoonco.fit(
        dataset,
        families=["radiomics", "pretrained2d", "volumetric3d"],
        time_limit="75s",
        evaluation="holdout",
        settings=Settings.preset("quick", on_bad_case="exclude"),
        run_dir=tmp_path / "run",
    )
    board = clf.leaderboard()
    assert {"radiomics", "pretrained2d", "volumetric3d"} <= set(board["family"])
    table = clf.result_.evaluation()
    assert "ensemble" in set(table["model"])
    assert clf.predict_proba(dataset.subset(range(2)).unlabelled()).shape == (2, len(dataset.classes))
