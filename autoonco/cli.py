"""The command line: parses, calls, prints."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from autoonco.commands import (
    Folder,
    Licences,
    Networks,
    check,
    features,
    look,
    names_in,
    portfolios,
    replay,
    weights,
)
from autoonco.errors import AutoOncoError
from autoonco.options import (
    Abstain,
    Allocation,
    Axes,
    Box,
    Channels,
    Classes,
    Clinical,
    Data,
    Evaluation,
    External,
    Image,
    Label,
    Labels,
    Lesion,
    Mask,
    MaskLabel,
    MaskRoi,
    Metric,
    MissingMask,
    Model,
    OnBadCase,
    Own,
    Reading,
    Repair,
    Run,
    Scans,
    Sensitivity,
    Split,
    Splits,
    Suv,
    TaskName,
    Threshold,
    case_names,
    client_of,
    dataset_of,
    external_of,
    names_of,
)

if TYPE_CHECKING:
    from autoonco.classifier import AutoOncoClassifier
    from autoonco.data.manifest import Dataset

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Classify oncology images: radiomics, pretrained 2D and 3D networks in one search with honest figures.",
)
out, err = Console(), Console(stderr=True)

_DEMO_LIMIT, _DEMO_CASES, _DEMO_NEW = "5min", 180, 8


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
    own: Own = None,
    labels: Labels = None,
    channels: Channels = "",
    mask_label: MaskLabel = "",
    mask_roi: MaskRoi = "",
    suv: Suv = "",
    evaluation: Evaluation = "auto",
    external: External = None,
    splits: Splits = None,
    task: TaskName = "classification",
    metric: Metric = "",
    jobs: Annotated[int, typer.Option(help="Trials at the same time.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    dask: Annotated[str, typer.Option(help="Dask scheduler that does the work: HOST:PORT.")] = "",
    allocation: Allocation = "shared",
    max_trials: Annotated[int | None, typer.Option(help="Stop after so many trials.")] = None,
    portfolio: Annotated[str | None, typer.Option(help="File of start configs, or none.")] = None,
    preset: Annotated[str, typer.Option(help="quick, standard or thorough.")] = "standard",
    weights_dir: Folder = None,
    allow_licences: Licences = "",
    networks: Networks = "",
    on_bad_case: OnBadCase = "raise",
    threshold: Threshold = "most_probable",
    sensitivity: Sensitivity = 0.9,
    repair: Repair = "none",
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Refuse a folder that holds a run.")] = False,
) -> None:
    """Search, judge and refit models; write run folder, model file and report."""
    reading = Reading(labels=labels, channels=channels, mask_label=mask_label, mask_roi=mask_roi, suv=suv)
    dataset = dataset_of(
        data,
        label=label,
        classes=classes,
        image=image,
        mask=mask,
        clinical=clinical,
        split=split,
        own=own,
        complete=on_bad_case == "raise",
        reading=reading,
    )
    from autoonco.classifier import AutoOncoClassifier
    from autoonco.settings import Settings

    _fit(
        AutoOncoClassifier(
            time_limit=time_limit,
            families=names_of(families) or None,
            evaluation=evaluation,
            external=external_of(
                external, label=label, image=image, mask=mask, clinical=clinical, own=own, reading=reading
            ),
            splits=splits,
            task=task,
            metric=metric or None,
            n_jobs=jobs,
            device=device,
            seed=seed,
            run_dir=run,
            resume="never" if no_resume else "auto",
            client=client_of(dask) if dask else None,
            weights_dir=weights_dir,
            allow_licences=names_in(allow_licences),
            networks=names_in(networks),
            settings=Settings.preset(
                preset,
                on_bad_case=on_bad_case,
                repair=repair,
                allocation=allocation,
                max_trials=max_trials,
                portfolio=portfolio,
                threshold=threshold,
                sensitivity=sensitivity,
            ),
        ),
        dataset,
    )


def _fit(classifier: AutoOncoClassifier, dataset: Dataset) -> AutoOncoClassifier:
    from autoonco.classifier import MODEL_FILE
    from autoonco.progress import ProgressTable, print_frame

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
    print_frame(out, classifier.result_.summary(), "Figures on the test cases, with 95 % intervals")
    out.print(classifier.result_.verdict().sentence, markup=False)
    out.print(f"model:  {classifier.result_.folder / MODEL_FILE}", markup=False, soft_wrap=True)
    out.print(f"report: {page}", markup=False, soft_wrap=True)
    return classifier


@app.command()
def predict(
    model: Model,
    scans: Scans,
    output: Annotated[Path, typer.Option("-o", "--out", help="Table to write.")] = Path("predictions.csv"),
    image: Image = "",
    mask: Mask = "",
    own: Own = None,
    channels: Channels = "",
    mask_label: MaskLabel = "",
    mask_roi: MaskRoi = "",
    suv: Suv = "",
    missing_mask: MissingMask = "raise",
    abstain: Abstain = False,
    lesion: Lesion = "",
    box: Box = "",
    axes: Axes = "LPS",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = "auto",
) -> None:
    """Predict new scans; one bad scan doesn't lose the others."""
    from autoonco.arguments import as_cases
    from autoonco.classifier import load
    from autoonco.progress import reading_bar, write_predictions

    classifier = load(model, device=device)
    data = scans[0] if len(scans) == 1 else scans
    columns = {"image": names_of(image), "mask": names_of(mask), "clinical": classifier.clinical_}
    reading = Reading(channels=channels, mask_label=mask_label, mask_roi=mask_roi, suv=suv)
    cases = as_cases(data, features=own, reading=reading.options(), **columns)
    places = {"lesion": names_of(lesion) or None, "box": names_of(box) or None, "axes": axes}
    with reading_bar(err) as on_progress:
        how: dict[str, Any] = {
            "missing_mask": missing_mask,
            "abstain": abstain,
            "on_progress": on_progress,
            **places,
        }
        tables = classifier.predict_tables(cases, **how)
        written = write_predictions(out, tables, output)
    if written.n_failed == written.n_cases:
        raise AutoOncoError(f"No case could be predicted. The first: {written.first}")


@app.command()
def report(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to; RUN/report by default.")
    ] = None,
    include_ids: Annotated[
        Path | None, typer.Option(help="The run's manifest: cases are then called by their names too.")
    ] = None,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show no pixels of cases.")] = False,
) -> None:
    """Write the report of a finished, running or crashed run."""
    from autoonco.reporting.page import write_report

    ids = None if include_ids is None else case_names(include_ids)
    page = write_report(run, output, ids=ids, pictures=not no_pictures)
    out.print(f"report: {page}", markup=False, soft_wrap=True)


@app.command()
def leaderboard(run: Run, top: Annotated[int, typer.Option(help="Rows to show.")] = 20) -> None:
    """Show the best trials of a run, also while it runs."""
    from autoonco.progress import print_frame
    from autoonco.reporting.result import Result

    table = Result(run).leaderboard().head(top)
    print_frame(
        out, table[["rank", "family", "score", "budget", "status", "seconds", "config"]], "Leaderboard"
    )


@app.command()
def status(run: Run) -> None:
    """Show how far a run is, also while it runs."""
    from autoonco.reporting.result import Result

    out.print(Result(run).status(), markup=False)


app.command()(check)
app.command()(features)
app.command()(look)
app.command()(replay)
app.add_typer(portfolios, name="portfolio")
app.add_typer(weights, name="weights")


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
    from autoonco.data.phantoms import make_new_scans, make_phantoms
    from autoonco.progress import write_predictions

    manifest, unseen = data, None
    if manifest is None:
        folder, n = run.parent / f"{run.name}-data", _DEMO_CASES // 3 if quick else _DEMO_CASES
        err.print(f"Making {n} phantoms of lesions in {folder} …", markup=False)
        manifest, unseen = make_phantoms(folder / "seen", n=n, ndim=3, seed=0), folder / "unseen"
        unseen = make_new_scans(unseen, n=_DEMO_NEW, ndim=3)
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
    tables = load(run / MODEL_FILE).predict_tables(new)
    write_predictions(out, tables, run.parent / f"{run.name}-predictions.csv")


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
