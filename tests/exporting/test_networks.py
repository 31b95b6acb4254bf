"""ONNX files lead to the probabilities of their members; a model without a network says what to do instead."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import autoonco
from autoonco.data.cache import ArtefactCache
from autoonco.errors import ExportError
from autoonco.exporting.networks import network_members, write_onnx
from autoonco.families.contract import Runtime
from autoonco.nets.inputs import crops
from tests.exporting.kinds import frozen, trained_2d, trained_3d

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def outputs(path: Path, given: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"crops": given})[0], np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["trained 2D", "frozen", pytest.param("trained 3D", marks=pytest.mark.slow)])
def test_onnx_leads_to_the_probabilities_of_a_member(kind: str, scans: Path, tmp_path: Path) -> None:
    runtime = Runtime(artefacts=ArtefactCache(tmp_path / "cache"))
    cases = autoonco.Dataset.from_csv(scans, labelled=False).cases
    make: dict[str, Any] = {
        "trained 2D": lambda: trained_2d(runtime),
        "frozen": lambda: frozen(runtime, cases, linear=False),
        "trained 3D": lambda: trained_3d(runtime),
    }
    fitted = make[kind]()
    bundle: Any = SimpleNamespace(classes=("no", "yes"), families=("x",), members=((1.0, fitted),))
    (path,) = write_onnx(bundle, tmp_path)
    found = outputs(path, crops(cases, fitted.spec, None))
    said = json.loads(onnx.load(path).metadata_props[0].value)["outputs"]
    proba = softmax(found) if said == "logits" else fitted.head.predict_proba(found)
    expected = fitted.predict_proba(cases)
    assert np.ptp(expected[:, 0]) > 1e-6
    np.testing.assert_allclose(proba, expected, atol=1e-4)


def test_a_model_without_a_network_names_what_it_is_made_of() -> None:
    table = SimpleNamespace()
    bundle: Any = SimpleNamespace(classes=("no", "yes"), families=("radiomics",), members=((1.0, table),))
    with pytest.raises(ExportError, match=r"as ONNX\. It is made of radiomics\. .*--to folder"):
        network_members(bundle, "ONNX")
