"""The model card: what a model is, what it was made from, how good it was and what it must not be used for.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Plain JSON in the model file, Markdown for people.
It holds counts and figures, and nothing of single cases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autoonco.data.fingerprint import Fingerprint

USE = (
    "Research on cases like those below: the same organ, modality, way of taking the picture and of drawing the mask. "
    "Not a medical device; not for decisions about a patient."
)
LIMITS = (
    "Figures hold for cases like the test cases; other scanners, hospitals and populations were not judged unless a "
    "figure below says so.",
    "Probabilities mean what they say only where classes are as frequent as in training.",
    "A mask drawn by another person or program may change the answer.",
)
_TAG_OR_LINK = re.compile(r"<(?=[A-Za-z/!?])|(?<=\])\(")
_FIGURES = ("model", "subset", "n", "auc", "auc_lower", "auc_upper")


def input_contract(fingerprint: Fingerprint) -> dict[str, Any]:
    """Return what a case to predict has to bring, and what is usual, as plain JSON; lengths in millimetres."""
    return {
        "images": list(fingerprint.channels),
        "dimensions": fingerprint.ndim,
        "colour": fingerprint.is_colour,
        "masks": "every case and image had one" if fingerprint.has_mask else "not asked for",
        "clinical": list(fingerprint.clinical),
        "own_features": len(fingerprint.own_features),
        "grey_values": {name: str(unit) for name, unit in fingerprint.intensity.items()},
        "usual_spacing_mm": list(fingerprint.spacing_mm),
        "usual_shape": list(fingerprint.shape),
        "usual_lesion_mm": None if fingerprint.lesion_mm is None else list(fingerprint.lesion_mm),
    }


def model_card(
    fingerprint: Fingerprint,
    *,
    families: Sequence[tuple[str, float]],
    facts: Mapping[str, Any],
    performance: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the card as plain JSON.

    Parameters
    ----------
    fingerprint
        Of the training cases.
    families
        Family and weight of each member.
    facts
        What the model file says of the run: metric, evaluation, inner score, what is to be said where it was stopped.
    performance
        Figures on test cases, a mapping a row, as `Result.evaluation` gives them.
    """
    votes: dict[str, float] = {}
    for family, weight in families:
        votes[family] = votes.get(family, 0.0) + weight
    return {
        "intended_use": USE,
        "model": {"members": len(families), "votes": {name: round(vote, 6) for name, vote in votes.items()}},
        "data": {
            "cases": fingerprint.n_cases,
            "patients": fingerprint.n_patients,
            "classes": dict(zip(fingerprint.classes, fingerprint.class_counts, strict=True)),
            "sites_named": fingerprint.has_site,
        },
        "input": input_contract(fingerprint),
        "evaluation": {
            "how": facts.get("evaluation"),
            "metric": facts.get("metric"),
            "inner_score": facts.get("inner_score"),
            "test": [{name: row[name] for name in _FIGURES if name in row} for row in performance],
        },
        "limits": [*([facts["stopped"]] if facts.get("stopped") else []), *LIMITS],
    }


def card_text(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown; empty for a model without one."""
    if not card:
        return ""
    data, model, judged, wanted = card["data"], card["model"], card["evaluation"], card["input"]
    votes = ", ".join(f"{name} {vote:.0%}" for name, vote in model["votes"].items())
    classes = ", ".join(f"{name} ({count})" for name, count in data["classes"].items())
    lines = [
        "# Model card",
        "",
        card["intended_use"],
        "",
        "## Model",
        f"An ensemble of {model['members']}: {votes}.",
        "",
        "## Data it was made from",
        f"{data['cases']} cases of {data['patients']} patients: {classes}.",
        "",
        "## What a case has to bring",
        *(f"- {name.replace('_', ' ')}: {_said(value)}" for name, value in wanted.items()),
        "",
        "## How good it was",
        f"Evaluation: {judged['how']}. Inner {judged['metric']}: {_said(judged['inner_score'])}.",
        *_figures(judged["test"]),
        "",
        "## Limits",
        *(f"- {limit}" for limit in card["limits"]),
    ]
    return inert("\n".join(lines) + "\n")


def inert(markdown: str) -> str:
    """Return Markdown in which names of the user's open no tag and no link, whatever shows it.

    Examples
    --------
    >>> inert("classes <b> and [a](b), p < 0.001")
    'classes &lt;b> and [a]&#40;b), p < 0.001'
    """
    return _TAG_OR_LINK.sub(lambda found: "&lt;" if found[0] == "<" else "&#40;", markdown)


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"- {row['model']}, {row.get('subset', 'all')} (n = {row['n']}): AUC {row['auc']:.3f} "
        f"[{row['auc_lower']:.3f}, {row['auc_upper']:.3f}]"
        for row in rows
        if all(row.get(name) is not None for name in ("n", "auc", "auc_lower", "auc_upper"))
    ] or ["No test case judged it."]


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(one)}" for name, one in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_said, value)) or "none"
    return "not known" if value is None else str(value)
