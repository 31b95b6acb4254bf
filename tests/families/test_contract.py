"""One suite over all families: what the search relies on, whatever the family."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from autoonco.data.cache import ArtefactCache
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.families import all_families
from autoonco.families.contract import Fidelity, FitContext, Runtime
from autoonco.families.state import state_of, write_state
from autoonco.search.space import build_space, join, split

FAMILIES = list(all_families())
BUDGETS = (1 / 27, 1 / 9, 1 / 3, 0.5, 1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixteen phantom volumes with clinical columns and features, in which a value is missing here and there."""
    found = Dataset.from_csv(make_phantoms(tmp_path_factory.mktemp("phantoms"), n=16, ndim=3))
    cases = tuple(
        replace(
            case,
            clinical={"age": 40.0 + 7 * i % 31 if i % 5 else None, "sex": "fm"[i % 3 // 2]},
            features={"a": float(i * i % 13), "b": 0.5 * i if i % 4 else float("nan")},
        )
        for i, case in enumerate(found.cases)
    )
    return replace(found, cases=cases, clinical=("age", "sex"), features=("a", "b"))


@pytest.fixture(scope="module")
def facts(data):
    return inspect(data)


@pytest.fixture(scope="module")
def print_(data, facts):
    return fingerprint(data, facts)


@pytest.fixture(scope="module")
def context(print_, tmp_path_factory):
    runtime = Runtime(artefacts=ArtefactCache(tmp_path_factory.mktemp("artefacts")))
    return FitContext(runtime=runtime, fingerprint=print_, seed=0)


@pytest.fixture(params=FAMILIES)
def family(request, print_):
    found = all_families()[request.param]
    reason = found.why_not(print_)
    if reason is not None:
        pytest.skip(reason)
    return found


def quick(family, config):
    """The same config made cheap where it trains: the contract is not about quality."""
    changes = {"size": min, "epochs": min}
    small = {"size": 96 if family.name == "pretrained2d" else 24, "epochs": 2}
    return dict(config) | {
        name: changes[name](config[name], small[name]) for name in changes if name in config
    }


def fit(family, config, data, context, *, rows=slice(0, 12)):
    cases = data.cases[rows]
    epochs = family.plan(config, 1.0, inner_folds=3, n_train=100).epochs
    return family.fit(
        config,
        cases,
        data.y[rows],
        fidelity=Fidelity(folds=3, epochs=None if epochs is None else 1),
        context=context,
    )


def test_defaults_are_points_of_the_common_space(family, print_):
    space = build_space([family.name], print_)
    defaults = family.defaults(print_)
    assert defaults
    for config in defaults:
        assert split(join(space, family.name, config)) == (family.name, dict(sorted(config.items())))
        json.dumps(config)


def test_more_budget_never_buys_less_and_the_whole_buys_every_fold(family, print_):
    space = family.space(print_)
    space.seed(0)
    for configuration in space.sample_configuration(30):
        plans = [family.plan(dict(configuration), budget, inner_folds=5, n_train=100) for budget in BUDGETS]
        work = [plan.folds * (plan.epochs or 1) for plan in plans]
        assert work == sorted(work)
        assert all(plan.folds >= 1 and (plan.epochs is None or plan.epochs >= 1) for plan in plans)
        assert plans[-1].folds == 5
        seconds = [family.prior_seconds(dict(configuration), plan, print_) for plan in plans]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0


def test_a_restored_model_gives_the_same_numbers(family, print_, data, context, tmp_path):
    for number, default in enumerate(family.defaults(print_)):
        config = quick(family, default)
        model = fit(family, config, data, context)
        expected = np.asarray(model.predict_proba(data.cases[12:]))
        assert expected.shape == (4, 2)
        np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
        write_state(tmp_path / str(number), model.state())
        # Another cache: nothing of the model may live outside its state.
        runtime = replace(context.runtime, artefacts=ArtefactCache(tmp_path / "other"))
        files = {path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()}
        restored = family.restore(state_of(files), runtime)
        np.testing.assert_array_equal(restored.predict_proba(data.cases[12:]), expected)


def test_the_same_seed_gives_the_same_model_and_order_of_cases_does_not_matter(family, print_, data, context):
    config = quick(family, family.defaults(print_)[0])
    one, two = (fit(family, config, data, context).predict_proba(data.cases[12:]) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    backwards = fit(family, config, data, context).predict_proba(data.cases[:11:-1])
    np.testing.assert_allclose(backwards[::-1], one, atol=1e-6)


@pytest.mark.slow
def test_any_point_of_the_space_can_be_fitted(family, print_, data, context):
    space = family.space(print_)
    space.seed(1)
    for configuration in space.sample_configuration(12):
        _, config = split(
            {"family": family.name} | {f"{family.name}:{k}": v for k, v in configuration.items()}
        )
        proba = fit(family, quick(family, config), data, context).predict_proba(data.cases[12:])
        assert np.isfinite(proba).all(), config
