"""What a shell offers for a value is what the command takes."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest
import typer

from autoonco import cli
from autoonco.completing import OFFERS, offering
from autoonco.errors import AutoOncoError
from autoonco.evaluation.tasks import get_task
from autoonco.export_command import FORMS
from autoonco.families import all_families
from autoonco.patient_prediction import BY
from autoonco.settings import Settings


def parameters() -> dict[str, list[typer.core.TyperOption]]:
    """Return the options and arguments of all commands by name."""
    found: dict[str, list[typer.core.TyperOption]] = {}
    waiting = [typer.main.get_command(cli.app)]
    for command in waiting:
        waiting += getattr(command, "commands", {}).values()
        for parameter in command.params:
            found.setdefault(str(parameter.name), []).append(parameter)
    return found


def test_every_offer_belongs_to_an_option_that_takes_it() -> None:
    known = parameters()
    assert set(OFFERS) <= set(known)
    for name in ("allocation", "on_bad_case", "preset", "repair", "threshold"):
        for value in OFFERS[name](""):
            changes = {} if name == "preset" else {name: value}
            assert Settings.preset(value if name == "preset" else "quick", **changes)
    assert set(OFFERS["families"]("")) == set(all_families())
    assert tuple(OFFERS["to"]("")) == FORMS
    assert tuple(OFFERS["by"]("")) == BY
    assert {"ordinal_auc", "roc_auc"} < set(OFFERS["metric"](""))
    assert all(get_task(name) for name in OFFERS["task"](""))
    for name in OFFERS:
        assert OFFERS[name](""), name
        assert OFFERS[name]("no such thing") == []


def test_names_that_are_there_are_not_offered_again_and_a_broken_list_offers_nothing() -> None:
    several = offering(lambda: ("a", "ab", "b"), several=True)
    assert several("ab,") == ["ab,a", "ab,b"]
    assert several("b,a") == ["b,a", "b,ab"]

    def broken() -> list[str]:
        raise AutoOncoError("a network of the user's own says nothing of its input")

    assert offering(broken)("") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("fit d.csv --preset st", ["standard"]),
        ("fit d.csv --evaluation ho", ["holdout"]),
        ("check d.csv --repair r", ["resample-mask"]),
        ("predict m.onco s.png --missing-mask p", ["partial"]),
        ("export m.onco --to mo", ["monai-bundle"]),
        ("weights fetch resnet1", ["resnet18"]),
    ],
)
def test_a_shell_is_offered_values(
    typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_AUTOONCO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"autoonco {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    monkeypatch.setattr(sys, "argv", ["autoonco"])
    with warnings.catch_warnings(), pytest.raises(SystemExit):
        cli.main()
    logging.disable(logging.NOTSET)
    assert capsys.readouterr().out.split() == offered
