"""A run folder as plain data: of a finished run, a running one, or one that crashed half-way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import DataError
from autoonco.evaluation.own_metric import OWN_FILE
from autoonco.evaluation.radiomics_record import SETTINGS_FILE, TABLE_FILE
from autoonco.evaluation.speed import SPEED_FILE
from autoonco.evaluation.tables import probability_columns, read_predictions
from autoonco.evaluation.tasks import CLASSIFICATION
from autoonco.evaluation.verdict import auc_name
from autoonco.metrics.comparison import MARGIN
from autoonco.reporting.evidence import Evidence, read_evidence
from autoonco.search.rungs import COLUMNS as RUNG_COLUMNS

FORMAT = 1
CHECK_COLUMNS = ("code", "severity", "row", "message", "remedy")
FEATURE_COLUMNS = ("feature", "test", "n", "auc", "statistic", "p", "q", "kept", "weight", "icc")
OWN_COLUMNS = ("model", "subset", "value", "lower", "upper", "method")
_TRIAL_KEYS = {"scope", "id", "family", "config", "budget", "status", "seconds", "elapsed_s"}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What the report knows of a run. `problems` are sentences on files that are missing or damaged.

    `checks` has no rows where nothing was found, and where ``checks.csv`` could not be read: `checks_known` is false.
    """

    run: Mapping[str, Any]
    fingerprint: Fingerprint | None
    checks: pd.DataFrame
    trials: tuple[Mapping[str, Any], ...]
    models: tuple[Mapping[str, Any], ...]
    predictions: pd.DataFrame | None
    problems: tuple[str, ...]
    rungs: pd.DataFrame | None = None
    radiomics: Mapping[str, Any] | None = None
    radiomic_features: pd.DataFrame | None = None
    evidence: Evidence = field(default_factory=Evidence)
    space: Mapping[str, Any] | None = None
    own_figures: pd.DataFrame | None = None
    speed: Mapping[str, Any] = field(default_factory=dict)
    checks_known: bool = True

    @property
    def status(self) -> str:
        """``"running"``, ``"finished"``, ``"stopped"`` or ``"failed"``; a killed run still says that it is running.

        A stopped one was asked to end: it has a model and figures, and may go on.
        """
        return str(self.run.get("status", "running"))

    @property
    def evaluation(self) -> str:
        """How the models are judged: ``"external"``, ``"holdout"``, ``"nested"`` or ``"none"``."""
        return str(self.run.get("evaluation", "none"))

    @property
    def metric(self) -> str:
        """Name of the score that the search maximises."""
        return str(self.run.get("metric", "roc_auc"))

    @property
    def task(self) -> str:
        """What kind of labels the classes are: ``"classification"`` or ``"ordinal"``."""
        return str(self.run.get("task", CLASSIFICATION))

    @property
    def auc_name(self) -> str:
        """What the AUC of its task is called: of more than two classes it is a mean, of grades another one."""
        return auc_name(len(self.classes), self.task)

    @property
    def margin(self) -> float:
        """Difference in AUC that was called too small to matter before the run."""
        return float((self.run.get("settings") or {}).get("equivalence_margin", MARGIN))

    @property
    def allocation(self) -> str | None:
        """How the search shared its compute between families, None where it isn't known."""
        return (self.run.get("settings") or {}).get("allocation")

    @property
    def patient_level(self) -> str:
        """What becomes of several cases of a patient where patients are judged."""
        return str((self.run.get("settings") or {}).get("patient_level", "mean"))

    @property
    def families(self) -> Mapping[str, str | None]:
        """Family → None where it took part, else the reason why not."""
        return self.run.get("families") or {}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probability columns."""
        if self.fingerprint is not None:
            return self.fingerprint.classes
        columns = [] if self.predictions is None else probability_columns(self.predictions)
        return tuple(f"class {k}" for k in range(len(columns)))


def read_run(run_dir: Path) -> RunData:
    """Return what the run folder `run_dir` holds; only ``run.json`` has to be there.

    Raises
    ------
    DataError
        If `run_dir` is no run folder, or one of a newer autoonco.
    """
    problems: list[str] = []

    def tolerant(name: str, read: Callable[[Path], T], default: T, *, expected: bool) -> T:
        path = run_dir / name
        if not path.is_file():
            problems.extend([f"{name} is missing."] if expected else [])
            return default
        try:
            return read(path)
        except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
            problems.append(f"{name} is damaged and was left out ({type(error).__name__}).")
            return default

    run = _read_run_json(run_dir)
    finished = run.get("status") in ("finished", "stopped")
    judged = finished and run.get("evaluation", "none") != "none"
    checks = tolerant("checks.csv", _read_checks, None, expected=False)
    return RunData(
        run=run,
        fingerprint=tolerant("fingerprint.json", _read_fingerprint, None, expected=finished),
        checks=pd.DataFrame(columns=list(CHECK_COLUMNS)) if checks is None else checks,
        checks_known=checks is not None,
        trials=tolerant("journal.jsonl", lambda path: _read_trials(path, problems), (), expected=finished),
        models=tolerant("evaluation/models.json", _read_models, (), expected=finished),
        predictions=tolerant(
            "evaluation/predictions.csv", lambda _: read_predictions(run_dir), None, expected=judged
        ),
        rungs=tolerant(
            "evaluation/rungs.csv", lambda path: pd.read_csv(path)[list(RUNG_COLUMNS)], None, expected=False
        ),
        radiomics=tolerant(SETTINGS_FILE, _read_radiomics, None, expected=False),
        radiomic_features=tolerant(
            TABLE_FILE, lambda path: pd.read_csv(path)[list(FEATURE_COLUMNS)], None, expected=False
        ),
        evidence=read_evidence(run_dir, tolerant),
        own_figures=tolerant(
            OWN_FILE, lambda path: pd.read_csv(path)[list(OWN_COLUMNS)], None, expected=False
        ),
        space=tolerant("space.json", _read_space, None, expected=False),
        speed=tolerant(SPEED_FILE, lambda path: dict(_read_json(path)), {}, expected=False),
        problems=tuple(problems),
    )


def _read_run_json(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "run.json"
    try:
        run = _read_json(path)
    except FileNotFoundError:
        raise DataError(
            f"{run_dir} is no run folder: it holds no run.json. Give the folder that `autoonco fit -o` wrote."
        ) from None
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): the run can't be reported.") from None
    if not isinstance(run, dict):
        raise DataError(f"{path} is damaged: a JSON object was expected, got {type(run).__name__}.")
    if run.get("format", FORMAT) > FORMAT:
        raise DataError(
            f"{path} has format {run['format']}, this autoonco reads up to {FORMAT}: update autoonco."
        )
    return run


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_fingerprint(path: Path) -> Fingerprint | None:
    return Fingerprint.from_json(_read_json(path))


def _read_models(path: Path) -> tuple[Mapping[str, Any], ...]:
    models = tuple(_read_json(path))
    for model in models:
        if not {"name", "kind"} <= set(model):
            raise DataError("A model without a name or a kind.")
    return models


def _read_radiomics(path: Path) -> Mapping[str, Any]:
    found = _read_json(path)
    if not {"sentence", "rows", "config", "settings", "n_cases", "n_kept", "icc_cases"} <= set(found):
        raise DataError("Settings of an extraction without their words.")
    return dict(found)


def _read_space(path: Path) -> Mapping[str, Any]:
    found = _read_json(path)
    return {str(item["name"]): item for item in found["hyperparameters"]}


def _read_checks(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table[list(CHECK_COLUMNS)]


def _read_trials(path: Path, problems: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Return the trials of the journal; a last line that was cut off by a kill is nobody's mistake."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    trials, bad = [], 0
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            bad += number < len(lines)
            continue
        if isinstance(event, dict) and event.get("event") == "trial":
            if event.keys() >= _TRIAL_KEYS:
                trials.append(event)
            else:
                bad += 1
    if bad:
        problems.append(f"journal.jsonl has {bad} damaged line{'s' if bad > 1 else ''}, left out.")
    return tuple(trials)
