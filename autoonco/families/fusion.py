"""Radiomic features, embeddings of a pretrained network and clinical columns side by side, then classical learning.

Each block is scaled and selected by itself. A fine-tuned network knows the labels of the cases it was trained on, so
a learner must not see its embeddings of those: the training cases are halved by patient, a network is fine-tuned on
either half, and a learner is fitted on its embeddings of the other one. The two learners' probabilities are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoonco.data.case import Case
from autoonco.data.fingerprint import Fingerprint
from autoonco.families.clinical import (
    EXTRACTION,
    SECONDS_TO_ENCODE,
    SECONDS_TO_EXTRACT,
    HandcraftedFeatures,
    extraction_space,
    handcrafted,
)
from autoonco.families.contract import Config, Fidelity, FitContext, ModelState, Runtime
from autoonco.families.embedder import Embedder, embedders, restore_embedder
from autoonco.families.pictures import add_pictures
from autoonco.families.pretrained2d import add_pooling
from autoonco.families.pretrained2d import family as pretrained2d
from autoonco.families.tables import spread
from autoonco.families.training_space import add_finetuning, add_training, part
from autoonco.nets.zoo import with_weights
from autoonco.resources import load_space
from autoonco.tabular.clinical_columns import ClinicalEncoder

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

    from autoonco.tabular.blocked import BlockedPipeline

EMBEDDING, RADIOMICS, CLINICAL = "embedding", "radiomics", "clinical"
"""The blocks, by the names under which they are stored; the first two have steps of their own in a config."""
BOTH = "radiomics_and_clinical"
HEAD_STEPS = ("impute", "scale", "class_weight", "sampler")
DEFAULTS: tuple[dict[str, Any], ...] = (
    {
        "mode": "frozen",
        "embedding:selection": "pca_count",
        "radiomics:scale": "quantile",
        "radiomics:correlation": 0.9,
        "head:learner": "logistic_regression",
        "head:scale": "zscore",
        "head:logistic_regression:C": 0.02,
    },
    {
        "mode": "finetune",
        "size": 160,
        "epochs": 6,
        "frozen_stages": 3,
        "training:learning_rate": 0.002,
        "embedding:selection": "pca_count",
        "embedding:pca_components": 10,
        "radiomics:scale": "quantile",
        "radiomics:correlation": 0.9,
        "head:learner": "logistic_regression",
        "head:scale": "zscore",
        "head:logistic_regression:C": 0.02,
    },
)
"""Few components of the embedding, so that a thousand of its columns don't outvote the others."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A network and the learner that was fitted on its embeddings of cases which it had not been trained on."""

    embedder: Embedder
    learner: BlockedPipeline


@dataclass(frozen=True, kw_only=True)
class FusionModel:
    """A fitted fusion: how columns are read, which features are extracted, and one branch, or two of a fine-tuning.

    `labels` are the classes of the training cases, which the learners number 0, 1, ...
    """

    branches: tuple[Branch, ...]
    encoder: ClinicalEncoder | None
    radiomics: HandcraftedFeatures | None
    labels: tuple[int, ...]
    n_classes: int
    runtime: Runtime
    no_map: ClassVar[str] = (
        "A fusion sees features of the lesion and columns beside its network: a map of the network alone would mislead."
    )

    def predict_proba(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return probabilities ``(n_cases, n_classes)``.

        Raises
        ------
        DataError
            If a case can't be read or lacks a mask or a clinical column that the model takes; names its row.
        """
        beside = _tables(cases, self.encoder, self.radiomics, self.runtime)
        found = [
            branch.learner.predict_proba({EMBEDDING: branch.embedder.embed(cases), **beside})
            for branch in self.branches
        ]
        return spread(np.mean(found, axis=0), self.labels, self.n_classes)

    def embed(self, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return the embeddings of the first branch's network ``(n_cases, n_features)``."""
        return self.branches[0].embedder.embed(cases)

    def state(self) -> ModelState:
        """Return networks, columns and the extraction's settings, and the learners as skops bytes."""
        from autoonco.tabular.serialise import to_parts

        meta: dict[str, Any] = {
            "branches": [],
            "columns": None if self.encoder is None else self.encoder.to_json(),
            "radiomics": None if self.radiomics is None else self.radiomics.to_json(),
            "labels": list(self.labels),
            "n_classes": self.n_classes,
        }
        tensors: dict[str, NDArray[Any]] = {}
        parts: dict[str, bytes] = {}
        for letter, branch in zip(ascii_lowercase, self.branches, strict=False):
            own = branch.embedder.state()
            meta["branches"].append({"network": own.meta, "order": list(branch.learner.order)})
            tensors |= {f"{letter}.{name}": value for name, value in own.tensors.items()}
            parts |= {f"{letter}_{name}": to_parts(item) for name, item in branch.learner.parts.items()}
        return ModelState(meta=meta, tensors=tensors, parts=parts)


def _tables(
    cases: Sequence[Case],
    encoder: ClinicalEncoder | None,
    radiomics: HandcraftedFeatures | None,
    runtime: Runtime,
) -> dict[str, NDArray[np.float64]]:
    """Return the tables that stand beside the embedding; columns first, for one that is missing is told at once."""
    found = {} if encoder is None else {CLINICAL: encoder.transform(cases)}
    return found if radiomics is None else {**found, RADIOMICS: radiomics.table(cases, runtime)}


class Fusion:
    """The family that joins what the others see one by one."""

    name = "fusion"

    def why_not(self, fingerprint: Fingerprint) -> str | None:
        """Return why the family does not apply: nothing stands beside the network, or there is no network."""
        if not fingerprint.has_mask and not fingerprint.clinical:
            return "there are neither lesion masks nor clinical columns to put beside a network's embedding"
        return pretrained2d.why_not(fingerprint)

    def space(self, fingerprint: Fingerprint) -> ConfigurationSpace:
        """Return network, view and fine-tuning, what stands beside, the steps of each block, and the learners."""
        from ConfigSpace import CategoricalHyperparameter, Constant

        from autoonco.tabular.pipeline import tabular_space

        every, names = load_space("fusion"), with_weights(2)
        has_both = fingerprint.has_mask and bool(fingerprint.clinical)
        space = every.__class__()
        space.add([item for name, item in every.items() if has_both or name != "beside"])
        space.add(every.conditions)
        space.add(
            Constant("classifier", "pipeline")
        )  # several pictures are pooled before a learner sees them
        space.add(CategoricalHyperparameter("network", names, default_value=names[0]))
        add_pictures(space, fingerprint)
        add_pooling(space, names)
        add_finetuning(space)
        add_training(space, fingerprint, parent_hyperparameter={"parent": space["mode"], "value": "finetune"})
        space.add_configuration_space(EMBEDDING, load_space("fusion_block"))
        if fingerprint.has_mask:
            space.add_configuration_space(RADIOMICS, load_space("fusion_block"))
            space.add_configuration_space(EXTRACTION, extraction_space(fingerprint))
        if fingerprint.clinical:
            space.add([item for name, item in load_space("clinical").items() if name != "features"])
        space.add_configuration_space("head", tabular_space(steps=HEAD_STEPS))
        return space

    def defaults(self, fingerprint: Fingerprint) -> Sequence[Config]:
        """Return a probe of all blocks with the first frozen network, and a modest fine-tuning of it."""
        from autoonco.tabular.pipeline import complete

        space = self.space(fingerprint)
        return [
            complete(space, {name: value for name, value in values.items() if name in space})
            for values in DEFAULTS
        ]

    def plan(self, config: Config, budget: float, *, inner_folds: int, n_train: int) -> Fidelity:
        """Return folds alone for a frozen network; epochs of one fold, then folds, for a fine-tuned one."""
        return pretrained2d.plan(config, budget, inner_folds=inner_folds, n_train=n_train)

    def wants_gpu(self, config: Config) -> bool:
        """Return whether weights are trained."""
        return pretrained2d.wants_gpu(config)

    def prior_seconds(self, config: Config, fidelity: Fidelity, fingerprint: Fingerprint) -> float:
        """Return the seconds of the network (both halves make one training), of extraction, columns and learners."""
        from autoonco.tabular.learners import seconds_to_fit

        n = fingerprint.n_cases
        seconds = pretrained2d.prior_seconds(config, fidelity, fingerprint)
        if config["mode"] == "finetune":
            seconds += fidelity.folds * seconds_to_fit(str(config["head:learner"]), n)
        if _has_radiomics(config, fingerprint):
            seconds += n * len(fingerprint.channels) * SECONDS_TO_EXTRACT
        if _has_clinical(config, fingerprint):
            seconds += n * len(fingerprint.clinical) * SECONDS_TO_ENCODE
        return seconds

    def fit(
        self,
        config: Config,
        cases: Sequence[Case],
        y: NDArray[Any],
        *,
        fidelity: Fidelity,
        context: FitContext,
    ) -> FusionModel:
        """Learn categories, extract and embed what isn't cached, fine-tune where asked for, and fit the learners.

        Raises
        ------
        DataError
            If a case lacks a column, a scan or a mask, or a class has one patient where the cases have to be halved.
        """
        fingerprint, runtime = context.fingerprint, context.runtime
        encoder = None
        if _has_clinical(config, fingerprint):
            encoder = ClinicalEncoder.fitted(
                cases,
                fingerprint.clinical,
                min_share=float(config["min_share"]),
                flag_missing=config["missing"] == "flagged",
            )
        radiomics = handcrafted(config, fingerprint) if _has_radiomics(config, fingerprint) else None
        beside = _tables(cases, encoder, radiomics, runtime)
        labels, codes = np.unique(y, return_inverse=True)
        patients = np.unique([case.patient for case in cases], return_inverse=True)[1]
        branches = []
        for embedder, rows in embedders(config, cases, y, codes, patients, fidelity, context):
            tables = {EMBEDDING: embedder.embed([cases[row] for row in rows])}
            tables |= {name: table[rows] for name, table in beside.items()}
            learner = _learner(config, tables, codes[rows], patients[rows], context)
            branches.append(Branch(embedder=embedder, learner=learner))
        return FusionModel(
            branches=tuple(branches),
            encoder=encoder,
            radiomics=radiomics,
            labels=tuple(int(label) for label in labels),
            n_classes=fingerprint.n_classes,
            runtime=runtime,
        )

    def restore(self, state: ModelState, runtime: Runtime) -> FusionModel:
        """Return the model that `FusionModel.state` described; no weights need be on this machine.

        Raises
        ------
        UnsafeBundleError
            If a stored pipeline holds a type that no model of autoonco needs.
        """
        meta = state.meta
        return FusionModel(
            branches=tuple(
                _branch(letter, plain, state, runtime)
                for letter, plain in zip(ascii_lowercase, meta["branches"], strict=False)
            ),
            encoder=None if meta["columns"] is None else ClinicalEncoder.from_json(meta["columns"]),
            radiomics=None if meta["radiomics"] is None else HandcraftedFeatures.from_json(meta["radiomics"]),
            labels=tuple(meta["labels"]),
            n_classes=meta["n_classes"],
            runtime=runtime,
        )


def _branch(letter: str, plain: Mapping[str, Any], state: ModelState, runtime: Runtime) -> Branch:
    from autoonco.tabular.blocked import BlockedPipeline
    from autoonco.tabular.serialise import from_parts

    def own(of: Mapping[str, Any], sign: str) -> dict[str, Any]:
        prefix = f"{letter}{sign}"
        return {name.removeprefix(prefix): value for name, value in of.items() if name.startswith(prefix)}

    network = ModelState(meta=plain["network"], tensors=own(state.tensors, "."))
    parts = {name: from_parts(content) for name, content in own(state.parts, "_").items()}
    return Branch(
        embedder=restore_embedder(network, runtime),
        learner=BlockedPipeline.of(tuple(plain["order"]), parts),
    )


def _learner(
    config: Config,
    tables: Mapping[str, NDArray[np.float64]],
    codes: NDArray[np.intp],
    patients: NDArray[np.intp],
    context: FitContext,
) -> BlockedPipeline:
    from autoonco.tabular.blocked import fit_blocked

    return fit_blocked(
        tables,
        codes,
        config=part(config, "head"),
        of_blocks={name: part(config, name) for name in (EMBEDDING, RADIOMICS) if name in tables},
        groups=patients,
        seed=context.seed,
        n_threads=context.runtime.n_threads,
    )


def _has_radiomics(config: Config, fingerprint: Fingerprint) -> bool:
    return fingerprint.has_mask and config.get("beside", RADIOMICS) in (RADIOMICS, BOTH)


def _has_clinical(config: Config, fingerprint: Fingerprint) -> bool:
    return bool(fingerprint.clinical) and config.get("beside", CLINICAL) in (CLINICAL, BOTH)


family = Fusion()
