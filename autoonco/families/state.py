"""A `ModelState` as a folder of plain files: JSON, safetensors, skops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save_file

from autoonco.data.cache import write_atomically
from autoonco.families.contract import ModelState


def write_state(folder: Path, state: ModelState) -> None:
    """Write `state` into `folder`; ``meta.json`` comes last, so a folder that has it is whole."""
    if state.tensors:
        # safetensors writes memory as it lies: a channels-last array would come back scrambled.
        plain = {name: np.ascontiguousarray(array) for name, array in state.tensors.items()}
        write_atomically(folder / "tensors.safetensors", lambda path: save_file(plain, path))
    for name, content in state.parts.items():
        write_atomically(folder / f"{name}.skops", lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]
    text = json.dumps({"meta": state.meta, "parts": sorted(state.parts)}, indent=1)
    write_atomically(folder / "meta.json", lambda path: path.write_text(text, encoding="utf-8"))


def state_of(files: Mapping[str, bytes]) -> ModelState:
    """Return the state whose files, by name, `write_state` wrote.

    Raises
    ------
    KeyError
        If a file is missing.
    """
    plain = json.loads(files["meta.json"])
    return ModelState(
        meta=plain["meta"],
        tensors=load(files["tensors.safetensors"]) if "tensors.safetensors" in files else {},
        parts={name: files[f"{name}.skops"] for name in plain["parts"]},
    )
