"""The fusion: when it applies, what each block adds, and that no learner sees what a network has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.families import embedder as module
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.embedder import trained_embedder
from autoonco.families.fusion import BOTH, family
from autoonco.families.pretrained2d import family as pretrained2d
from autoonco.tabular.blocked import fit_blocked
from autoonco.tabular.pipeline import complete
from tests.fingerprints import PICTURES

if pretrained2d.why_not(PICTURES) is not None:
    pytest.skip("no pretrained network is here", allow_module_level=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twenty-four phantoms, with a clinical column that tells the class and one that doesn't."""
    found = Dataset.from_csv(make_phantoms(tmp_path_factory.mktemp("phantoms"), n=24, ndim=2))
    cases = tuple(
        replace(case, clinical={"stage": "IV" if y else "I", "age": float(50 + i * 7 % 20)})
        for i, (case, y) in enumerate(zip(found.cases, found.y, strict=True))
    )
    return replace(found, cases=cases, clinical=("stage", "age"))


@pytest.fixture(scope="module")
def context(data, tmp_path_factory):
    runtime = Runtime(artefacts=ArtefactCache(tmp_path_factory.mktemp("cache")))
    return FitContext(runtime=runtime, fingerprint=fingerprint(data, inspect(data)), seed=0)


def config_of(context, **changes):
    return complete(
        family.space(context.fingerprint), {"size": 128, "head:learner": "logistic_regression", **changes}
    )


def fitted(data, context, config, y=None, rows=slice(0, 16)):
    labels = (data.y if y is None else y)[rows]
    fidelity = Fidelity(folds=1, epochs=1 if config["mode"] == "finetune" else None)
    return family.fit(config, data.cases[rows], labels, fidelity=fidelity, context=context)


def test_it_applies_where_something_stands_beside_the_network():
    assert "neither" in family.why_not(PICTURES)
    assert family.why_not(replace(PICTURES, clinical=("age",))) is None
    assert family.why_not(replace(PICTURES, has_mask=True, lesion_mm=(9.0, 9.0))) is None


def test_a_config_without_masks_or_columns_asks_for_neither():
    alone = family.space(replace(PICTURES, clinical=("age",)))
    assert "beside" not in alone
    assert not [name for name in alone if name.startswith(("radiomics:", "extraction:"))]
    masked = family.space(replace(PICTURES, has_mask=True, lesion_mm=(9.0, 9.0)))
    assert "beside" not in masked
    assert "min_share" not in masked


@pytest.mark.parametrize("beside", [BOTH, "radiomics", "clinical"])
def test_blocks_that_are_asked_for_are_there_and_learned_from(data, context, beside):
    model = fitted(data, context, config_of(context, beside=beside))
    assert (model.encoder is not None) == (beside != "radiomics")
    assert (model.radiomics is not None) == (beside != "clinical")
    told = [replace(case, clinical={**case.clinical, "stage": "IV"}) for case in data.cases[16:]]
    moved = model.predict_proba(told)[:, 1] - model.predict_proba(data.cases[16:])[:, 1]
    assert (np.abs(moved).max() > 1e-3) == (beside != "radiomics")


@pytest.mark.parametrize("mode", ["frozen", pytest.param("finetune", marks=pytest.mark.slow)])
def test_nothing_of_other_cases_is_learned(data, context, mode):
    """Labels of the cases that are predicted, turned round, change nothing: no fit reaches beyond what it is given."""
    changes = {"epochs": 4} if mode == "finetune" else {}
    config = config_of(context, mode=mode, **changes)
    lied = data.y.copy()
    lied[16:] = 1 - lied[16:]
    one, two = (fitted(data, context, config, y=y).predict_proba(data.cases[16:]) for y in (data.y, lied))
    np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_no_learner_is_fitted_on_a_case_that_its_network_was_trained_on(data, context, monkeypatch):
    trained_on, learned_from = [], []

    def training(config, cases, y, **kwargs):
        trained_on.append({case.patient for case in cases})
        return trained_embedder(config, cases, y, **kwargs)

    def learning(tables, y, **kwargs):
        learned_from.append(len(y))
        return fit_blocked(tables, y, **kwargs)

    monkeypatch.setattr(module, "trained_embedder", training)
    monkeypatch.setattr("autoonco.tabular.blocked.fit_blocked", learning)
    model = fitted(data, context, config_of(context, mode="finetune", epochs=4))
    everyone = {case.patient for case in data.cases[:16]}
    assert len(model.branches) == 2
    assert trained_on[0] | trained_on[1] == everyone
    assert not trained_on[0] & trained_on[1]
    assert learned_from == [len(everyone - own) for own in trained_on]


def test_each_block_is_selected_by_itself():
    """A block of noise that is a hundred times as wide takes no place away from the other's columns."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 40)
    tables = {"embedding": rng.normal(size=(80, 500)), "radiomics": rng.normal(size=(80, 5)) + y[:, None]}
    share = {"selection": "anova", "selection_share": 0.2, "scale": "zscore"}
    found = fit_blocked(
        tables,
        y,
        config={
            "learner": "logistic_regression",
            "logistic_regression:C": 1.0,
            "logistic_regression:penalty": "l2",
        },
        of_blocks={"embedding": share, "radiomics": share},
        groups=np.arange(80),
        seed=0,
    )
    assert found.pipeline.n_features_in_ == 100 + 1
    assert found.blocks["radiomics"].n_features_in_ == 5


@pytest.mark.slow
def test_half_trained_networks_go_on_from_where_they_were(data, context, tmp_path):
    config = config_of(context, mode="finetune", epochs=4)
    kept = replace(context, checkpoint=tmp_path)
    for epochs in (1, 2):
        resumed = family.fit(
            config, data.cases[:16], data.y[:16], fidelity=Fidelity(folds=1, epochs=epochs), context=kept
        )
    fresh = family.fit(
        config, data.cases[:16], data.y[:16], fidelity=Fidelity(folds=1, epochs=2), context=context
    )
    np.testing.assert_allclose(
        resumed.predict_proba(data.cases[16:]), fresh.predict_proba(data.cases[16:]), atol=1e-5
    )
