"""A model file gives the same probabilities, to 1e-6, whatever the process, its cores and its threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import autoonco
from autoonco.bundle import Content, write_bundle
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.families import get_family
from autoonco.families.contract import FitContext, FittedModel, Runtime
from autoonco.families.state import write_state
from autoonco.tabular.pipeline import complete
from tests.exporting.kinds import VOLUMES, frozen, trained_2d, trained_3d

N = 16
PREDICT = """
import json, os, sys
n_cores = int(sys.argv[1])
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:n_cores]))
import autoonco
print(json.dumps(autoonco.load(sys.argv[2], device="cpu").predict_proba(sys.argv[3]).tolist()))
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with a lesion each, brighter and larger in every other one."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(8)
    lines = ["case,image,mask"]
    for number in range(N):
        mask = np.zeros((12, 24, 24), np.uint8)
        mask[3 : 7 + number % 3, 6 : 13 + number % 4, 8 : 15 + number % 2] = 1
        values = rng.normal(40, 60, mask.shape) + (90 + 40 * (number % 2)) * mask
        for name, array in (("image", values.astype(np.float32)), ("mask", mask)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(volume, folder / f"{name}{number}.nii.gz")
        lines.append(f"{number},image{number}.nii.gz,mask{number}.nii.gz")
    (folder / "scans.csv").write_text("\n".join(lines) + "\n")
    return folder / "scans.csv"


def radiomics(cases: tuple[Case, ...], learner: str, runtime: Runtime) -> FittedModel:
    family = get_family("radiomics")
    config = complete(family.space(VOLUMES), {"learner": learner})
    config |= {name: 15 for name in config if name.endswith("n_estimators")}
    fidelity = family.plan(config, 1.0, inner_folds=3, n_train=N)
    context = FitContext(runtime=runtime, fingerprint=VOLUMES, seed=0)
    return family.fit(config, cases, np.arange(N) % 2, fidelity=fidelity, context=context)


@pytest.mark.slow
def test_processes_of_one_and_of_two_cores_agree(manifest: Path, tmp_path: Path) -> None:
    """Features and embeddings are made anew in each, for none has a cache of another's."""
    cases = autoonco.Dataset.from_csv(manifest, labelled=False).cases
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "here"))
    members = []
    for number, (family, model) in enumerate(
        (
            ("radiomics", radiomics(cases, "logistic_regression", runtime)),
            ("radiomics", radiomics(cases, "xgboost", runtime)),
            ("pretrained2d", trained_2d(runtime)),
            ("pretrained2d", frozen(runtime, cases, linear=False)),
            ("volumetric3d", trained_3d(runtime)),
        )
    ):
        write_state(tmp_path / str(number), model.state())
        members.append((family, 0.2, tmp_path / str(number)))
    path = tmp_path / "model.onco"
    write_bundle(path, Content(members=members, classes=["no", "yes"], fingerprint=VOLUMES, facts={}))

    def predicted(n_cores: int) -> np.ndarray:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(n_cores))
        cache = {"AUTOONCO_CACHE_DIR": str(tmp_path / f"cache of {n_cores}")}
        done = subprocess.run(
            [sys.executable, "-c", PREDICT, str(n_cores), str(path), str(manifest)],
            env=os.environ | threads | cache,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return np.array(json.loads(done.stdout))

    one, two = predicted(1), predicted(2)
    assert np.ptp(one[:, 1]) > 0.01  # a model that says the same of all would agree with itself too
    np.testing.assert_allclose(two, one, atol=1e-6, rtol=0)
    here = autoonco.load(path, device="cpu").predict_proba(manifest)
    np.testing.assert_allclose(here, one, atol=1e-6, rtol=0)
