"""The model file: what is in it, written and read; `archive` sees to it that one from a stranger is safe to open.

Nothing in the file can name code to run: families are looked up by name among the installed ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from autoonco.archive import MEMBER, read_archive, write_archive
from autoonco.card import input_contract, model_card
from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.errors import AutoOncoError, DataError, ExplanationError, UnsafeBundleError
from autoonco.evaluation.decisions import Decisions
from autoonco.evaluation.delivered import mean_proba
from autoonco.evaluation.patients import MEAN
from autoonco.evaluation.tasks import CLASSIFICATION, get_task
from autoonco.evaluation.trust import Trust
from autoonco.families import get_family
from autoonco.families.contract import Explains, Explanation, FittedModel, ModelState, Runtime
from autoonco.families.state import state_of

_ROUNDING = 1e-6
_DECISIONS = "decisions/"
_PREPARED = ("input", "inputs", "spec")  # where a state says how a case is prepared
_MISFIT = (
    LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError, SafetensorError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Content:
    """What goes into a model file: members as (family, weight, folder of the state) and facts about them.

    `performance` holds the figures on test cases for the model card, a mapping a row; `decisions` is the folder with
    the state of an `evaluation.trust.Trust`, None for a model without.
    """

    members: Sequence[tuple[str, float, Path]]
    classes: Sequence[str]
    fingerprint: Fingerprint
    facts: Mapping[str, Any]
    performance: Sequence[Mapping[str, Any]] = ()
    decisions: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded model: the weighted mean of its members' probabilities.

    `families` names the family of each member, `card` is the model card, see `card.model_card`. `trust` calibrates the
    probabilities and decides by them, and with `runtime` tells cases that are unlike the training cases.
    """

    classes: tuple[str, ...]
    fingerprint: Fingerprint
    members: tuple[tuple[float, FittedModel], ...]
    facts: Mapping[str, Any]
    families: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    runtime: Runtime | None = None

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[Any]:
        """Return calibrated probabilities ``(n_cases, n_classes)``, columns in the order of `classes`."""
        found = mean_proba(self.members, cases, n_classes=len(self.classes))
        return self.trust.decisions.calibrator(found)

    def prediction_sets(self, proba: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which classes a case may be of ``(n_cases, n_classes)``; None where the model has no such sets."""
        decisions = self.trust.decisions
        return decisions.sets(proba) if decisions.set_thresholds else None

    def odd_parts(self, cases: Sequence[Case]) -> list[tuple[str, ...] | None]:
        """Return in which parts each case is unlike the training cases, see `Trust.odd_parts`; None: not known."""
        if self.runtime is None:
            return [None] * len(cases)
        return self.trust.odd_parts(cases, self.members, self.runtime)

    def able(self, case: Case) -> Bundle | None:
        """Return the part of the model that can predict `case`, its weights made to add up to one; None for none."""
        can = [number for number in range(len(self.members)) if _predicts(self.members[number][1], case)]
        share = sum(self.members[number][0] for number in can)
        if not share:
            return None
        return replace(
            self,
            members=tuple((self.members[number][0] / share, self.members[number][1]) for number in can),
            trust=replace(self.trust, oddity=None),
            families=tuple(self.families[number] for number in can if number < len(self.families)),
        )

    def unharmonised(self, case: Case) -> bool:
        """Return whether a member harmonises sites and doesn't know that of `case`."""
        return any(model.unharmonised(case) for _, model in self.members if hasattr(model, "unharmonised"))

    def told(self, proba: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class that is told of each case, a position in `classes`.

        The most probable one, of grades the median; where the run chose a threshold for two classes, by that.
        """
        if self.trust.decisions.threshold is not None:
            return self.trust.decisions.decide(proba)
        return get_task(str(self.facts.get("task", CLASSIFICATION))).told(proba)

    @property
    def patient_level(self) -> str:
        """How several cases of a patient become one, see `Settings.patient_level`."""
        patients = self.trust.decisions.patients
        return MEAN if patients is None else patients.how

    @property
    def knows_patients(self) -> bool:
        """Whether it was learned how patients with several cases are decided on."""
        patients = self.trust.decisions.patients
        return patients is not None and patients.decisions is not None

    def for_patients(self, *, is_several: bool) -> Bundle:
        """Return the model as it decides on a patient's merged probabilities; those are not calibrated again.

        By what was learned on training patients. Where none of them had several cases, a patient with a single one is
        decided on as that case is, and of another (`is_several`) there is neither a threshold nor a prediction set.
        """
        patients = self.trust.decisions.patients
        if patients is not None and patients.decisions is not None:
            own = patients.decisions
        elif is_several:
            own = Decisions()
        else:
            return self
        return replace(self, trust=replace(self.trust, decisions=own))

    def explain(self, case: Case, target: int) -> Explanation:
        """Return where the members that look at pixels see class `target`, their maps weighted as their votes.

        Raises
        ------
        ExplanationError
            If no member looks at pixels; the message gives each one's reason.
        """
        found: list[tuple[float, Explanation]] = []
        reasons: list[str] = []
        for weight, model in self.members:
            if not isinstance(model, Explains):
                reasons.append(getattr(model, "no_map", "A member of the model gives no map."))
                continue
            try:
                found.append((weight, model.explain([case], target)[0]))
            except ExplanationError as error:
                reasons.append(str(error))
        if not found:
            raise ExplanationError(f"Nothing to show for this case: {' '.join(dict.fromkeys(reasons))}")
        share = sum(weight for weight, _ in found)
        pooled = sum(weight / share * np.asarray(one.map) for weight, one in found)
        methods = dict.fromkeys(one.method for _, one in found)
        return Explanation(
            map=np.asarray(pooled),
            target=target,
            method=", ".join(methods),
            share=min(1.0, share),
            space=found[0][1].space,
        )


def _predicts(model: FittedModel, case: Case) -> bool:
    try:
        model.predict_proba([case])
    except DataError:
        return False
    return True


def write_bundle(path: Path, content: Content) -> None:
    """Write a model file, atomically."""
    metas = [json.loads((folder / "meta.json").read_bytes())["meta"] for _, _, folder in content.members]
    manifest = {
        "classes": list(content.classes),
        "fingerprint": content.fingerprint.to_json(),
        "members": [
            {"family": family, "weight": weight, "preprocessing": _preprocessing(meta)}
            for (family, weight, _), meta in zip(content.members, metas, strict=True)
        ],
        "input": input_contract(content.fingerprint),
        "thresholds": content.facts.get("decisions"),
        "facts": dict(content.facts),
        "card": model_card(
            content.fingerprint,
            families=[(family, weight) for family, weight, _ in content.members],
            facts=content.facts,
            performance=content.performance,
        ),
        "statement": "For research. Not a medical device.",
    }
    write_archive(path, _files(content), manifest)


def _files(content: Content) -> Iterator[tuple[str, bytes]]:
    for number, (_, _, folder) in enumerate(content.members):
        for file in sorted(folder.iterdir()):
            name = f"members/{number}/{file.name}"
            if MEMBER.fullmatch(name):  # else half-written by a process that was killed
                yield name, file.read_bytes()
    for file in sorted(content.decisions.iterdir()) if content.decisions is not None else ():
        name = f"{_DECISIONS}{file.name}"
        if MEMBER.fullmatch(name):
            yield name, file.read_bytes()


def _preprocessing(meta: Mapping[str, Any]) -> Any:
    """Return how a member prepares a case, as its state says: a network's view or the settings of an extraction."""
    return next((meta[name] for name in _PREPARED if name in meta), None)


def read_bundle(path: Path, runtime: Runtime) -> Bundle:
    """Return the model in a file.

    Raises
    ------
    AutoOncoError
        If there is no such file or it is no model file.
    UnsafeBundleError
        If a member's name, size or hash is not as it must be, or a part holds a type that is not allowed.
    BundleVersionError
        If a newer autoonco wrote it.
    """
    manifest, files = read_archive(path)
    try:
        return _restored(manifest, files, runtime)
    except AutoOncoError:
        raise
    except _MISFIT as error:
        raise UnsafeBundleError(
            f"The content of {path} does not fit together ({type(error).__name__}: {error}). Get the file again."
        ) from None


def _restored(manifest: Mapping[str, Any], files: Mapping[str, bytes], runtime: Runtime) -> Bundle:
    classes, members = tuple(manifest["classes"]), manifest["members"]
    weights = [float(member["weight"]) for member in members]
    if not (len(set(classes)) == len(classes) > 1 and all(isinstance(name, str) for name in classes)):
        raise ValueError("its classes are not two different names or more")
    if not (weights and all(0 <= weight <= 1 for weight in weights) and abs(sum(weights) - 1) < _ROUNDING):
        raise ValueError("the weights of its members do not add up to one")
    return Bundle(
        classes=classes,
        fingerprint=Fingerprint.from_json(manifest["fingerprint"]),
        members=tuple(
            (weight, get_family(member["family"]).restore(_state(files, f"members/{number}/"), runtime))
            for number, (weight, member) in enumerate(zip(weights, members, strict=True))
        ),
        facts=manifest["facts"],
        families=tuple(str(member["family"]) for member in members),
        card=manifest.get("card") or {},
        trust=Trust.from_state(_state(files, _DECISIONS)) if f"{_DECISIONS}meta.json" in files else Trust(),
        runtime=runtime,
    )


def _state(files: Mapping[str, bytes], prefix: str) -> ModelState:
    return state_of(
        {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    )
