from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from ConfigSpace import Configuration
from ConfigSpace.hyperparameters import Hyperparameter

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint, Intensity
from autoonco.families.contract import Fidelity, FitContext, ModelState, Runtime
from autoonco.families.cubes import cube_spec, has_thick_slices
from autoonco.families.networks import TrainedNetwork
from autoonco.families.state import state_of, write_state
from autoonco.families.volumetric3d import family, is_pretrained, network_of
from autoonco.nets.access import Access, using
from autoonco.nets.inputs import crops
from autoonco.resources import load_space
from autoonco.tabular.pipeline import complete

FINGERPRINT = Fingerprint(
    n_cases=12,
    n_patients=12,
    classes=("hollow", "solid"),
    class_counts=(6, 6),
    ndim=3,
    channels=("a", "b"),
    is_colour=False,
    has_mask=True,
    clinical=(),
    has_site=False,
    spacing_mm=(1.0, 1.0, 2.0),
    shape=(40, 40, 20),
    lesion_mm=(20.0, 20.0, 20.0),
    lesion_voxels=2000.0,
    intensity={"a": Intensity.UNIT, "b": Intensity.ARBITRARY},
)
WITHOUT_MASK = dataclasses.replace(FINGERPRINT, has_mask=False, lesion_mm=None, lesion_voxels=None)
Y = np.arange(12) % 2


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Balls of one radius, hollow or solid, two channels."""
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    z, y, x = np.indices((20, 40, 40))
    found = []
    for row, label in enumerate(Y, start=1):
        cy, cx = rng.integers(16, 24, 2)
        radius = np.sqrt(((z - 10) * 2) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)
        inside = (radius < 10) & ((radius > 6) | bool(label))
        paths = {}
        for name, values in {
            "a": 0.2 + 0.6 * inside + rng.normal(0, 0.05, x.shape),
            "b": 500 - 300 * inside + rng.normal(0, 20, x.shape),
            "mask": (radius < 10).astype(np.uint8),
        }.items():
            image = sitk.GetImageFromArray(values if name == "mask" else values.astype(np.float32))
            image.SetSpacing((1.0, 1.0, 2.0))
            paths[name] = folder / f"{name}{row}.nii.gz"
            sitk.WriteImage(image, paths[name])
        mask = paths.pop("mask")
        found.append(Case(case=f"c{row}", patient=f"p{row}", images=paths, masks={"mask": mask}, row=row))
    return found


def context(folder: Path, *, checkpoint: Path | None = None) -> FitContext:
    runtime = Runtime(artefacts=ArtefactCache(folder), n_threads=1)
    return FitContext(runtime=runtime, fingerprint=FINGERPRINT, seed=3, checkpoint=checkpoint)


def config_of(network: str, **changes: object) -> dict[str, object]:
    chosen = {"network": network, "size": 24, "training:batch_size": 8, **changes}
    return complete(family.space(FINGERPRINT), chosen)


@pytest.mark.parametrize("network", ["monai_resnet10", "monai_vit_tiny", "parametric3d"])
def test_fit_store_restore_predicts_the_same_numbers(network: str, cases: list[Case], tmp_path: Path) -> None:
    config = config_of(network)
    model = family.fit(
        config, cases, Y, fidelity=Fidelity(folds=1, epochs=1), context=context(tmp_path / "a")
    )
    expected = model.predict_proba(cases)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    state = model.state()
    stored = ModelState(
        meta=json.loads(json.dumps(state.meta)), tensors=dict(state.tensors), parts=state.parts
    )
    restored = family.restore(stored, Runtime(artefacts=ArtefactCache(tmp_path / "b")))
    assert (restored.predict_proba(cases) == expected).all()
    assert (restored.predict_proba(cases[5:6]) == expected[5:6]).all()


@pytest.mark.slow
def test_learns_hollow_from_solid(cases: list[Case], tmp_path: Path) -> None:
    config = config_of("monai_resnet10", epochs=8, **{"training:ema": 0.0})
    model = family.fit(config, cases, Y, fidelity=Fidelity(folds=1, epochs=8), context=context(tmp_path))
    assert (model.predict_proba(cases).argmax(axis=1) == Y).mean() > 0.9


@pytest.mark.parametrize("network", ["monai_vit_tiny", "parametric3d"])
def test_continuing_equals_one_go(network: str, cases: list[Case], tmp_path: Path) -> None:
    def run(epochs: int, checkpoint: Path | None) -> np.ndarray:
        return family.fit(
            config_of(network),
            cases,
            Y,
            fidelity=Fidelity(folds=1, epochs=epochs),
            context=context(tmp_path, checkpoint=checkpoint),
        ).predict_proba(cases)

    run(1, tmp_path / "checkpoint")
    np.testing.assert_allclose(run(3, tmp_path / "checkpoint"), run(3, None), atol=1e-6)


def test_pictures_are_not_for_this_family() -> None:
    assert family.why_not(FINGERPRINT) is None
    assert "2D" in str(family.why_not(dataclasses.replace(FINGERPRINT, ndim=2)))


@pytest.mark.parametrize("fingerprint", [FINGERPRINT, WITHOUT_MASK])
def test_defaults_are_valid_and_of_every_kind(fingerprint: Fingerprint) -> None:
    """Convolutional, of attention, searched, inflated and frozen, inflated and fine-tuned; the cheapest first."""
    space, defaults = family.space(fingerprint), family.defaults(fingerprint)
    kinds = {(network_of(config), config["mode"]) for config in defaults}
    assert kinds == {
        ("monai_resnet10", "train"),
        ("monai_vit_tiny", "train"),
        ("parametric3d", "train"),
        ("inflated_lite0", "frozen"),
        ("inflated_lite0", "train"),
    }
    seconds = []
    for config in defaults:
        Configuration(space, values=dict(config)).check_valid_configuration()
        plan = family.plan(config, 1.0, inner_folds=5, n_train=10)
        seconds.append(family.prior_seconds(config, plan, fingerprint))
    assert seconds == sorted(seconds)


def test_without_pretrained_networks_all_start_at_random() -> None:
    with using(Access.of(networks=())):
        space, defaults = family.space(FINGERPRINT), family.defaults(FINGERPRINT)
    assert not {"mode", "start", "pretrained", "adaptation"} & set(space)
    assert {config["network"] for config in defaults} == {"monai_resnet10", "monai_vit_tiny", "parametric3d"}
    for config in defaults:
        Configuration(space, values=dict(config)).check_valid_configuration()


def test_what_is_used_of_a_network_decides_what_else_there_is() -> None:
    space = family.space(FINGERPRINT)
    space.seed(0)
    seen = set()
    for config in map(dict, space.sample_configuration(150)):
        kind = (config["mode"], config.get("start"))
        seen.add(kind)
        frozen, pretrained = kind[0] == "frozen", is_pretrained(config)
        assert ("pretrained" in config) == pretrained
        assert ("network" in config) == ("pretext" in config) == (not pretrained)
        assert ("training:optimizer" in config) == ("epochs" in config) == (not frozen)
        assert ("classifier" in config) == ("pooling" in config) == frozen
        assert ("adaptation" in config) == (kind[1] == "pretrained")
        assert ("mask" in config) == (not frozen)
    assert seen == {("train", "scratch"), ("train", "pretrained"), ("frozen", None)}


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "frozen", "head:learner": "logistic_regression"},
        {"mode": "frozen", "classifier": "linear"},
        {"start": "pretrained", "frozen_stages": 3},
        {"start": "pretrained", "adaptation": "head_first"},
    ],
    ids=["probe", "linear", "full", "head_first"],
)
def test_pretrained_networks_are_fitted_stored_and_explained(
    changes: dict[str, object], cases: list[Case], tmp_path: Path
) -> None:
    config = complete(family.space(FINGERPRINT), {"size": 24, "pretrained": "inflated_lite0", **changes})
    if "training:batch_size" in config:
        config |= {"training:batch_size": 6}
    fidelity = Fidelity(folds=1, epochs=None if config["mode"] == "frozen" else 1)
    model = family.fit(config, cases, Y, fidelity=fidelity, context=context(tmp_path / "a"))
    expected = model.predict_proba(cases[:4])
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    write_state(tmp_path / "state", model.state())
    files = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    restored = family.restore(state_of(files), Runtime(artefacts=ArtefactCache(tmp_path / "b")))
    assert (restored.predict_proba(cases[:4]) == expected).all()
    (found,) = restored.explain(cases[:1], 1)
    assert found.map.shape == (20, 40, 40)
    assert np.isfinite(found.map).all()


@pytest.mark.parametrize("pretext", ["masked", "rotation"])
def test_what_is_learned_without_labels_is_continued_exactly(
    pretext: str, cases: list[Case], tmp_path: Path
) -> None:
    """Also where another budget asks for more epochs; and another's cases change nothing."""
    config = config_of("monai_vit_tiny", epochs=8, pretext=pretext, pretext_length=0.5)

    def run(epochs: int, checkpoint: Path | None, y: np.ndarray = Y) -> np.ndarray:
        fidelity, where = Fidelity(folds=1, epochs=epochs), context(tmp_path, checkpoint=checkpoint)
        return family.fit(config, cases[:8], y[:8], fidelity=fidelity, context=where).predict_proba(cases)

    run(1, tmp_path / "checkpoint")
    np.testing.assert_allclose(run(3, tmp_path / "checkpoint"), run(3, None), atol=1e-6)
    plain = config_of("monai_vit_tiny", epochs=8)
    fidelity = Fidelity(folds=1, epochs=3)
    without = family.fit(plain, cases[:8], Y[:8], fidelity=fidelity, context=context(tmp_path))
    assert not np.allclose(without.predict_proba(cases), run(3, None))
    dear, cheap = (family.prior_seconds(one, fidelity, FINGERPRINT) for one in (config, plain))
    assert dear > cheap


def test_a_thin_cube_is_trained_on(cases: list[Case], tmp_path: Path) -> None:
    """Slices 9 mm apart are the layers of the cube, and every kind of network takes it."""
    thick = dataclasses.replace(FINGERPRINT, spacing_mm=(0.3, 0.3, 9.0), lesion_mm=(20.0, 20.0, 20.0))
    where = dataclasses.replace(context(tmp_path), fingerprint=thick)
    for chosen in ({"network": "monai_resnet10"}, {"network": "parametric3d"}, {"network": "monai_vit_tiny"}):
        config = complete(family.space(thick), {"size": 24, "layers": "slices", "epochs": 8, **chosen})
        model = family.fit(config, cases[:4], Y[:4], fidelity=Fidelity(folds=1, epochs=1), context=where)
        assert cube_spec(config, thick).shape[1:] == (8, 24, 24)
        assert np.isfinite(model.predict_proba(cases[:2])).all()


def test_cube_follows_the_config() -> None:
    fixed = cube_spec(config_of("monai_resnet10", crop="fixed", extent=2.0, mask="channel"), FINGERPRINT)
    assert fixed.view.extent_mm == 40
    assert fixed.shape == (3, 24, 24, 24)
    fitted = cube_spec(config_of("monai_resnet10", crop="fitted", mask="none"), FINGERPRINT)
    assert fitted.view.extent_mm is None
    assert fitted.shape == (2, 24, 24, 24)
    whole = cube_spec(complete(family.space(WITHOUT_MASK), {}), WITHOUT_MASK)
    assert whole.view.focus == "whole"
    assert whole.shape == (2, 32, 32, 32)


def ends(parameter: Hyperparameter) -> tuple[Any, Any]:
    """Return the first and the last value of a hyperparameter."""
    for values in ("choices", "sequence"):
        if hasattr(parameter, values):
            return getattr(parameter, values)[0], getattr(parameter, values)[-1]
    return parameter.lower, parameter.upper


@pytest.mark.parametrize("name", ["size", *load_space("lesion_volume")])
def test_hyperparameter_changes_the_cube(name: str, cases: list[Case], tmp_path: Path) -> None:
    space, cache = family.space(FINGERPRINT), ArtefactCache(tmp_path)
    needed = {"margin": {"crop": "fitted"}, "size": {"training:batch_size": 8}}.get(name, {})
    one, other = (
        crops(cases[:1], cube_spec(complete(space, needed | {name: value}), FINGERPRINT), cache)
        for value in ends(space[name])
    )
    assert not np.array_equal(one, other)


def test_a_finite_grid_of_cubes_serves_the_whole_space() -> None:
    """All sizes, five extents or five margins, three uses of the mask, three ways to scale a relative value."""
    space = family.space(FINGERPRINT)
    space.seed(0)
    specs = [cube_spec(dict(c), FINGERPRINT).view for c in space.sample_configuration(300)]
    n_sizes = len(space["size"].sequence)
    assert len({(view.size, view.mask, view.scaling) for view in specs}) <= n_sizes * 3 * 3
    assert len({(view.extent_mm, view.margin) for view in specs}) == 5 + 5


def test_sizes_that_would_only_magnify_are_left_out() -> None:
    def sizes(**changes: Any) -> list[int]:
        return list(family.space(dataclasses.replace(FINGERPRINT, **changes))["size"].sequence)

    assert sizes(lesion_mm=(60.0, 60.0, 60.0)) == [16, 24, 32, 48, 64, 96, 128]
    assert sizes(lesion_mm=(6.0, 6.0, 6.0)) == [16, 24, 32, 48]
    assert sizes(has_mask=False, lesion_mm=None, shape=(512, 512, 60)) == [16, 24, 32, 48, 64, 96, 128]


def test_large_cubes_come_in_small_batches_and_behind_a_step_of_two() -> None:
    space = family.space(dataclasses.replace(FINGERPRINT, lesion_mm=(60.0, 60.0, 60.0)))
    space.seed(0)
    large = [dict(c) for c in space.sample_configuration(200) if c["size"] >= 96]
    assert large
    assert {c["training:batch_size"] for c in large if "training:batch_size" in c} == {8}
    assert {c.get("stem_stride", 2) for c in large} == {2}


@pytest.mark.parametrize(
    ("unit", "name"),
    [(Intensity.HOUNSFIELD, "window"), (Intensity.SUV, "uptake"), (Intensity.ARBITRARY, "relative")],
)
def test_grey_values_are_searched_by_the_units_there_are(unit: Intensity, name: str) -> None:
    space = family.space(dataclasses.replace(FINGERPRINT, intensity={"a": Intensity.UNIT, "b": unit}))
    assert {"window", "uptake", "relative"} & set(space) == {name}


def test_three_windows_are_three_channels_of_one_look() -> None:
    from autoonco.nets.appearance import Look, looks_of

    known = dataclasses.replace(FINGERPRINT, intensity={"a": Intensity.HOUNSFIELD, "b": Intensity.SUV})
    spec = cube_spec(complete(family.space(known), {"window": "three"}), known)
    assert spec.shape[0] == 3 + 1 + 1
    assert looks_of(known, channels_each=spec.channels_each) == (Look.CT,) * 3 + (Look.PET,)


def test_thick_slices_may_be_the_layers_of_the_cube() -> None:
    """Of slices 9 mm apart a cube of 72 mm has eight layers; of whatever is thin, as many as its side."""
    thick = dataclasses.replace(FINGERPRINT, spacing_mm=(0.3, 0.3, 9.0), lesion_mm=(36.0, 36.0, 27.0))
    config = complete(family.space(thick), {"size": 64, "extent": 2.0}) | {"layers": "slices"}
    spec = cube_spec(config, thick)
    assert spec.shape[1:] == (8, 64, 64)
    assert spec.voxel_ratio == (8.0, 1.0, 1.0)
    assert cube_spec(config, dataclasses.replace(thick, spacing_mm=(1.0, 1.0, 1.0))).view.depth is None
    assert has_thick_slices(thick)
    assert not has_thick_slices(dataclasses.replace(thick, spacing_mm=(1.0, 1.0, 1.5)))


@pytest.mark.parametrize("name", [name for name in load_space("volumetric3d") if name != "size"])
def test_hyperparameter_changes_the_weights(name: str, cases: list[Case], tmp_path: Path) -> None:
    """An end before the last epoch: the length of the full training changes the schedule."""
    values = ends(family.space(FINGERPRINT)[name])
    one, other = (
        family.fit(
            config_of("monai_resnet10", **{name: value}),
            cases[:4],
            Y[:4],
            fidelity=Fidelity(folds=1, epochs=1),
            context=context(tmp_path),
        )
        .state()
        .tensors
        for value in values
    )
    assert any(not np.array_equal(one[key], other[key]) for key in one if key.endswith("weight"))


def test_more_budget_never_buys_less() -> None:
    for config in family.defaults(FINGERPRINT):
        plans = [
            family.plan(config, budget, inner_folds=5, n_train=100)
            for budget in (1 / 27, 1 / 9, 1 / 3, 0.7, 1.0)
        ]
        work = [plan.folds * (plan.epochs or 1) for plan in plans]
        assert work == sorted(work)
        assert plans[-1] == Fidelity(folds=5, epochs=config.get("epochs"))
        seconds = [family.prior_seconds(config, plan, FINGERPRINT) for plan in plans]
        assert seconds == sorted(seconds)


def test_finer_strides_cost_more() -> None:
    cheap, dear = (
        family.prior_seconds(
            config_of("monai_resnet10", stem_stride=stride), Fidelity(folds=1, epochs=8), FINGERPRINT
        )
        for stride in (2, 1)
    )
    assert dear > 3 * cheap


def test_architecture_is_searched_below_its_network_alone() -> None:
    space = family.space(FINGERPRINT)
    space.seed(0)
    found = set()
    for config in map(dict, space.sample_configuration(200)):
        searched, network = {name for name in config if name.startswith("architecture:")}, network_of(config)
        assert bool(searched) == (network == "parametric3d")
        assert ("stem_stride" in config) == network.startswith(("monai_resnet", "monai_swin"))
        found.add(network)
    assert "parametric3d" in found


def test_dearer_architectures_cost_more() -> None:
    def seconds(**changes: object) -> float:
        config = config_of("parametric3d", **changes)
        return family.prior_seconds(config, Fidelity(folds=5, epochs=8), FINGERPRINT)

    for changes in ({"size": 48}, {"architecture:kernel": 5}, {"architecture:width": 48}):
        assert seconds(**changes) > 1.5 * seconds()


@pytest.mark.parametrize("network", ["monai_resnet10", "monai_vit_tiny", "parametric3d"])
def test_the_untrained_network_takes_what_the_config_sees(network: str) -> None:
    import torch

    built, spec = family.untrained(config_of(network), FINGERPRINT, seed=0)
    assert spec == cube_spec(config_of(network), FINGERPRINT)
    assert built.eval()(torch.zeros(1, *spec.shape)).shape == (1, 2)


def coarse_config(**changes: object) -> dict[str, object]:
    return config_of("monai_resnet10", size=32, epochs=8, coarse=0.4, **changes)


def test_a_training_that_begins_coarse_is_continued_exactly(cases: list[Case], tmp_path: Path) -> None:
    """Cut among the coarse epochs, at their end, and after it: a small budget is the beginning of a large one."""

    def run(epochs: int, checkpoint: Path | None) -> TrainedNetwork:
        given = context(tmp_path, checkpoint=checkpoint)
        return family.fit(coarse_config(), cases, Y, fidelity=Fidelity(folds=1, epochs=epochs), context=given)

    kept = tmp_path / "checkpoint"
    stages = {epochs: run(epochs, kept) for epochs in (1, 3, 5)}
    assert [stages[epochs].spec.shape[1] for epochs in (1, 3, 5)] == [16, 16, 32]
    for epochs in (3, 5):
        alone = run(epochs, None)
        assert alone.spec == stages[epochs].spec
        np.testing.assert_allclose(alone.predict_proba(cases), stages[epochs].predict_proba(cases), atol=1e-6)
    state = stages[3].state()
    restored = family.restore(state, Runtime(artefacts=ArtefactCache(tmp_path / "other")))
    assert (restored.predict_proba(cases) == stages[3].predict_proba(cases)).all()


def test_coarse_epochs_cost_an_eighth_and_need_room_to_halve() -> None:
    fidelity = Fidelity(folds=5, epochs=8)
    plain, coarse = (
        family.prior_seconds(config, fidelity, FINGERPRINT)
        for config in (config_of("monai_resnet10", size=32, epochs=8), coarse_config())
    )
    assert coarse == pytest.approx(plain * (5 + 3 / 8) / 8, rel=0.05)
    space = family.space(FINGERPRINT)
    space.seed(0)
    for config in map(dict, space.sample_configuration(300)):
        if config.get("coarse"):
            assert config["size"] >= 32
            assert config["training:stopping"] == "none"
            assert config["network"].startswith("monai_")
            assert "vit" not in config["network"]


def test_one_default_at_least_can_tell_left_from_right() -> None:
    assert "none" in {config.get("augmentation:flips") for config in family.defaults(FINGERPRINT)}
