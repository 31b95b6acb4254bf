"""A `ModelState` as a folder of plain files: JSON, safetensors, skops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

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


def read_state(folder: Path) -> ModelState:
    """Read what `write_state` wrote."""
    plain = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    tensors = folder / "tensors.safetensors"
    return ModelState(
        meta=plain["meta"],
        tensors=load_file(tensors) if tensors.exists() else {},
        parts={name: (folder / f"{name}.skops").read_bytes() for name in plain["parts"]},
    )
