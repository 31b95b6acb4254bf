"""What the run was given: counts, geometry, pictures, findings of the checks."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from autoonco.data.fingerprint import Fingerprint
from autoonco.evaluation.verdict import title
from autoonco.reporting.blocks import Block, Cell, Gallery, Section, Table, listing, table
from autoonco.reporting.data_pictures import PICTURES_SAID, excluded_blocks, flow_picture, shown_blocks
from autoonco.reporting.read_run import RunData

MOST_LIKE = 3
_NOTHING = "The checks of the data found nothing to report."
_UNKNOWN = "What the checks of the data found is not known: checks.csv is missing or damaged."
_FLOW = {
    "cases": "Usable cases",
    "patients": "Patients",
    "excluded": "Cases left out",
    "train": "Training cases",
    "test": "Test cases",
}


def data_section(data: RunData, ids: Mapping[int, str]) -> Section:
    """Return what is known of the data: counts, geometry, pictures, findings of the checks, families left out.

    `ids` are names of cases by row, for those who asked for them.
    """
    blocks: list[Block] = []
    if data.run.get("n"):
        flow = [(_FLOW.get(str(name), str(name)), n) for name, n in data.run["n"].items()]
        blocks += [flow_picture(data), table("flow", "Flow of cases", ["What", "Number"], flow)]
    if data.fingerprint is not None:
        blocks += [_classes_block(data.fingerprint), _fingerprint_block(data.fingerprint)]
    blocks += shown_blocks(data, ids)
    if len(data.checks):
        blocks += excluded_blocks(data, ids)
        blocks.append(_checks_block(data.checks))
    if data.families:
        rows = [(title(name), "no" if why else "yes", why) for name, why in data.families.items()]
        columns = ["Family", "Took part", "Why not"]
        blocks.append(table("applicability", "Which families took part", columns, rows))
    paragraphs = () if len(data.checks) else (_NOTHING if data.checks_known else _UNKNOWN,)
    if any(isinstance(block, Gallery) for block in blocks):
        paragraphs = (*paragraphs, PICTURES_SAID)
    return Section(id="data", title="Data", paragraphs=paragraphs, blocks=tuple(blocks))


def _classes_block(found: Fingerprint) -> Table:
    total = max(1, sum(found.class_counts))
    rows = [
        (name, n, Cell(text=f"{100 * n / total:.0f} %", number=n / total))
        for name, n in zip(found.classes, found.class_counts, strict=True)
    ]
    return table("classes", "Training cases by class", ["Class", "Cases", "Share"], rows)


def _fingerprint_block(found: Fingerprint) -> Table:
    def axes(values: tuple[float, ...] | None) -> str | None:
        return None if values is None else " × ".join(f"{value:.4g}" for value in values)

    channels = [f"{name} ({found.intensity.get(name, 'unknown unit')})" for name in found.channels]
    rows = [
        ("Training cases, patients", f"{found.n_cases}, {found.n_patients}"),
        ("Dimensions", f"{found.ndim}D, {'colour' if found.is_colour else 'grey'}"),
        ("Channels and their unit", listing(channels)),
        ("Median size in voxels", axes(found.shape)),
        ("Median spacing in mm", axes(found.spacing_mm)),
        ("Masks", "for every case" if found.has_mask else "not for every case"),
        ("Median extent of the lesion in mm", axes(found.lesion_mm)),
        ("Clinical columns", listing(found.clinical)),
        ("Sites named", "yes" if found.has_site else "no"),
    ]
    return table("fingerprint", "Fingerprint of the training cases", ["Fact", "Value"], rows)


def _checks_block(checks: pd.DataFrame) -> Table:
    """Return a row a kind of finding, for one fault may be found hundreds of times."""
    order = checks["severity"].map({"error": 0, "warning": 1, "note": 2}).fillna(3)
    ordered = checks.loc[order.sort_values(kind="stable").index]
    rows = []
    for (code, severity, remedy), own in ordered.groupby(["code", "severity", "remedy"], sort=False):
        told = [_placed(row, message) for row, message in zip(own["row"], own["message"], strict=True)]
        more = f" And {len(told) - MOST_LIKE} more." if len(told) > MOST_LIKE else ""
        rows.append((code, severity, len(told), " ".join(told[:MOST_LIKE]) + more, remedy))
    columns = ["Code", "Severity", "Number", "Findings", "Remedy"]
    note = "All are in tables/checks.csv." if len(rows) < len(checks) else ""
    return table("checks", "Findings of the checks", columns, rows, note)


def _placed(row: str, message: str) -> str:
    """Return a finding with its row, where it is about one."""
    said = message if message.endswith(".") else f"{message}."
    return f"Row {float(row):.0f}: {said}" if row.replace(".", "", 1).isdigit() else said
