"""What a rerun needs: command, seed, versions, hardware, hashes, settings, search space, winning configs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from autoonco.evaluation.verdict import title
from autoonco.metrics.scores import get_metric
from autoonco.nets.zoo import networks
from autoonco.reporting.blocks import Block, Cell, Section, duration, scrubbed, table
from autoonco.reporting.read_run import RunData

SPACE_FILE = "space.yaml"


def reproducibility_section(data: RunData) -> Section:
    """Return what a rerun needs: command, seed, versions, settings, winning configs."""
    run = data.run
    command = shlex.join(map(str, run["command"])) if run.get("command") else "called from Python"
    facts = [
        ("Started", run.get("started")),
        ("Command", command),
        ("Seed", run.get("seed")),
        ("Score maximised", get_metric(data.metric).title),
        ("Evaluation", data.evaluation),
        ("Time limit", duration(run.get("time_limit_s"))),
        ("Processes", run.get("n_jobs")),
        ("Device", run.get("device")),
        ("Hash of the data", (run.get("identity") or {}).get("data")),
        (
            "Search space",
            None if data.space is None else f"{len(data.space)} hyperparameters, in {SPACE_FILE}",
        ),
        *(
            (f"Hardware: {str(name).replace('_gb', ', GB')}", value)
            for name, value in (run.get("hardware") or {}).items()
        ),
    ]
    texts = [(name, None if value is None else str(value)) for name, value in facts]
    blocks: list[Block] = [table("rerun", "What a rerun needs", ["What", "Value"], texts)]
    versions = sorted((str(name), str(value)) for name, value in (run.get("versions") or {}).items())
    if versions:
        blocks.append(table("versions", "Versions", ["Package", "Version"], versions))
    blocks += _weights(data)
    return Section(id="reproducibility", title="Reproducibility", blocks=tuple(blocks), folded=_folded(data))


def _folded(data: RunData) -> dict[str, str]:
    parts: dict[str, Any] = {"Settings": data.run["settings"]} if data.run.get("settings") else {}
    if data.space is not None:
        parts["Search space"] = space_yaml(data.space)
    for model in data.models:
        if model.get("members"):
            parts[f"Config: {title(model['name'])}"] = list(model["members"])
    return {
        name: value if isinstance(value, str) else json.dumps(scrubbed(value), indent=2, ensure_ascii=False)
        for name, value in parts.items()
    }


def space_yaml(space: Mapping[str, Any]) -> str:
    """Return the search space as YAML, a line a hyperparameter: what it may be, and its default."""
    shown = {
        name: {
            key: value for key, value in plain.items() if key not in ("name", "meta") and value is not None
        }
        for name, plain in space.items()
    }
    return "".join(
        yaml.safe_dump(
            {name: value}, default_flow_style=None, width=1000, sort_keys=False, allow_unicode=True
        )
        for name, value in shown.items()
    )


def _weights(data: RunData) -> list[Block]:
    """Return the pretrained weights of the models: source, licence and hash, as the zoo has them."""
    named = {
        str(member["config"][key])
        for model in data.models
        for member in model.get("members") or ()
        for key in ("network", "pretrained")
        if key in (member.get("config") or {})
    }
    known = networks(2) | networks(3)
    rows = []
    for name in sorted(named & set(known)):
        weights = known[name].get("weights") or {}
        none = "a file of the user's" if weights else "none: trained from scratch"
        source = weights.get("source") or weights.get("package") or weights.get("hub") or none
        told = Cell(text=str(source))  # an address is no path
        rows.append((name, told, weights.get("licence"), weights.get("sha256")))
    if not rows:
        return []
    columns = ["Network", "Weights", "Licence", "SHA-256"]
    return [table("weights", "Networks and their weights", columns, rows)]
