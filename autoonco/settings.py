"""What a run may be told beyond the arguments of `autoonco.fit`, with plain-named presets."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoonco.errors import AutoOncoError, UnknownNameError


class Settings(BaseModel):
    """Settings of a run; immutable, validated, printable. `preset` gives a ready set by name.

    Attributes
    ----------
    inner_folds
        Folds that choose; their out-of-fold probabilities feed the ensemble.
    outer_folds
        Folds that judge, with ``evaluation="nested"``.
    outer_repeats
        How often the cases are dealt into those folds anew, each fold with a search of its own; None for up to ten
        times, as long as each search still has half an hour.
    patient_level
        What becomes of several cases of a patient where patients are judged: the ``"mean"`` of their probabilities, or
        ``"max"``, those of the case that is worst: that has most of the last class or, of grades, the highest expected.
    holdout_share
        Share of patients kept for the test, with ``evaluation="holdout"``.
    equivalence_margin
        Difference in AUC that is too small to matter: two families are called equivalent within it. Stated beforehand.
    min_budget
        Smallest budget of the search, a fraction of a config's full training.
    eta
        Each rung keeps the best 1/eta of its trials and gives them eta times the budget.
    max_trials
        Stop after so many trials, also when time is left.
    trial_share
        A trial may take at most this share of the search's time, then it is stopped and recorded (half as much again
        where it is one fold of a training that is too dear for all).
    memory_limit_gb
        Resident memory a trial's process group may take; None for no limit.
    allocation
        ``"shared"``: the search spends where it pays, each family having at least `floor`; ``"equal"``: every
        family gets the same compute, for a comparison at equal effort.
    floor
        Least share of the compute that a family gets.
    gpu_rate
        CPU-seconds that one GPU-second counts as, where compute is shared.
    search
        ``"smac"``, or ``"random"``: configs drawn at random, each trained in full, as a control.
    racing
        Whether a config is stopped after some folds when it can't come near the best.
    all_rungs, cooling, family_promotion
        Pieces of the optimiser, each of which can be switched off: a surrogate that learns from partial trainings
        too, an acquisition that weighs predicted seconds, promotion within a family.
    seconds
        What the search takes for a trial's seconds: ``"measured"``, ``"prior"`` (the families' own guesses, so that
        a rerun is identical), or ``"auto"``: prior with `max_trials` and one worker, else measured.
    finalists
        The best so many configs are scored again on fresh folds before the choice; 0 switches that off.
    repeats
        How often the finalists are scored again, each time on other folds: all once, then each family's better half.
    portfolio
        File of configs to start from, made by ``autoonco portfolio build``; ``"none"`` for none, None for the one
        that comes with autoonco.
    final_share
        Share of the time limit kept for scoring the finalists again, refitting the winners and predicting the test
        cases.
    ensemble_rounds
        Rounds of greedy selection with replacement; 1 means the single best model.
    ensemble
        ``"greedy"`` (selection with replacement), ``"mean"`` (the plain mean of the `ensemble_size` best), or False for
        the single best model.
    ensemble_size
        How many models ``ensemble="mean"`` takes.
    max_predict_seconds
        Seconds that the delivered model may take to predict a new case, measured on a few training cases without any
        cache; members are left out until it does. None for no limit.
    calibration
        ``"none"``, ``"sigmoid"``, ``"isotonic"``, ``"temperature"``, or ``"auto"`` for the one with the lowest log
        loss on inner folds that it wasn't fitted on.
    threshold
        What `predict` goes by with two classes: ``"most_probable"``, ``"youden"``, or ``"sensitivity"`` for the largest
        threshold that keeps `sensitivity`; chosen on inner out-of-fold probabilities.
    sensitivity
        Sensitivity to keep, with ``threshold="sensitivity"``.
    coverage
        Share of cases whose prediction set is to hold their class, in each class by itself.
    conformal_share
        Share of the training patients kept apart, to calibrate prediction sets alone; 0 calibrates them on outer test
        folds where the evaluation is nested, and on inner out-of-fold cases elsewhere.
    shortcuts
        Whether the winner is scored again on test cases with the lesion or its mask changed, where time allows.
    weights_dir
        Folder of pretrained weights that ``autoonco weights fetch`` prepared.
    allow_licences
        Licences of pretrained weights that are allowed; ``"permissive"`` for Apache-2.0, BSD, CC-BY and MIT,
        ``"any"`` for all.
    networks
        The only pretrained networks to search; None for all whose weights are on the machine.
    on_bad_case
        ``"raise"`` stops the run at a case that can't be used, ``"exclude"`` leaves it out and says so.
    repair
        ``"resample-mask"`` puts a mask that lies on another grid than its image onto it; ``"none"`` refuses it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inner_folds: int = Field(5, ge=2, le=20)
    outer_folds: int = Field(5, ge=2, le=20)
    outer_repeats: int | None = Field(None, ge=1, le=50)
    patient_level: Literal["mean", "max"] = "mean"
    holdout_share: float = Field(0.25, gt=0, lt=0.6)
    equivalence_margin: float = Field(0.05, gt=0, lt=0.5)
    min_budget: float = Field(1 / 9, gt=0, le=1)
    eta: int = Field(3, ge=2, le=10)
    max_trials: int | None = Field(None, ge=1)
    trial_share: float = Field(0.35, gt=0, le=1)
    memory_limit_gb: float | None = Field(None, gt=0)
    allocation: Literal["shared", "equal"] = "shared"
    floor: float = Field(0.1, ge=0, le=0.5)
    gpu_rate: float = Field(10.0, gt=0)
    search: Literal["smac", "random"] = "smac"
    racing: bool = True
    all_rungs: bool = True
    cooling: bool = True
    family_promotion: bool = True
    seconds: Literal["auto", "measured", "prior"] = "auto"
    finalists: int = Field(5, ge=0, le=50)
    repeats: int = Field(2, ge=1, le=10)
    portfolio: str | None = None
    final_share: float = Field(0.25, gt=0, lt=0.9)
    ensemble_rounds: int = Field(30, ge=1, le=1000)
    ensemble: Literal["greedy", "mean", False] = "greedy"
    ensemble_size: int = Field(5, ge=1, le=25)
    max_predict_seconds: float | None = Field(None, gt=0)
    calibration: Literal["auto", "none", "sigmoid", "isotonic", "temperature"] = "auto"
    threshold: Literal["most_probable", "youden", "sensitivity"] = "most_probable"
    sensitivity: float = Field(0.9, gt=0, le=1)
    coverage: float = Field(0.9, gt=0, lt=1)
    conformal_share: float = Field(0.0, ge=0, le=0.5)
    shortcuts: bool = True
    weights_dir: str | None = None
    allow_licences: tuple[str, ...] = ("permissive",)
    networks: tuple[str, ...] | None = None
    on_bad_case: Literal["exclude", "raise"] = "raise"
    repair: Literal["none", "resample-mask"] = "none"

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return the preset `name` (quick, standard or thorough), with `changes` on top.

        Examples
        --------
        >>> Settings.preset("quick").inner_folds
        3
        """
        try:
            values = PRESETS[name]
        except KeyError:
            raise UnknownNameError("preset", name, PRESETS) from None
        return cls.checked(values | changes)

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Return settings from a mapping; unknown names and wrong values are told in one sentence."""
        for name in values:
            if name not in cls.model_fields:
                raise UnknownNameError("setting", name, cls.model_fields)
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise AutoOncoError(
                f"Setting {'.'.join(map(str, first['loc']))!r}: {first['msg']}, got {first['input']!r}."
            ) from None

    def is_reproducible(self, *, n_workers: int) -> bool:
        """Return whether nothing may depend on measured seconds: as asked for, or of itself where that is possible."""
        alone = self.max_trials is not None and n_workers == 1
        return self.seconds == "prior" or (self.seconds == "auto" and alone)


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"inner_folds": 3, "ensemble_rounds": 10},
    "standard": {},
    "thorough": {"inner_folds": 10, "outer_folds": 10, "ensemble_rounds": 100},
}
