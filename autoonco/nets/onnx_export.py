"""Networks as ONNX files, for software that has no torch; each is compared with its network before it is written."""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autoonco.data.cache import write_atomically
from autoonco.errors import ExportError, MissingDependencyError

TOLERANCE = 1e-4
"""Largest difference of an output, absolute or as a share of it, between ONNX Runtime and torch."""
_OPSET = 18
_INPUT, _OUTPUT = "crops", "outputs"
_CHECKED = 3
"""Crops on which the two are compared: another number than what is traced, so that the batch is known to be free."""


def to_onnx(
    network: nn.Module,
    path: Path,
    shape: Sequence[int],
    *,
    facts: Mapping[str, object] | None = None,
    tolerance: float = TOLERANCE,
) -> Path:
    """Write `network` to an ONNX file that takes crops ``(n, *shape)`` of bytes 0..255 and gives what the network does.

    Scaling and standardisation are part of it, softmax is not: a network with a classifier gives logits. The batch is
    free, the shape of a crop is not.

    Parameters
    ----------
    shape
        Of one crop: channels, then two or three sides; see `InputSpec.shape`.
    facts
        What is kept in the file's metadata under ``autoonco``, as JSON.

    Raises
    ------
    MissingDependencyError
        If onnx, onnxscript or onnxruntime is not installed.
    ExportError
        If torch can't express the network in ONNX, or ONNX Runtime gives other numbers than it by `tolerance`.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it and says so less clearly
    except ImportError as error:
        raise MissingDependencyError(
            f"Writing ONNX needs the package {error.name}: pip install 'autoonco[onnx]'."
        ) from None
    network = copy.deepcopy(network).eval().cpu()
    model = onnx.load_from_string(_exported(_fixed(network, tuple(shape)), tuple(shape)))
    if facts:
        onnx.helper.set_model_props(model, {"autoonco": json.dumps(dict(facts), sort_keys=True)})
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    crops = np.random.default_rng(0).integers(0, 256, (_CHECKED, *shape), np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(crops)).numpy()
    got = session.run(None, {_INPUT: crops})[0]
    if got.shape != expected.shape or not np.allclose(got, expected, atol=tolerance, rtol=tolerance):
        worst = float(np.abs(got - expected).max()) if got.shape == expected.shape else float("inf")
        raise ExportError(
            f"The ONNX file gives other numbers than its network, by up to {worst:.2g} (allowed: {tolerance:g}), "
            "so it is not written."
        )
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return path


def _fixed(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Return a copy whose positions are interpolated for crops of `shape` once, where it has positions.

    Interpolation by bicubic splines with a filter against aliasing is what the tracing exporter can't say. Networks of
    windows have no positions, and a set size would change their windows.
    """
    network = copy.deepcopy(network)
    inner = getattr(network, "network", network)  # that of an `Embedding`
    backbone = getattr(inner, "backbone", inner)
    has_positions = isinstance(getattr(backbone, "pos_embed", None), torch.Tensor)
    if has_positions and getattr(backbone, "dynamic_img_size", False) and hasattr(backbone, "set_input_size"):
        with torch.inference_mode():
            sides = inner.prepared(torch.zeros((1, *shape), dtype=torch.uint8)).shape[2:]
        backbone.set_input_size(img_size=tuple(sides))
    return network


def _exported(network: nn.Module, shape: tuple[int, ...]) -> bytes:
    """Return the network as the bytes of an ONNX model: traced, which takes seconds, or else captured whole."""
    example = torch.zeros((2, *shape), dtype=torch.uint8)
    reasons = []
    for write in (_traced, _captured):
        try:
            with _plain_attention(), _quiet(), torch.inference_mode(mode=False):
                return write(network, example)
        except Exception as error:  # exporters have a dozen kinds for an operation that they don't know
            first = str(error).strip().splitlines()
            reasons.append(f"{type(error).__name__}: {' '.join(first[:1])[:150]}")
    raise ExportError(f"torch can't express this network in ONNX ({'; '.join(reasons)}).")


def _traced(network: nn.Module, example: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        stream,
        dynamo=False,
        opset_version=_OPSET,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_axes={_INPUT: {0: "n"}, _OUTPUT: {0: "n"}},
    )
    return stream.getvalue()


def _captured(network: nn.Module, example: torch.Tensor) -> bytes:
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=_OPSET,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        verbose=False,
    )
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Have timm compute attention in single steps inside the block: each has a name in ONNX."""
    from timm.layers import set_fused_attn, use_fused_attn

    fused = bool(use_fused_attn())
    set_fused_attn(enable=False)
    try:
        yield
    finally:
        set_fused_attn(enable=fused)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
