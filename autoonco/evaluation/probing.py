"""Test cases with the lesion or its mask changed, predicted again: what a model falls back to shows what it leans on.

Nothing is fitted. The changed scans are written to a temporary folder, and are gone when they were predicted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan
from autoonco.errors import AutoOncoError
from autoonco.evaluation.decisions import Decided
from autoonco.evaluation.delivered import mean_proba, restored
from autoonco.evaluation.outcome import Delivered, Probed
from autoonco.families.contract import Runtime
from autoonco.features.perturbation import Perturbing, perturb, radius_mm
from autoonco.search.interrupt import Allowance

Predict = Callable[[Sequence[Case]], NDArray[Any]]
Bools = NDArray[np.bool_]

CHANGE = 0.1
"""Of the lesion's radius: how far its mask is grown or shrunk."""
RING = 0.3
"""Of the lesion's radius: how wide the ring around it is whose grey values it is filled with."""
MOST = 200
"""Cases at most: an AUC's interval then spans about 0.1, and more would tell a shortcut no better."""
_AT_ONCE = 4
# A scan that was changed may break what no real one does: that is no reason to lose a run at its end.
_FAILS = (AutoOncoError, ValueError, RuntimeError, ArithmeticError, LookupError)
_NO_MASKS = "the cases have no lesion masks"


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A scan's values ``([z,] y, x[, colours])`` and its mask ``([z,] y, x)``."""

    values: NDArray[Any]
    mask: Bools
    spacing_mm: tuple[float, ...]


def lesion_out(scan: Painted) -> Painted:
    """Return the scan with the lesion painted over: the median around it, and as much noise as is there."""
    return replace(scan, values=_filled(scan, _grown(scan, CHANGE)))


def background_only(scan: Painted) -> Painted:
    """Return the scan with the lesion's whole box painted over, the box being the mask: no outline is left either."""
    box = _box(_grown(scan, CHANGE))
    return replace(scan, values=_filled(replace(scan, mask=box), box), mask=box)


def box_for_mask(scan: Painted) -> Painted:
    """Return the scan with the lesion's bounding box as its mask."""
    return replace(scan, mask=_box(scan.mask))


def shifted(scan: Painted) -> Painted:
    """Return the scan with its mask moved in the plane by a tenth of its radius."""
    return replace(scan, mask=perturb(scan.mask, scan.spacing_mm, Perturbing.TRANSLATION, 0))


def dilated(scan: Painted) -> Painted:
    """Return the scan with its mask grown by a tenth of its radius, a pixel at least."""
    return replace(scan, mask=_grown(scan, CHANGE))


def eroded(scan: Painted) -> Painted:
    """Return the scan with its mask shrunk by a tenth of its radius, a pixel at least; never to nothing."""
    return replace(scan, mask=_grown(scan, -CHANGE))


PROBES: Mapping[str, Callable[[Painted], Painted]] = {
    "lesion masked out": lesion_out,
    "background only": background_only,
    "box in place of mask": box_for_mask,
    "mask shifted": shifted,
    "mask dilated": dilated,
    "mask eroded": eroded,
}
"""What is done to a scan, by the name that the table of shortcuts gives it."""
WITHOUT_LESION = ("lesion masked out", "background only")
"""Probes that leave nothing of the lesion: what is told apart then is told by a shortcut; of others it need not be."""


def probe(
    cases: Sequence[Case],
    y: NDArray[np.int64],
    predict: Predict,
    *,
    limit_s: float,
    seed: int = 0,
    probes: Mapping[str, Callable[[Painted], Painted]] = PROBES,
) -> tuple[Probed, ...]:
    """Return what `predict` says of `cases` under each probe, a few cases at a time until the time is over.

    Parameters
    ----------
    cases, y
        The test cases and their labels ``(n_cases,)``, which only see to it that both classes are among the first.
    predict
        Cases to probabilities ``(n_cases, n_classes)``.
    limit_s
        Seconds for all of it; a few cases that have begun are ended.
    """
    allowance = Allowance(limit_s)
    able = _with_masks(cases)
    if not able:
        return tuple(_nothing(name, _NO_MASKS) for name in probes)
    order = [able[i] for i in _mixed(y[able], seed=seed)][:MOST]
    found: dict[str, list[tuple[int, NDArray[Any]]]] = {name: [] for name in probes}
    failed = dict.fromkeys(probes, "")
    n_done, last_s = 0, 0.0
    for first in range(0, len(order), _AT_ONCE):
        if allowance.left_s() < last_s or allowance.was_cut():
            break
        some, at = order[first : first + _AT_ONCE], time.monotonic()
        for name, change in probes.items():
            answers, reason = _changed([cases[i] for i in some], change, predict)
            found[name] += [(i, row) for i, row in zip(some, answers, strict=True) if row is not None]
            failed[name] = failed[name] or reason
        last_s, n_done = time.monotonic() - at, n_done + len(some)
    few = f"{n_done} of {len(able)} cases: " + ("enough" if n_done == MOST else "the time was over")
    late = "" if n_done == len(able) else few
    return tuple(_probed(name, rows, failed[name] or late) for name, rows in found.items())


def probed_ensemble(
    members: Sequence[Delivered], decided: Decided, tested: Dataset, runtime: Runtime, *, limit_s: float
) -> tuple[Probed, ...]:
    """Return what the ensemble of fitted `members` says of the test cases under each probe.

    Artefacts of changed scans are kept for as long as this takes; nobody asks for them again.
    """
    begun = time.monotonic()
    if not _with_masks(tested.cases):
        return tuple(_nothing(name, _NO_MASKS) for name in PROBES)
    if not all((member.folder / "meta.json").exists() for member in members):
        return tuple(
            _nothing(name, "the fitted models of this part of the evaluation are gone") for name in PROBES
        )
    if limit_s <= 0:
        return tuple(_nothing(name, "no time was left") for name in PROBES)
    try:
        return _probed_by(members, decided, tested, runtime, until=begun + limit_s)
    except Exception as error:  # of a full temporary folder, say
        return tuple(_nothing(name, f"it failed ({type(error).__name__})") for name in PROBES)


def _probed_by(
    members: Sequence[Delivered], decided: Decided, tested: Dataset, runtime: Runtime, *, until: float
) -> tuple[Probed, ...]:
    with tempfile.TemporaryDirectory() as cache:
        own = replace(runtime, artefacts=ArtefactCache(Path(cache)))
        models = tuple((member.weight, restored(member.family, member.folder, own)) for member in members)

        def predict(cases: Sequence[Case]) -> NDArray[Any]:
            raw = mean_proba(models, cases, n_classes=len(tested.classes))
            return decided.decisions.calibrator(raw)

        assert tested.y is not None
        return probe(tested.cases, tested.y, predict, limit_s=until - time.monotonic())


def _with_masks(cases: Sequence[Case]) -> list[int]:
    """Return the positions of the cases that have a mask for each of their images."""
    return [i for i, case in enumerate(cases) if case.images and all(map(case.mask_of, case.images))]


def _probed(name: str, rows: Sequence[tuple[int, NDArray[Any]]], reason: str) -> Probed:
    if not rows:
        return _nothing(name, reason)
    ordered = sorted(rows, key=lambda item: item[0])
    proba = np.stack([row for _, row in ordered])
    return Probed(name=name, positions=tuple(i for i, _ in ordered), proba=proba, reason=reason or None)


def _nothing(name: str, reason: str) -> Probed:
    return Probed(name=name, positions=(), proba=np.empty((0, 0)), reason=reason)


def _mixed(y: NDArray[np.int64], *, seed: int) -> NDArray[np.intp]:
    """Return positions in an order in which every class is met as often as in all, from the first few on."""
    rng = np.random.default_rng(seed)
    turn = np.empty(len(y))
    for label in np.unique(y):
        own = np.flatnonzero(y == label)
        turn[own] = (rng.permutation(len(own)) + 0.5) / len(own)
    return np.argsort(turn, kind="stable")


def _changed(
    cases: Sequence[Case], change: Callable[[Painted], Painted], predict: Predict
) -> tuple[list[NDArray[Any] | None], str]:
    """Return the probabilities of the changed cases, None for one that can't be predicted, and why."""
    with tempfile.TemporaryDirectory() as folder:
        made: list[Case | None] = []
        reason = ""
        for number, case in enumerate(cases):
            try:
                made.append(changed_case(case, change, Path(folder) / str(number)))
            except _FAILS as error:
                made.append(None)
                reason = reason or _short(error)
        known = [case for case in made if case is not None]
        rows: list[NDArray[Any] | None] = []
        try:
            rows += list(predict(known)) if known else []
        except _FAILS:
            for case in known:
                try:
                    rows.append(predict([case])[0])
                except _FAILS as error:
                    rows.append(None)
                    reason = reason or _short(error)
    answers = iter(rows)
    return [None if case is None else next(answers) for case in made], reason


def _short(error: Exception) -> str:
    return f"some changed cases can't be predicted ({type(error).__name__})"


def changed_case(case: Case, change: Callable[[Painted], Painted], folder: Path) -> Case:
    """Return the case with its scans and masks changed, written into `folder`.

    Raises
    ------
    DataError
        If a scan can't be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for number, channel in enumerate(case.images):
        scan = read_scan(case, channel)
        assert scan.mask is not None  # whoever asks has looked
        before = Painted(
            values=sitk.GetArrayFromImage(scan.image),
            mask=sitk.GetArrayFromImage(scan.mask) > 0,
            spacing_mm=tuple(scan.image.GetSpacing()[::-1]),
        )
        after = change(before) if before.mask.any() else before
        is_vector = scan.image.GetNumberOfComponentsPerPixel() > 1
        image = sitk.GetImageFromArray(after.values, isVector=is_vector)
        mask = sitk.GetImageFromArray(after.mask.astype(np.uint8))
        for kind, item, paths in (("image", image, images), ("mask", mask, masks)):
            item.CopyInformation(scan.image)
            colours = is_vector and kind == "image"  # which only pictures have
            paths[channel] = folder / f"{kind}{number}.{'png' if colours else 'nrrd'}"
            sitk.WriteImage(item, str(paths[channel]))
    new: dict[str, Any] = {"images": images, "masks": masks, "image_picks": {}, "mask_picks": {}}
    return replace(case, **new, resample_mask=False, mark=None)  # the mask is the lesion that was pointed at


def _near(mask: Bools, reach_mm: float, spacing: NDArray[np.float64]) -> tuple[slice, ...]:
    """Return the part of the image that lies within a distance of the lesion: distances in all of it take long."""
    margin = np.ceil(reach_mm / spacing).astype(int) + 2
    inside = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, side.start - more), min(length, side.stop + more))
        for side, more, length in zip(inside, margin, mask.shape, strict=True)
    )


def _grown(scan: Painted, share: float) -> Bools:
    """Return the mask grown by a share of its radius, or shrunk by it; the mask itself where nothing would be left."""
    spacing = np.asarray(scan.spacing_mm)
    reach = max(abs(share) * radius_mm(scan.mask, spacing), float(spacing[-2:].min()))
    box = _near(scan.mask, reach, spacing)
    inside, found = scan.mask[box], np.zeros_like(scan.mask)
    if share > 0:
        found[box] = ndimage.distance_transform_edt(~inside, sampling=spacing) <= reach
    else:  # what lies outside the image is no lesion, but no reason to shrink either
        found[box] = ndimage.distance_transform_edt(inside, sampling=spacing) > reach
    return found if found.any() else scan.mask


def _box(mask: Bools) -> Bools:
    found = np.zeros_like(mask)
    found[ndimage.find_objects(mask.astype(np.uint8))[0]] = True
    return found


def _filled(scan: Painted, inside: Bools) -> NDArray[Any]:
    """Return the values with those `inside` replaced by what is around them: values of the ring, drawn anew.

    Drawn values keep brightness and noise of the surroundings; a single value would be a shape of its own.
    """
    spacing = np.asarray(scan.spacing_mm)
    width = max(RING * radius_mm(inside, spacing), 2 * float(spacing[-2:].min()))
    box = _near(inside, width, spacing)
    distance = ndimage.distance_transform_edt(~inside[box], sampling=spacing)
    ring = (distance > 0) & (distance <= width)
    around = scan.values[box][ring] if ring.any() else scan.values[~inside if (~inside).any() else inside]
    rng = np.random.default_rng(int(inside.sum()))
    values = scan.values.copy()
    values[inside] = around[rng.integers(0, len(around), int(inside.sum()))]
    return values
