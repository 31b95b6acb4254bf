"""The same on a GPU as on the CPU; runs with `pytest -m gpu` where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autoonco.nets.augmentation import Augmentation
from autoonco.nets.builders import build_2d, build_3d
from autoonco.nets.embeddings import forward, pick_device
from autoonco.nets.recipe import Recipe
from autoonco.nets.training import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def test_auto_finds_the_gpu() -> None:
    assert pick_device("auto") == "cuda"


def test_embeddings_are_those_of_the_cpu() -> None:
    network = build_2d("tf_efficientnet_lite0", n_classes=0, pretrained=True)
    crops = np.random.default_rng(0).integers(0, 255, (40, 3, 96, 96)).astype(np.uint8)
    on_cpu = forward(network, crops, device="cpu", n_threads=2)
    on_gpu = forward(network, crops, device="cuda", n_threads=2)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-2, rtol=1e-2)


def test_a_cube_network_trains_and_predicts() -> None:
    crops = np.zeros((16, 1, 32, 32, 32), np.uint8)
    y = np.arange(16) % 2
    crops[y == 1, :, 8:24, 8:24, 8:24] = 200
    network = build_3d("monai_resnet10", n_classes=2, in_channels=1, size=32)
    recipe = Recipe(epochs=8, learning_rate=1e-3, batch_size=8, augmentation=Augmentation(strength=0.0))
    trained = train(
        network, crops, y, recipe, n_classes=2, n_image_channels=1, until_epoch=8, seed=0, device="cuda"
    )
    logits = forward(trained, crops, device="cuda", n_threads=1)
    assert (logits.argmax(axis=1) == y).all()
