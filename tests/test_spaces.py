"""Each hyperparameter of each file in spaces/ changes what is fitted or computed.

The files are read, so a new hyperparameter is tested as soon as it is written, and fails until something hangs on it.
For each, two configs of its file differ in its first and its last value alone (and in hyperparameters that one of them
brings along), whatever it needs to be active being set in both; what a `Probe` computes of the two must differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from ConfigSpace import ConfigurationSpace
from ConfigSpace.hyperparameters import Hyperparameter

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.checks import inspect
from autoonco.data.fingerprint import Fingerprint, Intensity, fingerprint
from autoonco.data.manifest import Dataset
from autoonco.data.phantoms import make_phantoms
from autoonco.families import clinical, fusion, pretrained2d, radiomics, scratch2d, volumetric3d
from autoonco.families.contract import Family, Fidelity, FitContext, Runtime
from autoonco.families.cubes import cube_spec
from autoonco.families.embedded import Features
from autoonco.families.networks import fit_network, picture_spec
from autoonco.nets.inputs import InputSpec, crops
from autoonco.resources import load_space
from autoonco.tabular.blocked import fit_blocked
from autoonco.tabular.groups import GROUPS
from autoonco.tabular.pipeline import (
    STEPS,
    build_pipeline,
    complete,
    fit_pipeline,
    needs_site,
    tabular_space,
)

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]
FILES = sorted(path.stem for path in (Path(__file__).parents[1] / "spaces").glob("*.yaml"))
FAST: Mapping[str, Config] = {"learner_random_forest": {"n_estimators": 20}}
"""Cheaper values than the defaults, for what they are not the question of."""
HYPERPARAMETERS = [(file, name) for file in FILES for name in load_space(file)]
N_CASES = 10


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """Ten phantom volumes."""

    cases: tuple[Case, ...]
    y: np.ndarray
    fingerprint: Fingerprint
    runtime: Runtime

    @property
    def context(self) -> FitContext:
        return FitContext(runtime=self.runtime, fingerprint=self.fingerprint, seed=0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("phantoms")
    data = Dataset.from_csv(make_phantoms(folder, n=N_CASES, ndim=3))
    runtime = Runtime(artefacts=ArtefactCache(folder / "cache"))
    y = np.arange(N_CASES) % 4 // 3  # classes of unequal size, or weighting them would change nothing
    return Tiny(cases=data.cases, y=y, fingerprint=fingerprint(data, inspect(data)), runtime=runtime)


def ends(parameter: Hyperparameter) -> tuple[Any, Any]:
    """Return the first and the last value of a hyperparameter."""
    for values in ("choices", "sequence"):
        if hasattr(parameter, values):
            return getattr(parameter, values)[0], getattr(parameter, values)[-1]
    return parameter.lower, parameter.upper


def needed(space: ConfigurationSpace, name: str) -> Config:
    """Return values that make a hyperparameter active: of its parents, and of theirs."""
    found: Config = {}
    for condition in space.parent_conditions_of[name]:
        parent = condition.parent.name
        allowed = getattr(condition, "values", None) or (condition.value,)
        found |= needed(space, parent) | {parent: allowed[0]}
    return found


def pair(file: str, name: str) -> tuple[Config, Config]:
    """Return two configs of a file that differ in hyperparameter `name` alone and in what depends on it."""
    space = load_space(file)
    base = FAST.get(file, {}) | needed(space, name)
    one, other = (complete(space, base | {name: value}) for value in ends(space[name]))
    below = {child.name for child in _descendants(space, name)}
    differing = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert name in differing
    assert differing - {name} <= below
    return one, other


def _descendants(space: ConfigurationSpace, name: str) -> list[Hyperparameter]:
    children = [condition.child for condition in space.child_conditions_of[name]]
    return children + [item for child in children for item in _descendants(space, child.name)]


def under(prefix: str, config: Config) -> Config:
    """Return the config with a prefix, as the space that it is a component of names its values."""
    return {f"{prefix}:{key}": value for key, value in config.items()}


# What each file's config leads to. Crops and features are computed, pipelines and networks are fitted.


def predictions(config: Config, *, learner: str, steps: tuple[str, ...] = (), n: int = 12) -> Arrays:
    """Fit the pipeline on a table with gaps, correlated columns and classes of unequal size."""
    rng = np.random.default_rng(0)
    y = (np.arange(60) % 4 == 0).astype(int)
    X = rng.normal(size=(60, n)) ** 3 * rng.uniform(1, 9, n)
    X[:, 0] += y
    X[:, 1] = X[:, 0] + 0.1 * rng.normal(size=60) * X[:, 0].std()
    X[rng.random(X.shape) < 0.05] = np.nan
    space = tabular_space(learners=[learner], steps=dict.fromkeys(("impute", *steps)))
    full = complete(space, {key: value for key, value in config.items() if key in space})
    perturbed = np.stack(
        [X, X + np.linspace(0, 2, n) * np.nanstd(X, axis=0) * (rng.normal(size=X.shape) + 1)]
    )
    names = [f"original_{group}_{number}" for number in range(n) for group in GROUPS][:n]
    pipeline = build_pipeline(full, n_features=n, n_classes=2, n_train=60, seed=0, names=names)
    if needs_site(full):
        X = np.column_stack([X, np.arange(60) % 3])
    return {"proba": fit_pipeline(pipeline, X, y, perturbed=perturbed).predict_proba(X)}


def tabular_steps(config: Config, tiny: Tiny) -> Arrays:
    return predictions(config, learner="logistic_regression", steps=tuple(STEPS), n=60)


def learner(config: Config, tiny: Tiny, *, name: str) -> Arrays:
    return predictions(under(name, config), learner=name)


def two_channels(tiny: Tiny) -> Case:
    """Return the first two phantoms as channels of one case: thick slices, a second small lesion, far outliers."""
    folder, first = tiny.runtime.artefacts.folder.parent, tiny.cases[0]
    images, masks = {}, {}
    for number, name in enumerate(("a", "b")):
        image = sitk.ReadImage(str(tiny.cases[number].images["image"]))
        mask = sitk.ReadImage(str(tiny.cases[number].mask_of("image")))
        values, inside = (sitk.GetArrayFromImage(item) for item in (image, mask))
        values = values.astype(np.float32)
        inside[1:5, 1:5, 1:5] = 1
        values[tuple(np.argwhere(inside)[:2].T)] = 5000.0
        for kind, array in (("image", values), ("mask", inside)):
            found = sitk.GetImageFromArray(array)
            found.SetSpacing((0.8, 0.8, 2.0))
            path = folder / f"two_{kind}_{name}.nii.gz"
            sitk.WriteImage(found, str(path))
            (images if kind == "image" else masks)[name] = path
    return replace(first, images=images, masks=masks)


def features(config: Config, tiny: Tiny) -> Arrays:
    """Extract from a case of two channels and two lesions, in each unit that settings depend on."""
    found = {}
    case = two_channels(tiny)
    for unit in (Intensity.HOUNSFIELD, Intensity.SUV, Intensity.ARBITRARY):
        print_ = replace(
            tiny.fingerprint,
            channels=tuple(case.images),
            is_colour=True,
            spacing_mm=(1.0, 1.0, 3.0),
            intensity=dict.fromkeys(case.images, unit),
        )
        known = radiomics.family.space(print_)
        active = {k: v for k, v in config.items() if k in known}
        spec = radiomics.spec_of(active, print_)
        table, names = radiomics.extract_table([case], spec, artefacts=tiny.runtime.artefacts)
        found |= {f"{unit} {name}": column for name, column in zip(names, table.T, strict=True)}
    return found


def clinical_columns(config: Config, tiny: Tiny) -> Arrays:
    """Fit on an age that is missing here and there and a stage of which one value is rare."""
    stages = np.repeat(["I", "II", "III"], (18, 20, 2)).tolist()
    ages = [None if i % 4 == 0 else 30.0 + 7 * i % 41 for i in range(40)]
    cases = [
        replace(tiny.cases[i % N_CASES], clinical={"age": age, "stage": stage})
        for i, (age, stage) in enumerate(zip(ages, stages, strict=True))
    ]
    print_ = replace(tiny.fingerprint, clinical=("age", "stage"), has_mask=True)
    full = complete(clinical.family.space(print_), {"logistic_regression:C": 1.0} | config)
    model = clinical.family.fit(
        full,
        cases,
        np.arange(40) % 3 // 2,
        fidelity=Fidelity(folds=1),
        context=replace(tiny.context, fingerprint=print_),
    )
    return {"proba": model.predict_proba(cases)}


def view(config: Config, tiny: Tiny, *, spec_of: Callable[[Config, Fingerprint], InputSpec]) -> Arrays:
    """Crop the first case."""
    spec = spec_of({"size": 24} | config, tiny.fingerprint)
    return {"crops": crops(tiny.cases[:1], spec, tiny.runtime.artefacts)}


def greys(config: Config, tiny: Tiny) -> Arrays:
    """Crop the first case as if its values had each of the units that the choices are about."""
    found = {}
    for unit in (Intensity.HOUNSFIELD, Intensity.SUV, Intensity.ARBITRARY):
        known = replace(tiny.fingerprint, intensity=dict.fromkeys(tiny.fingerprint.channels, unit))
        found[str(unit)] = view(config, replace(tiny, fingerprint=known), spec_of=cube_spec)["crops"]
    return found


def layers(config: Config, tiny: Tiny) -> Arrays:
    """Crop the first case as if slices were thick."""
    known = replace(tiny.fingerprint, spacing_mm=(0.5, 0.5, 9.0))
    return view(config, replace(tiny, fingerprint=known), spec_of=cube_spec)


def slices(config: Config, tiny: Tiny) -> Arrays:
    """Crop, and embed where it is the pooling that varies."""
    base = {"network": "tf_efficientnet_lite0"} | config
    return fitted({}, tiny, family=pretrained2d.family, n=4, base=base, size=32)


def bags(config: Config, tiny: Tiny) -> Arrays:
    """Two configs in one: frozen embeddings of three slices, and a network trained on them."""
    found = {}
    for mode, name in (("frozen", "slice_pooling"), ("finetune", "bag_pooling")):
        base = {"mode": mode, "slices": "several", "n_slices": 3, name: config[name]}
        if mode == "finetune":
            base |= {"frozen_stages": 5, "training:batch_size": 8}
        result = fitted({}, tiny, family=pretrained2d.family, n=4, base=base, size=32)
        found |= {f"{mode} {key}": value for key, value in result.items()}
    return found


def sequences(config: Config, tiny: Tiny) -> Arrays:
    """Crop a case of two channels."""
    case = two_channels(tiny)
    print_ = replace(
        tiny.fingerprint,
        channels=tuple(case.images),
        intensity=dict.fromkeys(case.images, Intensity.ARBITRARY),
    )
    return {"crops": crops([case], picture_spec({"size": 24} | config, print_), tiny.runtime.artefacts)}


def class_token(config: Config, tiny: Tiny) -> Arrays:
    """Embed a case by a small transformer of random weights."""
    import timm
    import torch

    from autoonco.nets.embeddings import feature_names
    from autoonco.nets.network import Network

    torch.manual_seed(0)
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=2)
    network = Network(backbone, {"mean": [0.5] * 3, "std": [0.5] * 3}).eval()
    with torch.no_grad():
        made = network.embed_all(torch.rand(1, 3, 32, 32), layers=(-1,))
    return {name: made[name].numpy() for name in feature_names(Features.of(config).pooling, n_layers=1)}


def fitted(
    config: Config, tiny: Tiny, *, family: Family, base: Config, n: int, epochs: int = 1, **small: Any
) -> Arrays:
    """Fit the family on `n` cases; `base` names other values, `small` such as are outside the space, to be fast."""
    full = complete(family.space(tiny.fingerprint), base | config) | small
    fidelity = Fidelity(folds=1, epochs=None if full.get("mode") == "frozen" else epochs)
    model = family.fit(full, tiny.cases[:n], tiny.y[:n], fidelity=fidelity, context=tiny.context)
    state = model.state()
    found = {name: value for name, value in state.tensors.items() if not name.endswith("num_batches_tracked")}
    return found | {"proba": model.predict_proba(tiny.cases[:2])}


def fused(config: Config, tiny: Tiny, **small: Any) -> Arrays:
    """Fit a fusion on cases that have masks and an age."""
    cases = tuple(replace(case, clinical={"age": 40.0 + 7 * i % 31}) for i, case in enumerate(tiny.cases))
    both = replace(tiny, cases=cases, fingerprint=replace(tiny.fingerprint, clinical=("age",)))
    base = {"training:batch_size": 8} if config.get("mode") == "finetune" else {}
    return fitted(config, both, family=fusion.family, n=8, base=base, **small)


def fused_block(config: Config, tiny: Tiny) -> Arrays:
    """Fit a block of skewed columns, some of them alike, beside one without steps of its own."""
    rng = np.random.default_rng(0)
    y = (np.arange(80) % 4 == 0).astype(int)
    X = rng.normal(size=(80, 120)) ** 3 + (np.arange(120) < 20) * y[:, None]
    X[:, 60:] = X[:, :60] + rng.normal(size=(80, 60)) * X[:, :60].std(axis=0)
    learner = complete(tabular_space(learners=["logistic_regression"], steps=("scale",)), {"scale": "zscore"})
    found = fit_blocked(
        {"embedding": X, "clinical": X[:, :1]},
        y,
        config=learner,
        of_blocks={"embedding": config},
        groups=np.arange(80),
        seed=0,
    )
    return {"proba": found.predict_proba({"embedding": X, "clinical": X[:, :1]})}


CHEAP = {"architecture:width": 16, "architecture:stages": 2, "training:batch_size": 8, "epochs": 10}
scratch = partial(fitted, family=scratch2d.family, n=N_CASES, epochs=4)


def training(config: Config, tiny: Tiny, *, component: str) -> Arrays:
    """Four epochs out of ten on pictures of 24 pixels a side."""
    base = CHEAP | under(component, config)
    return scratch({}, tiny, base=base, size=24)


def colours(config: Config, tiny: Tiny) -> Arrays:
    """Train as if the pictures were in colour."""
    return training(
        config,
        replace(tiny, fingerprint=replace(tiny.fingerprint, is_colour=True)),
        component="augmentation",
    )


def finetuned(config: Config, tiny: Tiny) -> Arrays:
    """Fine-tune a small transformer of random weights for four epochs."""
    import timm
    import torch

    from autoonco.nets.network import Network

    torch.manual_seed(0)
    backbone = timm.create_model(
        "vit_tiny_patch16_224", num_classes=2, img_size=32, depth=6, drop_path_rate=config["drop_path"]
    )
    network = Network(backbone, {"mean": [0.5] * 3, "std": [0.5] * 3})
    full = {"epochs": 4, **config}
    for component in ("training", "augmentation"):
        full |= under(component, complete(load_space(component), {}))
    spec = picture_spec({"size": 32}, tiny.fingerprint)
    fidelity = Fidelity(folds=1, epochs=4)
    model = fit_network(network, {}, spec, full, tiny.cases, tiny.y, fidelity=fidelity, context=tiny.context)
    return dict(model.state().tensors)


def untrained(config: Config, tiny: Tiny, *, family: Any, base: Config) -> Arrays:
    """Build the network and have it see two crops of noise, batch statistics and all."""
    import torch

    full = complete(family.space(tiny.fingerprint), base | under("architecture", config))
    network, spec = family.untrained(full, tiny.fingerprint, seed=0)
    noise = torch.rand(2, *spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return {"logits": network.train()(noise).numpy()}


Probe = Callable[[Config, Tiny], Arrays]
PROBES: Mapping[str, Probe] = {
    "augmentation": partial(training, component="augmentation"),
    "augmentation_colour": colours,
    "bags": bags,
    "class_token": class_token,
    "clinical": clinical_columns,
    "finetune": finetuned,
    "fusion": fused,
    "fusion_block": fused_block,
    "lesion_slice": partial(view, spec_of=picture_spec),
    "linear_head": lambda config, tiny: fitted(
        {},
        tiny,
        family=pretrained2d.family,
        n=N_CASES,
        base={"classifier": "linear"} | under("linear", config),
        size=32,
    ),
    "map_pooling": partial(fitted, family=pretrained2d.family, n=8, base={}, size=64),
    "coarse": partial(
        fitted,
        family=volumetric3d.family,
        n=4,
        base={"network": "monai_resnet10", "training:batch_size": 8, "size": 32},
    ),
    "cube_greys": greys,
    "cube_layers": layers,
    "cube_size": partial(view, spec_of=cube_spec),
    "lesion_volume": partial(view, spec_of=cube_spec),
    "parametric2d": partial(untrained, family=scratch2d.family, base={}),
    "parametric3d": partial(
        untrained, family=volumetric3d.family, base={"network": volumetric3d.SEARCHED, "size": 24}
    ),
    "pretrained2d": partial(fitted, family=pretrained2d.family, n=8, base={"training:batch_size": 8}),
    "prediction": partial(training, component="prediction"),
    "radiomics": features,
    "sequences": sequences,
    "slices": slices,
    "scratch2d": partial(scratch, base=CHEAP),
    "tabular_steps": tabular_steps,
    "training": partial(training, component="training"),
    "volumetric3d": partial(
        fitted, family=volumetric3d.family, n=4, base={"network": "monai_resnet10", "training:batch_size": 8}
    ),
    "pretext": partial(
        fitted, family=volumetric3d.family, n=4, base={"network": "monai_vit_tiny", "epochs": 8}
    ),
    "volumetric3d_pretrained": partial(fitted, family=volumetric3d.family, n=8, base={"epochs": 8}),
}
SMALL: Mapping[str, Config] = {
    "fusion": {"size": 32},
    "pretrained2d": {"size": 32},
    "scratch2d": {"size": 24},
    "volumetric3d": {"size": 24},
    "volumetric3d_pretrained": {"size": 24},
    "pretext": {"size": 24},
}
"""Sizes outside the space, or its smallest, for what does not ask about size."""


def probe_of(file: str, name: str) -> Probe:
    """Return what computes the effect of hyperparameter `name`."""
    if file.startswith("learner_"):
        return partial(learner, name=file.removeprefix("learner_"))
    if file not in PROBES:
        pytest.fail(f"spaces/{file}.yaml has no probe in this file: say what its hyperparameters change.")
    if name == "size":  # what is seen: a fit would add nothing
        spec_of = cube_spec if file == "cube_size" else picture_spec
        return partial(view, spec_of=spec_of)
    return partial(PROBES[file], **SMALL.get(file, {}))


def same(one: Arrays, other: Arrays) -> bool:
    """Return whether two results have the same names, shapes and values."""
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key], equal_nan=True) for key in one
    )


@pytest.mark.parametrize(("file", "name"), HYPERPARAMETERS, ids=[f"{f}:{n}" for f, n in HYPERPARAMETERS])
def test_hyperparameter_changes_what_is_fitted(file: str, name: str, tiny: Tiny) -> None:
    probe = probe_of(file, name)
    one, other = pair(file, name)
    assert not same(probe(one, tiny), probe(other, tiny)), f"{name} of spaces/{file}.yaml changes nothing"


@pytest.mark.parametrize("file", sorted({file for file in FILES if not file.startswith("learner_")}))
def test_probe_is_repeatable(file: str, tiny: Tiny) -> None:
    """Otherwise chance would make the difference that the test above looks for."""
    name = next((name for name in load_space(file) if name != "size"), "size")
    config, _ = pair(file, name)
    probe = probe_of(file, name)
    assert same(probe(config, tiny), probe(config, tiny))


def test_a_knob_without_effect_is_seen(tiny: Tiny) -> None:
    idle = {"C": 1.0, "penalty": "l2"}
    assert same(
        learner(idle, tiny, name="logistic_regression"), learner(idle, tiny, name="logistic_regression")
    )
    assert not same({"a": np.zeros(2)}, {"a": np.zeros(3)})
    assert not same({"a": np.zeros(2)}, {"b": np.zeros(2)})
