"""How the cases of a data set are read, for a model to read new ones alike: PET in SUV, the lesion's value in masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoonco.data.case import Case
from autoonco.data.files import is_dicom_source
from autoonco.data.pick import WHOLE, Pick


def contract_of(cases: Sequence[Case]) -> dict[str, Any]:
    """Return, as plain JSON without names of the data's owners, what `cases` have in common.

    Returns
    -------
    dict
        ``suv``: channels read in SUV in each case; ``mask_label``: key of the mask → values that are the lesion in each
        case that has it.
    """
    channels = dict.fromkeys(name for case in cases for name in case.images)
    suv = [
        name for name in channels if all(case.image_pick(name).suv for case in cases if name in case.images)
    ]
    found: dict[str, set[tuple[int, ...]]] = {}
    for case in cases:
        for name in case.masks:
            found.setdefault(name, set()).add(case.mask_picks.get(name, WHOLE).labels)
    labels = {name: list(next(iter(values))) for name, values in found.items() if len(values) == 1}
    return {"suv": suv, "mask_label": {name: values for name, values in labels.items() if values}}


def read_as(case: Case, contract: Mapping[str, Any] | None) -> Case:
    """Return a case to predict as a `contract` reads its like, where the case itself doesn't say.

    SUV is computed of DICOM alone: any other file has to hold it.
    """
    if not contract:
        return case
    images, masks = dict(case.image_picks), dict(case.mask_picks)
    for name in contract.get("suv", ()):
        if name in case.images and is_dicom_source(case.images[name]):
            images[name] = replace(images.get(name, WHOLE), suv=True)
    wanted = contract.get("mask_label", {})
    # of a single image the mask is the same, whether its column was called mask or after the image
    is_one = len(case.images) == len(wanted) == 1
    usual = next(iter(wanted.values())) if is_one else wanted.get("mask", ())
    for name, path in case.masks.items():
        pick = masks.get(name, WHOLE)
        labels = wanted.get(name, usual)
        if labels and not pick.labels and not is_dicom_source(path):
            masks[name] = replace(pick, labels=tuple(labels))
    return replace(case, image_picks=_picked(images), mask_picks=_picked(masks))


def _picked(picks: Mapping[str, Pick]) -> dict[str, Pick]:
    return {name: pick for name, pick in picks.items() if pick != WHOLE}
