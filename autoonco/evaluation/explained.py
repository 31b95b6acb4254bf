"""What the report shows of single cases, made at the end of a run, while models and scans are at hand.

Shapley values of the best radiomics model, maps of the networks on the cases they are most right, most wrong and
least sure of, pictures of typical and atypical cases and of a few at random, histograms. Cases are named by their
row. Everything is bounded in time, the time is part of the run's limit, and what was not reached is said.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoonco.data.cache import write_atomically
from autoonco.data.checks import CaseFacts
from autoonco.data.manifest import Dataset
from autoonco.evaluation.choice import contenders
from autoonco.evaluation.chosen_cases import Chosen, Why, choose_cases, typicality
from autoonco.evaluation.extras import tried
from autoonco.evaluation.judge import Judge
from autoonco.evaluation.outcome import Judged, ScopeResult
from autoonco.evaluation.run_folder import RunFolder
from autoonco.evaluation.shown_cases import (
    GALLERY_SIDE,
    cases_table,
    gallery_positions,
    grey_histograms,
    show_case,
)
from autoonco.evaluation.splits import OuterSplit
from autoonco.evaluation.tables import read_predictions
from autoonco.families import get_family
from autoonco.families.contract import Explains, Runtime
from autoonco.families.state import state_of
from autoonco.search.interrupt import Allowance
from autoonco.search.space import config_key
from autoonco.tabular.attributions import attributions

FOLDER = "explanations"
FILE, CASES_FILE, SHAP_FILE = (f"{FOLDER}/{name}" for name in ("explanations.json", "cases.csv", "shap.npz"))
FORMAT = 1
RADIOMICS = "radiomics"
_SHARE, _MOST_S = 0.03, 90.0
# Of the time: the data's pictures and histograms, then radiomics; networks have the rest.
_DATA_UNTIL, _RADIOMICS_UNTIL = 0.25, 0.55
_MOST_CASES, _MOST_BACKGROUND, _TYPICAL = 120, 60, 2
_CASES_AT_ONCE = 12
_MAP_SIDE = 160


def explaining_s(time_limit_s: float) -> float:
    """Return the seconds of a run that are kept for explanations: 3 %, a minute and a half at most.

    Examples
    --------
    >>> explaining_s(600.0), explaining_s(7200.0)
    (18.0, 90.0)
    """
    return min(_SHARE * time_limit_s, _MOST_S)


def explain_run(
    judge: Judge, split: OuterSplit, result: ScopeResult, folder: RunFolder, *, device: str, limit_s: float
) -> None:
    """Write ``explanations/`` of a run's last scope, whose predictions are in its folder, in `limit_s` seconds."""
    predictions = read_predictions(folder.path)
    if predictions is None:
        predictions = inner_predictions(judge, split, result)
    Explaining(
        dataset=judge.dataset,
        facts=judge.facts,
        split=split,
        result=result,
        predictions=predictions,
        folder=folder,
        runtime=Runtime(artefacts=judge.artefacts, device=device, n_threads=judge.n_threads),
        limit_s=limit_s,
        seed=judge.seed,
    ).run()


def inner_predictions(judge: Judge, split: OuterSplit, result: ScopeResult) -> pd.DataFrame:
    """Return the out-of-fold probabilities of each family's model on the inner folds, as test predictions look."""
    problem, frames = judge.problem(split), []
    found = {item.key: item for item in contenders(problem, judge.store, n_test=0)}
    for judged in result.judged:
        item = found.get(config_key(judged.name, judged.members[0]["config"])) if judged.members else None
        if judged.kind != "family" or item is None:
            continue
        for number, (fold, proba) in enumerate(zip(problem.folds, item.probas, strict=False)):
            own = {
                "fold": number,
                "row": [judge.dataset.cases[position].row for position in fold.test],
                "truth": problem.y[list(fold.test)],
                "model": judged.name,
            }
            frames.append(pd.DataFrame(own | {f"p_{k}": proba[:, k] for k in range(proba.shape[1])}))
    empty = pd.DataFrame(columns=["fold", "row", "truth", "model"])
    return pd.concat(frames, ignore_index=True) if frames else empty


@dataclass(frozen=True, kw_only=True)
class Explaining:
    """A run that was judged, to be explained within `limit_s` seconds into its folder.

    `predictions` are those of the test cases, of outer folds or, where nothing judged, of the inner folds; the
    models that are shown saw none of the first, and all of the others (`seen`).
    """

    dataset: Dataset
    facts: Sequence[CaseFacts]
    split: OuterSplit
    result: ScopeResult
    predictions: pd.DataFrame
    folder: RunFolder
    runtime: Runtime
    limit_s: float
    seed: int
    notes: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Write ``explanations/``; what could not be made is a note in it."""
        allowance, started = self._allowance, time.monotonic()
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir(parents=True)
        found: dict[str, Any] = {"format": FORMAT, "seen": not len(self.split.test)}
        self.folder.write(
            CASES_FILE, cases_table(self.dataset, self.facts, self.split.train, self.split.test)
        )
        until = started + _DATA_UNTIL * self.limit_s
        found["histograms"] = self._made("Histograms", self._histograms(until))
        found["gallery"] = self._made("The gallery", self._gallery(until))
        found["typical"] = self._made("Pictures of typical cases", self._typical(until))
        until = started + _RADIOMICS_UNTIL * self.limit_s
        shap = self._made("Shapley values of radiomics", self._radiomics(until))
        found["radiomics"] = shap[0] if shap else None
        found["networks"] = []
        networks = [j for j in self.result.judged if j.kind == "family" and j.name != RADIOMICS]
        for number, judged in enumerate(networks):
            until = time.monotonic() + allowance.left_s() / (len(networks) - number)
            found["networks"] += self._made(f"Maps of {judged.name}", self._maps(judged, until))
        limit_s = self.limit_s if np.isfinite(self.limit_s) else None
        spent = {"limit_s": limit_s, "seconds": round(time.monotonic() - started, 2)}
        notes = [self.dataset.redact(note) for note in self.notes]
        self.folder.write(FILE, found | spent | {"notes": notes})

    @cached_property
    def _allowance(self) -> Allowance:
        return Allowance(self.limit_s)

    @property
    def _path(self) -> Path:
        return self.folder.path / FOLDER

    def _made(self, what: str, parts: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the parts up to a failure, which is a note: the run's models are good without its pictures."""
        found: list[dict[str, Any]] = []

        def make() -> None:
            for part in parts:
                found.append(part)  # noqa: PERF402 - what was made before a failure stays

        tried(what, make, dataset=self.dataset, notes=self.notes)
        return found

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {case.row: position for position, case in enumerate(self.dataset.cases)}

    def _histograms(self, until: float) -> Iterator[dict[str, Any]]:
        yield from grey_histograms(self.dataset, seed=self.seed, ends=until)

    def _is_past(self, until: float) -> bool:
        return time.monotonic() > until or self._allowance.was_cut()

    def _in_time(self, until: float, what: str, done: int, of: int) -> bool:
        if not self._is_past(until):
            return True
        if self._allowance.was_cut():
            self.notes.append(f"{what}: {done} of {of} were made when the run was stopped.")
        else:
            self.notes.append(
                f"{what}: the time allowed {done} of {of}; a longer time limit leaves more for them."
            )
        return False

    def _gallery(self, until: float) -> Iterator[dict[str, Any]]:
        assert self.dataset.y is not None
        positions = gallery_positions(self.dataset, seed=self.seed)
        for done, position in enumerate(positions):
            if not self._in_time(until, "Gallery", done, len(positions)):
                return
            case = self.dataset.cases[position]
            name = show_case(case, self._path, name=f"row-{case.row}", side=GALLERY_SIDE)
            yield {"row": case.row, "class": int(self.dataset.y[position]), "picture": name}

    def _typical(self, until: float) -> Iterator[dict[str, Any]]:
        families = [judged.name for judged in self.result.judged if judged.kind == "family"]
        table = typicality(self.predictions, families)
        for _, own in table.groupby("truth"):
            n = min(_TYPICAL, len(own) // 2)
            for why, some in ((Why.TYPICAL, own.head(n)), (Why.ATYPICAL, own.tail(n)[::-1])):
                for row, truth in zip(some["row"], some["truth"], strict=True):
                    if self._is_past(until):
                        return
                    case = self.dataset.cases[self._positions[int(row)]]
                    name = show_case(case, self._path, name=f"row-{case.row}", side=GALLERY_SIDE)
                    yield {"row": int(row), "class": int(truth), "why": str(why), "picture": name}

    def _radiomics(self, until: float) -> Iterator[dict[str, Any]]:
        model = next((self._restored(j) for j in self.result.judged if j.name == RADIOMICS), None)
        if model is None:
            return
        rng = np.random.default_rng(self.seed)
        chosen = choose_cases(self.predictions, RADIOMICS, n_each=1)
        first = [self._positions[one.row] for one in chosen]
        pool = self.split.test if len(self.split.test) else self.split.train
        rest = [int(position) for position in rng.permutation(pool) if position not in first]
        positions = [*first, *rest][:_MOST_CASES]
        table = self._features(model, positions, until)
        background = self._features(model, rng.permutation(self.split.train)[:_MOST_BACKGROUND], until)
        left_s = until - time.monotonic()
        found = attributions(model.pipeline, model.names, background, table, limit_s=left_s, seed=self.seed)
        n = len(found.values)
        arrays = {"values": found.values.astype(np.float32), "data": found.data.astype(np.float32)}
        self._save_arrays(SHAP_FILE, arrays)
        if n < len(positions):
            self.notes.append(f"Shapley values: the time allowed {n} of {len(positions)} cases.")
        yield {
            "names": list(found.names),
            "rows": [self.dataset.cases[position].row for position in positions[:n]],
            "base": found.base.tolist(),
            "unit": found.unit,
            "method": found.method,
            "chosen": [asdict(one) | {"why": str(one.why)} for one in chosen],
            "outputs": [int(label) for label in model.pipeline.classes_][-found.values.shape[2] :],
        }

    def _features(self, model: Any, positions: Sequence[int] | NDArray[Any], until: float) -> NDArray[Any]:
        """Return the table of cases, a few at a time and as many as the time allows, at least the first few."""
        parts = []
        for start in range(0, len(positions), _CASES_AT_ONCE):
            some = [
                self.dataset.cases[int(position)] for position in positions[start : start + _CASES_AT_ONCE]
            ]
            parts.append(model.table(some))
            if self._is_past(until):
                break
        return np.vstack(parts)

    def _maps(self, judged: Judged, until: float) -> Iterator[dict[str, Any]]:
        chosen, what = choose_cases(self.predictions, judged.name), f"Maps of {judged.name}"
        if not chosen or not self._in_time(until, what, 0, len(chosen)):
            return
        model, last_s = self._restored(judged), 0.0
        if not isinstance(model, Explains):
            return
        for done, one in enumerate(_in_turn(chosen)):
            if not self._in_time(until - last_s, what, done, len(chosen)):
                return
            begun = time.monotonic()
            case = self.dataset.cases[self._positions[one.row]]
            found = model.explain([case], one.predicted)[0]
            heat = np.asarray(found.map)
            name = f"{judged.name}-{one.row}"
            shown = show_case(case, self._path, heat=heat, name=name, side=_MAP_SIDE)
            self._save_arrays(f"{FOLDER}/{name}.npz", {"map": heat.astype(np.float16)})
            last_s = time.monotonic() - begun
            config = judged.members[0]["config"]
            told = {
                "family": judged.name,
                "network": str(config.get("network", config.get("pretrained", ""))),
            }
            yield (
                told
                | asdict(one)
                | {
                    "why": str(one.why),
                    "target": found.target,
                    "method": found.method,
                    "picture": shown,
                    "map": f"{name}.npz",
                    "planes": 3 if heat.ndim == 3 else 1,
                }
            )

    def _restored(self, judged: Judged) -> Any:
        """Return the refitted model of a family, None where its state isn't in this folder."""
        folder = self.folder.path / "models" / config_key(judged.name, judged.members[0]["config"])
        if not (folder / "meta.json").is_file():
            return None
        files = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}
        return get_family(judged.name).restore(state_of(files), self.runtime)

    def _save_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        def fill(path: Path) -> None:
            with path.open("wb") as stream:  # by name, numpy would add a suffix
                np.savez_compressed(stream, allow_pickle=False, **arrays)

        write_atomically(self.folder.path / name, fill)


def _in_turn(chosen: Sequence[Chosen]) -> list[Chosen]:
    """Return the first of each kind, then the second: a short time still shows every kind."""
    counts: dict[Why, int] = {}
    turns = []
    for one in chosen:
        counts[one.why] = counts.get(one.why, 0) + 1
        turns.append(counts[one.why])
    return [chosen[k] for k in sorted(range(len(chosen)), key=lambda k: (turns[k], k))]
