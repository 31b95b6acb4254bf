from __future__ import annotations

import pytest

from autoonco.errors import AutoOncoError, RunMismatchError
from autoonco.evaluation.experiment import networks_left_out
from autoonco.evaluation.run_folder import RunFolder, read_json
from autoonco.nets.zoo import entry_of

IDENTITY = {"data": "abc", "seed": 0}


def test_the_same_run_goes_on_and_its_time_adds_up(tmp_path):
    first = RunFolder(tmp_path, identity=IDENTITY)
    first.update(session_s=5.0, status="running")
    with pytest.raises(RunMismatchError, match="Another process is at work"):
        RunFolder(tmp_path, identity=IDENTITY)
    first.close()
    again = RunFolder(tmp_path, identity=IDENTITY)
    again.update(session_s=1.0)
    again.update(session_s=2.0, status="finished")
    run = read_json(again.path / "run.json")
    assert (run["elapsed_s"], run["status"], run["format"]) == (7.0, "finished", 1)
    assert again.has_finished(format=1)
    assert not again.has_finished(format=2)


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    opened = RunFolder(tmp_path, identity=IDENTITY)
    opened.update(session_s=0.0)
    opened.close()
    with pytest.raises(RunMismatchError, match="another seed"):
        RunFolder(tmp_path, identity=IDENTITY | {"seed": 1})
    with pytest.raises(RunMismatchError, match="holds a run already"):
        RunFolder(tmp_path, identity=IDENTITY, resume="never")


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunMismatchError, match="not empty"):
        RunFolder(tmp_path, identity=IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_run_json_is_told(tmp_path):
    opened = RunFolder(tmp_path, identity=IDENTITY)
    opened.update(session_s=0.0)
    opened.close()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(AutoOncoError, match="damaged"):
        RunFolder(tmp_path, identity=IDENTITY)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "data.csv").write_text("case")
    with pytest.raises(RunMismatchError, match="is a file"):
        RunFolder(tmp_path / "data.csv", identity=IDENTITY)


def test_networks_that_take_no_part_are_told_of_all_dimensions_that_the_images_have():
    absent = {ndim: {entry_of(name)["dimensions"] for name in networks_left_out(ndim)} for ndim in (2, 3)}
    assert absent == {2: {2}, 3: {2, 3}}
