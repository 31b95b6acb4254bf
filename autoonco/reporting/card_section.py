"""The model card of a run's delivered model, with what this run adds to the one in the model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autoonco.card import card_text, inert, model_card
from autoonco.data.plain import plain
from autoonco.reporting.blocks import Section, scrubbed, without_paths
from autoonco.reporting.read_run import RunData

STATEMENT = "For research. Not a medical device; not for diagnosis, nor for decisions about a patient."


def card_of(data: RunData, evaluation: pd.DataFrame, warnings: Sequence[str], verdict: str) -> dict[str, Any]:
    """Return the card as plain JSON; empty for a run that has no model yet.

    It is that of the model file, see `autoonco.card`, with the statement, the verdict on families, how the model
    decides, figures by subgroup and what this run warns of.
    """
    delivered = next((model for model in data.models if model["kind"] == "ensemble"), None)
    if delivered is None or data.fingerprint is None:
        return {}
    members = [(str(m["family"]), float(m["weight"])) for m in delivered.get("members") or ()]
    facts = {
        "metric": data.metric,
        "inner_score": delivered.get("inner_score"),
        "evaluation": data.evaluation,
        "stopped": data.run.get("stopped"),
    }
    rows = [] if evaluation.empty else evaluation.to_dict("records")
    card = model_card(data.fingerprint, families=members, facts=facts, performance=plain(rows))
    subgroups = data.evidence.subgroups
    decisions = data.evidence.decisions
    found = card | {
        "statement": STATEMENT,
        "verdict_on_families": without_paths(verdict),
        "decisions": {
            key: decisions[key]
            for key in ("calibration", "threshold", "conformal", "patients")
            if key in decisions
        },
        "subgroups": [] if subgroups is None else plain(subgroups.to_dict("records")),
        "warnings_of_this_run": list(warnings),
        "made_with": dict(data.run.get("versions") or {}),
    }
    clean: dict[str, Any] = scrubbed(found)
    return clean


def card_markdown(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown; empty for a run that has no model yet."""
    if not card:
        return ""
    lines = ["", "## Families compared", card["verdict_on_families"], ""]
    if card["warnings_of_this_run"]:
        lines += ["## What to mind in this run", *(f"- {text}" for text in card["warnings_of_this_run"]), ""]
    return card_text(card) + inert("\n".join([*lines, "## Statement", card["statement"], ""]))


def card_section(card: Mapping[str, Any]) -> Section:
    """Return the section; the card's Markdown can be unfolded, and stands beside the page as a file."""
    if not card:
        text = "The model card is made with the model: there is none yet."
        return Section(id="model-card", title="Model card", paragraphs=(text,))
    paragraphs = (
        card["statement"],
        f"Intended use: {card['intended_use']}",
        "The card below is also in model_card.md and model_card.json, and its core is in the model file.",
        *(f"Limit: {text}" for text in card["limits"]),
    )
    return Section(
        id="model-card",
        title="Model card",
        paragraphs=paragraphs,
        folded={"The whole card": card_markdown(card)},
    )
