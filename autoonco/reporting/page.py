"""The report: one HTML file that needs nothing beside it, with the same content as CSV, JSON, SVG and PDF."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from autoonco.data.cache import write_atomically
from autoonco.reporting import summary
from autoonco.reporting.blocks import Gallery, Table, without_paths
from autoonco.reporting.content import Content, make_content
from autoonco.reporting.files import files_of, write_files
from autoonco.reporting.read_run import read_run

TEMPLATE = "report.html.jinja"


def write_report(
    run_dir: str | Path,
    out_dir: str | Path | None = None,
    *,
    ids: Mapping[int, str] | None = None,
    pictures: bool = True,
) -> Path:
    """Write the report of a run folder and return the path of its page.

    Reads nothing but the run folder, computes no model, and works on a run that is still going on or was
    killed. A second call brings the report up to date.

    Parameters
    ----------
    run_dir
        The folder of the run.
    out_dir
        Where ``index.html``, ``report.json``, ``tables/*.csv``, ``figures/*`` and the model card go; ``report`` in
        the run folder if None.
    ids
        Names of cases by row, where the report may name them; a run folder knows rows alone.
    pictures
        Whether the page shows pixels of cases: the gallery, typical cases and maps of networks.

    Raises
    ------
    DataError
        If `run_dir` is no run folder.
    """
    run_dir = Path(run_dir)
    out = run_dir / "report" if out_dir is None else Path(out_dir)
    content = make_content(read_run(run_dir), ids=ids, pictures=pictures)
    beside = files_of(content)
    write_files(out, beside)
    page = out / "index.html"
    text = render(content, sorted(beside))
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
    return page


def render(content: Content, beside: list[str]) -> str:
    """Return the page as HTML; every text of the run is escaped. `beside` are the names of its other files."""
    data = content.data
    script = _resource("sort.js")
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            task=summary.task_line(data),
            data=summary.data_line(data),
            started=str(data.run.get("started", "unknown")),
            version=str((data.run.get("versions") or {}).get("autoonco", "")),
            status=data.status,
            banners=summary.banners(data),
            verdict=without_paths(content.verdict.sentence).replace(
                " = ", "\u00a0=\u00a0"
            ),  # a line may not end in "n ="
            verdict_kind=str(content.verdict.kind),
            verdict_label=summary.verdict_label(content.verdict),
            facts=content.facts,
            warnings=content.warnings,
            remarks=content.remarks,
            sections=content.sections,
            csvs=[name for name in beside if name.endswith(".csv")],
            has_card=bool(content.card),
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
    environment.tests["gallery"] = lambda block: isinstance(block, Gallery)
    return environment


@cache
def _resource(name: str) -> str:
    return (files("autoonco.reports") / name).read_text(encoding="utf-8")
