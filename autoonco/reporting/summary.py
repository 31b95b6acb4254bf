"""The top of the page: a reader who stops there is not misled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from autoonco.evaluation.tables import CLEAN, TEST
from autoonco.evaluation.verdict import Verdict, title
from autoonco.metrics.scores import get_metric
from autoonco.reporting.blocks import bounds, count, duration, listing, number, without_paths
from autoonco.reporting.read_run import RunData

EVALUATIONS = {
    "external": "on the test cases that the manifest names, never seen in fitting",
    "holdout": "on patients held out before the search, never seen in fitting",
    "nested": "on outer folds, each with a search of its own that never saw them",
    "none": "not at all",
}
_FEW_PATIENTS = 20
_MANY_FAILED = 0.2


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One of the large figures at the top."""

    label: str
    value: str
    note: str = ""


def task_line(data: RunData) -> str:
    """Return the task in one line: classes, kind of image, cases."""
    parts = [("Telling " + listing(data.classes) + " apart") if data.classes else "Task unknown"]
    print_ = data.fingerprint
    if print_ is not None:
        colour = " colour" if print_.is_colour else "" channels = f", {count(len(print_.channels),
        'channel')}" if len(print_.channels) > 1 else "" parts.append(f"{print_.ndim}D{colour}
        images{channels}, {'with' if print_.has_mask else 'without'} masks")
    n = data.run.get("n") or {}
    if "cases" in n:
        parts.append(f"{count(n['cases'], 'case')} of {count(n.get('patients', n['cases']), 'patient')}")
    return " · ".join(parts)


def banners(data: RunData) -> list[str]:
    """Return what has to be read before anything else: a run that isn't finished, models that nobody judged."""
    found = []
    if data.status == "running":
        found.append(
            "This run has not finished (it is still running, or was stopped). Everything below is what it has "
            "found so far; the same command on the same folder goes on with it."
        )
    elif data.status == "failed":
        found.append("This run failed. Everything below is what it had found until then.")
    if data.predictions is None and (data.evaluation == "none" or data.status == "finished"):
        found.append(
            "No model was judged on cases it never saw. The inner scores below chose the models and are too "
            "good: never report them as performance."
        )
    return found


def facts(data: RunData, evaluation: pd.DataFrame, delivered: str | None) -> list[Fact]:
    """Return the large figures: the delivered model, the test, the search and the compute."""
    found = [_model_fact(data, evaluation, delivered)]
    if not evaluation.empty:
        row = evaluation.iloc[0]
        folds = f" in {row['n_folds']} outer folds" if row["n_folds"] > 1 else ""
        found.append(
            Fact(
                label="Judged on", value=count(int(row["n"]), "case"), note=f"of
                {count(int(row['n_patients']), 'patient')}{folds}, {EVALUATIONS.get(data.evaluation, '')}",
            )
        )
    trials = [trial for trial in data.trials if trial["scope"] == "final"]
    succeeded = sum(trial["status"] == "success" for trial in trials)
    outer = len(data.trials) - len(trials)
    found.append(
        Fact(
            label="Searched",
            value=count(len(trials), "trial"),
            note=f"{succeeded} with a result" + (f"; {outer} more in outer folds" if outer else ""),
        )
    )
    hardware = data.run.get("hardware") or {}
    where = f" on {count(hardware['cores'], 'core')}" if isinstance(hardware.get("cores"), int) else ""
    limit = data.run.get("time_limit_s")
    device = f", {without_paths(str(data.run['device']))}" if data.run.get("device") else ""
    found.append(
        Fact(
            label="Compute",
            value=duration(data.run.get("elapsed_s")),
            note=(f"of {duration(limit)} allowed" if limit else "") + where + device,
        )
    )
    return found


def warnings(data: RunData, evaluation: pd.DataFrame, delivered: str | None) -> list[str]:
    """Return sentences on what makes the figures doubtful, the gravest first."""
    found = [*_test_warnings(data), *_baseline_warnings(evaluation, delivered)]
    excluded = (data.run.get("n") or {}).get("excluded", 0)
    if excluded:
        found.append(f"{count(excluded, 'case')} couldn't be used and {'was' if excluded == 1 else 'were'}
        left out.")
    severe = int(data.checks["severity"].isin(["error", "warning"]).sum())
    if severe:
        found.append(f"The checks of the data found {count(severe, 'problem')}: see Data.")
    failed = sum(trial["status"] != "success" for trial in data.trials)
    if data.trials and failed >= _MANY_FAILED * len(data.trials):
        found.append(f"{failed} of {len(data.trials)} trials ended without a result: see Search for the
        reasons.")
    found += [f"{title(name)} took no part: {without_paths(why)}" for name, why in data.families.items() if
    why] found += [without_paths(str(note)) for note in data.run.get("notes") or ()]
    return [*found, *data.problems]


def delivered_model(data: RunData) -> str | None:
    """Return the name of the model that the run hands out: the ensemble, else the family best on inner folds."""
    names = [model["name"] for model in data.models if model["kind"] == "ensemble"]
    scored = [m for m in data.models if m["kind"] == "family" and m.get("inner_score") is not None]
    best = max(scored, key=lambda model: float(model["inner_score"]), default=None)
    return str(names[0]) if names else str(best["name"]) if best else None


def _model_fact(data: RunData, evaluation: pd.DataFrame, delivered: str | None) -> Fact:
    members = next((m.get("members") or () for m in data.models if m["name"] == delivered), ()) what =
    f"{title(delivered)} of {count(len(members), 'model')}" if members and delivered == "ensemble" else ""
    what = (what or title(delivered)) + ", chosen without the test cases" if delivered else "" rows =
    evaluation[evaluation["model"] == delivered] if not evaluation.empty else evaluation label =
    f"{_auc_name(data.classes)} of the delivered model" if not rows.empty:
        by_subset = {row.subset: row for row in rows.itertuples()}
        row: Any = by_subset[TEST]
        clean: Any = by_subset.get(CLEAN)
        extra = (
            f"; {bounds(clean.auc, clean.auc_lower, clean.auc_upper).text} on the {clean.n} clean cases"
            if clean
            else ""
        )
        return Fact(label=label, value=bounds(row.auc, row.auc_lower, row.auc_upper).text, note=what + extra)
    best = max((float(t["score"]) for t in _full(data.trials)), default=None) inner = f"Best inner
    {get_metric(data.metric).title} so far: {number(best)} (optimistic)" if best is not None else ""
    return Fact(label=label, value="not measured", note="; ".join(part for part in (what, inner) if part))


def _full(trials: Sequence[Any]) -> list[Any]:
    return [t for t in trials if t["scope"] == "final" and t.get("score") is not None and t["budget"] >= 1]


def _auc_name(classes: Sequence[str]) -> str:
    return "AUC" if len(classes) == 2 else "Macro AUC"


def _test_warnings(data: RunData) -> list[str]:
    if data.predictions is None:
        return []
    first = data.predictions["model"].iloc[0]
    cases = data.predictions[data.predictions["model"] == first].drop_duplicates("row")
    found = []
    patients = cases.groupby("truth")["group"].nunique()
    for k, name in enumerate(data.classes):
        n = int(patients.get(k, 0))
        if n < _FEW_PATIENTS:
            found.append(f"Only {count(n, 'test patient')} of class {name}: small differences can't be
            shown.")
    unclean = int((cases["is_clean"] == 0).sum())
    if unclean:
        found.append(
            f"{count(unclean, 'test case')} {'is' if unclean == 1 else 'are'} marked as not clean (a near-duplicate "
            "in training, say): the figures on the clean cases are the honest ones."
        )
    return found


def _baseline_warnings(evaluation: pd.DataFrame, delivered: str | None) -> list[str]:
    if evaluation.empty or delivered not in set(evaluation["model"]):
        return []
    rows = evaluation[evaluation["subset"] == TEST].set_index("model")
    lower = rows.loc[delivered, "auc_lower"]
    return [
        f"{title(str(name))} alone reaches an AUC of {number(auc)}, inside the interval of the delivered model."
        for name, auc in rows["auc"].items()
        if str(name).startswith("baseline") and auc >= lower
    ]


def verdict_label(verdict: Verdict) -> str:
    """Return the short form of the verdict, for the badge beside its sentence."""
    if verdict.figures is None:
        return "not compared"
    return {"better": "deep is better", "worse": "radiomics is better"}.get(str(verdict.kind),
    str(verdict.kind))
