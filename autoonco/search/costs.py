"""How long a trial will take: the family's own guess, corrected by what was measured on this machine."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from ConfigSpace import Configuration
from numpy.typing import NDArray

from autoonco.families import get_family
from autoonco.families.contract import Config
from autoonco.search.space import split
from autoonco.search.surrogate import vectors

Floats = NDArray[np.float64]
Prior = Callable[[str, Config], float]

_SHORTEST_S = 1e-3
_TREES = 20


def trained_or_not(family: str, config: Config) -> str:
    """Return the kind of a config in a search, see `SecondsModel`: whether weights are trained."""
    return "trained" if get_family(family).wants_gpu(config) else ""


class SecondsModel:
    """Predicted seconds = a family's prior × what its trials took beyond theirs × what configs like this one did.

    The first trial of a family often pays for artefacts that later ones find in the cache, so only the latest
    few count for the family's ratio, their median, and the prediction follows. Where a family has trials enough, a
    small forest learns which of its configs take longer than their prior says.

    Parameters
    ----------
    prior
        Seconds of full training of a config, for the search to weigh configs that nobody has tried; None where
        only concrete trials are predicted.
    mode
        "prior" uses no measured second, so that a search's course doesn't depend on the machine's speed.
    kind
        Names what a config has in common with others whose measured seconds say something of its own, within its
        family: a frozen network's, whose embeddings are in the cache, say nothing of a training.
    """

    _WINDOW = 9
    _ENOUGH = 10
    _LATEST = 300

    def __init__(
        self,
        *,
        prior: Prior | None = None,
        mode: Literal["measured", "prior"] = "measured",
        kind: Callable[[str, Config], str] = lambda _family, _config: "",
    ) -> None:
        self.prior, self._mode, self._kind = prior, mode, kind
        self._ratios: dict[tuple[str, str], deque[tuple[float, Config | None]]] = defaultdict(
            lambda: deque(maxlen=self._LATEST)
        )
        self._residuals: dict[tuple[str, str], _Residual] = {}
        self._learned: dict[tuple[str, str], int] = defaultdict(int)
        self.n_measured = 0
        """How many trials were taken note of."""

    def add(self, family: str, *, prior_s: float, measured_s: float, config: Config | None = None) -> None:
        """Take note of a trial that ended by itself."""
        if self._mode == "prior":
            return
        ratio = max(measured_s, _SHORTEST_S) / max(prior_s, _SHORTEST_S)
        group = self._group(family, config)
        self._ratios[group].append((float(np.log(ratio)), config))
        self.n_measured += 1
        self._learned[group] += 1

    def _group(self, family: str, config: Config | None) -> tuple[str, str]:
        return family, "" if config is None else self._kind(family, config)

    def predict(self, family: str, *, prior_s: float, config: Config | None = None) -> float:
        """Return the seconds that a trial with this prior is expected to take."""
        return prior_s * float(np.exp(self.log_corrections(family, [config])[0]))

    def log_corrections(self, family: str, configs: Sequence[Config | None]) -> Floats:
        """Return ``(n,)`` the logarithm of what the configs' priors are to be multiplied with."""
        places: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, config in enumerate(configs):
            places[self._group(family, config)].append(place)
        found = np.zeros(len(configs))
        for group, members in places.items():
            found[members] = self._corrections(group, [configs[place] for place in members])
        return found

    def _corrections(self, group: tuple[str, str], configs: Sequence[Config | None]) -> Floats:
        ratios = self._ratios[group]
        if not ratios:
            return np.zeros(len(configs))
        residual = self._residual(group)
        latest = list(ratios)[-self._WINDOW :]
        if residual is None:
            return np.full(len(configs), np.median([ratio for ratio, _ in latest]))
        # What the forest says of the latest is taken from them first, or slow configs among them would count twice.
        drift = np.median([r for r, _ in latest] - residual([config for _, config in latest]))
        return residual(configs) + drift

    def _residual(self, group: tuple[str, str]) -> _Residual | None:
        """Return the group's forest, fitted anew whenever a fifth more trials are known."""
        known = [(ratio, config) for ratio, config in self._ratios[group] if config is not None]
        if len(known) < self._ENOUGH:
            return None
        found = self._residuals.get(group)
        if found is None or self._learned[group] >= 1.2 * found.n_learned:
            configs = [config for _, config in known]
            found = _Residual(configs, np.array([r for r, _ in known]), n_learned=self._learned[group])
            self._residuals[group] = found
        return found


class _Residual:
    """A small forest from a config's values to log(measured / prior); 0 for what it can't know."""

    def __init__(self, configs: Sequence[Config], log_ratios: Floats, *, n_learned: int) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self.n_learned = n_learned
        self._columns = sorted({name for config in configs for name in config})
        self._codes: dict[str, Mapping[str, int]] = {}
        for name in self._columns:
            texts = {value for config in configs if isinstance(value := config.get(name), str)}
            self._codes[name] = {text: code for code, text in enumerate(sorted(texts))}
        self._middle = float(np.median(log_ratios))
        self._forest = RandomForestRegressor(_TREES, min_samples_leaf=3, random_state=0, n_jobs=1)
        self._forest.fit(self._encode(configs), log_ratios - self._middle)

    def _encode(self, configs: Sequence[Config]) -> Floats:
        return np.array(
            [[self._code(name, config.get(name)) for name in self._columns] for config in configs]
        )

    def _code(self, name: str, value: str | float | None) -> float:
        if isinstance(value, str):
            return self._codes[name].get(value, -1)
        return np.nan if value is None else float(value)

    def __call__(self, configs: Sequence[Config | None]) -> Floats:
        known = [place for place, config in enumerate(configs) if config is not None]
        values = np.zeros(len(configs))
        if known:
            values[known] = self._forest.predict(self._encode([configs[place] or {} for place in known]))
        return values + self._middle


class SecondsSurface:
    """The logarithm of the seconds of full training as a function of a config's vector, fast enough for a search.

    A forest is fitted to what `model` says of `configs`, some hundreds that cover the space, for a family's prior is a
    Python call a config and a local search looks at tens of thousands. It is fitted again when a fifth more trials were
    measured.
    """

    def __init__(self, model: SecondsModel, configs: Sequence[Configuration]) -> None:
        if model.prior is None:
            raise ValueError("The seconds model has no prior for configs that nobody has tried.")
        self._model = model
        self._vectors = _filled(vectors(configs))
        self._members: dict[str, list[int]] = defaultdict(list)
        self._configs = [split(config) for config in configs]
        for place, (family, _) in enumerate(self._configs):
            self._members[family].append(place)
        priors = [model.prior(family, config) for family, config in self._configs]
        self._log_priors = np.log(np.maximum(priors, _SHORTEST_S))
        self._fit()

    def _fit(self) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self._n_measured = self._model.n_measured
        target = self._log_priors.copy()
        for family, places in self._members.items():
            target[places] += self._model.log_corrections(
                family, [self._configs[place][1] for place in places]
            )
        self._mean = float(target.mean())
        forest = ExtraTreesRegressor(10, min_samples_leaf=2, random_state=0, n_jobs=1)
        self._trees = [tree.tree_ for tree in forest.fit(self._vectors, target).estimators_]

    def __call__(self, x: Floats) -> Floats:
        """Return log t - mean log t ``(n,)`` of vectors ``(n, n_hyperparameters)``, NaN where inactive."""
        if self._model.n_measured > 1.2 * self._n_measured:
            self._fit()
        rows = _filled(x)
        return np.asarray(np.mean([tree.predict(rows)[:, 0] for tree in self._trees], axis=0)) - self._mean


def _filled(x: Floats) -> NDArray[np.float32]:
    return np.nan_to_num(x, nan=-1.0).astype(np.float32)
