"""Fitted networks of four kinds on small volumes, without a day of training: their weights are as drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autoonco.data.fingerprint import Intensity
from autoonco.data.preprocessing import SliceView, VolumeView
from autoonco.families.contract import Runtime
from autoonco.families.embedded import Features, embeddings
from autoonco.families.frozen import FrozenModel, identity_of
from autoonco.families.networks import TrainedNetwork
from autoonco.nets.builders import build_2d, build_3d
from autoonco.nets.inputs import InputSpec
from autoonco.nets.linear_head import LinearHead
from autoonco.nets.test_time import Views
from tests.fingerprints import PICTURES

VOLUMES = replace(
    PICTURES,
    ndim=3,
    has_mask=True,
    spacing_mm=(1.0, 1.0, 2.0),
    shape=(24, 24, 12),
    lesion_mm=(8.0, 8.0, 8.0),
    lesion_voxels=256,
    intensity={"image": Intensity.HOUNSFIELD},
)
SMALL = "mobilenetv3_small_100"


def picture_of(**view: Any) -> InputSpec:
    view = {"size": 64, "focus": "lesion", "use_mask": True} | view
    return InputSpec.of(VOLUMES, SliceView(**view))


def trained_2d(runtime: Runtime, *, views: int = 1) -> TrainedNetwork:
    spec = picture_of(mask_channel=True)
    build = {"name": SMALL, "n_classes": 2, "in_channels": spec.grey_channels, "mask_channels": spec.n_masks}
    network = build_2d(**build, seed=3).eval()
    return TrainedNetwork(network=network, build=build, spec=spec, runtime=runtime, views=Views(n=views))


def trained_3d(runtime: Runtime) -> TrainedNetwork:
    spec = InputSpec.of(VOLUMES, VolumeView(size=24))
    build = {
        "name": "monai_resnet10",
        "n_classes": 2,
        "in_channels": spec.grey_channels,
        "size": [24, 24, 24],
    }
    return TrainedNetwork(network=build_3d(**build, seed=4).eval(), build=build, spec=spec, runtime=runtime)


def frozen(runtime: Runtime, cases: Any, *, linear: bool) -> FrozenModel:
    """A frozen network below a pipeline on four layers, as probes are, or a linear head on the means of two."""
    spec = picture_of(slices="several", n_slices=2) if linear else picture_of()
    features = (
        Features(pooling="mean", n_layers=2, keeps_pictures=True)
        if linear
        else Features(pooling="gem", n_layers=4)
    )
    build = {"name": SMALL, "n_classes": 0, "in_channels": spec.in_channels}
    network = build_2d(**build, seed=6).eval()
    known: dict[str, Any] = {"network": network, "network_id": identity_of(SMALL, network), "spec": spec}
    seen = embeddings(cases, network, spec, features, runtime, network_id=known["network_id"])
    if linear:
        torch.manual_seed(1)
        head: Any = LinearHead(
            n_features=seen.shape[3], n_groups=seen.shape[1], n_classes=2, pooling="attention"
        )
        head.double().eval()
    else:
        rng = np.random.default_rng(2)
        X = np.vstack([seen, seen + rng.normal(0, seen.std(), seen.shape)])
        head = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, np.arange(len(X)) % 2)
    return FrozenModel(
        **known, head=head, build=build, features=features, labels=(0, 1), n_classes=2, runtime=runtime
    )
