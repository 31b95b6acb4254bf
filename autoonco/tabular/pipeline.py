"""The searched pipeline of a feature table, and its space: steps, then one learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, InCondition
from ConfigSpace.util import deactivate_inactive_hyperparameters
from sklearn.pipeline import Pipeline

from autoonco.errors import UnknownNameError
from autoonco.resources import load_space
from autoonco.tabular.learners import (
    LEARNERS,
    NEED_SCALING,
    TAKES_NO_CLASS_WEIGHT,
    build_learner,
    learner_weights,
)
from autoonco.tabular.steps import build_steps

STEPS: dict[str, tuple[str, ...]] = {
    "impute": ("impute",),
    "scale": ("scale",),
    "correlation": ("correlation",),
    "selection": ("selection", "selection_share", "pca_variance"),
    "class_weight": ("class_weight",),
}
"""The optional steps and the hyperparameters that belong to each."""


def tabular_space(
    *, learners: Sequence[str] = tuple(LEARNERS), steps: Sequence[str] = tuple(STEPS)
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
    return plain(deactivate_inactive_hyperparameters(merged, space))


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with numpy's scalars as Python's: those can be stored as JSON and by skops."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in config.items()}


def build_pipeline(
    config: Mapping[str, Any], *, n_features: int, n_classes: int, n_train: int, seed: int, n_threads: int = 1
) -> Pipeline:
    """Return the unfitted pipeline of `config`: imputation, scaling, filters, selection, learner.

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
    """
    config = plain(config)
    steps = build_steps(config, n_features=n_features, n_train=n_train, seed=seed)
    learner = build_learner(config, n_classes=n_classes, seed=seed, n_threads=n_threads)
    return Pipeline([*steps, ("learner", learner)])
