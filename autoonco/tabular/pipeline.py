"""The searched pipeline of a feature table, and its space: steps, then one learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any

import numpy as np
from ConfigSpace import (
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    ForbiddenInClause,
    InCondition,
)
from ConfigSpace.types import NotSet
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from autoonco.errors import UnknownNameError
from autoonco.resources import load_space
from autoonco.tabular.groups import GROUPS
from autoonco.tabular.learners import (
    LEARNERS,
    NEED_SCALING,
    TAKES_NO_CLASS_WEIGHT,
    build_learner,
    learner_weights,
)
from autoonco.tabular.resampling import SAMPLERS, ResampledLearner, takes_groups
from autoonco.tabular.steps import build_steps

STEPS: dict[str, tuple[str, ...]] = {
    "impute": ("impute",),
    "combat": ("combat",),
    "robustness": ("robustness", "icc_threshold", "icc_form"),
    "groups": ("groups", *(f"use_{group}" for group in GROUPS)),
    "scale": ("scale",),
    "correlation": ("correlation",),
    "selection": (
        "selection",
        "selection_share",
        "p_threshold",
        "n_selected",
        "relief_neighbours",
        "stability_threshold",
        "pca_variance",
        "pca_components",
    ),
    "class_weight": ("class_weight",),
    "sampler": ("sampler",),
}
"""The optional steps and the hyperparameters that belong to each."""
OF_ANY_TABLE = ("impute", "scale", "correlation", "selection", "class_weight", "sampler")
"""The steps that need nothing but the table: no site, no perturbed mask, no name of a feature."""


def tabular_space(
    *, learners: Sequence[str] = tuple(LEARNERS), steps: Sequence[str] = OF_ANY_TABLE
) -> ConfigurationSpace:
    """Return the space of `build_pipeline`, a fresh object on each call.

    Parameters
    ----------
    learners
        Which learners may be chosen, the default first.
    steps
        Which steps vary; a step that is not named is left out of the pipeline (but see `build_steps`).

    Raises
    ------
    UnknownNameError
        If a learner or step isn't known.

    Examples
    --------
    >>> sorted(tabular_space(learners=["svm"], steps=["scale"]))
    ['learner', 'scale', 'svm:C', 'svm:degree', 'svm:gamma', 'svm:kernel']
    """
    for kind, names, valid in (("learner", learners, LEARNERS), ("step", steps, STEPS)):
        for name in names:
            if name not in valid:
                raise UnknownNameError(kind, name, valid)
    return deepcopy(_built_space(tuple(learners), tuple(steps)))


@lru_cache(maxsize=32)
def _built_space(learners: tuple[str, ...], steps: tuple[str, ...]) -> ConfigurationSpace:
    """Return the space, once for equal arguments: a copy takes a twentieth of the time."""
    space = ConfigurationSpace()
    learner = CategoricalHyperparameter(
        "learner", list(learners), default_value=learners[0], weights=learner_weights(learners)
    )
    space.add(learner)
    _add_steps(space, {parameter for step in steps for parameter in STEPS[step]}, learners)
    for name in learners:
        space.add_configuration_space(
            name, load_space(f"learner_{name}"), parent_hyperparameter={"parent": learner, "value": name}
        )
    return space


def _add_steps(space: ConfigurationSpace, wanted: set[str], learners: Sequence[str]) -> None:
    """Add the wanted hyperparameters of the steps and their conditions.

    Scaling and class weights only where a learner needs or takes them.
    """
    takers = {
        "scale": [name for name in learners if name in NEED_SCALING],
        "class_weight": [name for name in learners if name not in TAKES_NO_CLASS_WEIGHT],
    }
    wanted = wanted - {step for step, names in takers.items() if not names}
    steps = load_space("tabular_steps")
    space.add([parameter for name, parameter in steps.items() if name in wanted])
    space.add([condition for condition in steps.conditions if condition.child.name in wanted])
    for step, names in takers.items():
        if step in wanted and len(names) < len(learners):
            space.add(InCondition(space[step], space["learner"], names))
    if {"class_weight", "sampler"} <= wanted:
        weights, samplers = space["class_weight"], space["sampler"]
        both = (
            ForbiddenEqualsClause(weights, "balanced"),
            ForbiddenInClause(samplers, list(SAMPLERS)),
        )
        space.add(ForbiddenAndConjunction(*both))


def complete(space: ConfigurationSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of `space` with `values` and, for all else that is then active, the defaults.

    Raises
    ------
    UnknownNameError
        If a name in `values` isn't in the space.

    Examples
    --------
    >>> complete(tabular_space(steps=[]), {"learner": "svm", "svm:kernel": "linear"})
    {'learner': 'svm', 'svm:C': 1.0, 'svm:kernel': 'linear'}
    """
    for name in values:
        if name not in space:
            raise UnknownNameError("hyperparameter", name, space)
    merged = {name: parameter.default_value for name, parameter in space.items()} | dict(values)
    return plain(Configuration(space, values=_active(space, merged)))


def _active(space: ConfigurationSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `values`, which are for all of `space`, whose conditions hold.

    A pass leaves out what hangs on what the pass before left out, until nothing more is. ConfigSpace's own function
    makes and checks a configuration for each that it leaves out: of a family's 130, half a second and more.
    """
    found = dict(values)
    while True:
        known = {name: found.get(name, NotSet) for name in values}
        holds = {
            name: all(condition.satisfied_by_value(known) for condition in space.parent_conditions_of[name])
            for name in found
        }
        if all(holds.values()):
            return found
        found = {name: value for name, value in found.items() if holds[name]}


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with numpy's scalars as Python's: those can be stored as JSON and by skops."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in config.items()}


def build_pipeline(
    config: Mapping[str, Any],
    *,
    n_features: int,
    n_classes: int,
    n_train: int,
    seed: int,
    n_threads: int = 1,
    names: Sequence[str] | None = None,
) -> Pipeline:
    """Return the unfitted pipeline of `config`: imputation, scaling, filters, selection, learner.

    With ComBat (`needs_site`) the table has the site's code as one more column, its last; see `fit_pipeline` for
    what a robustness filter and a learner that stops early want.

    Parameters
    ----------
    config
        A config of `tabular_space`; other keys are ignored.
    n_features, n_classes, n_train
        Size of the table it will be fitted on.
    seed
        Seed of everything random in it.
    n_threads
        Threads that forests and XGBoost may take.
    names
        Names of the features, by which groups of them are left out.
    """
    config = plain(config)
    steps = build_steps(config, n_features=n_features, n_train=n_train, seed=seed, names=names)
    learner = build_learner(config, n_classes=n_classes, seed=seed, n_threads=n_threads)
    if config.get("sampler", "none") != "none":
        learner = ResampledLearner(sampler=config["sampler"], learner=learner, seed=seed)
    return Pipeline([*steps, ("learner", learner)])


def needs_site(config: Mapping[str, Any]) -> bool:
    """Tell whether the table of `config` ends in a column of site codes."""
    return bool(config.get("combat", "none") != "none")


def needs_perturbed(config: Mapping[str, Any]) -> bool:
    """Tell whether the pipeline of `config` is fitted with features of perturbed masks."""
    return bool(config.get("robustness", "none") != "none")


def fit_pipeline(
    pipeline: Pipeline,
    X: NDArray[Any],
    y: NDArray[Any],
    *,
    groups: NDArray[Any] | None = None,
    perturbed: NDArray[Any] | None = None,
) -> Pipeline:
    """Return `pipeline` fitted on `X` ``(n_cases, n_features)``, each step given what it needs of the rest.

    Parameters
    ----------
    groups
        Patient of each case ``(n_cases,)``, for learners that stop early.
    perturbed
        ``(n_masks, n_cases, n_features)``, the features of the same cases under several masks, for the robustness
        filter. Without the column of site codes.
    """
    wanted: dict[str, Any] = {}
    if groups is not None and takes_groups(pipeline[-1]):
        wanted["learner__groups"] = groups
    if "robustness" in pipeline.named_steps:
        if perturbed is not None and "groups" in pipeline.named_steps:
            perturbed = np.delete(perturbed, list(pipeline["groups"].columns), axis=2)
        wanted["robustness__perturbed"] = perturbed
    return pipeline.fit(X, y, **wanted)
