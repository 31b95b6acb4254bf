"""A score of the user's own: a function of labels and probabilities in the place of a metric's name.

It stays in the process that searches: workers return probabilities and never see it, so it need not be picklable. A
run folder can't hold a function, only its name and a hash of what it does, by which a run that goes on knows it again.
"""

from __future__ import annotations

import hashlib
import math
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoonco.errors import AutoOncoError
from autoonco.metrics.scores import Labels, Metric, Probabilities

Scorer = Callable[[NDArray[Any], NDArray[Any]], float]
"""``(y, proba) -> float``, higher is better: positions of the classes ``(n_cases,)``, ``(n_cases, n_classes)``."""
_DEEP = 8  # levels of what a function is made of that its hash follows


def metric_from(function: Scorer) -> Metric:
    """Return the metric that a function of ``(y, proba)`` is; a `Metric` is returned as it is.

    Higher is better, and there is no bound. What the function does is told by its code, its default values and what it
    closes over; not by what it calls by name.

    Examples
    --------
    >>> def hits(y, proba):
    ...     return float((proba.argmax(axis=1) == y).mean())
    >>> metric_from(hits)([0, 1], [[0.9, 0.1], [0.6, 0.4]])
    0.5
    """
    if isinstance(function, Metric):
        return function
    name = _name(function)

    def score(y: Labels, proba: Probabilities) -> float:
        try:
            value = float(function(y.copy(), proba.copy()))
        except Exception as error:
            raise AutoOncoError(
                f"Your metric {name} failed on {len(y)} cases ({type(error).__name__}: {error}). It gets the positions "
                "of the classes (n_cases,) and probabilities (n_cases, n_classes), and has to return a number."
            ) from error
        if not math.isfinite(value):
            raise AutoOncoError(
                f"Your metric {name} gave {value} on {len(y)} cases, expected a finite number: return a poor score "
                "where it is undefined."
            )
        return value

    return Metric(
        name=name,
        title=name.rpartition(".")[2],
        scorer=score,
        best=math.inf,
        worst=-math.inf,
        code=hashlib.sha256(repr(_made_of(function, _DEEP)).encode()).hexdigest()[:16],
    )


def tried(metric: Metric, y: Labels, n_classes: int) -> Metric:
    """Return `metric` after it was called once on these labels and made-up probabilities: it fails now or not at all.

    Raises
    ------
    AutoOncoError
        If it fails, or gives no number.
    """
    metric(y, np.random.default_rng(0).dirichlet(np.ones(n_classes), len(y)))
    return metric


def _name(function: Any) -> str:
    """Return module and name of a function, or of the type of what is called; always with a dot."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or 'unknown'}.{named.__qualname__}"


def _made_of(thing: Any, deep: int) -> Any:
    """Return what decides how `thing` behaves, in plain values whose text is the same in every process."""
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes)):
        return thing
    if deep == 0:
        return type(thing).__qualname__

    def inner(other: Any) -> Any:
        return _made_of(other, deep - 1)

    if isinstance(thing, types.CodeType):
        return "code", thing.co_code, thing.co_names, [inner(const) for const in thing.co_consts]
    if isinstance(thing, types.FunctionType):
        cells = [inner(cell.cell_contents) for cell in thing.__closure__ or ()]
        return (
            _name(thing),
            inner(thing.__code__),
            inner(thing.__defaults__),
            inner(thing.__kwdefaults__),
            cells,
        )
    if isinstance(thing, types.MethodType):
        return "method", inner(thing.__func__), inner(thing.__self__)
    if isinstance(thing, partial):
        return "partial", inner(thing.func), inner(thing.args), inner(thing.keywords)
    if isinstance(thing, (list, tuple)):
        return type(thing).__name__, [inner(item) for item in thing]
    if isinstance(thing, (set, frozenset)):
        return "set", sorted(repr(inner(item)) for item in thing)
    if isinstance(thing, Mapping):
        return "mapping", sorted((repr(inner(key)), inner(value)) for key, value in thing.items())
    if isinstance(thing, np.ndarray):
        return "array", str(thing.dtype), thing.shape, hashlib.sha256(thing.tobytes()).hexdigest()
    if isinstance(thing, (type, types.ModuleType, types.BuiltinFunctionType)):
        return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", thing.__name__)
    return (
        _name(thing),
        inner(type(thing).__call__ if callable(thing) else None),
        inner(getattr(thing, "__dict__", {})),
    )
