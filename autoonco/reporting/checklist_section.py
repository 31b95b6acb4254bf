"""The reporting checklists on the page: a table each, and the METRICS score with the items it counts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from autoonco.reporting.blocks import Block, Cell, Section, count, table
from autoonco.reporting.checklists import METRICS, Checklist, Item, Status, metrics_score

SAID = (
    "What a run can show is filled by it; everything else is the authors' to write. Items are in our own words, the "
    "published checklist is what counts. Nothing here is invented: an item that the run does not fill is not filled."
)


def checklist_section(found: Sequence[Checklist]) -> Section:
    """Return the section."""
    blocks: list[Block] = [_overview(found), *(_block(one) for one in found)]
    score = next((metrics_score(one) for one in found if one.key == METRICS), None)
    paragraphs = [SAID]
    if score is not None:
        paragraphs.append(
            f"METRICS score: {score.shown:.0f} % by what this run shows, up to {score.possible:.0f} % if the authors "
            f"can say yes to all that is theirs; {count(len(score.counted), 'item')} of 30 apply and are counted."
        )
    return Section(id="checklists", title="Checklists", paragraphs=tuple(paragraphs), blocks=tuple(blocks))


def checklist_table(found: Sequence[Checklist]) -> pd.DataFrame:
    """Return every item of every checklist.

    Returns
    -------
    DataFrame
        ``checklist``, ``no``, ``section``, ``item``, ``status``, ``place``, ``weight`` (of METRICS, else 0).
    """
    rows = [
        (one.name, item.no, item.section, item.words, str(item.status), item.place, item.weight)
        for one in found
        for item in one.items
    ]
    return pd.DataFrame(rows, columns=["checklist", "no", "section", "item", "status", "place", "weight"])


def _overview(found: Sequence[Checklist]) -> Block:
    rows = [
        (
            Cell(text=one.name, link=f"checklist-{one.key}"),
            one.title,
            *(one.count(status) for status in Status),
        )
        for one in found
    ]
    columns = ["Checklist", "What", *(str(status).capitalize() for status in Status)]
    return table("checklist-overview", "Checklists", columns, rows)


def _block(one: Checklist) -> Block:
    weighted = one.key == METRICS
    rows = [
        (
            Cell(text=item.no, number=_order(item.no)),
            item.section,
            item.words,
            _status(item),
            *([Cell(text=f"{100 * item.weight:.2f} %", number=item.weight)] if weighted else []),
        )
        for item in one.items
    ]
    columns = ["No.", "Section", "Item", "Status", *(["Weight"] if weighted else [])]
    return table(f"checklist-{one.key}", f"{one.name}: {one.title}", columns, rows, f"{one.source}.")


def _status(item: Item) -> Cell:
    return Cell(text=str(item.status), link=item.place)


def _order(no: str) -> float:
    """Return what "12b" sorts by."""
    digits = no.rstrip("abcdefgh")
    return int(digits) + (ord(no[-1]) - ord("a") + 1) / 100 if no[-1].isalpha() else float(digits)
