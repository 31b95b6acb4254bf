"""The command line: parses, calls, prints."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from autoonco.errors import AutoOncoError

if TYPE_CHECKING:
    import pandas as pd

    from autoonco.classifier import AutoOncoClassifier
    from autoonco.data.manifest import Dataset

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Classify oncology images: radiomics, pretrained 2D and 3D networks in one search with honest figures.",
)
out, err = Console(), Console(stderr=True)

_DEMO_LIMIT, _DEMO_CASES, _DEMO_NEW = "5min", 180, 8

Data = Annotated[
    Path, typer.Argument(metavar="DATA.csv", help="Manifest: a row a case, paths relative to it.")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Label = Annotated[str, typer.Option("--label", help="Column of classes.")]
Classes = Annotated[str, typer.Option("--classes", help="Classes to keep, in this order: a,b.")]
Image = Annotated[str, typer.Option("--image", help="Image column(s); by default image and image_*.")]
Mask = Annotated[str, typer.Option("--mask", help="Mask column(s); by default mask and mask_*.")]
Clinical = Annotated[str, typer.Option("--clinical", help="Clinical columns to use as inputs: a,b.")]
Split = Annotated[str, typer.Option("--split", help="Column that says train, val or test.")]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _dataset(
    data: Path, *, label: str, classes: str, image: str, mask: str, clinical: str, split: str
) -> Dataset:
    from autoonco.data.manifest import Dataset

    return Dataset.from_csv(
        data,
        label=label,
        classes=_names(classes) or None,
        image=_names(image) or None,
        mask=_names(mask) or None,
        clinical=_names(clinical),
        split=split,
    )


@app.command()
def fit(
    data: Data,
    time_limit: Annotated[str, typer.Option(help="Time for everything: 90s, 10min, 2h.")] = "30min",
    run: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder; the same one resumes.")] = None,
    families: Annotated[str, typer.Option(help="Families to search: a,b. All that apply by default.")] = "",
    label: Label = "label",
    classes: Classes = "",
    image: Image = "",
    mask: Mask = "",
    clinical: Clinical = "",
    split: Split = "split",
    evaluation: Annotated[str, typer.Option(help="auto, external, holdout, nested or none.")] = "auto",
    metric: Annotated[str, typer.Option(help="Score to maximise.")] = "roc_auc",
    jobs: Annotated[int, typer.Option(help="Trials at the same time.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    preset: Annotated[str, typer.Option(help="quick, standard or thorough.")] = "standard",
    on_bad_case: Annotated[
        str, typer.Option(help="What to do about a case that can't be used: raise, exclude.")
    ] = "raise",
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Refuse a folder that holds a run.")] = False,
) -> None:
    """Search, judge and refit models; write run folder, model file and report."""
    dataset = _dataset(
        data, label=label, classes=classes, image=image, mask=mask, clinical=clinical, split=split
    )
    from autoonco.classifier import AutoOncoClassifier
    from autoonco.settings import Settings

    _fit(
        AutoOncoClassifier(
            time_limit=time_limit,
            families=_names(families) or None,
            evaluation=evaluation,
            metric=metric,
            n_jobs=jobs,
            device=device,
            seed=seed,
            run_dir=run,
            resume="never" if no_resume else "auto",
            settings=Settings.preset(preset, on_bad_case=on_bad_case),
        ),
        dataset,
    )


def _fit(classifier: AutoOncoClassifier, dataset: Dataset) -> AutoOncoClassifier:
    from autoonco.classifier import MODEL_FILE
    from autoonco.progress import ProgressTable

    err.print(f"{len(dataset)} cases, classes {', '.join(dataset.classes)}.", markup=False)
    try:
        with ProgressTable(err) as table:
            classifier.set_params(progress=table).fit(dataset)
    except KeyboardInterrupt:
        err.print("Stopped. What was finished is kept: the same command goes on from there.")
        raise typer.Exit(130) from None
    classifier.set_params(progress=None)
    assert classifier.result_ is not None
    for message in classifier.result_.excluded():
        err.print(f"left out: {message}", markup=False, soft_wrap=True)
    page = classifier.report(classifier.result_.folder / "report")
    _print_frame(classifier.result_.summary(), "Figures on the test cases, with 95 % intervals")
    out.print(classifier.result_.verdict().sentence, markup=False)
    out.print(f"model:  {classifier.result_.folder / MODEL_FILE}", markup=False, soft_wrap=True)
    out.print(f"report: {page}", markup=False, soft_wrap=True)
    return classifier


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onco", help="Model file.")],
    scans: Annotated[
        list[Path], typer.Argument(metavar="DATA|SCAN...", help="A manifest (.csv), or image files.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help="Table to write.")] = Path("predictions.csv"),
    image: Image = "",
    mask: Mask = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = "auto",
) -> None:
    """Predict new scans; one bad scan doesn't lose the others."""
    from autoonco.arguments import as_cases
    from autoonco.classifier import load

    classifier = load(model, device=device)
    data = scans[0] if len(scans) == 1 else scans
    table = classifier.predict_table(
        as_cases(data, clinical=classifier.clinical_, image=_names(image), mask=_names(mask))
    )
    _write_predictions(table, output)
    if (table["status"] != "ok").all():
        raise AutoOncoError(f"No case could be predicted. The first: {table['message'].iloc[0]}")


def _write_predictions(table: pd.DataFrame, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(output, index=False)
    failed = int((table["status"] != "ok").sum())
    out.print(f"predictions: {output} ({len(table)} cases, {failed} failed)", markup=False, soft_wrap=True)


@app.command()
def report(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to; RUN/report by default.")
    ] = None,
) -> None:
    """Write the report of a finished, running or crashed run."""
    from autoonco.reporting.page import write_report

    out.print(f"report: {write_report(run, output)}", markup=False, soft_wrap=True)


@app.command()
def check(
    data: Data,
    label: Label = "label",
    classes: Classes = "",
    image: Image = "",
    mask: Mask = "",
    clinical: Clinical = "",
    split: Split = "split",
) -> None:
    """Read every case once and tell what is wrong or doubtful."""
    dataset = _dataset(
        data, label=label, classes=classes, image=image, mask=mask, clinical=clinical, split=split
    )
    from autoonco.arguments import cores
    from autoonco.data.checks import Severity, findings, inspect

    found = findings(dataset, inspect(dataset, n_jobs=cores()))
    for finding in found:
        out.print(
            f"{finding.code} {finding.severity}: {finding.message} {finding.remedy}",
            markup=False,
            soft_wrap=True,
        )
    n_errors = sum(finding.severity is Severity.ERROR for finding in found)
    out.print(f"{len(dataset)} cases, {n_errors} errors, {len(found) - n_errors} warnings and notes.")
    if n_errors:
        raise typer.Exit(2)


@app.command()
def leaderboard(run: Run, top: Annotated[int, typer.Option(help="Rows to show.")] = 20) -> None:
    """Show the best trials of a run, also while it runs."""
    from autoonco.reporting.result import Result

    table = Result(run).leaderboard().head(top)
    _print_frame(table[["rank", "family", "score", "budget", "status", "seconds", "config"]], "Leaderboard")


@app.command()
def status(run: Run) -> None:
    """Show how far a run is, also while it runs."""
    from autoonco.reporting.result import Result

    out.print(Result(run).status(), markup=False)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Argument(metavar="[DATA.csv]", help="Your own manifest.")] = None,
    run: Annotated[Path, typer.Option("-o", "--out", help="Run folder.")] = Path("demo-run"),
    time_limit: Annotated[str, typer.Option(help="Time for everything: 90s, 10min, 2h.")] = _DEMO_LIMIT,
    quick: Annotated[bool, typer.Option("--quick", help="Small phantoms and one minute.")] = False,
) -> None:
    """Run the main job: on made phantoms of lesions, or on your own manifest; then predict unseen scans."""
    from autoonco.classifier import MODEL_FILE, AutoOncoClassifier, load
    from autoonco.data.manifest import Dataset

    manifest, unseen = (
        (data, None) if data is not None else _phantoms(run.parent / f"{run.name}-data", quick=quick)
    )
    dataset = Dataset.from_csv(manifest)
    classifier = AutoOncoClassifier(
        time_limit="60s" if quick else time_limit, run_dir=run, settings="quick" if quick else "standard"
    )
    _fit(classifier, dataset)
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
    _write_predictions(load(run / MODEL_FILE).predict_table(new), run.parent / f"{run.name}-predictions.csv")


def _phantoms(folder: Path, *, quick: bool) -> tuple[Path, Path]:
    from autoonco.data.phantoms import make_new_scans, make_phantoms

    n = _DEMO_CASES // 3 if quick else _DEMO_CASES
    err.print(f"Making {n} phantoms of lesions in {folder} …", markup=False)
    seen = make_phantoms(folder / "seen", n=n, ndim=3, seed=0)
    return seen, make_new_scans(folder / "unseen", n=_DEMO_NEW, ndim=3)


def _print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print a table; where the terminal is narrow, the last column is cut."""
    cells = [
        [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
        for row in frame.itertuples(index=False)
    ]
    table = Table(title=title)
    names = [str(name) for name in frame.columns]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    left = out.width - sum(widths[:-1]) - 3 * len(names) - 1  # three characters a border and its padding
    widths[-1] = max(min(widths[-1], left), len(names[-1]))
    for name, width in zip(names, widths, strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        table.add_row(*row)
    out.print(table)


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit code 2, never a traceback."""
    # Third parties' warnings are for developers; what a user must know is in the report.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        app()
    except AutoOncoError as error:
        _exit(str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _exit(
            f"{error.strerror or error}:{where}. Check the path, the rights to it, and the space left on the disk."
        )


def _exit(sentence: str) -> None:
    err.print(f"autoonco: {sentence}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
