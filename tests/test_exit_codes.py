"""Exit codes of the command line: 0 done, 1 a defect, 2 a mistake in what was asked, 130 stopped at once."""

from __future__ import annotations

import logging
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from autoonco import cli
from autoonco.errors import DataError

PAGE = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text(encoding="utf-8")


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    """Return the exit code of a command that ends with `error`."""

    def command(*_: object, **__: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("autoonco.evaluation.run_state.run_state", command)
    monkeypatch.setattr(sys, "argv", ["autoonco", "status", "x", "--watch"])
    with warnings.catch_warnings():
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            logging.disable(logging.NOTSET)
    return 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("row 3: no image."), 2, "autoonco: row 3: no image.\n"),
        (
            FileNotFoundError(2, "No such file", "gone.csv"),
            2,
            "autoonco: No such file: gone.csv. Check the path",
        ),
        (KeyError("x"), 1, "This is a defect of autoonco"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_end_has_its_exit_code(monkeypatch, capsys, error, code, said):
    assert ended(monkeypatch, error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert ("Traceback" in err) == (code == 1)
    assert f"| {code} |" in PAGE


def test_help_and_a_wrong_option(monkeypatch, capsys):
    for words, code in (
        (["--help"], 0),
        (["--version"], 0),
        (["fit", "--no-such-option"], 2),
        (["nothing"], 2),
    ):
        monkeypatch.setattr(sys, "argv", ["autoonco", *words])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            cli.main()
        logging.disable(logging.NOTSET)
        assert end.value.code == code
    out, err = capsys.readouterr()
    assert f"autoonco {version('autoonco')}\n" in out
    assert "honest figures" in out
    assert "Traceback" not in err


def test_a_log_file_may_not_lie_in_the_folder_of_a_new_run(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(cli.AutoOncoError, match="outside of it"):
        cli._refuse_log_in(run, run / "fit.log")
    cli._refuse_log_in(run, tmp_path / "fit.log")
    cli._refuse_log_in(None, run / "fit.log")
    run.mkdir()
    (run / "run.json").write_text("{}")
    cli._refuse_log_in(run, run / "fit.log")


def test_completion_knows_the_commands(monkeypatch, capsys):
    monkeypatch.setenv("_AUTOONCO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "autoonco sta")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setattr(sys, "argv", ["autoonco"])
    with warnings.catch_warnings(), pytest.raises(SystemExit):
        cli.main()
    logging.disable(logging.NOTSET)
    assert capsys.readouterr().out.split() == ["status"]
