"""The command line: parses, calls, prints."""

from __future__ import annotations

import io
import logging
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoonco.commands import check, features, look, portfolios, replay, weights
from autoonco.data.plain import records
from autoonco.errors import AutoOncoError
from autoonco.export_command import export
from autoonco.options import (
    Care,
    Cohort,
    Data,
    Device,
    Judging,
    Machine,
    Model,
    Own,
    Pictures,
    Place,
    Scans,
    Searching,
    TimeLimit,
    client_of,
    grouped,
    names_in,
    names_of,
)
from autoonco.run_commands import leaderboard, report, status
from autoonco.terminal import Answering, Talking, Terminal, print_line, screen

if TYPE_CHECKING:
    import pandas as pd

    from autoonco.classifier import AutoOncoClassifier
    from autoonco.data.manifest import Dataset

_LOG = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Classify oncology images: radiomics, pretrained 2D and 3D networks in one search with honest figures.",
)

_DEFECT = (
    "This is a defect of autoonco, not of your data: please report the lines above, without names of patients and "
    "files. What a run has finished is kept, and the same command goes on from there."
)
_DEMO_LIMIT, _DEMO_CASES, _DEMO_NEW = "5min", 180, 8


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoonco {version('autoonco')}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
@grouped
def fit(
    data: Data,
    cohort: Cohort,
    searching: Searching,
    judging: Judging,
    care: Care,
    machine: Machine,
    terminal: Answering,
    time_limit: TimeLimit = "30min",
    run: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder; the same one resumes.")] = None,
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Refuse a folder that holds a run.")] = False,
) -> None:
    """Search, judge and refit models; write run folder, model file and report."""
    _refuse_log_in(run, terminal.log_file)
    dataset = cohort.dataset(data, complete=care.on_bad_case == "raise")
    from autoonco.classifier import AutoOncoClassifier
    from autoonco.settings import Settings

    settings = Settings.preset(
        searching.preset,
        allocation=searching.allocation,
        max_trials=searching.max_trials,
        portfolio=searching.portfolio,
        **vars(care),
    )
    classifier = AutoOncoClassifier(
        time_limit=time_limit,
        families=names_of(searching.families) or None,
        evaluation=judging.evaluation,
        external=cohort.external(judging.external),
        splits=judging.splits,
        task=judging.task,
        metric=judging.metric or None,
        n_jobs=machine.jobs,
        device=machine.device,
        seed=searching.seed,
        run_dir=run,
        resume="never" if no_resume else "auto",
        client=client_of(machine.dask) if machine.dask else None,
        weights_dir=searching.weights_dir,
        allow_licences=names_in(searching.allow_licences),
        networks=names_in(searching.networks),
        settings=settings,
    )
    _fit(classifier, dataset, terminal)


def _refuse_log_in(run: Path | None, log_file: Path | None) -> None:
    """Refuse a log file in the folder of a run that is not there yet: what holds a file is no folder for one."""
    inside = run is not None and log_file is not None and log_file.resolve().is_relative_to(run.resolve())
    if inside and run is not None and not (run / "run.json").exists():
        raise AutoOncoError(
            f"--log-file {log_file} lies in the run folder, which keeps a log of its own: choose a place outside of it."
        )


def _fit(classifier: AutoOncoClassifier, dataset: Dataset, terminal: Terminal) -> None:
    from autoonco.progress import ProgressTable
    from autoonco.search.interrupt import watching

    terminal.keep_out(dataset.cases)
    terminal.tell(f"{len(dataset)} cases, classes {', '.join(dataset.classes)}.")
    try:
        with watching(terminal.tell):
            with ProgressTable(terminal.err, notes=not terminal.verbose) as table:  # the log says them too
                classifier.set_params(progress=table).fit(dataset)
            _show(classifier.set_params(progress=None), terminal)
    except KeyboardInterrupt:
        terminal.tell("Stopped. What was finished is kept: the same command goes on from there.")
        raise typer.Exit(130) from None


def _show(classifier: AutoOncoClassifier, terminal: Terminal) -> None:
    """Write the report of what was fitted, and say what came of it."""
    from autoonco.classifier import MODEL_FILE

    result = classifier.result_
    assert result is not None
    if (stopped := result.stopped()) is not None:
        terminal.tell(stopped)
    left_out = result.excluded()
    for message in left_out:
        terminal.tell(f"left out: {message}")
    model, page = result.folder / MODEL_FILE, classifier.report(result.folder / "report")
    figures, verdict = result.summary(), result.verdict()
    terminal.table(figures, "Figures on the test cases, with 95 % intervals")
    terminal.say(verdict.sentence)
    terminal.say(f"model:  {model}")
    terminal.say(f"report: {page}")
    terminal.document(
        {
            "run": result.folder,
            "status": result.read().status,
            "model": model,
            "report": page,
            "verdict": {"kind": verdict.kind, "sentence": verdict.sentence},
            "evaluation": records(figures),
            "left_out": left_out,
        }
    )


@app.command()
@grouped
def predict(
    model: Model,
    scans: Scans,
    pictures: Pictures,
    place: Place,
    terminal: Answering,
    output: Annotated[Path, typer.Option("-o", "--out", help="Table to write.")] = Path("predictions.csv"),
    own: Own = None,
    abstain: Annotated[
        bool, typer.Option("--abstain", help="Call ambiguous cases 'uncertain' instead of naming a class.")
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            help="What a row is of: case, or patient, whose cases become one as the run judged patients."
        ),
    ] = "case",
    device: Device = "auto",
    dicom_sr: Annotated[
        Path | None,
        typer.Option(help="Folder for a DICOM report of each case, of DICOM scans; these name the patient."),
    ] = None,
) -> None:
    """Predict new scans; one bad scan doesn't lose the others."""
    from autoonco.arguments import as_cases
    from autoonco.classifier import load

    if dicom_sr is not None and by != "case":
        raise AutoOncoError("A DICOM report is of a case: leave --by or --dicom-sr out.")
    classifier = load(model, device=device)
    data = scans[0] if len(scans) == 1 else scans
    cases = as_cases(data, clinical=classifier.clinical_, features=own, reading=pictures.reading())
    terminal.keep_out(cases)
    with terminal.reading() as on_progress:
        how: dict[str, Any] = {"by": by, "abstain": abstain, "on_progress": on_progress, **place.places()}
        tables = classifier.predict_tables(cases, **how)
        if dicom_sr is not None:
            tables = classifier.reported(tables, cases, dicom_sr)
        _write_predictions(terminal, tables, output, of=f"{by}s")


def _write_predictions(
    terminal: Terminal, tables: Iterable[pd.DataFrame], output: Path, *, of: str = "cases"
) -> None:
    """Write tables of predictions, with a row for each `of` what, to one file as they come, and say so."""
    from autoonco.progress import write_predictions

    rows: list[dict[str, Any]] = []
    written = write_predictions(_heard(tables, rows, wanted=terminal.as_json), output)
    terminal.say(f"predictions: {output} ({written.n_cases} {of}, {written.n_failed} failed)")
    terminal.document({"out": output, of: written.n_cases, "failed": written.n_failed, "predictions": rows})
    _LOG.info("%d %s predicted, %d of them failed", written.n_cases, of, written.n_failed)
    if written.n_failed == written.n_cases:
        raise AutoOncoError(f"No case could be predicted. The first: {written.first}")


def _heard(
    tables: Iterable[pd.DataFrame], rows: list[dict[str, Any]], *, wanted: bool
) -> Iterator[pd.DataFrame]:
    """Yield the tables, log their failures, and keep their rows where they are wanted."""
    for table in tables:
        for message in table.loc[table["status"] != "ok", "message"]:
            _LOG.warning("%s", message)
        rows += records(table) if wanted else []
        yield table


app.command()(export)
app.command()(report)
app.command()(leaderboard)
app.command()(status)
app.command()(check)
app.command()(features)
app.command()(look)
app.command()(replay)
app.add_typer(portfolios, name="portfolio")
app.add_typer(weights, name="weights")


@app.command()
@grouped
def demo(
    terminal: Talking,
    data: Annotated[Path | None, typer.Argument(metavar="[DATA.csv]", help="Your own manifest.")] = None,
    run: Annotated[Path, typer.Option("-o", "--out", help="Run folder.")] = Path("demo-run"),
    time_limit: TimeLimit = _DEMO_LIMIT,
    quick: Annotated[bool, typer.Option("--quick", help="Small phantoms and one minute.")] = False,
) -> None:
    """Run the main job: on made phantoms of lesions, or on your own manifest; then predict unseen scans."""
    from autoonco.classifier import MODEL_FILE, AutoOncoClassifier, load
    from autoonco.data.manifest import Dataset
    from autoonco.data.phantoms import make_new_scans, make_phantoms

    manifest, unseen = data, None
    if manifest is None:
        folder, n = run.parent / f"{run.name}-data", _DEMO_CASES // 3 if quick else _DEMO_CASES
        terminal.tell(f"Making {n} phantoms of lesions in {folder} …")
        manifest, unseen = make_phantoms(folder / "seen", n=n, ndim=3, seed=0), folder / "unseen"
        unseen = make_new_scans(unseen, n=_DEMO_NEW, ndim=3)
    dataset = Dataset.from_csv(manifest)
    limit = "60s" if quick and time_limit == _DEMO_LIMIT else time_limit
    classifier = AutoOncoClassifier(time_limit=limit, run_dir=run, settings="quick" if quick else "standard")
    _fit(classifier, dataset, terminal)
    if unseen is None:
        is_test = dataset.split == "test" if dataset.split is not None else None
        new = (
            dataset.subset(is_test).unlabelled()
            if is_test is not None and is_test.any()
            else dataset.unlabelled()
        )
    else:
        new = Dataset.from_csv(unseen, labelled=False)
    # Beside the run folder, not in it: the table names cases as the user does.
    tables = load(run / MODEL_FILE).predict_tables(new)
    _write_predictions(terminal, tables, run.parent / f"{run.name}-predictions.csv")


def main() -> None:
    """Run the command line.

    A user's mistake is one sentence and exit code 2, never a traceback; that, and 1, is for a defect of autoonco.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no letter of a name may end a command
            stream.reconfigure(errors="backslashreplace")
    # Third parties' warnings are for developers; what a user must know is in the report.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        app(prog_name="autoonco")
    except AutoOncoError as error:
        _exit(str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _exit(
            f"{error.strerror or error}:{where}. Check the path, the rights to it, and the space left on the disk."
        )
    except Exception:
        traceback.print_exc()
        _exit(_DEFECT, code=1)


def _exit(sentence: str, *, code: int = 2) -> None:
    print_line(screen(sys.stderr), f"autoonco: {sentence}")
    sys.exit(code)


if __name__ == "__main__":
    main()
