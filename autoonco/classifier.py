"""`AutoOncoClassifier`, `fit` and `load`: the public face, with scikit-learn's manners."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin

from autoonco.arguments import Labelled, Unlabelled, access_of, cores, reading, run_path, usable, with_labels
from autoonco.bundle import Content, read_bundle, write_bundle
from autoonco.data.cache import ArtefactCache, digest
from autoonco.data.checks import CaseFacts, Finding, errors_of, findings, inspect
from autoonco.data.contract import contract_of
from autoonco.data.feature_table import FeatureTable
from autoonco.data.labels import classes_as_in
from autoonco.data.manifest import Dataset
from autoonco.data.plain import records
from autoonco.errors import AutoOncoError
from autoonco.evaluation.experiment import run_experiment
from autoonco.evaluation.extras import tried
from autoonco.evaluation.request import Request, identity_of, settings_json
from autoonco.evaluation.run_folder import Resume, RunFolder, versions
from autoonco.evaluation.split_table import Splits
from autoonco.evaluation.told import trust_folder
from autoonco.families.contract import Runtime
from autoonco.nets.access import using
from autoonco.nets.zoo import check_asked
from autoonco.predictor import Predictor
from autoonco.reporting.page import write_report
from autoonco.reporting.result import Result
from autoonco.requests import dataset_of, request_of
from autoonco.search.interrupt import leave_if_asked, watching
from autoonco.search.store import stops_on_full_disk
from autoonco.settings import Settings

if TYPE_CHECKING:
    from autoonco.metrics.custom import Scorer
    from autoonco.search.problem import Observer

MODEL_FILE = "model.onco"


class AutoOncoClassifier(Predictor, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The best ensemble that a search over radiomics, 2D and 3D networks finds in a time limit.

    Parameters
    ----------
    time_limit
        Seconds, or text such as ``"30min"`` or ``"2h"``; it covers everything, the evaluation included.
    families
        Names of the families to search, or None for all that apply.
    evaluation
        ``"external"`` (the manifest's test split, or `external`), ``"holdout"``, ``"nested"``,
        ``"leave_one_site_out"``, ``"splits"``, ``"none"``, or ``"auto"``.
    external
        A second dataset, manifest or table that judges: it is never learned from.
    splits
        A table, or CSV file, of ready train/test splits to replay, see `evaluation.split_table.read_split_table`.
    task
        ``"classification"``, or ``"ordinal"`` for grades: classes in the order of their numbers, or as named.
    clinical
        Columns of a manifest to take as inputs, where `fit` gets a file or a table.
    features
        Table of your own features, see `Dataset.with_features`; prediction then wants a dataset with such a table.
    metric
        The score that the search maximises: its name, or a function ``(y, proba) -> float``, higher being better, of
        the cases' positions in `classes_` and ``(n_cases, n_classes)``; it stays in this process, and a run goes on
        only with the same one. None for the task's: ROC AUC, of grades the ordinal AUC.
    n_jobs
        Trials at the same time, each in its own process, with an even share of the cores.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a GPU if there is one.
    seed
        Seed of folds, search and training.
    run_dir
        Folder of the run; by default one under ``runs/`` that is named by data and arguments.
    resume
        ``"auto"`` continues a run found in the folder, ``"never"`` refuses to.
    settings
        `Settings`, or the name of a preset.
    weights_dir
        Folder of pretrained weights that ``autoonco weights fetch`` prepared; None leaves it to `settings` and the
        environment, as it does for the next two.
    allow_licences
        Licences of pretrained weights that are allowed, ``"permissive"`` and ``"any"`` among them.
    networks
        Names of the only pretrained networks to search; each then has to be there.
    progress
        Called with a `Progress` about twice a second; its method ``reading``, if any, with (cases read, all cases).
    client
        A `distributed.Client` of a Dask cluster that does the work; None for processes of this machine.

    Attributes
    ----------
    classes_
        Names of the classes, in the order of `predict_proba`'s columns; numbers after a fit to numbers `y`. A model
        from a file has names.
    clinical_
        Names of the clinical columns that the model takes.
    result_
        Tables, figures and the folder of the run; None for a model that was loaded from a file.
    """

    def __init__(
        self,
        *,
        time_limit: str | float = "30min",
        families: Sequence[str] | None = None,
        evaluation: str = "auto",
        external: Labelled | None = None,
        splits: Splits | None = None,
        task: str = "classification",
        clinical: Sequence[str] = (),
        features: FeatureTable | None = None,
        metric: str | Scorer | None = None,
        n_jobs: int = 1,
        device: str = "auto",
        seed: int = 0,
        run_dir: str | Path | None = None,
        resume: Resume = "auto",
        settings: Settings | str | None = None,
        weights_dir: str | Path | None = None,
        allow_licences: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
        progress: Observer | None = None,
        client: Any = None,
    ) -> None:
        self.time_limit = time_limit
        self.families = families
        self.evaluation = evaluation
        self.external = external
        self.splits = splits
        self.task = task
        self.clinical = clinical
        self.features = features
        self.metric = metric
        self.n_jobs = n_jobs
        self.device = device
        self.seed = seed
        self.run_dir = run_dir
        self.resume = resume
        self.settings = settings
        self.weights_dir = weights_dir
        self.allow_licences = allow_licences
        self.networks = networks
        self.progress = progress
        self.client = client

    def fit(self, X: Labelled | Unlabelled, y: ArrayLike | None = None) -> Self:
        """Search, judge, refit; `X` is a `Dataset`, a manifest file or a table with labels.

        With `y` ``(n_cases,)``, as scikit-learn gives it, `X` may be anything that `predict_proba` takes; the labels
        of `X` and its splits then don't count.

        In a main thread, Ctrl-C or SIGTERM once asks the run to end: what is under way is finished, the best so far is
        refitted and judged, and the model is there; the run is then ``"stopped"``, and the same call goes on with it.
        The second time it ends at once, and the same call goes on with what was finished.

        Raises
        ------
        AutoOncoError
            One of its kinds, with what is wrong and what to do.
        KeyboardInterrupt
            By the second signal, or by the first while the data are still being checked.
        """
        started = time.monotonic()
        dataset = dataset_of(self, X if y is None else with_labels(X, y, clinical=self.clinical))  # type: ignore[arg-type]
        request = request_of(self, dataset)
        access = access_of(request.settings)
        check_asked(access)
        with watching(), using(access), stops_on_full_disk():
            facts = inspect(dataset, n_jobs=cores(), on_progress=reading(self.progress, leave_if_asked))
            found = findings(dataset, facts)
            kept, kept_facts = usable(dataset, facts, errors_of(found), request.settings)
            identity = identity_of(kept, request)
            path = run_path(self.run_dir, digest(identity)[:12])
            leave_if_asked()
            folder = RunFolder(path, identity=identity, resume=self.resume)
            n_excluded = len(dataset) - len(kept)
            try:
                self._run(kept, kept_facts, found, request, folder, n_excluded=n_excluded, started=started)
            except Exception as error:
                folder.end_badly(error, dataset.redact, session_s=time.monotonic() - started)
                raise
            except KeyboardInterrupt:
                folder.update(session_s=time.monotonic() - started)
                raise
            finally:
                folder.close()
        self.result_: Result | None = Result(folder.path)
        self._ids = {case.row: case.case for case in dataset.cases}  # in memory alone
        self._take(folder.path / MODEL_FILE)
        if y is not None:
            self.classes_ = classes_as_in(y, self.classes_.tolist())
        return self

    def _run(
        self,
        dataset: Dataset,
        facts: Sequence[CaseFacts],
        found: Sequence[Finding],
        request: Request,
        folder: RunFolder,
        *,
        n_excluded: int,
        started: float,
    ) -> None:
        """Write the model file, unless the same request has done so before."""
        asked = {"time_limit_s": request.time_limit_s, "settings": settings_json(request.settings)}
        if folder.has_finished(**asked) and (folder.path / MODEL_FILE).exists():
            return
        result, stopped = run_experiment(
            dataset,
            facts,
            found,
            request,
            folder,
            n_excluded=n_excluded,
            started=started,
            observer=self.progress,
        )
        notes: list[str] = []
        told = Result(folder.path)
        figures = tried(
            "Figures for the model card",
            lambda: records(told.evaluation()),
            dataset=dataset,
            notes=notes,
        )
        for note in notes:
            folder.log(note)
        content = Content(
            members=[(member.family, member.weight, member.folder) for member in result.delivered],
            classes=dataset.classes,
            fingerprint=result.fingerprint,
            facts={
                "task": request.task.name,
                "metric": request.metric.name,
                "inner_score": result.inner_score_of("ensemble"),
                "evaluation": request.evaluation,
                "repair": request.settings.repair,
                "reading": contract_of(dataset.cases),
                "decisions": None if result.decided is None else result.decided.decisions.to_json(),
                "versions": versions(),
                "stopped": stopped,
            },
            performance=figures or [],
            decisions=trust_folder(folder.path),
        )
        write_bundle(folder.path / MODEL_FILE, content)
        status = "finished" if stopped is None else "stopped"
        folder.update(session_s=time.monotonic() - started, status=status)

    def _take(self, path: Path) -> None:
        runtime = Runtime(artefacts=ArtefactCache(), device=self.device, n_threads=cores())
        self._predict_with(read_bundle(path, runtime), path)

    def leaderboard(self) -> pd.DataFrame:
        """Return every trial of the search, best first."""
        return self._result().leaderboard()

    def report(self, path: str | Path, *, include_ids: bool = False, pictures: bool = True) -> Path:
        """Write the report of the run into the folder `path`; return its HTML page.

        Parameters
        ----------
        include_ids
            Whether cases are also called by the names that the dataset gives them: then the report tells who they are.
        pictures
            Whether it shows pixels of cases.
        """
        folder = self._result().folder
        return write_report(folder, Path(path), ids=self._ids if include_ids else None, pictures=pictures)

    def _result(self) -> Result:
        self._fitted()
        if self.result_ is None:
            raise AutoOncoError(
                "This model came from a file; tables and reports are made from its run folder."
            )
        return self.result_


def fit(
    dataset: Labelled,
    *,
    time_limit: str | float = "30min",
    families: Sequence[str] | None = None,
    evaluation: str = "auto",
    external: Labelled | None = None,
    splits: Splits | None = None,
    task: str = "classification",
    clinical: Sequence[str] = (),
    features: FeatureTable | None = None,
    metric: str | Scorer | None = None,
    n_jobs: int = 1,
    device: str = "auto",
    seed: int = 0,
    run_dir: str | Path | None = None,
    resume: Resume = "auto",
    settings: Settings | str | None = None,
    weights_dir: str | Path | None = None,
    allow_licences: Sequence[str] | None = None,
    networks: Sequence[str] | None = None,
    progress: Observer | None = None,
    client: Any = None,
) -> AutoOncoClassifier:
    """Return an `AutoOncoClassifier` fitted to `dataset`; see there for the arguments and errors."""
    return AutoOncoClassifier(
        time_limit=time_limit,
        families=families,
        evaluation=evaluation,
        external=external,
        splits=splits,
        task=task,
        clinical=clinical,
        features=features,
        metric=metric,
        n_jobs=n_jobs,
        device=device,
        seed=seed,
        run_dir=run_dir,
        resume=resume,
        settings=settings,
        weights_dir=weights_dir,
        allow_licences=allow_licences,
        networks=networks,
        progress=progress,
        client=client,
    ).fit(dataset)


def load(path: str | Path, *, device: str = "auto") -> AutoOncoClassifier:
    """Return the classifier stored in a model file.

    Raises
    ------
    AutoOncoError
        If the file is missing, damaged, unsafe or of a newer version.
    """
    classifier = AutoOncoClassifier(device=device)
    classifier.result_ = None
    classifier._take(Path(path))
    return classifier
