"""The state of a training between two calls: one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from autoonco.data.cache import write_atomically

FILE = "training.safetensors"


def save_checkpoint(
    folder: Path,
    *,
    epoch: int,
    identity: str,
    networks: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    notes: Mapping[str, Any],
) -> None:
    """Write the tensors of all `networks` and of the optimiser after `epoch` epochs.

    `identity` names what was trained (data, recipe, seed): only a training of equal identity continues from it.
    `notes` is plain JSON that `checkpoint_notes` gives back.
    """
    tensors = {f"{name}/{key}": v for name, net in networks.items() for key, v in net.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items() if value is not None}
    plain = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    header = {"epoch": str(epoch), "identity": identity, "notes": json.dumps(notes)}
    write_atomically(folder / FILE, lambda temporary: save_file(plain, temporary, metadata=header))


def checkpoint_epoch(folder: Path, identity: str) -> int:
    """Return how many epochs the checkpoint of this identity holds; 0 where there is none, or a damaged one."""
    header = _header(folder)
    return int(header["epoch"]) if header.get("identity") == identity else 0


def checkpoint_notes(folder: Path) -> dict[str, Any]:
    """Return the notes of the checkpoint in `folder`, an empty dictionary where there are none."""
    notes: dict[str, Any] = json.loads(_header(folder).get("notes", "{}"))
    return notes


def _header(folder: Path) -> dict[str, str]:
    try:
        with safe_open(folder / FILE, "pt") as stored:
            return stored.metadata() or {}
    except (FileNotFoundError, SafetensorError):
        return {}


def load_checkpoint(
    folder: Path, *, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Fill `networks` and the optimiser from the checkpoint in `folder`."""
    states: dict[str, dict[str, torch.Tensor]] = {name: {} for name in networks}
    moments: dict[int, dict[str, Any]] = {}
    with safe_open(folder / FILE, "pt") as stored:
        for key in stored.keys():  # noqa: SIM118 - not a dict
            name, _, rest = key.partition("/")
            if name == "optimizer":
                index, _, moment = rest.partition("/")
                moments.setdefault(int(index), {})[moment] = stored.get_tensor(key)
            else:
                states[name][rest] = stored.get_tensor(key)
    for name, network in networks.items():
        network.load_state_dict(states[name], strict=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in moments.items():
        moments[index] = {key: _laid_out_as(parameters[index], value) for key, value in state.items()}
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return a moment in its parameter's order of memory, in which a fused step goes through both; a count as it is."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
