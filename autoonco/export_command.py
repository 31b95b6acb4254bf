"""The command that writes a model or a run in the form of another tool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autoonco.errors import UnknownNameError
from autoonco.options import grouped
from autoonco.terminal import Answering

FORMS = ("deepcave", "folder", "monai-bundle", "onnx")


@grouped
def export(
    source: Annotated[
        Path,
        typer.Argument(metavar="MODEL.onco|RUN", help="Model file, folder of one, or folder of a run."),
    ],
    terminal: Answering,
    to: Annotated[
        str,
        typer.Option(
            help="folder (plain files that load again), onnx, monai-bundle (networks), deepcave (the search of a run)."
        ),
    ] = "folder",
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to; SOURCE-FORM by default.")
    ] = None,
) -> None:
    """Write a model as plain files, ONNX or MONAI bundles, or the search of a run for DeepCAVE."""
    if to not in FORMS:
        raise UnknownNameError("form to export to", to, FORMS)
    named = source if source.name not in ("", "..") else source.resolve()
    folder = output or named.with_name(f"{named.stem}-{to}")
    written = _written(source, to, folder)
    for path in written:
        terminal.say(f"{to}: {path}")
    terminal.document({"form": to, "written": list(written)})


def _written(source: Path, to: str, folder: Path) -> Sequence[Path]:
    if to == "deepcave":
        from autoonco.exporting.deepcave import write_deepcave

        return write_deepcave(source, folder)
    from autoonco.classifier import load

    model = load(_model_of(source), device="cpu")
    match to:
        case "folder":
            return (model.to_folder(folder),)
        case "onnx":
            return model.to_onnx(folder)
        case _:
            return model.to_monai_bundle(folder)


def _model_of(source: Path) -> Path:
    """Return the model of a run's folder, or `source` where it is a model itself."""
    from autoonco.archive import MANIFEST
    from autoonco.classifier import MODEL_FILE

    is_run = source.is_dir() and not (source / MANIFEST).exists()
    return source / MODEL_FILE if is_run else source
