"""What makes a run's figures doubtful, the gravest first, and what else is to be known of how it was set up."""

from __future__ import annotations

import pandas as pd

from autoonco.evaluation.baselines import LESION_OUTLINE
from autoonco.evaluation.said import explains, tells_torn
from autoonco.evaluation.tables import CLEAN
from autoonco.evaluation.verdict import DEEP, RADIOMICS, title
from autoonco.reporting.blocks import bounds, count, number, without_paths
from autoonco.reporting.board import honest_subset
from autoonco.reporting.key_facts import strongest_without_lesion
from autoonco.reporting.read_run import RunData

_FEW_PATIENTS = 20
_MANY_FAILED = 0.2
_NEAR, _TELLING, _CHANCE = 0.05, 0.75, 0.5


def warnings(data: RunData, evaluation: pd.DataFrame, delivered: str | None) -> list[str]:
    """Return sentences on what makes the figures doubtful, the gravest first, each thing once."""
    return [
        *_test_warnings(data),
        *_baseline_warnings(evaluation, delivered),
        *_shortcut_warnings(data),
        *(note for note in _notes(data) if not explains(note)),
        *_data_warnings(data),
        *_search_warnings(data),
        *_absent(data, among_the_question=True),
        *data.problems,
    ]


def remarks(data: RunData) -> list[str]:
    """Return sentences that explain the run and warn of nothing: its evaluation, its power, who took no part."""
    power = without_paths(str(data.evidence.power.get("sentence") or ""))
    return [
        *(note for note in _notes(data) if explains(note)),
        *([power] if power else []),
        *_absent(data, among_the_question=False),
    ]


def _notes(data: RunData) -> list[str]:
    """Return what the run noted, without what the page says anyway."""
    notes = [str(note) for note in data.run.get("notes") or ()]
    said = data.evidence.power.get("sentence")
    own = data.predictions is not None  # then `_test_warnings` counts the cases that are not clean
    return [without_paths(note) for note in notes if note != said and not (own and tells_torn(note))]


def _test_warnings(data: RunData) -> list[str]:
    if data.predictions is None:
        return []
    patients = data.predictions.groupby("truth")["group"].nunique()
    found = []
    for k, name in enumerate(data.classes):
        n = int(patients.get(k, 0))
        if n < _FEW_PATIENTS:
            found.append(f"Only {count(n, 'test patient')} of class {name}: the intervals are wide.")
    unclean = data.predictions.loc[data.predictions["is_clean"] == 0, "row"].nunique()
    if unclean:
        found.append(
            f"{count(unclean, 'test case')} marked as not clean: the patient, the picture or a near copy of it is also "
            "among the cases learned from. The figures on the clean cases are the honest ones, and these alone compare "
            "the families."
        )
    return found


def _baseline_warnings(evaluation: pd.DataFrame, delivered: str | None) -> list[str]:
    if evaluation.empty:
        return []
    subset = honest_subset(evaluation)
    rows = evaluation[evaluation["subset"] == subset].to_dict("records")
    model = next((row for row in rows if row["model"] == delivered), None)
    if model is None:
        return []
    outline = next((float(row["auc"]) for row in rows if row["model"] == LESION_OUTLINE), float("nan"))
    is_outline = bool(outline > max(_TELLING, model["auc"] - _NEAR))
    clean = " on the clean cases" if subset == CLEAN else ""
    found = [
        f"{title(row['model'])} reaches an AUC of {number(row['auc'])}{clean}, "
        f"{'above the whole' if row['auc'] > model['auc_upper'] else 'inside the'} interval of the delivered model."
        for row in rows
        if row["model"].startswith("baseline")
        and row["auc"] >= model["auc_lower"]
        and not (is_outline and row["model"] == LESION_OUTLINE)
    ]
    if is_outline:
        found.append(
            f"The drawn outline of the lesion, without a single grey value, gives an AUC of {number(outline)}{clean}: "
            "much of the answer is in how lesions were drawn. Expect less of masks from another reader or from "
            "software, and don't take the difference to networks for one in what the scans show."
        )
    return found


def _shortcut_warnings(data: RunData) -> list[str]:
    """Return a sentence where the model tells classes apart that can't be told by the lesion: by more than chance."""
    probe = strongest_without_lesion(data)
    if probe is None or not float(probe["lower"]) > _CHANCE:
        return []
    figures = bounds(*(float(probe[name]) for name in ("value", "lower", "upper"))).text
    return [
        f"Without the lesion ({probe['probe']}) the model still reaches an AUC of {figures}: it answers by what lies "
        "around the lesion or by its outline too. See Clinical use."
    ]


def _data_warnings(data: RunData) -> list[str]:
    found = []
    excluded = (data.run.get("n") or {}).get("excluded", 0)
    if excluded:
        found.append(f"{count(excluded, 'case')} could not be used: left out.")
    severe = data.checks[data.checks["severity"].isin(["error", "warning"])]
    if len(severe):
        kinds = severe["code"].nunique()
        of_kinds = f" of {count(kinds, 'kind')}" if kinds > 1 else ""
        found.append(f"The checks of the data found {count(len(severe), 'problem')}{of_kinds}: see Data.")
    return found


def _search_warnings(data: RunData) -> list[str]:
    found = []
    started = [trial["status"] for trial in data.trials if trial["status"] != "skipped"]
    failed = len(started) - started.count("success") - started.count("stopped")
    if failed > _MANY_FAILED * len(started):
        found.append(f"{failed} of {len(started)} trials ended without a result: the reasons are in Search.")
    absent = data.run.get("networks_left_out")
    if isinstance(absent, dict) and absent and any(data.families.get(name, "no") is None for name in DEEP):
        found.append(
            f"{count(len(absent), 'pretrained network')} took no part, for want of the weights or of a licence that is "
            "allowed: deep learning is judged by the others alone. Which, and why, is in Search."
        )
    return found


def _absent(data: RunData, *, among_the_question: bool) -> list[str]:
    """Return a sentence on each family that took no part, of those that the verdict is about or of the others."""
    asked = (*DEEP, RADIOMICS)
    return [
        f"{title(name)} took no part: {without_paths(why)}"
        for name, why in data.families.items()
        if why and (name in asked) == among_the_question
    ]
