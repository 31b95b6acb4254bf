"""Commands that fit nothing: the data check, pretrained weights, start configs, features."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoonco.data.plain import records
from autoonco.errors import AutoOncoError
from autoonco.options import (
    Cohort,
    Data,
    External,
    Folder,
    Licences,
    Pictures,
    Repair,
    Run,
    grouped,
    names_in,
)
from autoonco.terminal import Answering, Showing, Talking, Terminal

if TYPE_CHECKING:
    from autoonco.data.checks import Finding

_LOG = logging.getLogger(__name__)

weights = typer.Typer(no_args_is_help=True, help="Pretrained weights: what is here, fetch more, check them.")
portfolios = typer.Typer(no_args_is_help=True, help="Start configs learned from past runs.")


@weights.command("list")
@grouped
def list_weights(terminal: Showing, folder: Folder = None, licences: Licences = "") -> None:
    """List the pretrained networks: which are used, which are left out and why."""
    from autoonco.nets.access import Access
    from autoonco.nets.weight_files import locate, why_absent
    from autoonco.nets.zoo import all_networks

    access, found = Access.of(weights_dir=folder, allow_licences=names_in(licences)), []
    for name, entry in all_networks().items():
        if not entry["weights"]:
            continue
        reason, place = why_absent(name, entry, access), locate(name, entry, access)
        source = None if reason or place is None else place.source
        weighed = entry["weights"]
        found.append(
            {
                "network": name,
                "dimensions": entry["dimensions"],
                "parameters": entry["parameters"],
                "licence": weighed["licence"],
                "gated": bool(weighed["gated"]),
                "used": reason is None,
                "from": source,
                "why_not": reason,
            }
        )
        licence = str(weighed["licence"]) + (" (gated)" if weighed["gated"] else "")
        state = f"left out: {reason}" if source is None else f"used, from the {source}"
        n = entry["parameters"]  # None where a user's own entry doesn't say it
        millions = f"{n / 1e6:6.1f}" if n else f"{'?':>6}"
        terminal.say(f"{name:25} {millions} M  {licence:24} {state}")
    able = sum(one["used"] for one in found)
    terminal.say(f"{able} networks can be used.")
    terminal.document({"usable": able, "networks": found})


@weights.command("fetch")
@grouped
def fetch_weights(
    names: Annotated[
        list[str], typer.Argument(metavar="NETWORK...", help="Networks, as `weights list` calls them.")
    ],
    folder: Annotated[Path, typer.Option("--weights-dir", help="Folder to put them into.")],
    terminal: Terminal,
    given: Annotated[
        Path | None, typer.Option("--from", help="Take this file instead of downloading one.")
    ] = None,
) -> None:
    """Download weights from the hub into a folder that can be carried to a machine without the internet."""
    from autoonco.nets.zoo import entry_of

    if given is not None and len(names) != 1:
        raise AutoOncoError(f"--from takes the file of one network, got {len(names)} names.")
    for name in names:  # a wrong name is told before anything is downloaded
        entry_of(name)
    from autoonco.nets.fetching import fetch

    for name in names:
        terminal.tell(f"fetching {name} …")
        terminal.say(f"weights: {fetch(name, folder, given=given)}")
    terminal.say(
        f"Use them with `autoonco fit --weights-dir {folder}`; `autoonco weights verify` checks them again."
    )


@weights.command("verify")
@grouped
def verify_weights(terminal: Terminal, folder: Folder = None) -> None:
    """Check the weights on this machine: hash, form, and whether they fit their network."""
    from autoonco.nets.fetching import verify

    found = verify(folder, tell=lambda name: terminal.tell(f"checking {name} …"))
    for name, problem in found.items():
        terminal.say(f"{name}: {problem or 'ok'}")
    wrong = sum(problem is not None for problem in found.values())
    terminal.say(f"{len(found) - wrong} good, {wrong} wrong.")
    if wrong:
        raise typer.Exit(2)


@portfolios.command()
@grouped
def build(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    terminal: Terminal,
    output: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("portfolio.yaml"),
) -> None:
    """Choose start configs for each kind of task; `fit --portfolio FILE` uses them."""
    from autoonco.search.portfolio import write_portfolio

    write_portfolio(runs, output)
    terminal.say(f"portfolio: {output}")


@grouped
def features(
    data: Data,
    pictures: Pictures,
    terminal: Talking,
    output: Annotated[Path, typer.Option("-o", "--out", help="Table to write: .csv or .parquet.")] = Path(
        "features.csv"
    ),
    settings: Annotated[
        str, typer.Option(help="default, original or full, or a .json or .yaml file of settings.")
    ] = "default",
    no_names: Annotated[
        bool, typer.Option("--no-names", help="Call cases row-1, row-2, ... instead of by their names.")
    ] = False,
) -> None:
    """Write radiomic features, a row a case, and a .json beside it that says how they were made."""
    from autoonco.arguments import cores, feature_table
    from autoonco.data.manifest import Dataset
    from autoonco.evaluation.run_folder import versions
    from autoonco.features.export import check_output, write_features

    check_output(output)
    dataset = Dataset.from_path(data, labelled=False, **pictures.reading())
    terminal.keep_out(dataset.cases)
    table, spec = feature_table(dataset, settings, n_threads=cores())
    if no_names:
        table = table.assign(case=[f"row-{case.row}" for case in dataset.cases])
    beside = write_features(table, spec, output, versions=versions())
    n_failed = int((table["status"] != "ok").sum())
    terminal.say(f"features: {output} ({len(table)} cases, {n_failed} failed)")
    terminal.say(f"settings: {beside}")
    _LOG.info("features of %d cases, %d of them failed", len(table), n_failed)
    if (table["status"] != "ok").all():
        raise AutoOncoError(f"No case gave features. The first: {table['message'].iloc[0]}")


@grouped
def look(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of DICOM files.")],
    terminal: Showing,
) -> None:
    """List the series of a DICOM folder, and the segments and ROIs of its masks, to choose from."""
    from autoonco.data.dicom_tree import contents

    found = contents(path)
    terminal.table(found, "Series, as the files call them")
    terminal.document({"series": records(found)})


@grouped
def check(
    data: Data,
    cohort: Cohort,
    terminal: Answering,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Table of all findings to write: .csv.")
    ] = None,
    repair: Repair = "none",
    most: Annotated[int, typer.Option(help="Findings of one kind to show.")] = 5,
) -> None:
    """Read every case once and tell what is wrong or doubtful; exit code 2 where something can't be used."""
    from autoonco.arguments import cores
    from autoonco.data.checks import Severity, findings, findings_frame, inspect
    from autoonco.settings import Settings

    dataset = cohort.dataset(data, complete=False).repaired(Settings.preset("standard", repair=repair).repair)
    terminal.keep_out(dataset.cases)
    with terminal.reading() as on_progress:
        found = findings(dataset, inspect(dataset, n_jobs=cores(), on_progress=on_progress))
    table = findings_frame(found, dataset)
    _say_findings(terminal, found, most)
    if output is not None:
        table.to_csv(output, index=False)
        terminal.say(f"findings: {output}")
    n_errors = sum(finding.severity is Severity.ERROR for finding in found)
    errors = f"{n_errors} error{'' if n_errors == 1 else 's'}"
    terminal.say(f"{len(dataset)} cases, {errors}, {len(found) - n_errors} warnings and notes.")
    terminal.document(
        {
            "cases": len(dataset),
            "classes": list(dataset.classes),
            "errors": n_errors,
            "findings": [
                row | {"message": finding.message} for row, finding in zip(records(table), found, strict=True)
            ],
        }
    )
    if n_errors:
        raise typer.Exit(2)


def _say_findings(terminal: Terminal, found: Sequence[Finding], most: int) -> None:
    """Say the first findings of each kind, and how many more there are."""
    shown = Counter[str]()
    for finding in found:
        _LOG.info(
            "%s %s, %s", finding.code, finding.severity, f"row {finding.row}" if finding.row else "all data"
        )
        shown[finding.code] += 1
        if shown[finding.code] <= most:
            terminal.say(f"{finding.code} {finding.severity}: {finding.message} {finding.remedy}")
    for code, count in shown.items():
        if count > most:
            terminal.say(f"{code}: {count - most} more of this kind.")


@grouped
def replay(
    run: Run,
    data: Data,
    trial: Annotated[int, typer.Argument(metavar="ID", help="Number of a trial, as in leaderboard.csv.")],
    cohort: Cohort,
    terminal: Talking,
    external: External = None,
) -> None:
    """Run one trial of a run again, alone, and compare its score."""
    dataset = cohort.dataset(data, complete=False)
    from autoonco.arguments import cores, usable
    from autoonco.data.checks import errors_of, findings, inspect
    from autoonco.data.joined import joined
    from autoonco.evaluation import replay as replaying
    from autoonco.evaluation.run_folder import read_json
    from autoonco.settings import Settings

    judging = cohort.external(external)
    dataset = dataset if judging is None else joined(dataset, judging)
    # as the run read them: faulty rows were left out, masks put onto their image's grid where that was asked for
    dataset = dataset.repaired(str(read_json(run / "run.json")["settings"].get("repair", "none")))
    terminal.keep_out(dataset.cases)
    facts = inspect(dataset, n_jobs=cores())
    kept = usable(dataset, facts, errors_of(findings(dataset, facts)), Settings(on_bad_case="exclude"))
    recorded, score = replaying.replay(run, *kept, trial, n_threads=cores())
    terminal.say(f"trial {trial}: recorded {recorded.score}, now {score}")
