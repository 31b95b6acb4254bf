"""The file of a portfolio: read with every mistake told in one sentence, and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autoonco.errors import AutoOncoError
from autoonco.resources import portfolio_text

Portfolio = Mapping[str, Any]
"""``{"format": 1, "provenance": {...}, "starts": {kind: {family: [config, ...]}}}``"""

FORMAT = 1
NONE = "none"
_REMEDY = "Make one with `autoonco portfolio build`, or set the portfolio to 'none'."


def load_portfolio(source: str | None = None) -> Portfolio:
    """Return the portfolio of a file, an empty one for ``"none"``, or for None the one that comes with autoonco.

    Raises
    ------
    AutoOncoError
        If the file is missing, unreadable, or not a portfolio; the message names the place in it.
    """
    if source == NONE:
        return {"format": FORMAT, "provenance": {}, "starts": {}}
    if source is None:
        return parse(portfolio_text(), name="The portfolio of autoonco")
    try:
        text = Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise AutoOncoError(f"The portfolio {source} can't be read ({error.strerror}). {_REMEDY}") from None
    except UnicodeDecodeError:
        raise AutoOncoError(f"{source} is not a portfolio: it is not text. {_REMEDY}") from None
    return parse(text, name=source)


def parse(text: str, *, name: str) -> Portfolio:
    """Return the portfolio in `text`; `name` is what messages call it.

    Raises
    ------
    AutoOncoError
        If it is not YAML, of another format, or has anything but plain values where configs belong.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = f" at line {mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else ""
        raise AutoOncoError(f"{name} is not a portfolio: it is not YAML{line}. {_REMEDY}") from None
    if not isinstance(found, dict) or not isinstance(found.get("starts"), dict):
        raise AutoOncoError(f"{name} is not a portfolio: it has no mapping 'starts'. {_REMEDY}")
    if found.get("format") != FORMAT:
        raise AutoOncoError(
            f"{name} is a portfolio of format {found.get('format')!r}, this version reads {FORMAT}. {_REMEDY}"
        )
    for kind, families in found["starts"].items():
        for place, fault in _faults(families):
            raise AutoOncoError(f"{name} is not a portfolio: starts, {kind!r}{place} {fault}. {_REMEDY}")
    return found


def _faults(families: Any) -> list[tuple[str, str]]:
    """Return (place, what is wrong there) of one kind's entry."""
    if not isinstance(families, dict):
        return [("", f"must map families to lists of configs, got {type(families).__name__}")]
    found = []
    for family, configs in families.items():
        if not isinstance(configs, list):
            found.append((f", {family!r}", f"must be a list of configs, got {type(configs).__name__}"))
            continue
        for number, config in enumerate(configs, start=1):
            place = f", {family!r}, config {number}"
            if not isinstance(config, dict):
                found.append((place, f"must map names to values, got {type(config).__name__}"))
                continue
            found += [
                (place, f"has {value!r} for {key!r}, expected text, a number or true/false")
                for key, value in config.items()
                if not isinstance(key, str) or not isinstance(value, str | int | float | bool)
            ]
    return found


def dump(portfolio: Portfolio) -> str:
    """Return the portfolio as YAML text."""
    return yaml.safe_dump(dict(portfolio), sort_keys=False, default_flow_style=None, width=1000)
