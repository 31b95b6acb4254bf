"""The top of the page: a reader who stops there is not misled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from autoonco.evaluation import modes
from autoonco.evaluation.run_state import searched_s
from autoonco.evaluation.tables import CLEAN, TEST, subsets_of
from autoonco.evaluation.verdict import Verdict, title
from autoonco.metrics.scores import get_metric
from autoonco.reporting.blocks import bounds, count, duration, listing, number, without_paths
from autoonco.reporting.key_facts import (
    Fact,
    decisions_fact,
    ensemble_gain,
    shortcut_fact,
    smallest_difference,
)
from autoonco.reporting.read_run import RunData
from autoonco.search.trial import best_trial

EVALUATIONS = {
    "external": "test cases that the manifest names, or of a dataset of their own, never seen in fitting",
    "holdout": "held out before the search, never seen in fitting",
    "nested": "each fold with a search of its own that never saw it",
    "leave_one_site_out": "each site with a search of its own that never saw it",
    "splits": "ready splits, each with a search of its own that never saw its test cases",
}

_OUTER = {modes.SITES: "a site", modes.SPLITS: "a split"}


def task_line(data: RunData) -> str:
    """Return the task in one line: the classes."""
    return f"Telling {listing(data.classes)} apart" if data.classes else "A classification run"


def data_line(data: RunData) -> str:
    """Return kind of image and number of cases in one line."""
    parts = []
    if data.fingerprint is not None:
        found = data.fingerprint
        colour = " colour" if found.is_colour else ""
        channels = f" of {count(len(found.channels), 'channel')}" if len(found.channels) > 1 else ""
        parts.append(
            f"{found.ndim}D{colour} images{channels} {'with' if found.has_mask else 'without'} masks"
        )
    n = data.run.get("n") or {}
    if "cases" in n:
        parts.append(f"{count(n['cases'], 'case')} of {count(n.get('patients', n['cases']), 'patient')}")
        parts += [count(n[name], f"{name}ing case") for name in ("train",) if n.get(name)]
        parts += [count(n[name], f"{name} case") for name in ("test",) if n.get(name)]
    return " · ".join(parts)


def banners(data: RunData) -> list[str]:
    """Return what to read first: that the run isn't finished, that nobody judged the models."""
    found = _hopeless_families(data)
    if data.status == "running":
        found.append(
            "This run has not finished: it is still running, or was killed. Everything below is what it has "
            "found so far; the same command on the same folder goes on with it."
        )
    elif data.status == "stopped":
        found.append(str(data.run.get("stopped") or "This run was stopped."))
    elif data.status == "failed":
        found.append("This run failed. Everything below is what it had found until then.")
    if data.predictions is None:
        found.append(
            "No model was judged on cases it never saw. The inner scores below chose the models and are too "
            "good: never report them as performance."
        )
    return found


def _hopeless_families(data: RunData) -> list[str]:
    """Return a sentence for each family none of whose trials gave a result, with the most frequent reason."""
    sentences = []
    for family in sorted({trial["family"] for trial in data.trials}):
        own = [
            trial
            for trial in data.trials
            if trial["family"] == family and trial["scope"] == "final" and trial["status"] != "skipped"
        ]
        if own and not any(trial["status"] in ("success", "stopped") for trial in own):
            reasons = Counter(
                without_paths(str(trial.get("reason") or "no reason recorded")) for trial in own
            )
            why = reasons.most_common(1)[0][0]
            sentences.append(f"Every trial of {title(family)} ended without a result: {why}")
    return sentences


def facts(
    data: RunData,
    evaluation: pd.DataFrame,
    comparison: pd.DataFrame,
    verdict: Verdict,
    delivered: str | None,
) -> list[Fact]:
    """Return the large figures: the delivered model, its test, what could be shown, the search and the compute."""
    found: list[Fact | None] = [_model_fact(data, evaluation, delivered)]
    if not evaluation.empty:
        found += [_test_fact(data, evaluation), decisions_fact(data, delivered)]
    found += [smallest_difference(data, verdict), ensemble_gain(comparison)]
    found += [shortcut_fact(data, evaluation), _search_fact(data), _compute_fact(data)]
    return [fact for fact in found if fact is not None]


def delivered_model(data: RunData) -> str | None:
    """Return the name of the model that is handed out: the ensemble, else the best family on inner folds."""
    names = [str(model["name"]) for model in data.models if model["kind"] == "ensemble"]
    if names:
        return names[0]
    scored = [m for m in data.models if m["kind"] == "family" and m.get("inner_score") is not None]
    best = max(scored, key=lambda model: float(model["inner_score"]), default=None)
    return None if best is None else str(best["name"])


def verdict_label(verdict: Verdict) -> str:
    """Return the short form of the verdict, for the badge beside its sentence."""
    if verdict.figures is None:
        return "not compared"
    return {"better": "yes", "worse": "no, radiomics is better"}.get(str(verdict.kind), str(verdict.kind))


def _model_fact(data: RunData, evaluation: pd.DataFrame, delivered: str | None) -> Fact:
    label = f"{data.auc_name[0].upper()}{data.auc_name[1:]} of the delivered model"
    rows = [] if evaluation.empty else evaluation[evaluation["model"] == delivered].to_dict("records")
    what = _described(data, delivered, has_figure=bool(rows))
    if not rows:
        inner = _best_inner(data)
        return Fact(label=label, value="not measured", note="; ".join(part for part in (what, inner) if part))
    texts = {
        row["subset"]: (bounds(row["auc"], row["auc_lower"], row["auc_upper"]).text, row["n"]) for row in rows
    }
    if CLEAN not in texts:
        return Fact(label=label, value=texts[TEST][0], note=what)
    on_all, n_all = texts[TEST]
    on_clean, n_clean = texts[CLEAN]
    return Fact(
        label=label, value=on_clean, note=f"{what}; on the {n_clean} clean ones. On all {n_all}: {on_all}"
    )


def _described(data: RunData, delivered: str | None, *, has_figure: bool) -> str:
    """Return what the delivered model is, and whose the figure is that stands beside it, where there is one."""
    if delivered is None:
        return ""
    members: Sequence[Any] = next((m.get("members") or () for m in data.models if m["name"] == delivered), ())
    size = f" of {count(len(members), 'model')}" if delivered == "ensemble" and members else ""
    what = f"{title(delivered)}{size}"
    if _is_judged_itself(data):
        return f"{what}{', chosen without the test cases' if data.predictions is not None else ''}"
    if not has_figure:
        return what
    # a table of splits may test what the manifest keeps from the final search
    learned = "may have learned" if data.evaluation == modes.SPLITS else "learned"
    part, n = _OUTER.get(data.evaluation, "an outer fold"), _n_ranking(data, str(delivered))
    alike = f"that of a single model made alike, of {part}"
    if n > 1:
        alike = f"the mean of {n} models made alike, one {part}"
    return (
        f"{what}, of the final search, which {learned} from these cases too; the figure is {alike}: it is itself not "
        "judged"
    )


def _n_ranking(data: RunData, model: str) -> int:
    """Return in how many outer folds a model's cases, the clean ones if there are any, have an AUC."""
    assert data.predictions is not None  # there are figures
    own = list(subsets_of(data.predictions[data.predictions["model"] == model]).values())[-1]
    return int((own.groupby("fold")["truth"].nunique() > 1).sum())


def _is_judged_itself(data: RunData) -> bool:
    """Return whether test cases judge the search that delivers, and not searches of outer folds."""
    if data.evaluation not in (modes.NESTED, modes.SITES, modes.SPLITS):
        return True
    outer = (data.run.get("searches") or {}).get("outer") or ()
    return any(each["scope"] == "final" and each.get("n_test") for each in outer)


def _best_inner(data: RunData) -> str:
    best = best_trial(trial for trial in data.trials if trial["scope"] == "final")
    if best is None:
        return ""
    return f"best inner {get_metric(data.metric).title} so far: {number(float(best['score']))}, optimistic"


def _test_fact(data: RunData, evaluation: pd.DataFrame) -> Fact:
    row = evaluation.iloc[0]
    folds = f" in {row['n_folds']} outer folds" if row["n_folds"] > 1 else ""
    how = EVALUATIONS.get(data.evaluation, data.evaluation)
    note = f"of {count(int(row['n_patients']), 'patient')}{folds}: {how}"
    return Fact(label="Judged on", value=count(int(row["n"]), "case"), note=note)


def _search_fact(data: RunData) -> Fact:
    own = [trial for trial in data.trials if trial["scope"] == "final"]
    final = [trial["status"] for trial in own if trial.get("origin") != "finalist"]
    skipped, outer = final.count("skipped"), len(data.trials) - len(own)
    notes = [f"{final.count('success')} with a result"]
    stopped, again = final.count("stopped"), len(own) - len(final)
    notes += [f"{stopped} stopped early, behind the best"] if stopped else []
    notes += [f"{again} scored again on fresh folds"] if again else []
    notes += [f"{skipped} more not started, too long for the time left"] if skipped else []
    notes += [f"{outer} more in outer folds"] if outer else []
    return Fact(label="Searched", value=count(len(final) - skipped, "trial"), note="; ".join(notes))


def _compute_fact(data: RunData) -> Fact:
    run = data.run
    cores = (run.get("hardware") or {}).get("cores")
    notes = [f"of {duration(run['time_limit_s'])} allowed"] if run.get("time_limit_s") else []
    notes += [f"on {count(cores, 'core')}"] if isinstance(cores, int) else []
    notes += [f"device {run['device']}"] if run.get("device", "auto") != "auto" else []
    # run.json of a running or killed run is older than its last trial
    spent = max(run.get("elapsed_s") or 0.0, searched_s(data.trials))
    return Fact(label="Compute", value=duration(spent), note=", ".join(notes))
