"""From a network's crops to explanations on the scans: what the families of networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.placement import put_back
from autoonco.data.preprocessing import SliceView, volume_grid
from autoonco.data.readers import Scan, read_scan
from autoonco.data.space import Space
from autoonco.families.contract import Explanation, Runtime
from autoonco.nets.inputs import InputSpec, crops
from autoonco.nets.views import picture_grids

if TYPE_CHECKING:
    from torch import nn

    from autoonco.nets.explanations import Score

PROBE = 1e-3
"""Step of `slopes`, as a share of the features' root mean square: linear heads give the same for any."""
SMOOTH = 0.1
"""Largest difference between the slopes of a step and of its half, as a share: over a threshold it is all of them."""
FLOOR = 1e-12
"""Probabilities below it count as it: a learner may be certain, log odds may not."""


def explain_cases(
    cases: Sequence[Case],
    target: int,
    network: nn.Module,
    score: Callable[[Case], tuple[Score, bool]],
    spec: InputSpec,
    runtime: Runtime,
) -> list[Explanation]:
    """Return for each case where `network` finds what speaks for class `target`.

    `score` gives for a case the log odds of the class as `explain_crop` wants them, and whether torch can follow them
    back to the network.
    """
    return [_explain(case, target, network, *score(case), spec, runtime) for case in cases]


def _explain(
    case: Case,
    target: int,
    network: nn.Module,
    score: Score,
    has_gradient: bool,
    spec: InputSpec,
    runtime: Runtime,
) -> Explanation:
    from autoonco.nets.embeddings import torch_threads
    from autoonco.nets.explanations import explain_crop

    (crop,) = crops([case], spec, runtime.artefacts)
    layout = {"n_pictures": spec.n_pictures, "n_image_channels": spec.n_image_channels}
    with torch_threads(runtime.n_threads):
        found = explain_crop(network, score, crop, has_gradient=has_gradient, **layout)
    scans = [read_scan(case, channel) for channel in spec.intensity]
    return Explanation(
        map=on_scans(found.values, scans, spec),
        target=target,
        method=str(found.method),
        space=Space.of(scans[0].image),
    )


def on_scan(values: NDArray[np.float32], case: Case, spec: InputSpec) -> NDArray[np.float32]:
    """Return maps of a case's pictures ``(n_pictures, *positions)`` on the grid of its first scan, the largest value 1.

    Where pictures overlap or lie on one another (planes, sequences), the larger value counts. That of neighbouring
    slices as channels belongs to the middle one.
    """
    return on_scans(values, [read_scan(case, channel) for channel in spec.intensity], spec)


def on_scans(values: NDArray[np.float32], scans: Sequence[Scan], spec: InputSpec) -> NDArray[np.float32]:
    """Return what `on_scan` does, of scans that were read."""
    if isinstance(spec.view, SliceView):
        grids = [place[len(place) // 2] for place in picture_grids(scans, spec.view)]
    else:
        grids = [volume_grid(scans, spec.view)]
    places = grids * (len(values) // len(grids))  # one sequence after the other
    placed = np.maximum.reduce(
        [put_back(one, grid, scans[0].image) for one, grid in zip(values, places, strict=True)]
    )
    highest = float(placed.max())
    return np.asarray(placed / highest if highest > 0 else placed)


def slopes(
    proba: Callable[[NDArray[np.float64]], NDArray[Any]], features: NDArray[np.float64], column: int
) -> NDArray[np.float64]:
    """Return the slope ``(n_features,)`` of a class's log odds at `features`, by central differences.

    Exact for a head that is linear in its features, that is, for scaling, projections and a linear learner, whatever
    they are made of. 0 for a feature of which two steps disagree: trees are flat but for their thresholds, a scaler by
    quantiles jumps at the least value it knows, and the slope across either says how long the step was, nothing else.

    Examples
    --------
    >>> def proba(x): return np.c_[1 / (1 + np.exp(x @ [2.0, -1.0])), 1 / (1 + np.exp(-x @ [2.0, -1.0]))]
    >>> slopes(proba, np.array([0.3, 0.2]), 1).round(6).tolist()
    [2.0, -1.0]
    """
    step = PROBE * max(float(np.sqrt(np.mean(features**2))), FLOOR)
    moved = step * np.eye(len(features))
    places = [features + moved, features - moved, features + moved / 2, features - moved / 2]
    up, down, near_up, near_down = np.split(odds_of(proba(np.concatenate(places)), column), 4)
    wide, narrow = (up - down) / (2 * step), (near_up - near_down) / step
    return np.where(np.abs(wide - narrow) <= SMOOTH * np.abs(wide), wide, 0.0)


def odds_of(proba: NDArray[Any], column: int) -> NDArray[np.float64]:
    """Return log odds ``(n,)`` of a column of probabilities ``(n, n_classes)``; finite for 0 and 1 too."""
    others = np.delete(proba, column, axis=1).sum(axis=1)
    return np.asarray(np.log(np.maximum(proba[:, column], FLOOR)) - np.log(np.maximum(others, FLOOR)))
