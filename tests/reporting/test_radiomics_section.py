"""The radiomics section reads two files of the run folder, shows what they say, and computes no test."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from autoonco.features.blocks import column_names
from autoonco.features.methods import settings_rows, settings_sentence
from autoonco.features.spec import Binning, ChannelSpec, ExtractionSpec
from autoonco.reporting.page import write_report
from autoonco.reporting.radiomics_section import MOST_FEATURES, radiomics_section
from autoonco.reporting.read_run import read_run

PLANTED = "/data/Jane Doe/scan.nii.gz"


@pytest.fixture
def run(build_run):
    folder = build_run()
    channel = ChannelSpec(name="image", binning=Binning(kind="count", value=32))
    spec = ExtractionSpec(ndim=2, channels=(channel,), log_sigmas_mm=(1.0,))
    names = list(column_names(spec))
    n = len(names)
    settings = {
        "sentence": settings_sentence(spec, software="autoonco (native)"),
        "rows": settings_rows(spec, software="autoonco (native)"),
        "settings": spec.to_json(),
        "config": {"learner": "svm", "note": PLANTED},
        "n_cases": 120,
        "n_kept": 40,
        "icc_cases": 30,
        "icc_masks": ["translation", "rotation"],
    }
    (folder / "evaluation" / "radiomics.json").write_text(json.dumps(settings))
    rng = np.random.default_rng(0)
    p = np.sort(rng.uniform(size=n))
    frame = pd.DataFrame(
        {
            "feature": names,
            "test": "Mann-Whitney U",
            "n": 120,
            "auc": np.linspace(0.9, 0.5, n),
            "statistic": 1.0,
            "p": p,
            "q": np.minimum(1, p * 2),
            "kept": (np.arange(n) < 40).astype(int),
            "weight": np.where(np.arange(n) < 40, np.arange(n) / 10, np.nan),
            "icc": np.linspace(0, 1, n),
        }
    )
    frame.to_csv(folder / "evaluation" / "radiomics_features.csv", index=False)
    return folder, frame


def blocks_of(folder):
    (section,) = radiomics_section(read_run(folder))
    return section, {block.id: block for block in section.blocks}


def test_tables_say_what_the_files_say(run):
    folder, frame = run
    section, blocks = blocks_of(folder)
    assert set(blocks) == {"extraction", "feature-classes", "kept-features", "univariate", "icc"}
    assert "32 bins" in section.paragraphs[0]
    discoveries = int((frame["q"] < 0.05).sum())
    assert f"{discoveries} of {len(frame)} that vary" in section.paragraphs[1]
    assert sum(row[2].number for row in blocks["feature-classes"].rows) == len(frame)
    kept = [row[3].number for row in blocks["kept-features"].rows]
    assert len(kept) == MOST_FEATURES
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == pytest.approx(3.9)
    tests = [row[5].number for row in blocks["univariate"].rows]
    assert tests == sorted(frame["p"])[:MOST_FEATURES]
    assert sum(row[1].number for row in blocks["icc"].rows) == len(frame)
    assert sum(row[5].number for row in blocks["icc"].rows) == (frame["icc"] >= 0.75).sum()


def test_every_feature_with_its_code_is_in_the_file(run):
    folder, frame = run
    write_report(folder)
    table = pd.read_csv(folder / "report" / "tables" / "radiomic_features.csv")
    assert table["feature"].tolist() == frame["feature"].tolist()
    contrast = table.set_index("feature").loc["original_glcm_Contrast"]
    assert (contrast["code"], contrast["class_code"]) == ("ACUI", "LFYI")
    page = (folder / "report" / "index.html").read_text()
    assert 'id="radiomics"' in page
    assert "Jane" not in page


def test_a_run_without_a_radiomics_model_has_no_section(build_run):
    assert radiomics_section(read_run(build_run())) == ()


def test_damaged_files_cost_the_section_not_the_report(run):
    folder, _ = run
    (folder / "evaluation" / "radiomics_features.csv").write_text("nonsense\n")
    section, blocks = blocks_of(folder)
    assert set(blocks) == {"extraction"}
    assert len(section.paragraphs) == 1
    (folder / "evaluation" / "radiomics.json").write_text("{")
    assert radiomics_section(read_run(folder)) == ()
    assert any("radiomics.json" in problem for problem in read_run(folder).problems)
    write_report(folder)
