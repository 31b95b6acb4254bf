"""Identifiers planted in headers, file names and manifests are in no file that a run, a report or a model leaves."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

import autoonco
from benchmarks.originals import write_dicom

WORD = b"planted"  # in every identifier, and in no word of ours


def plant(folder: Path, n: int = 32) -> pd.DataFrame:
    """DICOM slices and NRRD masks whose headers, names and rows all hold the word."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        label = i % 2
        values = rng.normal(-300, 60, (24, 24))
        values[8:15, 8 : 14 + 2 * label] += 400 + 150 * label
        image, mask = folder / f"planted_scan_{i}.dcm", folder / f"planted_mask_{i}.nrrd"
        write_dicom(
            image,
            Rows=24,
            Columns=24,
            PixelData=values.astype(np.int16).tobytes(),
            PatientID=f"planted-{i}",
            PatientName=f"Planted^Jane{i}",
            PatientAddress="1 Planted Road",
            InstitutionName="Planted Hospital",
            ReferringPhysicianName="Planted^Doctor",
            StudyDescription="planted study",
            SeriesDescription=f"planted series {i}",
            ImageComments="planted comment",
        )
        drawn = np.zeros((24, 24), np.uint8)
        drawn[8:15, 8 : 14 + 2 * label] = 1
        lesion = sitk.GetImageFromArray(drawn)
        lesion.SetSpacing([0.8, 0.8])
        lesion.SetMetaData("drawn_by", "Planted Reader")
        sitk.WriteImage(lesion, str(mask))
        rows.append(
            {
                "case": f"case-planted-{i}",
                "patient": f"PlantedPatient{i}",
                "image": image.name,
                "mask": mask.name,
                "label": ["no", "yes"][label],
                "address": f"{i} Planted Road",
                "accession": f"PLANTED{i:05d}",
            }
        )
    return pd.DataFrame(rows)


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of a file, of what a zip within it holds, and of the cells of a parquet table."""
    yield name, name.encode() + data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from contents(f"{name}/{member}", archive.read(member))
    if name.endswith(".parquet"):
        yield f"{name} cells", pd.read_parquet(io.BytesIO(data)).to_csv().encode()
    if name.endswith((".png", ".jpg")):
        yield f"{name} text", repr(Image.open(io.BytesIO(data)).info).encode()


def leaks(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            relative = path.relative_to(folder).as_posix()
            found += [name for name, data in contents(relative, path.read_bytes()) if WORD in data.lower()]
    return found


def test_the_search_for_leaks_finds_them_wherever_they_are(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.onco", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json", b'{"case": "Planted"}' * 50)
    pd.DataFrame({"x": ["planted"] * 1000}).to_parquet(tmp_path / "t.parquet", compression="zstd")
    (tmp_path / "planted.txt").write_text("nothing")
    (tmp_path / "journal.sqlite").write_bytes(b"\0SQLite\0PLANTED\0")
    (tmp_path / "clean.txt").write_text("nothing")
    hidden = {"a.onco/inner.json", "t.parquet cells", "planted.txt", "journal.sqlite"}
    # a small table's text may also stand in its parquet file as it is
    assert hidden <= set(leaks(tmp_path)) <= hidden | {"t.parquet"}


@pytest.mark.slow
@pytest.mark.alone
def test_no_planted_identifier_is_in_any_file_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("AUTOONCO_CACHE_DIR", str(cache))
    frame = plant(tmp_path / "planted data")
    frame.loc[3, "mask"] = frame["mask"][4]  # an outline that is another's: told as such, if by anything
    (tmp_path / "planted data" / frame["image"][5]).write_bytes(b"no DICOM at all")
    manifest = tmp_path / "planted data" / "planted.csv"
    frame.to_csv(manifest, index=False)
    left = tmp_path / "left"
    classifier = autoonco.fit(
        manifest,
        families=["radiomics"],
        time_limit=600,
        evaluation="holdout",
        run_dir=left / "run",
        settings=autoonco.Settings(
            inner_folds=2, max_trials=2, finalists=0, ensemble_rounds=2, on_bad_case="exclude"
        ),
    )
    classifier.report(left / "report")
    model = classifier.save(left / "model.onco")
    table = autoonco.load(model, device="cpu").predict_table(manifest)
    assert (table["status"] == "ok").sum() == len(frame) - 1
    assert len(list(left.rglob("*"))) > 10
    assert leaks(left) == []
    assert leaks(cache) == []
    said = capfd.readouterr()
    assert WORD not in (said.out + said.err).lower().encode()
