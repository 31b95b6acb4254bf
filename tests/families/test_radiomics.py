"""The family's contract: state restores, seeds repeat, labels stay out of prediction, every setting counts."""

from __future__ import annotations

import hashlib
import itertools
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ConfigSpace import Configuration

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.data.manifest import Dataset
from autoonco.errors import DataError, MissingDependencyError
from autoonco.families.contract import Fidelity, FitContext, ModelState, Runtime
from autoonco.families.radiomics import family
from autoonco.features.backend import BACKEND
from autoonco.resources import load_space
from autoonco.search.trial import FoldTask, Task
from autoonco.search.worker import run_fold
from autoonco.tabular.pipeline import complete


def fingerprint(ndim: int = 2, classes=("a", "b"), **changes) -> Fingerprint:
    facts = {
        "n_cases": 24,
        "n_patients": 24,
        "classes": classes,
        "class_counts": (24 // len(classes),) * len(classes),
        "ndim": ndim,
        "channels": ("image",),
        "is_colour": False,
        "has_mask": True,
        "clinical": (),
        "has_site": False,
        "spacing_mm": (1.0,) * ndim,
        "shape": (32,) * ndim,
        "lesion_mm": (12.0,) * ndim,
        "lesion_voxels": 100.0,
        "intensity": {"image": Intensity.BYTE},
    }
    return Fingerprint(**(facts | changes))


def write_case(folder: Path, row: int, label: int, ndim: int) -> Case:
    """A lesion whose contrast and lobes grow with the label."""
    rng = np.random.default_rng(row)
    axes = np.indices((32,) * ndim) - 15.5 + rng.normal(0, 1, (ndim,) + (1,) * ndim)
    angle = np.arctan2(axes[-1], axes[-2])
    radius = rng.uniform(6, 9) * (1 + 0.12 * label * np.cos(6 * angle))
    inside = np.sqrt((axes**2).sum(axis=0)) < radius
    values = rng.normal(100, 15, inside.shape) + inside * (20 + 15 * label)
    image, mask = folder / f"{row}.nii.gz", folder / f"{row}_mask.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(values.astype(np.float32)), image)
    sitk.WriteImage(sitk.GetImageFromArray(inside.astype(np.uint8)), mask)
    return Case(case=f"c{row}", patient=f"p{row}", images={"image": image}, masks={"mask": mask}, row=row)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("radiomics")


@pytest.fixture(scope="module")
def runtime(folder) -> Runtime:
    return Runtime(artefacts=ArtefactCache(folder / "cache"))


@pytest.fixture(scope="module", params=[(2, 2), (2, 3), (3, 2)], ids=["2D", "2D, 3 classes", "3D"])
def task(request, folder):
    ndim, n_classes = request.param
    y = np.tile(np.arange(n_classes), 24 // n_classes)
    cases = [write_case(folder, 1000 * ndim + 100 * n_classes + i, label, ndim) for i, label in enumerate(y)]
    return fingerprint(ndim, ("a", "b", "c")[:n_classes]), cases, y


def fit(task, config, runtime, seed=0):
    facts, cases, y = task
    context = FitContext(runtime=runtime, fingerprint=facts, seed=seed)
    return family.fit(config, cases[:18], y[:18], fidelity=Fidelity(folds=1), context=context)


def quick(facts: Fingerprint, **values) -> dict:
    """A default with few trees."""
    config = complete(family.space(facts), values)
    return config | {name: 15 for name in config if name.endswith("n_estimators")}


LEARNERS = ("logistic_regression", "svm", "random_forest", "xgboost")


@pytest.mark.parametrize("learner", LEARNERS)
def test_state_restores_equal_probabilities(task, runtime, learner):
    facts, cases, _ = task
    model = fit(task, quick(facts, learner=learner), runtime)
    state = model.state()
    meta = json.loads(json.dumps(state.meta))
    again = family.restore(ModelState(meta=meta, parts=dict(state.parts)), replace(runtime, n_threads=2))
    expected = model.predict_proba(cases[18:])
    assert expected.shape == (6, facts.n_classes)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(again.predict_proba(cases[18:]), expected)
    assert state.meta["backend"] == BACKEND


@pytest.mark.parametrize("learner", LEARNERS)
def test_equal_seeds_give_equal_models(task, runtime, learner):
    facts, cases, _ = task
    config = quick(facts, learner=learner, selection="forest")
    one, other = (fit(task, config, runtime, seed=7).predict_proba(cases[18:]) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_defaults_are_valid_and_learn(task, runtime):
    facts, cases, y = task
    for config in family.defaults(facts):
        assert (
            dict(Configuration(family.space(facts), values=config)) == config
        )  # raises where it is not valid
        assert json.loads(json.dumps(config)) == config
        found = fit(task, config, runtime).predict_proba(cases[18:])
        assert (found.argmax(axis=1) == y[18:]).mean() > 0.6


def test_a_case_is_predicted_alike_alone_and_in_company(task, runtime):
    facts, cases, _ = task
    model = fit(task, family.defaults(facts)[0], runtime)
    together = model.predict_proba(cases[18:])
    alone = np.vstack([model.predict_proba([case]) for case in cases[18:]])
    np.testing.assert_allclose(alone, together, atol=1e-12)


def test_prediction_depends_on_the_files_alone(task, runtime):
    facts, cases, _ = task
    model = fit(task, family.defaults(facts)[0], runtime)
    disguised = [replace(c, case="x", patient="y", site="z", clinical={"label": "b"}, row=0) for c in cases]
    np.testing.assert_array_equal(model.predict_proba(disguised), model.predict_proba(cases))


def test_a_class_absent_from_training_has_probability_0(task, runtime):
    facts, cases, y = task
    only = [i for i, label in enumerate(y) if label < 2]
    wide = replace(facts, classes=("a", "b", "c", "d"), class_counts=(6, 6, 6, 6))
    context = FitContext(runtime=runtime, fingerprint=wide, seed=0)
    config = family.defaults(facts)[0]
    model = family.fit(config, [cases[i] for i in only], y[only], fidelity=Fidelity(folds=1), context=context)
    found = model.predict_proba(cases[:3])
    assert found.shape == (3, 4)
    assert (found[:, 2:] == 0).all()


def test_a_case_without_mask_is_named_by_row(task, runtime):
    facts, cases, _ = task
    model = fit(task, family.defaults(facts)[0], runtime)
    with pytest.raises(DataError, match=rf"row {cases[-1].row}.*needs a mask"):
        model.predict_proba([cases[0], replace(cases[-1], masks={})])


def test_other_features_than_at_fitting_are_refused(task, runtime):
    model = fit(task, family.defaults(task[0])[0], runtime)
    model.names = (*model.names[:-1], "original_ngtdm_Renamed")
    with pytest.raises(MissingDependencyError, match="version of autoonco"):
        model.predict_proba(task[1][:1])


def test_units_prune_the_space():
    def extraction(*units: Intensity) -> set[str]:
        names = tuple(f"c{i}" for i in range(len(units)))
        facts = fingerprint(channels=names, intensity=dict(zip(names, units, strict=True)))
        return set(family.space(facts)) & set(load_space("radiomics"))

    filters = {"intensity_filters", "gradient_filter", "pattern_filter", "gabor_filter"}
    common = filters | {"log_filter", "wavelet", "outliers", "margin", "margin_mm", "lesions", "location"}
    assert extraction(Intensity.HOUNSFIELD) == common | {"bin_width", "value_range"}
    assert extraction(Intensity.BYTE) == common | {"bin_count", "normalise"}
    assert extraction(Intensity.HOUNSFIELD, Intensity.ARBITRARY) == common | {
        "bin_count", "normalise", "bin_width", "value_range", "delta",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["log_filter", "wavelet", "gabor_filter", "bin_width", "bin_count", "normalise", "location"]
)
def test_every_extraction_hyperparameter_changes_what_is_predicted(runtime, folder, name):
    facts = fingerprint(
        channels=("ct", "mr"), intensity={"ct": Intensity.HOUNSFIELD, "mr": Intensity.ARBITRARY}
    )
    y = np.tile([0, 1], 12)
    cases = []
    for i, label in enumerate(y):
        ct, mr = (write_case(folder, start + i, label, 2) for start in (7000, 8000))
        images = {"ct": ct.images["image"], "mr": mr.images["image"]}
        cases.append(replace(ct, images=images, masks={"ct": ct.masks["mask"], "mr": mr.masks["mask"]}))
    space = family.space(facts)
    values = getattr(space[name], "choices", None) or space[name].sequence
    found = [
        fit((facts, cases, y), complete(space, {name: value}), runtime).predict_proba(cases[18:])
        for value in values
    ]
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one - other).max() > 1e-3


def canonical(folder: Path) -> str:
    """A stored model, without what differs between two equal ones: addresses of objects, times in archives."""
    texts = [(folder / "meta.json").read_text()]
    for path in sorted(folder.glob("*.skops")):
        with zipfile.ZipFile(path) as archive:
            ids: dict[int, int] = {}

            def plain(node, archive=archive, ids=ids):
                if isinstance(node, list):
                    return [plain(item) for item in node]
                if not isinstance(node, dict):
                    return node
                changes = {
                    "__id__": lambda value: ids.setdefault(value, len(ids)),
                    "file": lambda value: hashlib.sha256(archive.read(value)).hexdigest(),
                }
                return {key: changes.get(key, plain)(value) for key, value in node.items()}

            texts.append(json.dumps(plain(json.loads(archive.read("schema.json")))))
    assert len(texts) == 2
    return "\n".join(texts)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"learner": "logistic_regression", "correlation": 0.7}, id="logistic_regression"),
        *(
            pytest.param(values, id=values["learner"], marks=pytest.mark.slow)
            for values in (
                {"learner": "svm", "selection": "l1", "scale": "power"},
                {"learner": "random_forest", "selection": "pca", "normalise": "zscore"},
                {"learner": "xgboost", "selection": "mutual_info", "impute": "mean", "log_filter": "fine"},
            )
        ),
    ],
)
@pytest.mark.parametrize("side", ["test", "train"])
def test_nothing_of_the_test_cases_is_learned(tmp_path, values, side):
    """What a fold leaves on disk is the same whatever files and labels of its test cases hold; not so of others."""
    y = np.tile([0, 1], 12)
    rows = np.random.default_rng(0).permutation(24)
    fold = FoldTask(index=0, train=tuple(rows[:16].tolist()), test=tuple(rows[16:].tolist()))
    victims = list(fold.test if side == "test" else fold.train[:3])
    states, probabilities = [], []
    for world in ("as it is", "changed"):
        here = tmp_path / world
        here.mkdir()
        cases = [write_case(here, 100 + i, label, 2) for i, label in enumerate(y)]
        labels = y.copy()
        if world == "changed":
            for row in victims:
                other = write_case(tmp_path, 900 + row, 1 - y[row], 2)
                image = sitk.ReadImage(other.images["image"]) * 1000 - 7
                sitk.WriteImage(image, cases[row].images["image"])
                cases[row].masks["mask"].write_bytes(other.masks["mask"].read_bytes())
            labels[victims] = 1 - y[victims]
        dataset = Dataset(cases=tuple(cases), classes=("a", "b"), y=labels)
        task = Task(
            id=0, family="radiomics", config=quick(fingerprint(), **values), fidelity=Fidelity(folds=1),
            fold=fold, fingerprint=fingerprint().to_json(), seed=3, save_to=str(here / "model"),
        )  # fmt: skip
        runtime = Runtime(artefacts=ArtefactCache(here / "cache"))
        probabilities.append(run_fold(task, dataset, runtime))
        states.append(canonical(here / "model"))
    assert (states[0] == states[1]) == (side == "test")
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.01  # the change was seen


@pytest.mark.parametrize(
    ("budget", "folds"), [(1 / 27, 1), (1 / 9, 1), (0.2, 1), (0.21, 2), (0.6, 3), (1.0, 5)]
)
def test_budget_buys_folds(budget, folds):
    config = family.defaults(fingerprint())[0]
    assert family.plan(config, budget, inner_folds=5, n_train=100) == Fidelity(folds=folds)


def test_prior_seconds_grow_with_the_work():
    facts = fingerprint()
    first, *_ = family.defaults(facts)

    def seconds(facts=facts, folds=1, **changes):
        return family.prior_seconds(first | changes, Fidelity(folds=folds), facts)

    assert 0 < seconds() < seconds(log_filter="fine") < seconds(log_filter="multiscale")
    assert seconds() < seconds(wavelet="coif1")
    assert seconds() < seconds(colour="channels")
    assert seconds() < seconds(gradient_filter="on") < seconds(intensity_filters="on")
    assert seconds() < seconds(folds=5)
    assert seconds(learner="one of a plugin") > 0
    assert seconds() < seconds(facts=replace(facts, lesion_voxels=1e6))


def test_why_not():
    assert family.why_not(fingerprint()) is None
    assert "mask" in (family.why_not(fingerprint(has_mask=False)) or "")


@pytest.mark.slow
@pytest.mark.shared
def test_real_lesions_are_told_apart_on_held_out_training_patients(shared_data, tmp_path):
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    table = pd.read_csv(shared_data / "busi" / "lesions.csv").query("split == 'train'").iloc[::3]
    cases = [
        Case(
            case=row.case,
            patient=row.patient,
            images={"image": shared_data / "busi" / row.image},
            masks={"mask": shared_data / "busi" / row.mask},
            row=int(i) + 1,
        )
        for i, row in enumerate(table.itertuples())
    ]
    y = (table["label"] == "malignant").to_numpy().astype(int)
    held = np.arange(len(y)) % 3 == 0
    facts = fingerprint(classes=("benign", "malignant"), n_cases=len(y), lesion_voxels=4000.0)
    runtime = Runtime(artefacts=ArtefactCache(tmp_path))
    context = FitContext(runtime=runtime, fingerprint=facts, seed=0)
    train = [case for case, is_held in zip(cases, held, strict=True) if not is_held]
    test = [case for case, is_held in zip(cases, held, strict=True) if is_held]
    model = family.fit(
        family.defaults(facts)[0], train, y[~held], fidelity=Fidelity(folds=1), context=context
    )
    assert roc_auc_score(y[held], model.predict_proba(test)[:, 1]) > 0.93
