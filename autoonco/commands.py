"""Commands that fit nothing: the data check, pretrained weights, start configs, features."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from autoonco.errors import AutoOncoError
from autoonco.options import (
    Channels,
    Classes,
    Clinical,
    Data,
    External,
    Extraction,
    FeatureFile,
    Image,
    Label,
    Labels,
    Mask,
    MaskLabel,
    MaskRoi,
    Own,
    Reading,
    Repair,
    Run,
    Split,
    Suv,
    dataset_of,
    external_of,
    names_of,
)

Folder = Annotated[
    Path | None, typer.Option("--weights-dir", help="Folder of pretrained weights; made by `weights fetch`.")
]
Licences = Annotated[
    str,
    typer.Option(
        "--allow-licences", help="Licences of weights: a,b; permissive and any are words for several."
    ),
]
Networks = Annotated[str, typer.Option(help="The only pretrained networks to search: a,b.")]

weights = typer.Typer(no_args_is_help=True, help="Pretrained weights: what is here, fetch more, check them.")
portfolios = typer.Typer(no_args_is_help=True, help="Start configs learned from past runs.")
out, err = Console(), Console(stderr=True)


def _say(line: str, *, to: Console = out) -> None:
    to.print(line, markup=False, highlight=False, soft_wrap=True)


def names_in(text: str) -> tuple[str, ...] | None:
    """Return the names in a comma-separated text; None for an empty one."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) or None


@weights.command("list")
def list_weights(folder: Folder = None, licences: Licences = "") -> None:
    """List the pretrained networks: which are used, which are left out and why."""
    from autoonco.nets.access import Access
    from autoonco.nets.weight_files import locate, why_absent
    from autoonco.nets.zoo import all_networks

    access = Access.of(weights_dir=folder, allow_licences=names_in(licences))
    able = 0
    for name, entry in all_networks().items():
        if not entry["weights"]:
            continue
        reason, found = why_absent(name, entry, access), locate(name, entry, access)
        state = f"left out: {reason}" if reason or found is None else f"used, from the {found.source}"
        able += reason is None
        licence = str(entry["weights"]["licence"]) + (" (gated)" if entry["weights"]["gated"] else "")
        _say(f"{name:25} {entry['parameters'] / 1e6:6.1f} M  {licence:24} {state}")
    _say(f"{able} networks can be used.")


@weights.command("fetch")
def fetch_weights(
    names: Annotated[
        list[str], typer.Argument(metavar="NETWORK...", help="Networks, as `weights list` calls them.")
    ],
    folder: Annotated[Path, typer.Option("--weights-dir", help="Folder to put them into.")],
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
        _say(f"fetching {name} …", to=err)
        _say(f"weights: {fetch(name, folder, given=given)}")
    _say(f"Use them with `autoonco fit --weights-dir {folder}`; `autoonco weights verify` checks them again.")


@weights.command("verify")
def verify_weights(folder: Folder = None) -> None:
    """Check the weights on this machine: hash, form, and whether they fit their network."""
    from autoonco.nets.fetching import verify

    found = verify(folder, tell=lambda name: _say(f"checking {name} …", to=err))
    for name, problem in found.items():
        _say(f"{name}: {problem or 'ok'}")
    wrong = sum(problem is not None for problem in found.values())
    _say(f"{len(found) - wrong} good, {wrong} wrong.")
    if wrong:
        raise typer.Exit(2)


@portfolios.command()
def build(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("portfolio.yaml"),
) -> None:
    """Choose start configs for each kind of task; `fit --portfolio FILE` uses them."""
    from autoonco.search.portfolio import write_portfolio

    write_portfolio(runs, output)
    _say(f"portfolio: {output}")


def features(
    data: Data,
    output: FeatureFile = Path("features.csv"),
    settings: Extraction = "default",
    image: Image = "",
    mask: Mask = "",
    channels: Channels = "",
    mask_label: MaskLabel = "",
    mask_roi: MaskRoi = "",
    suv: Suv = "",
) -> None:
    """Write radiomic features, a row a case, and a .json beside it that says how they were made."""
    from autoonco.arguments import cores, feature_table
    from autoonco.data.manifest import Dataset
    from autoonco.evaluation.run_folder import versions
    from autoonco.features.export import check_output, write_features
    from autoonco.progress import print_written

    check_output(output)
    columns: dict[str, Any] = {"image": names_of(image) or None, "mask": names_of(mask) or None}
    reading = Reading(channels=channels, mask_label=mask_label, mask_roi=mask_roi, suv=suv)
    dataset = Dataset.from_path(data, labelled=False, **columns, **reading.options())
    table, spec = feature_table(dataset, settings, n_threads=cores())
    beside = write_features(table, spec, output, versions=versions())
    print_written(out, "features", table, output)
    _say(f"settings: {beside}")
    if (table["status"] != "ok").all():
        raise AutoOncoError(f"No case gave features. The first: {table['message'].iloc[0]}")


def look(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of DICOM files.")],
) -> None:
    """List the series of a DICOM folder, and the segments and ROIs of its masks, to choose from."""
    from autoonco.data.dicom_tree import contents
    from autoonco.progress import print_frame

    print_frame(out, contents(path), "Series, as the files call them")


def check(
    data: Data,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Table of all findings to write: .csv.")
    ] = None,
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
    repair: Repair = "none",
    most: Annotated[int, typer.Option(help="Findings of one kind to show.")] = 5,
) -> None:
    """Read every case once and tell what is wrong or doubtful; exit code 2 where something can't be used."""
    from autoonco.arguments import cores
    from autoonco.data.checks import Severity, findings, findings_frame, inspect
    from autoonco.progress import reading_bar
    from autoonco.settings import Settings

    dataset = dataset_of(
        data,
        label=label,
        classes=classes,
        image=image,
        mask=mask,
        clinical=clinical,
        split=split,
        own=own,
        complete=False,
        reading=Reading(labels=labels, channels=channels, mask_label=mask_label, mask_roi=mask_roi, suv=suv),
    ).repaired(Settings.preset("standard", repair=repair).repair)
    with reading_bar(err) as on_progress:
        found = findings(dataset, inspect(dataset, n_jobs=cores(), on_progress=on_progress))
    shown = Counter[str]()
    for finding in found:
        shown[finding.code] += 1
        if shown[finding.code] <= most:
            _say(f"{finding.code} {finding.severity}: {finding.message} {finding.remedy}")
    for code, count in shown.items():
        if count > most:
            _say(f"{code}: {count - most} more of this kind.")
    if output is not None:
        findings_frame(found, dataset).to_csv(output, index=False)
        _say(f"findings: {output}")
    n_errors = sum(finding.severity is Severity.ERROR for finding in found)
    _say(f"{len(dataset)} cases, {n_errors} errors, {len(found) - n_errors} warnings and notes.")
    if n_errors:
        raise typer.Exit(2)


def replay(
    run: Run,
    data: Data,
    trial: Annotated[int, typer.Argument(metavar="ID", help="Number of a trial, as in leaderboard.csv.")],
    label: Label = "label",
    classes: Classes = "",
    image: Image = "",
    mask: Mask = "",
    clinical: Clinical = "",
    split: Split = "split",
    own: Own = None,
    external: External = None,
    labels: Labels = None,
    channels: Channels = "",
    mask_label: MaskLabel = "",
    mask_roi: MaskRoi = "",
    suv: Suv = "",
) -> None:
    """Run one trial of a run again, alone, and compare its score."""
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
        complete=False,
        reading=reading,
    )
    from autoonco.arguments import cores, usable
    from autoonco.data.checks import errors_of, findings, inspect
    from autoonco.data.joined import joined
    from autoonco.evaluation import replay as replaying
    from autoonco.evaluation.run_folder import read_json
    from autoonco.settings import Settings

    judging = external_of(
        external, label=label, image=image, mask=mask, clinical=clinical, own=own, reading=reading
    )
    dataset = dataset if judging is None else joined(dataset, judging)
    # as the run read them: faulty rows were left out, masks put onto their image's grid where that was asked for
    dataset = dataset.repaired(str(read_json(run / "run.json")["settings"].get("repair", "none")))
    facts = inspect(dataset, n_jobs=cores())
    kept = usable(dataset, facts, errors_of(findings(dataset, facts)), Settings(on_bad_case="exclude"))
    recorded, score = replaying.replay(run, *kept, trial, n_threads=cores())
    _say(f"trial {trial}: recorded {recorded.score}, now {score}")
