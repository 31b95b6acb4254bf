"""Phantoms: reproducible, readable, as hard as they say."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.data.checks import Severity, findings, inspect
from autoonco.data.fingerprint import Intensity, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import CLASSES, TRAITS, _draw_traits, ceiling, make_new_scans, make_phantoms
from autoonco.data.readers import read_scan


def file_hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


@pytest.mark.parametrize("ndim", [2, 3])
def test_same_seed_same_files(tmp_path: Path, ndim: int) -> None:
    for name, n, seed in (("a", 8, 0), ("b", 8, 0), ("more", 12, 0), ("other", 8, 1)):
        make_phantoms(tmp_path / name, n=n, ndim=ndim, seed=seed)
    a, b, more, other = (file_hashes(tmp_path / name) for name in ("a", "b", "more", "other"))
    assert a == b
    files = set(a) - {"manifest.csv"}
    assert all(more[file] == a[file] for file in files)
    assert all(other[file] != a[file] for file in files)


@pytest.mark.parametrize(("ndim", "unit"), [(2, Intensity.BYTE), (3, Intensity.ARBITRARY)])
def test_phantoms_pass_the_data_check(tmp_path: Path, ndim: int, unit: Intensity) -> None:
    data = Dataset.from_csv(make_phantoms(tmp_path, n=40, ndim=ndim, seed=3))
    facts = inspect(data)
    assert [item for item in findings(data, facts) if item.severity is not Severity.NOTE] == []
    print_ = fingerprint(data, facts)
    assert (print_.ndim, print_.has_mask, print_.intensity) == (ndim, True, {"image": unit})
    assert data.classes == CLASSES
    assert print_.class_counts == (20, 20)
    assert data.split is not None
    assert data.y is not None
    assert data.sites is not None
    assert (data.split == "test").sum() == 12
    for label in (0, 1):  # neither scanner nor split tells the class
        assert (data.sites[data.y == label] == "north").sum() == 10
        assert (data.split[data.y == label] == "test").sum() == 6


def test_the_lesion_is_where_the_mask_says(tmp_path: Path) -> None:
    import SimpleITK as sitk

    data = Dataset.from_csv(make_phantoms(tmp_path, n=12, ndim=3))
    for case in data.cases:
        scan = read_scan(case, "image")
        values, inside = sitk.GetArrayFromImage(scan.image), sitk.GetArrayFromImage(scan.mask) > 0
        assert values[inside].mean() > 1.15 * values[~inside].mean()
        assert scan.image.GetSpacing() == (1.0, 1.0, 2.0)


def test_new_scans_carry_no_label_and_are_new(tmp_path: Path) -> None:
    old = make_phantoms(tmp_path / "old", n=6, ndim=2)
    new = make_new_scans(tmp_path / "new", n=6, ndim=2)
    assert {"label", "split"}.isdisjoint(pd.read_csv(new).columns)
    assert len(Dataset.from_csv(new, labelled=False)) == 6
    images = [set(file_hashes(path.parent / "images").values()) for path in (old, new)]
    assert not images[0] & images[1]


def test_traits_overlap_as_documented() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 4000)
    drawn = pd.DataFrame([_draw_traits(rng, int(label), 1.0) for label in y])
    for name, trait in TRAITS.items():
        expected = norm.cdf(trait.d_prime / math.sqrt(2))
        assert roc_auc_score(y, drawn[name]) == pytest.approx(expected, abs=0.02)
    best = sum(np.log(drawn[name]) / trait.log_sd * trait.d_prime for name, trait in TRAITS.items())
    assert roc_auc_score(y, best) == pytest.approx(ceiling(), abs=0.01)
    assert ceiling() < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_size_alone_is_weak_and_radiomics_strong_but_not_perfect(tmp_path: Path, ndim: int) -> None:
    radiomics = pytest.importorskip("radiomics", reason="pyradiomics (the extra `oracle`) is not installed")
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    radiomics.setVerbosity(50)
    data = Dataset.from_csv(make_phantoms(tmp_path, n=160, ndim=ndim))
    assert data.y is not None
    extractor = RadiomicsFeatureExtractor(binCount=32, force2D=ndim == 2)
    if ndim == 2:
        extractor.enableFeatureClassByName("shape2D")
    scans = [read_scan(case, "image") for case in data.cases]
    measured = [extractor.execute(scan.image, scan.mask) for scan in scans]
    x = np.array([[float(v) for k, v in row.items() if k.startswith("original")] for row in measured])
    facts = inspect(data)
    sizes = [case.channels["image"].lesion.voxels for case in facts]  # type: ignore[union-attr]
    assert 0.55 <= roc_auc_score(data.y, sizes) <= 0.8
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    proba = cross_val_predict(model, x, data.y, cv=folds, method="predict_proba")[:, 1]
    assert roc_auc_score(data.y, sizes) + 0.08 < roc_auc_score(data.y, proba) < 0.99
