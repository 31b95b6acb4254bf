from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ConfigSpace import Configuration
from PIL import Image

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families.contract import Fidelity, FitContext, ModelState, Runtime
from autoonco.families.networks import picture_spec
from autoonco.families.scratch2d import family
from autoonco.tabular.pipeline import complete
from tests.fingerprints import PICTURES

FINGERPRINT = dataclasses.replace(PICTURES, classes=("plain", "striped"))
VOLUMES = dataclasses.replace(
    FINGERPRINT, ndim=3, spacing_mm=(1.0,) * 3, shape=(64,) * 3, has_mask=True, lesion_mm=(9.0,) * 3
)
Y = np.arange(16) % 2
BODIES: dict[str, dict[str, object]] = {
    "conv": {"architecture:norm": "group", "architecture:channel_attention": "squeeze_excite"},
    "hybrid": {"architecture:stem": "patch", "architecture:stem_patch": 4},
    "transformer": {"architecture:patch_size": 16},
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Noise, with or without stripes of the same mean brightness."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found = []
    for row, label in enumerate(Y, start=1):
        stripes = 30 * np.sin(np.arange(64) * np.pi / 4 + rng.uniform(0, 6))[None, :] * label
        picture = 128 + stripes + rng.normal(0, 12, (64, 64))
        path = folder / f"{row}.png"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)
        found.append(Case(case=f"case-{row}", patient=f"p-{row}", images={"image": path}, masks={}, row=row))
    return found


def context(folder: Path, *, checkpoint: Path | None = None) -> FitContext:
    runtime = Runtime(artefacts=ArtefactCache(folder), n_threads=1)
    return FitContext(runtime=runtime, fingerprint=FINGERPRINT, seed=3, checkpoint=checkpoint)


def config_of(body: str, **changes: object) -> dict[str, object]:
    chosen = {"architecture:body": body, "architecture:width": 16, "training:batch_size": 8}
    return complete(family.space(FINGERPRINT), chosen | BODIES[body] | changes)


@pytest.mark.parametrize("body", BODIES)
def test_fit_store_restore_predicts_the_same_numbers(body: str, cases: list[Case], tmp_path: Path) -> None:
    model = family.fit(
        config_of(body), cases, Y, fidelity=Fidelity(folds=1, epochs=1), context=context(tmp_path / "a")
    )
    expected = model.predict_proba(cases)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    state = model.state()
    meta = json.loads(json.dumps(state.meta))
    assert not any(case.case in json.dumps(meta) for case in cases)
    stored = ModelState(meta=meta, tensors=dict(state.tensors), parts=state.parts)
    restored = family.restore(stored, Runtime(artefacts=ArtefactCache(tmp_path / "b")))
    assert (restored.predict_proba(cases) == expected).all()
    assert (restored.predict_proba(cases[5:6]) == expected[5:6]).all()


def test_the_default_learns_stripes(cases: list[Case], tmp_path: Path) -> None:
    config = dict(family.defaults(FINGERPRINT)[0]) | {"training:batch_size": 8}
    fidelity = Fidelity(folds=1, epochs=int(config["epochs"]))
    model = family.fit(config, cases[:12], Y[:12], fidelity=fidelity, context=context(tmp_path))
    assert (model.predict_proba(cases[12:]).argmax(axis=1) == Y[12:]).all()


@pytest.mark.parametrize("body", ["hybrid", "transformer"])
def test_continuing_equals_one_go(body: str, cases: list[Case], tmp_path: Path) -> None:
    def run(epochs: int, checkpoint: Path | None) -> np.ndarray:
        return family.fit(
            config_of(body),
            cases,
            Y,
            fidelity=Fidelity(folds=1, epochs=epochs),
            context=context(tmp_path, checkpoint=checkpoint),
        ).predict_proba(cases)

    run(1, tmp_path / "checkpoint")
    np.testing.assert_allclose(run(3, tmp_path / "checkpoint"), run(3, None), atol=1e-6)


@pytest.mark.parametrize("fingerprint", [FINGERPRINT, VOLUMES], ids=["pictures", "volumes"])
def test_it_applies_to_pictures_and_to_slices_of_volumes(fingerprint: Fingerprint) -> None:
    assert family.why_not(fingerprint) is None
    (config,) = family.defaults(fingerprint)
    Configuration(family.space(fingerprint), values=dict(config)).check_valid_configuration()
    spec = picture_spec(config, fingerprint)
    assert spec.shape == (3, 64, 64)
    assert spec.view.focus == ("lesion" if fingerprint.has_mask else "whole")
    assert spec.view.use_mask == fingerprint.has_mask
    network, seen = family.untrained(config, fingerprint, seed=0)
    assert seen == spec
    assert network.backbone.classifier.out_features == 2


def test_more_budget_never_buys_less_and_costs_more() -> None:
    config = family.defaults(FINGERPRINT)[0]
    plans = [
        family.plan(config, budget, inner_folds=5, n_train=100) for budget in (1 / 27, 1 / 9, 1 / 3, 0.7, 1)
    ]
    work = [plan.folds * plan.epochs for plan in plans]
    assert work == sorted(work)
    assert plans[-1] == Fidelity(folds=5, epochs=config["epochs"])
    seconds = [family.prior_seconds(config, plan, FINGERPRINT) for plan in plans]
    assert seconds == sorted(seconds)


def test_dearer_architectures_cost_more() -> None:
    def seconds(**changes: object) -> float:
        config = config_of("conv", **changes)
        return family.prior_seconds(config, Fidelity(folds=5, epochs=10), FINGERPRINT)

    base = seconds()
    for changes in ({"size": 128}, {"architecture:kernel": 7}, {"architecture:width": 48}):
        assert seconds(**changes) > 1.5 * base


def test_space_and_prior_cost_need_no_torch() -> None:
    code = (
        "import sys; from autoonco.data.fingerprint import Fingerprint;"
        "from autoonco.families import scratch2d, volumetric3d;"
        "from autoonco.families.contract import Fidelity;"
        "from autoonco.tabular.pipeline import complete;"
        f"f = Fingerprint.from_json({VOLUMES.to_json()!r});"
        "c = complete(volumetric3d.family.space(f), {'network': 'parametric3d'});"
        "volumetric3d.family.prior_seconds(c, Fidelity(folds=1, epochs=1), f);"
        "c = scratch2d.family.defaults(f)[0];"
        "scratch2d.family.prior_seconds(c, Fidelity(folds=1, epochs=1), f);"
        "print([m for m in ('torch', 'timm', 'monai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
