"""Everything a report says of a run, made once: tables, sections, summary and model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from autoonco.evaluation.chosen_cases import typicality
from autoonco.evaluation.tables import leaderboard_table
from autoonco.evaluation.verdict import Verdict
from autoonco.reporting import cautions, summary
from autoonco.reporting.blocks import Picture, Section
from autoonco.reporting.card_section import card_of, card_section
from autoonco.reporting.checklist_section import checklist_section, checklist_table
from autoonco.reporting.checklists import checklists, facts_of
from autoonco.reporting.clinical_section import clinical_section
from autoonco.reporting.data_section import data_section
from autoonco.reporting.explanations_section import explanations_section, feature_importance
from autoonco.reporting.families_section import families_section
from autoonco.reporting.importance import importances
from autoonco.reporting.judged import comparison_of, evaluation_of, patients_of, verdict_of
from autoonco.reporting.key_facts import Fact
from autoonco.reporting.plots_families import cost_table
from autoonco.reporting.radiomics_section import features_table, radiomics_section
from autoonco.reporting.read_run import RunData
from autoonco.reporting.reproducibility_section import reproducibility_section
from autoonco.reporting.search_details import searched_families
from autoonco.reporting.search_section import search_section


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a report says. `tables` are whole tables by name; those that are empty are not there."""

    data: RunData
    tables: Mapping[str, pd.DataFrame]
    verdict: Verdict
    delivered: str | None
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    sections: tuple[Section, ...]
    card: Mapping[str, Any]


def make_content(data: RunData, *, ids: Mapping[int, str] | None = None, pictures: bool = True) -> Content:
    """Return what the report of a run says.

    Parameters
    ----------
    ids
        Names of cases by row, for a report that may name them.
    pictures
        Whether it may show pixels of cases.
    """
    names = ids or {}
    if not pictures:
        data = replace(data, evidence=replace(data.evidence, pictures={}))
    empty = pd.DataFrame()
    tables = run_tables(data)
    evaluation, comparison = tables.get("evaluation", empty), tables.get("comparison", empty)
    delivered = summary.delivered_model(data)
    found = verdict_of(data)
    warnings = tuple(cautions.warnings(data, evaluation, delivered))
    card = card_of(data, evaluation, warnings, found.sentence)
    sections = [
        families_section(data, evaluation, comparison, tables.get("patients", empty)),
        search_section(data, tables.get("hyperparameter_importance", empty)),
        clinical_section(data, delivered),
        explanations_section(data, names),
        *radiomics_section(data),
        data_section(data, names),
        reproducibility_section(data),
    ]
    gone_through = checklists(
        facts_of(data, tables), [*places(sections), "summary", "model-card", "checklists"]
    )
    tables["checklists"] = checklist_table(gone_through)
    return Content(
        data=data,
        tables={name: _named(found, names) for name, found in tables.items()},
        verdict=found,
        delivered=delivered,
        facts=tuple(summary.facts(data, evaluation, comparison, found, delivered)),
        warnings=warnings,
        remarks=tuple(cautions.remarks(data)),
        sections=(*sections, checklist_section(gone_through), card_section(card)),
        card=card,
    )


def run_tables(data: RunData) -> dict[str, pd.DataFrame]:
    """Return the tables of a run by name: empty ones left out."""
    trials = [t for t in data.trials if t["scope"] == "final"]
    found = data.evidence
    tables = {
        "leaderboard": leaderboard_table(data.trials),
        "checks": data.checks,
        "hyperparameter_importance": importances(trials, searched_families(trials), data.space),
        "feature_importance": feature_importance(data),
        "cases": pd.DataFrame() if found.cases is None else found.cases,
        "subgroups": pd.DataFrame() if found.subgroups is None else found.subgroups,
        "own_metric": pd.DataFrame() if data.own_figures is None else data.own_figures,
        "shortcuts": pd.DataFrame() if found.shortcuts is None else found.shortcuts,
    }
    if data.predictions is not None:
        tables["evaluation"] = evaluation_of(data)
        tables["patients"] = patients_of(data)
        tables["comparison"] = comparison_of(data)
        tables["cost"] = cost_table(data.models, tables["evaluation"])
        families = [str(m["name"]) for m in data.models if m["kind"] == "family"]
        tables["typicality"] = typicality(data.predictions, families)
    if data.radiomic_features is not None:
        tables["radiomic_features"] = features_table(data.radiomic_features)
    return {name: table for name, table in tables.items() if not table.empty}


def places(sections: list[Section]) -> list[str]:
    """Return what on the page a link can lead to."""
    found = [section.id for section in sections]
    for section in sections:
        found += [f"figure-{b.name}" if isinstance(b, Picture) else b.id for b in section.blocks]
    return found


def _named(table: pd.DataFrame, ids: Mapping[int, str]) -> pd.DataFrame:
    """Return a table whose rows are cases with their names, where these were asked for."""
    if not ids or "row" not in table:
        return table
    rows = pd.to_numeric(table["row"], errors="coerce")
    named = [ids.get(int(row), "") if pd.notna(row) else "" for row in rows]
    return table.assign(case=named)
