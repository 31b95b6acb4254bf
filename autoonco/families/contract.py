"""What a family of models has to offer to take part in the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.data.space import Space, write_map

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

Config = Mapping[str, str | int | float | bool]
"""One point of a family's space: plain values of the active hyperparameters only."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What a family makes of a budget.

    `folds` is how many of the inner folds are scored; `epochs` how far each fold's network is trained (None
    where a family doesn't train by epochs); `cases` on how many of a fold's training cases it is fitted (None for
    all); `repeats` how often the cases were dealt into folds anew, which the search does for its finalists alone: a
    family always plans one. Equal fidelities of a config are the same trial.
    """

    folds: int
    epochs: int | None = None
    cases: int | None = None
    repeats: int = 1

    @property
    def fold_key(self) -> str:
        """What one fold's result depends on: results of a fold are shared by fidelities of equal key."""
        cases = "" if self.cases is None else f"n{self.cases}"
        return ("full" if self.epochs is None else f"e{self.epochs}") + cases


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where a model works: the artefact cache, the device and the threads it may use.

    With `probe`, a family may measure which way of computing is fastest; not where a run has to be reproducible.
    """

    artefacts: ArtefactCache
    device: str = "cpu"
    n_threads: int = 1
    probe: bool = False


@dataclass(frozen=True, kw_only=True)
class FitContext:
    """What a fit may use besides cases and labels.

    `checkpoint` is a folder of this (config, fold, seed): a family that trains by epochs continues from what
    it finds there and leaves its latest state; None where nothing is kept. `notes` is plain JSON about the fit that
    becomes part of the trial's record; what an earlier fit noted may be in it, and is then to be kept to.
    """

    runtime: Runtime
    fingerprint: Fingerprint
    seed: int
    checkpoint: Path | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """A fitted model as data that is safe to store: JSON, tensors and skops parts."""

    meta: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    parts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Where a model looked in a case.

    Parameters
    ----------
    map
        Evidence for the class on the grid of the case's first image, ``(height, width)`` or
        ``(depth, height, width)``: 1 where it is strongest, 0 where there is none and where the model didn't
        look. All 0 where nothing speaks for the class.
    target
        Index of the class in `Fingerprint.classes`.
    method
        How the map was made, in words.
    share
        Share of an ensemble's weight that has maps; members that see numbers have none.
    space
        Where the map's pixels lie: those of the case's first image.
    """

    map: NDArray[Any]
    target: int
    method: str
    share: float = 1.0
    space: Space | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the map, so that numpy and matplotlib take an explanation as the array it holds."""
        return np.array(self.map, dtype=dtype, copy=copy)

    def save(self, path: str | Path) -> Path:
        """Write the map in the space of the case's first image, so that a viewer lays it over the scan.

        `path` ends in ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``; of a picture ``.png`` is possible too.

        Raises
        ------
        DataError
            If the file is of another type, or its folder is missing.
        """
        return write_map(np.asarray(self.map), self.space, Path(path))


class FittedModel(Protocol):
    """A fitted pipeline of a family."""

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        """Return probabilities ``(n_cases, n_classes)``, columns in the order of `Fingerprint.classes`."""
        ...

    def state(self) -> ModelState:
        """Return everything `Family.restore` needs to predict the same numbers."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A fitted model that can show where it looked.

    One that can't may say why in an attribute `no_map`, a sentence that the user reads.
    """

    def explain(self, cases: Sequence[Case], target: int) -> Sequence[Explanation]:
        """Return for each case where it speaks for class `target`."""
        ...


class Family(Protocol):
    """A kind of model with a space of its own. A module in `autoonco/families` has one, named `family`.

    Deep families import torch inside their functions, so that asking for a space needs no torch.
    """

    name: str

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return a sentence that says why the family does not apply here, or None where it does."""
        ...

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return the family's conditional space, without a prefix."""
        ...

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return configs that always compete, the most trusted first; each is valid in `space`."""
        ...

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:
        """Return what `budget`, a fraction in (0, 1] of the config's full training, buys.

        1 buys all folds, and nothing buys less than one; `n_train` is the number of training cases in a fold.
        """
        ...

    def wants_gpu(self, config: Config) -> bool:
        """Return whether a trial of `config` belongs on a GPU where there is one."""
        ...

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return a rough guess of a trial's seconds on one core; the search corrects it by what it measures."""
        ...

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,
        context: FitContext,
    ) -> FittedModel:
        """Fit on `cases` with integer labels `y` ``(n_cases,)`` in 0..n_classes-1.

        Everything learned from more than one case is learned here, from these cases alone.
        """
        ...

    def restore(self, state: ModelState, runtime: Runtime) -> FittedModel:
        """Return the model that `FittedModel.state` described."""
        ...
