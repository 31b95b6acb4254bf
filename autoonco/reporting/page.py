"""The report: one HTML file that needs nothing beside it, with the same tables as CSV and figures as SVG."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from autoonco.data.cache import write_atomically
from autoonco.evaluation.tables import comparison_table, evaluation_table, leaderboard_table
from autoonco.evaluation.verdict import verdict
from autoonco.reporting import summary
from autoonco.reporting.blocks import Picture, Section, Table, without_paths
from autoonco.reporting.data_section import data_section, reproducibility_section
from autoonco.reporting.families_section import families_section
from autoonco.reporting.radiomics_section import features_table, radiomics_section
from autoonco.reporting.read_run import RunData, read_run
from autoonco.reporting.search_section import search_section

TEMPLATE = "report.html.jinja"
_CSVS = ("evaluation", "comparison", "leaderboard", "checks", "radiomic_features")
_SVGS = ("forest", "roc", "search", "time")


def write_report(run_dir: str | Path, out_dir: str | Path | None = None) -> Path:
    """Write the report of a run folder and return the path of its page.

    Reads nothing but the run folder, computes no model, and works on a run that is still going on or was
    killed. A second call brings the report up to date.

    Parameters
    ----------
    run_dir
        The folder of the run.
    out_dir
        Where ``index.html``, ``tables/*.csv`` and ``figures/*.svg`` go; ``report`` in the run folder if None.

    Raises
    ------
    DataError
        If `run_dir` is no run folder.
    """
    run_dir = Path(run_dir)
    out = run_dir / "report" if out_dir is None else Path(out_dir)
    data = read_run(run_dir)
    tables = make_tables(data)
    content = make_sections(data, tables)
    _write_tables(out / "tables", tables)
    _write_figures(out / "figures", content)
    page = out / "index.html"
    _write(page, render(data, tables, content))
    return page


def make_tables(data: RunData) -> dict[str, pd.DataFrame]:
    """Return the tables of a run by name: empty ones left out."""
    tables = {"leaderboard": leaderboard_table(data.trials), "checks": data.checks}
    if data.predictions is not None:
        tables["evaluation"] = evaluation_table(data.predictions, data.classes, data.metric)
        tables["comparison"] = comparison_table(data.predictions, data.models)
    if data.radiomic_features is not None:
        tables["radiomic_features"] = features_table(data.radiomic_features)
    return {name: found for name, found in tables.items() if not found.empty}


def make_sections(data: RunData, tables: dict[str, pd.DataFrame]) -> list[Section]:
    """Return the sections of the page below the summary."""
    empty = pd.DataFrame()
    return [
        families_section(data, tables.get("evaluation", empty), tables.get("comparison", empty)),
        *radiomics_section(data),
        search_section(data),
        data_section(data),
        reproducibility_section(data),
    ]


def render(data: RunData, tables: dict[str, pd.DataFrame], content: list[Section]) -> str:
    """Return the page as HTML; every text of the run is escaped."""
    evaluation = tables.get("evaluation", pd.DataFrame())
    delivered = summary.delivered_model(data)
    found = verdict(data.predictions, data.models, data.families)
    script = _resource("sort.js")
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            task=summary.task_line(data),
            data=summary.data_line(data),
            started=str(data.run.get("started", "unknown")),
            version=str(data.run.get("autoonco", "")),
            status=data.status,
            banners=summary.banners(data),
            verdict=without_paths(found.sentence).replace(
                " = ", "\u00a0=\u00a0"
            ),  # a line may not end in "n ="
            verdict_kind=str(found.kind),
            verdict_label=summary.verdict_label(found),
            facts=summary.facts(data, evaluation, delivered),
            warnings=summary.warnings(data, evaluation, delivered),
            sections=content,
            csvs=[name for name in _CSVS if name in tables],
            style=Markup(_resource("style.css")),  # noqa: S704 - files of this package
            script=Markup(script),  # noqa: S704
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _environment() -> Environment:
    # autoescape is named, for jinja2's own default and select_autoescape both leave *.html.jinja unescaped
    environment = Environment(
        loader=DictLoader({TEMPLATE: _resource(TEMPLATE)}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["table"] = lambda block: isinstance(block, Table)
    return environment


@cache
def _resource(name: str) -> str:
    return (files("autoonco.reports") / name).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    def fill(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, fill)


def _write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    for name in _CSVS:
        if name in tables:
            _write(folder / f"{name}.csv", _without_paths(tables[name]).to_csv(index=False))
        else:  # of an earlier report of the same run
            (folder / f"{name}.csv").unlink(missing_ok=True)


def _write_figures(folder: Path, content: list[Section]) -> None:
    pictures: dict[str, Any] = {b.name: b for part in content for b in part.blocks if isinstance(b, Picture)}
    for name in _SVGS:
        if name in pictures:
            _write(folder / f"{name}.svg", f'<?xml version="1.0" encoding="utf-8"?>\n{pictures[name].svg}\n')
        else:
            (folder / f"{name}.svg").unlink(missing_ok=True)


def _without_paths(found: pd.DataFrame) -> pd.DataFrame:
    texts = {name: found[name].map(_scrub) for name in ("reason", "message", "remedy") if name in found}
    return found.assign(**texts)


def _scrub(value: Any) -> Any:
    return without_paths(value) if isinstance(value, str) else value
