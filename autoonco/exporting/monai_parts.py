"""What the configs of an exported MONAI bundle name: a member as a torch module, its crops, and its answers.

A bundle brings no code: these are its loader and its transforms, under names that `monai.bundle.ConfigParser` finds.
What users have named comes as JSON in one text, see `monai_bundle.inert`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autoonco.arguments import as_cases, fitted_to
from autoonco.data.cache import ArtefactCache, write_atomically
from autoonco.data.case import Case
from autoonco.errors import UnsafeBundleError
from autoonco.families import get_family
from autoonco.families.contract import FittedModel, Runtime
from autoonco.families.embedded import embed_crops
from autoonco.families.state import state_of
from autoonco.nets.inputs import InputSpec, crop

if TYPE_CHECKING:
    from autoonco.families.frozen import FrozenModel
    from autoonco.families.networks import TrainedNetwork


class MemberNetwork(nn.Module):  # type: ignore[misc]
    """A member of a model as a network: crops in, its probabilities out.

    Crops are ``(n_cases, *spec.shape)``, floats in 0..1 or bytes in 0..255; probabilities are float32
    ``(n_cases, n_classes)``. They are those of the member itself, before the ensemble is weighted and calibrated.

    Parameters
    ----------
    model
        A `TrainedNetwork`, or a `FrozenModel`, whose learner is no part of the gradient unless it is a linear head.
    """

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        member: Any = model
        self.network = member.network
        self.head = member.head if isinstance(getattr(member, "head", None), nn.Module) else None
        self._answer: Callable[[torch.Tensor], torch.Tensor] = (
            _frozen_answer(member) if hasattr(member, "head") else _trained_answer(member)
        )
        self.eval()

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return probabilities ``(n_cases, n_classes)``."""
        return self._answer(crops).float()


def _trained_answer(model: TrainedNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    def answer(crops: torch.Tensor) -> torch.Tensor:
        from autoonco.nets.test_time import view_of

        found = model.network(crops).double().softmax(dim=1)
        if model.views is None or model.views.n == 1:
            return found
        given = _bytes(crops)
        for number in range(1, model.views.n):
            moved = torch.from_numpy(view_of(given, model.views, number)).to(crops.device)
            found = found + model.network(moved).double().softmax(dim=1)
        return found / model.views.n

    return answer


def _frozen_answer(model: FrozenModel) -> Callable[[torch.Tensor], torch.Tensor]:
    def answer(crops: torch.Tensor) -> torch.Tensor:
        features = embed_crops(model.network, crops, model.spec, model.features).double()
        head: Any = model.head
        if isinstance(head, nn.Module):
            known = head(features).softmax(dim=1)
        else:
            proba = head.predict_proba(features.detach().cpu().numpy())
            known = torch.from_numpy(np.asarray(proba, np.float64)).to(crops.device)
        found = known.new_zeros((len(crops), model.n_classes))
        found[:, list(model.labels)] = known
        return found

    return answer


def _bytes(crops: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    values = crops if crops.dtype == torch.uint8 else (crops * 255).round().clamp(0, 255).byte()
    return np.asarray(values.cpu().numpy())


def member_network(folder: str, *, family: str, sha256: Mapping[str, str]) -> MemberNetwork:
    """Return the network of a bundle, with its weights.

    Parameters
    ----------
    folder
        The bundle's ``models``.
    family
        Name of the family that restores it.
    sha256
        Hash of each file in `folder`.

    Raises
    ------
    UnsafeBundleError
        If a file is missing or has another hash.
    """
    files: dict[str, bytes] = {}
    for name, expected in sha256.items():
        path = Path(folder) / Path(name).name
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != expected:
            raise UnsafeBundleError(
                f"{name!r} of the bundle is missing or not what was written (its hash differs). Export it again."
            )
        files[name] = data
    runtime = Runtime(artefacts=ArtefactCache())
    return MemberNetwork(get_family(family).restore(state_of(files), runtime))


class CaseCrop:
    """Transform of a case to what the network sees of it: a dictionary with ``image`` and ``row``.

    ``image`` is a float32 tensor `spec.shape` in 0..1, ``row`` the case's row in its manifest.

    Parameters
    ----------
    spec
        JSON of what `InputSpec.to_json` gave.
    """

    def __init__(self, spec: str) -> None:
        self.spec = InputSpec.from_json(json.loads(spec))

    def __call__(self, case: Case) -> dict[str, Any]:
        """Return the crop of `case`.

        Raises
        ------
        DataError
            If it can't be read, or lacks what the network needs; the message names the row.
        """
        values = torch.from_numpy(crop(case, self.spec)).float() / 255
        return {"image": values, "row": case.row}


def cases_of(manifest: Any, *, reading: str) -> list[Case]:
    """Return the cases of a manifest (.csv), a folder or a list of images, read as those the model was made from.

    `reading` is JSON with ``channels``, ``clinical``, ``repair`` and ``reading``, see `arguments.fitted_to`.
    """
    how = json.loads(reading)
    found = as_cases(manifest, clinical=how["clinical"])
    return [fitted_to(case, how["channels"], how["repair"], how["reading"]) for case in found]


def write_answers(
    network: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    inferer: Callable[..., torch.Tensor],
    *,
    classes: str,
    device: torch.device | str,
    path: str,
) -> str:
    """Write the probabilities of all crops of a loader to a CSV file, a row a case; return its path.

    `classes` is JSON of their names.
    """
    rows: list[list[Any]] = []
    network.eval()
    with torch.inference_mode():
        for batch in loader:
            proba = inferer(batch["image"].to(device), network).cpu().numpy()
            rows += [[int(row), *values] for row, values in zip(batch["row"], proba.tolist(), strict=True)]

    def write(new: Path) -> None:
        with new.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["row", *(f"probability_{name}" for name in json.loads(classes))])
            writer.writerows(rows)

    write_atomically(Path(path), write)
    return path
