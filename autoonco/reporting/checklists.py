"""Reporting checklists filled by what a run can show: facts are computed here, items are data (reports/checklists)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from autoonco.evaluation.said import tells_torn
from autoonco.evaluation.verdict import DEEP, RADIOMICS
from autoonco.reporting.read_run import RunData
from autoonco.resources import load_checklists

CASES_PER_FEATURE = 10
METRICS = "metrics"


class Status(StrEnum):
    """What a checklist says of an item."""

    FILLED = "filled"
    AUTHOR = "needs author"
    NOT_MET = "not met"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item with its status and, where the run fills it, the part of the page that does."""

    no: str
    section: str
    words: str
    status: Status
    place: str = ""
    weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A checklist, gone through for one run."""

    key: str
    name: str
    title: str
    source: str
    items: tuple[Item, ...]

    def count(self, status: Status) -> int:
        """Return how many items have a status."""
        return sum(item.status is status for item in self.items)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The METRICS score in percent: by what the run shows, and if its authors can say yes to all that is theirs."""

    shown: float
    possible: float
    counted: tuple[Item, ...]


def checklists(facts: Mapping[str, bool], places: Sequence[str]) -> tuple[Checklist, ...]:
    """Return every checklist gone through; a link leads to one of `places` or nowhere.

    Parameters
    ----------
    facts
        As `facts_of` returns them.
    """
    return tuple(
        Checklist(
            key=key,
            name=plain["name"],
            title=plain["title"],
            source=plain["source"],
            items=tuple(_item(one, facts, places) for one in plain["items"]),
        )
        for key, plain in load_checklists().items()
    )


def metrics_score(checklist: Checklist) -> Score:
    """Return the score: the weights of the items that are met, over those of all that apply."""
    counted = tuple(item for item in checklist.items if item.status is not Status.NOT_APPLICABLE)
    whole = sum(item.weight for item in counted)
    shown = sum(item.weight for item in counted if item.status is Status.FILLED)
    theirs = sum(item.weight for item in counted if item.status is Status.AUTHOR)
    return Score(shown=100 * shown / whole, possible=100 * (shown + theirs) / whole, counted=counted)


def facts_of(data: RunData, tables: Mapping[str, pd.DataFrame]) -> dict[str, bool]:
    """Return what of this run is so; `tables` are the report's."""
    return {"always": True, "never": False} | _of_data(data) | _of_models(data) | _of_evaluation(data, tables)


def _of_data(data: RunData) -> dict[str, bool]:
    found, cases = data.fingerprint, data.evidence.cases
    sites: dict[str, set[int]] = {part: set() for part in ("train", "test")}
    if cases is not None:
        for part, own in cases.groupby("part"):
            sites[str(part)] = set(own["site"]) - {0}
    n = data.run.get("n") or {}
    return {
        "has_task": bool(data.classes),
        "has_masks": found is not None and found.has_mask,
        "has_clinical": found is not None and bool(found.clinical),
        "clinical_named": found is not None and bool(found.clinical),
        "one_channel": found is not None and len(found.channels) == 1,
        "has_sites": len(sites["train"] | sites["test"]) > 1,
        "other_site": bool(sites["test"]) and bool(sites["train"]) and not sites["test"] & sites["train"],
        "flow": "cases" in n,
        "checks": "cases" in n and data.checks_known,
        "patients_apart": "cases" in n and not _is_torn(data),
        "parts_compared": cases is not None and bool((cases["part"] == "test").any()),
        "versions": bool(data.run.get("versions")),
        "space_kept": data.space is not None,
        "finished": data.status in ("finished", "stopped"),
    }


def _is_torn(data: RunData) -> bool:
    """Return whether a patient is learned from and tested on: by the manifest's split, or by a table of splits."""
    notes = data.run.get("notes") or ()
    return "AO401" in set(data.checks["code"]) or any(tells_torn(str(note)) for note in notes)


def _of_models(data: RunData) -> dict[str, bool]:
    kinds = {str(model["name"]): model for model in data.models}
    record = data.radiomics or {}
    config = record.get("config") or {}
    features = data.radiomic_features
    kept, n_cases = int(record.get("n_kept") or 0), int(record.get("n_cases") or 0)
    deep = [name for name in DEEP if name in kinds]
    has_radiomics = RADIOMICS in kinds
    explained = data.evidence.explained
    return {
        "has_models": bool(data.models),
        "has_ensemble": any(model["kind"] == "ensemble" for model in data.models),
        "has_networks": bool(deep),
        "has_radiomics": has_radiomics,
        "radiomics": bool(record),
        "predictors": bool(record),
        "preprocessing": bool(record) or bool(deep),
        "pipeline": bool(record),
        "missing_data": "impute" in config,
        "weights_named": any(_has_network(kinds[name]) for name in deep),
        "searched": bool(data.trials) and data.space is not None,
        "robustness": features is not None and bool(features["icc"].notna().any()),
        "robust_only": config.get("robustness", "none") != "none",
        "not_redundant": float(config.get("correlation", 1.0)) < 1.0,
        "few_features": 0 < kept * CASES_PER_FEATURE <= n_cases,
        "feature_tests": features is not None and len(features) > 0,
        "clinical_judged": "clinical" in kinds,
        "explained": bool(explained.get("radiomics")) or bool(explained.get("networks")),
    }


def _has_network(model: Mapping[str, Any]) -> bool:
    members = model.get("members") or ()
    return any({"network", "pretrained"} & set(member.get("config") or {}) for member in members)


def _of_evaluation(data: RunData, tables: Mapping[str, pd.DataFrame]) -> dict[str, bool]:
    evaluation, comparison = tables.get("evaluation"), tables.get("comparison")
    has_test = evaluation is not None
    models = set() if evaluation is None else set(evaluation["model"])
    subgroups = data.evidence.subgroups
    return {
        "has_test": has_test,
        "intervals": evaluation is not None and bool(evaluation["auc_lower"].notna().any()),
        "compared": comparison is not None,
        "beside_radiomics": RADIOMICS in models and len(models) > 1,
        "baselines": any(name.startswith("baseline") for name in models),
        "failures": has_test,
        "power": bool(data.evidence.power),
        "subgroups": subgroups is not None and len(subgroups) > 0,
        "sites_compared": subgroups is not None and bool((subgroups["attribute"] == "site").any()),
        "shortcuts": data.evidence.shortcuts is not None,
        "threshold": bool(data.evidence.decisions.get("threshold")),
        "split_well": has_test and not _is_torn(data),
    }


def _item(plain: Mapping[str, Any], facts: Mapping[str, bool], places: Sequence[str]) -> Item:
    status = _status(plain, facts)
    place = str(plain.get("place", "")) if status is Status.FILLED else ""
    return Item(
        no=str(plain["number"]),
        section=str(plain["section"]),
        words=str(plain["item"]),
        status=status,
        place=place if place in places else "",
        weight=float(plain.get("weight", 0.0)),
    )


def _status(plain: Mapping[str, Any], facts: Mapping[str, bool]) -> Status:
    if "when" in plain and not facts[plain["when"]]:
        return Status.NOT_APPLICABLE
    if "fact" not in plain:
        return Status.AUTHOR
    if facts[plain["fact"]]:
        return Status.FILLED
    return Status.AUTHOR if plain.get("else") == "author" else Status.NOT_MET
