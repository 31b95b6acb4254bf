"""The files of a report beside its page: tables as CSV, figures as SVG and PDF, all of it as JSON."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from autoonco.data.cache import write_atomically
from autoonco.data.plain import plain
from autoonco.reporting import summary
from autoonco.reporting.blocks import Block, Gallery, Picture, Section, Table, scrubbed, without_paths
from autoonco.reporting.card_section import card_markdown
from autoonco.reporting.content import Content
from autoonco.reporting.plots import STYLE
from autoonco.reporting.reproducibility_section import SPACE_FILE, space_yaml

FORMAT = 1
INDEX = "report.json"
_OURS = re.compile(r"(tables/[\w-]+\.csv|figures/[\w-]+\.(svg|pdf|png)|model_card\.(md|json)|space\.yaml)")


def files_of(content: Content) -> dict[str, str | bytes]:
    """Return the files of a report by name, the page apart."""
    found: dict[str, str | bytes] = {
        f"tables/{name}.csv": table.to_csv(index=False) for name, table in tables_of(content).items()
    }
    for section in content.sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                found[f"figures/{block.name}.svg"] = f'<?xml version="1.0" encoding="utf-8"?>\n{block.svg}\n'
                found[f"figures/{block.name}.pdf"] = to_pdf(block.figure)
            elif isinstance(block, Gallery):
                found |= {f"figures/{block.id}-{k + 1}.png": shot.png for k, shot in enumerate(block.shots)}
    if content.card:
        found["model_card.md"] = card_markdown(content.card)
        found["model_card.json"] = _json(content.card)
    if content.data.space is not None:
        found[SPACE_FILE] = space_yaml(content.data.space)
    return found | {INDEX: _json(as_json(content, sorted(found)))}


def tables_of(content: Content) -> dict[str, pd.DataFrame]:
    """Return every table of a report by name: whole ones, then those that are only on the page, as printed there."""
    found = {name: _without_paths(table) for name, table in content.tables.items()}
    for section in content.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                found.setdefault(block.id.replace("-", "_"), _frame(block))
    return found


def write_files(out: Path, found: Mapping[str, str | bytes]) -> None:
    """Write the files, and remove those that an earlier report of ours left and this one lacks."""
    for name in _earlier(out):
        if name not in found:
            (out / name).unlink(missing_ok=True)
    for name, content in found.items():
        data = content.encode("utf-8") if isinstance(content, str) else content
        write_atomically(out / name, lambda path, data=data: path.write_bytes(data))  # type: ignore[misc]


def to_pdf(figure: Figure) -> bytes:
    """Return a figure as a PDF; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None}
        )
    return buffer.getvalue()


def as_json(content: Content, files: list[str]) -> dict[str, Any]:
    """Return the whole report as plain JSON."""
    run = content.data.run
    return {
        "format": FORMAT,
        "files": files,
        "status": content.data.status,
        "started": run.get("started"),
        "autoonco": run.get("autoonco") or (run.get("versions") or {}).get("autoonco"),
        "classes": list(content.data.classes),
        "verdict": {"kind": str(content.verdict.kind), "sentence": without_paths(content.verdict.sentence)},
        "banners": summary.banners(content.data),
        "delivered": content.delivered,
        "facts": [vars(fact) for fact in content.facts],
        "warnings": list(content.warnings),
        "remarks": list(content.remarks),
        "sections": [_section(section) for section in content.sections],
        "model_card": dict(content.card),
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": section.title,
        "paragraphs": list(section.paragraphs),
        "blocks": [_block(block) for block in section.blocks],
    }


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Picture):
        file = f"figures/{block.name}.svg"
        told = {"kind": "figure", "id": block.name, "title": block.heading, "description": block.description}
        return told | {"caption": block.caption, "file": file}
    if isinstance(block, Gallery):
        shots = [
            {"file": f"figures/{block.id}-{k + 1}.png", "description": shot.alt, "caption": shot.caption}
            for k, shot in enumerate(block.shots)
        ]
        return {
            "kind": "gallery",
            "id": block.id,
            "caption": block.caption,
            "note": block.note,
            "pictures": shots,
        }
    rows = [
        [cell.text if cell.number is None else _number(cell.number) for cell in row] for row in block.rows
    ]
    told = {"kind": "table", "id": block.id, "caption": block.caption, "note": block.note}
    return told | {"columns": list(block.columns), "rows": rows}


def _frame(block: Table) -> pd.DataFrame:
    return pd.DataFrame([[cell.text for cell in row] for row in block.rows], columns=list(block.columns))


def _number(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _json(value: Any) -> str:
    return json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n"


def _earlier(out: Path) -> list[str]:
    """Return which files an earlier report says it wrote here: names of ours only, whatever the file says."""
    try:
        found = json.loads((out / INDEX).read_text(encoding="utf-8"))
        names = found["files"]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [
        name
        for name in (names if isinstance(names, list) else ())
        if isinstance(name, str) and _OURS.fullmatch(name)
    ]


def _without_paths(found: pd.DataFrame) -> pd.DataFrame:
    texts = {str(name): found[name].map(scrubbed) for name in found.select_dtypes(["object", "string"])}
    return found.assign(**texts)
