"""Rules of the data check about pictures that occur twice: exactly, or as a person would say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from autoonco.data.facts import CaseFacts
from autoonco.data.looks import look_alikes
from autoonco.data.manifest import Dataset
from autoonco.data.rules import Found, Rule

Values = Callable[[Dataset], Sequence[str] | None]
_MOST_ROWS = 12


def same_picture(kind: str, values: Values) -> Rule:
    """Return a rule: exactly equal images with different `values`."""

    def find(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
        known = values(dataset)
        if known is None:
            return
        for positions in _copies(facts):
            if _differ(known, positions):
                yield None, f"{_rows(facts, positions)} hold the same picture under different {kind}."

    return find


def near_picture(kind: str, values: Values) -> Rule:
    """Return a rule: images that look the same, and are not exactly equal, with different `values`."""

    def find(dataset: Dataset, facts: Sequence[CaseFacts]) -> Found:
        known = values(dataset)
        if known is None:
            return
        for positions in _alike(dataset, facts):
            # of exact copies one stands for all: those are told by `same_picture`
            first = {_content(facts[position]): position for position in reversed(positions)}
            if _differ(known, first.values()):
                yield None, f"{_rows(facts, positions)} hold nearly the same picture under different {kind}."

    return find


def _content(case: CaseFacts) -> tuple[str, ...]:
    return tuple(channel.content for channel in case.channels.values())


def _copies(facts: Sequence[CaseFacts]) -> list[list[int]]:
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, case in enumerate(facts):
        if case.channels and case.error is None:
            found[_content(case)].append(position)
    return list(found.values())


def _alike(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[list[int]]:
    """Return groups of positions whose pictures look the same in all channels; a blank one looks like no other."""
    kinds: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, case in enumerate(facts):
        looks = [channel.look for channel in case.channels.values()]
        if looks and all(looks) and case.error is None:
            kinds[tuple(map(len, looks))].append(position)
    found = []
    for positions in kinds.values():
        looks = ["".join(channel.look for channel in facts[i].channels.values()) for i in positions]
        groups = look_alikes(looks, dataset.groups[positions].tolist())
        found += [[positions[member] for member in group] for group in groups]
    return found


def _differ(known: Sequence[str], positions: Iterable[int]) -> bool:
    return len({known[position] for position in positions} - {""}) > 1


def _rows(facts: Sequence[CaseFacts], positions: Sequence[int]) -> str:
    shown = ", ".join(str(facts[position].row) for position in positions[:_MOST_ROWS])
    return f"Rows {shown}{', …' if len(positions) > _MOST_ROWS else ''}"


def patients(dataset: Dataset) -> list[str]:
    """Return the patient of each case."""
    return [str(patient) for patient in dataset.groups]


def labels(dataset: Dataset) -> list[str] | None:
    """Return the class name of each case, empty where it is missing; or None."""
    return None if dataset.y is None else [dataset.classes[y] if y >= 0 else "" for y in dataset.y]


def splits(dataset: Dataset) -> list[str] | None:
    """Return the split of each case, or None."""
    return None if dataset.split is None else [str(split) for split in dataset.split]
