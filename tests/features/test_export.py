"""Feature tables for users: presets nest, files of settings repeat them, and a bad case costs itself alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from pyarrow import parquet

from autoonco.arguments import feature_table
from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.manifest import Dataset
from autoonco.errors import AutoOncoError, UnknownNameError
from autoonco.features.blocks import column_names, extract_table
from autoonco.features.export import check_output, write_features


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Five pictures: the third has an empty mask, the fifth isn't a picture."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(5):
        grey = rng.integers(0, 255, (24, 24)).astype(np.uint8)
        mask = np.zeros((24, 24), dtype=np.uint8)
        if number != 2:
            mask[6:18, 5:16] = 255
        sitk.WriteImage(sitk.GetImageFromArray(grey), folder / f"{number}.png")
        sitk.WriteImage(sitk.GetImageFromArray(mask), folder / f"m{number}.png")
        rows.append({"case": f"Doe-{number}", "image": f"{number}.png", "mask": f"m{number}.png"})
    (folder / "4.png").write_bytes(b"no picture")
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


@pytest.fixture(scope="module")
def dataset(manifest):
    return Dataset.from_csv(manifest, labelled=False)


@pytest.fixture(scope="module")
def made(dataset):
    return {preset: feature_table(dataset, preset) for preset in ("original", "default", "full")}


def test_a_bad_case_costs_itself_alone(made, dataset):
    table, spec = made["default"]
    assert table["case"].tolist() == [case.case for case in dataset.cases]
    assert table["status"].tolist() == ["ok", "ok", "error", "ok", "error"]
    values = table[list(column_names(spec))]
    assert values[table["status"] == "error"].isna().all(axis=None)
    for row, word in ((2, "empty"), (4, "row 5")):
        assert word in table["message"][row]
    assert (table["message"][table["status"] == "ok"] == "").all()


def test_values_are_those_of_the_search(made, dataset, tmp_path):
    table, spec = made["full"]
    alone, names = extract_table([dataset.cases[1]], spec, artefacts=ArtefactCache(tmp_path))
    assert np.array_equal(table.loc[1, list(names)].to_numpy(dtype=float), alone[0], equal_nan=True)


def test_presets_nest(made):
    original, full = (set(column_names(made[name][1])) for name in ("original", "full"))
    assert original < full
    assert any(name.startswith("wavelet") for name in full)
    assert not any(name.startswith(("wavelet", "log")) for name in original)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_is_read_again_and_repeats_itself(made, dataset, tmp_path, suffix):
    table, spec = made["full"]
    path = tmp_path / f"features{suffix}"
    beside = write_features(table, spec, path, versions={"autoonco": "0"})
    again = pd.read_csv(path, keep_default_na=True) if suffix == ".csv" else pd.read_parquet(path)
    names = list(column_names(spec))
    np.testing.assert_allclose(again[names], table[names], rtol=1e-12)
    about = json.loads(beside.read_text())
    assert (about["cases"], about["failed"], about["versions"]) == (5, 2, {"autoonco": "0"})
    assert [entry["column"] for entry in about["features"]] == names
    assert {entry["code"] for entry in about["features"]} > {None, "ACUI"}
    units = {entry["column"]: entry["unit"] for entry in about["features"]}
    assert units["original_shape2D_MajorAxisLength"] == "mm"
    assert all(units.values())
    assert "Doe" not in beside.read_text()
    if suffix == ".parquet":
        assert parquet.read_schema(path).metadata[b"autoonco"].decode() == beside.read_text()
    _, repeated = feature_table(dataset, str(beside))
    assert repeated == spec


def test_wrong_settings_and_names_are_told(dataset, tmp_path):
    with pytest.raises(UnknownNameError, match="original"):
        feature_table(dataset, "orginal")
    with pytest.raises(AutoOncoError, match="no file"):
        feature_table(dataset, str(tmp_path / "absent.json"))
    (tmp_path / "wrong.yaml").write_text("ndim: 2\n")
    with pytest.raises(AutoOncoError, match="no extraction settings"):
        feature_table(dataset, str(tmp_path / "wrong.yaml"))
    with pytest.raises(AutoOncoError, match="parquet"):
        check_output(tmp_path / "features.xlsx")


def test_a_case_without_a_mask_says_so(dataset):
    bare = Dataset(cases=(Case(case="x", patient="x", images=dataset.cases[0].images, row=1),))
    table, _ = feature_table(bare, "original")
    assert table["status"].tolist() == ["error"]
    assert "mask" in table["message"][0]
