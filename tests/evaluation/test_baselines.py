from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.manifest import Dataset
from autoonco.evaluation import baselines

Y = np.tile([0, 1], 20)
TRAIN, TEST = np.arange(24), np.arange(24, 40)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """Discs and stars of the same mean area: the outline tells them apart, the size can't."""
    folder, rng, cases = tmp_path_factory.mktemp("lesions"), np.random.default_rng(0), []
    x, y = np.meshgrid(np.arange(80) - 40, np.arange(80) - 40)
    for i, label in enumerate(Y):
        radius, phase = rng.uniform(14, 22), rng.uniform(0, 2 * np.pi)
        edge = radius * (1 + 0.3 * label * np.sin(7 * np.arctan2(y, x) + phase)) / np.sqrt(1 + 0.045 * label)
        Image.fromarray(((np.hypot(x, y) < edge) * 255).astype(np.uint8)).save(folder / f"mask{i}.png")
        Image.fromarray(rng.integers(0, 255, (80, 80)).astype(np.uint8)).save(folder / f"{i}.png")
        cases.append(
            Case(
                case=str(i), patient=str(i), images={"image": folder / f"{i}.png"},
                masks={"mask": folder / f"mask{i}.png"}, row=i + 1,
            )
        )  # fmt: skip
    return Dataset(cases=tuple(cases), classes=("disc", "star"), y=Y)


def auc(x):
    return roc_auc_score(Y[TEST], baselines.baseline_proba(x, Y, TRAIN, TEST)[:, 1])


def test_the_outline_tells_stars_from_discs_and_the_size_does_not(lesions, tmp_path):
    outlines = baselines.lesion_outlines(lesions.cases, artefacts=ArtefactCache(tmp_path), n_threads=2)
    assert auc(outlines) == 1.0
    assert auc(baselines.lesion_sizes(inspect(lesions))) < 0.85


def test_sizes_are_areas_in_square_millimetres(lesions):
    sizes = np.exp(baselines.lesion_sizes(inspect(lesions))[:, 0])
    counted = [np.count_nonzero(np.asarray(Image.open(case.masks["mask"]))) for case in lesions.cases]
    np.testing.assert_allclose(sizes, counted)


def test_without_a_mask_there_is_no_baseline(lesions, tmp_path):
    bare = replace(lesions, cases=(replace(lesions.cases[0], masks={}), *lesions.cases[1:]))
    assert baselines.lesion_outlines(bare.cases, artefacts=ArtefactCache(tmp_path), n_threads=1) is None
    assert baselines.lesion_sizes(inspect(bare)) is None


def test_labels_of_test_cases_are_not_used(lesions):
    x = np.random.default_rng(0).normal(size=(40, 3))
    first = baselines.baseline_proba(x, Y, TRAIN, TEST)
    turned = np.where(np.isin(np.arange(40), TEST), 1 - Y, Y)
    np.testing.assert_array_equal(baselines.baseline_proba(x, turned, TRAIN, TEST), first)
