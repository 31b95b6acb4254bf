"""What a shell offers for the value of an option: the names that are valid, looked up when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import get_args

from autoonco.errors import AutoOncoError

Names = Callable[[], Iterable[str]]
Offer = Callable[[str], list[str]]
"""What typer calls with what has been typed of a value."""


def offering(names: Names, *, several: bool = False) -> Offer:
    """Return what offers those of `names` that may follow what has been typed.

    Parameters
    ----------
    names
        Gives all of them.
    several
        Whether commas stand between several; those that are there are not offered again.

    Examples
    --------
    >>> offering(lambda: ("quick", "standard"))("q")
    ['quick']
    >>> offering(lambda: ("clinical", "fusion"), several=True)("clinical,")
    ['clinical,fusion']
    """

    def offered(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        try:
            valid = list(names())
        except AutoOncoError:  # of a user's own networks: a command tells of it, a key that is pressed can't
            return []
        left = [name for name in valid if name not in before.split(",")]
        return [f"{before}{comma}{name}" for name in left if name.startswith(last)]

    return offered


def _setting(name: str) -> Names:
    """Return what gives the values of a setting that has but a few."""

    def found() -> Iterable[str]:
        from autoonco.settings import Settings

        return get_args(Settings.model_fields[name].annotation)

    return found


def _presets() -> Iterable[str]:
    from autoonco.settings import PRESETS

    return PRESETS


def _families() -> Iterable[str]:
    from autoonco.families import all_families

    return all_families()


def _evaluations() -> Iterable[str]:
    from autoonco.evaluation.modes import EVALUATIONS

    return EVALUATIONS


def _tasks() -> Iterable[str]:
    from autoonco.evaluation.tasks import TASKS

    return TASKS


def _metrics() -> Iterable[str]:
    """Return the scores of every kind of labels."""
    from autoonco.evaluation.tasks import TASKS

    return dict.fromkeys(name for task in TASKS.values() for name in task.metrics)


def _networks() -> Iterable[str]:
    """Return the networks that have pretrained weights."""
    from autoonco.nets.zoo import all_networks

    return [name for name, entry in all_networks().items() if entry["weights"]]


def _licences() -> Iterable[str]:
    """Return the licences of pretrained weights, and the words for several of them."""
    from autoonco.nets.zoo import all_networks

    weights = [entry["weights"] for entry in all_networks().values() if entry["weights"]]
    return ["permissive", "any", *sorted({str(one["licence"]) for one in weights})]


def _extractions() -> Iterable[str]:
    from autoonco.features.export import PRESETS

    return PRESETS


def _missing_masks() -> Iterable[str]:
    from autoonco.prediction import MISSING_MASK

    return MISSING_MASK


def _axes() -> Iterable[str]:
    from autoonco.data.mark import AXES

    return AXES


OFFERS: Mapping[str, Offer] = {
    "allocation": offering(_setting("allocation")),
    "allow_licences": offering(_licences, several=True),
    "axes": offering(_axes),
    "by": offering(lambda: ("case", "patient")),
    "device": offering(lambda: ("auto", "cpu", "cuda")),
    "evaluation": offering(_evaluations),
    "families": offering(_families, several=True),
    "licences": offering(_licences, several=True),
    "metric": offering(_metrics),
    "missing_mask": offering(_missing_masks),
    "names": offering(_networks),
    "networks": offering(_networks, several=True),
    "on_bad_case": offering(_setting("on_bad_case")),
    "preset": offering(_presets),
    "repair": offering(_setting("repair")),
    "settings": offering(_extractions),
    "task": offering(_tasks),
    "threshold": offering(_setting("threshold")),
    "to": offering(lambda: ("deepcave", "folder", "monai-bundle", "onnx")),
}
"""What is offered for the options and arguments of commands, by the name of the parameter."""
