"""The family on volumes and on several sequences: which views it offers, and that each is fitted, kept and priced."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ConfigSpace import Configuration

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.errors import UnknownNameError
from autoonco.families.contract import Fidelity, FitContext, FittedModel, ModelState, Runtime
from autoonco.families.networks import picture_spec
from autoonco.families.pretrained2d import family
from autoonco.tabular.pipeline import complete

N = 8
Y = np.arange(N) % 2
EPOCH = Fidelity(folds=1, epochs=1)
NETWORK = {"network": "tf_efficientnet_lite0"}
FROZEN = {"mode": "frozen", "head:learner": "logistic_regression"}
LINEAR = {"mode": "frozen", "classifier": "linear", "linear:epochs": 5}
FINETUNE = {"mode": "finetune", "frozen_stages": 5, "training:batch_size": 8}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Phantom volumes with one sequence, and the same with two."""

    cases: tuple[Case, ...]
    fingerprint: Fingerprint

    @property
    def paired(self) -> Task:
        """Cases of two sequences: the phantom's image, and that of the next case on the same grid."""
        pairs = zip(self.cases, (*self.cases[1:], self.cases[0]), strict=True)
        cases = tuple(
            replace(one, images={"t1": one.images["image"], "t2": two.images["image"]}) for one, two in pairs
        )
        units = dict.fromkeys(("t1", "t2"), self.fingerprint.intensity["image"])
        print_ = replace(self.fingerprint, channels=("t1", "t2"), intensity=units)
        return Task(cases=cases, fingerprint=print_)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("volumes")
    data = Dataset.from_csv(make_phantoms(folder, n=N, ndim=3))
    return Task(cases=data.cases, fingerprint=fingerprint(data, inspect(data)))


def fitted(task: Task, config: dict, folder: Path, fidelity: Fidelity = EPOCH, **more: object) -> FittedModel:
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    context = FitContext(runtime=runtime, fingerprint=task.fingerprint, seed=0, **more)
    full = complete(family.space(task.fingerprint), NETWORK | config) | {"size": 32}
    if full["mode"] == "frozen":
        fidelity = Fidelity(folds=1)
    return family.fit(full, task.cases, Y, fidelity=fidelity, context=context)


WAYS = [
    {**FROZEN, "slices": "adjacent"},
    {**FROZEN, "slices": "planes", "layers": 2, "pooling": "gem"},
    {**FROZEN, "slices": "several", "n_slices": 3, "slice_pooling": "mean_max", "background": "blank"},
    {**LINEAR, "slices": "largest"},
    {**LINEAR, "slices": "planes"},
    {**LINEAR, "slices": "all"},
    {**FINETUNE, "slices": "adjacent", "mask": "channel"},
    {**FINETUNE, "slices": "planes", "mask": "channel"},
    {**FINETUNE, "slices": "several", "n_slices": 3, "bag_pooling": "attention"},
    {**FINETUNE, "slices": "all", "bag_pooling": "max"},
]


@pytest.mark.parametrize(
    "sequences",
    [None, *(pytest.param(name, marks=pytest.mark.slow) for name in ("channels", "late"))],
)
@pytest.mark.parametrize("config", WAYS, ids=lambda way: "-".join(str(way[k]) for k in ("mode", "slices")))
def test_each_view_is_fitted_stored_and_restored(
    config: dict, sequences: str | None, volumes: Task, tmp_path: Path
) -> None:
    if sequences and config["slices"] in ("largest", "several"):
        pytest.skip("what differs between sequences is covered by the other views")
    task = volumes if sequences is None else volumes.paired
    model = fitted(task, config | ({"sequences": sequences} if sequences else {}), tmp_path)
    proba = model.predict_proba(task.cases)
    assert proba.shape == (N, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.ptp(proba[:, 0]) > 0
    state = model.state()
    stored = ModelState(
        meta=json.loads(json.dumps(state.meta)),
        tensors={key: value.copy() for key, value in state.tensors.items()},
        parts=state.parts,
    )
    restored = family.restore(stored, Runtime(artefacts=ArtefactCache(tmp_path / "elsewhere")))
    np.testing.assert_array_equal(restored.predict_proba(task.cases), proba)


@pytest.mark.slow
def test_a_model_of_several_slices_continues_exactly(volumes: Task, tmp_path: Path) -> None:
    """The slices that a step draws come from the seed and the epoch alone."""
    config = {**FINETUNE, "slices": "all", "epochs": 4}

    def run(epochs: int, checkpoint: Path | None) -> np.ndarray:
        fidelity = Fidelity(folds=1, epochs=epochs)
        return fitted(volumes, config, tmp_path, fidelity, checkpoint=checkpoint).predict_proba(volumes.cases)

    run(1, tmp_path / "checkpoint")
    np.testing.assert_allclose(run(2, tmp_path / "checkpoint"), run(2, None), atol=1e-6)


def test_a_second_config_on_the_same_pictures_runs_no_network(
    volumes: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(volumes, {**FROZEN, "slices": "planes"}, tmp_path)
    monkeypatch.setattr("autoonco.nets.embeddings._embeddings", lambda *_, **__: pytest.fail("computed"))
    for config in (
        {**FROZEN, "slices": "planes", "plane_pooling": "max", "layers": 4, "pooling": "gem"},
        {**LINEAR, "slices": "planes"},
        {**FROZEN, "slices": "planes", "head:learner": "knn"},
    ):
        fitted(volumes, config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("config", [WAYS[2], WAYS[5], WAYS[8]], ids=["frozen", "linear", "finetune"])
def test_it_shows_where_it_looked_in_a_volume(config: dict, volumes: Task, tmp_path: Path) -> None:
    model = fitted(volumes, config, tmp_path)
    (found,) = model.explain(volumes.cases[:1], 1)
    assert found.map.ndim == 3
    assert found.map.min() >= 0
    assert found.map.max() <= 1


def names_of(print_: Fingerprint) -> set[str]:
    return set(family.space(print_))


def test_views_are_offered_where_the_data_have_them(volumes: Task) -> None:
    full = volumes.paired.fingerprint
    of_masks = {"view", "margin", "crop_shape", "background", "mask"}
    of_volumes = {"slices", "n_slices", "gap", "plane_pooling", "slice_pooling", "bag_pooling"}
    assert of_masks | of_volumes | {"sequences"} <= names_of(full)
    assert not of_masks & names_of(replace(full, has_mask=False, lesion_mm=None))
    flat = replace(full, ndim=2, spacing_mm=(1.0, 1.0), shape=(64, 64), lesion_mm=(9.0, 9.0))
    assert not of_volumes & names_of(flat)
    assert "sequences" in names_of(flat)
    assert "sequences" not in names_of(volumes.fingerprint)


def test_only_what_counts_is_active(volumes: Task) -> None:
    space = family.space(volumes.fingerprint)
    frozen = complete(space, {**FROZEN, "slices": "several"})
    assert {"slice_pooling", "n_slices", "layers", "pooling"} <= frozen.keys()
    assert not {"bag_pooling", "mask", "gap", "plane_pooling", "linear:epochs"} & frozen.keys()
    linear = complete(space, {**LINEAR, "slices": "all"})
    assert not {"slice_pooling", "bag_pooling", "head:learner", "n_slices"} & linear.keys()
    trained = complete(space, {**FINETUNE, "slices": "all"})
    assert {"bag_pooling", "mask", "dropout"} <= trained.keys()
    assert not {"slice_pooling", "layers", "classifier"} & trained.keys()


def test_sampled_configs_have_a_picture_and_a_price(volumes: Task) -> None:
    print_ = volumes.paired.fingerprint
    space = family.space(print_)
    space.seed(0)
    for config in map(dict, space.sample_configuration(60)):
        spec = picture_spec(config, print_)
        assert 1 <= spec.n_pictures <= 32
        plan = family.plan(config, 1.0, inner_folds=5, n_train=N)
        assert family.prior_seconds(config, plan, print_) > 0


def test_the_price_follows_the_pictures(volumes: Task) -> None:
    large = replace(volumes.fingerprint, n_cases=500)
    space = family.space(large)

    def seconds(**changes: object) -> float:
        config = complete(space, {**NETWORK, "size": 224, **changes})
        return family.prior_seconds(config, family.plan(config, 1.0, inner_folds=5, n_train=400), large)

    one, three, nine = (
        seconds(**FROZEN, **how)
        for how in ({"slices": "largest"}, {"slices": "planes"}, {"slices": "several", "n_slices": 9})
    )
    assert 2.2 < three / one < 3
    assert 2.2 < nine / three < 3.1
    trained, planes = (seconds(**FINETUNE, slices=slices) for slices in ("largest", "planes"))
    assert planes / trained == pytest.approx(3, rel=0.1)
    bag = seconds(**FINETUNE, slices="several", n_slices=9)
    assert planes < bag < 3 * planes  # a step sees four of nine


@pytest.mark.parametrize("task", ["volumes", "paired"])
def test_defaults_are_valid_for_volumes_and_start_with_a_cheap_probe(task: str, volumes: Task) -> None:
    print_ = volumes.fingerprint if task == "volumes" else volumes.paired.fingerprint
    space, defaults = family.space(print_), family.defaults(print_)
    assert defaults[0]["mode"] == "frozen"
    for config in defaults:
        Configuration(space, values=dict(config)).check_valid_configuration()
    assert {config.get("slices") for config in defaults} > {"largest"}


def test_pictures_have_no_slices_to_ask_for(volumes: Task) -> None:
    flat = replace(volumes.fingerprint, ndim=2, spacing_mm=(1.0, 1.0), shape=(64, 64), lesion_mm=(9.0, 9.0))
    with pytest.raises(UnknownNameError):
        complete(family.space(flat), {"slices": "planes"})
