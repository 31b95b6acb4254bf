"""Which half-trained networks make room for others."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from autoonco.families import all_families
from autoonco.families.contract import Fidelity
from autoonco.search.checkpoints import CheckpointFolder
from autoonco.search.trial import Status, Task
from autoonco.search.workers import WorkerPool

NETWORK = '''
"""A family that trains a small network with all that a checkpoint has to keep."""
import numpy as np
import os
from autoonco.families.contract import ModelState


class Model:
    def __init__(self, network):
        self.network = network

    def predict_proba(self, cases):
        return np.tile([os.getpid(), 0.0], (len(cases), 1))

    def state(self):
        return ModelState(meta={}, tensors={k: v.numpy() for k, v in self.network.state_dict().items()})


class Family:
    name = "network"

    def fit(self, config, cases, y, *, fidelity, context):
        import torch
        from torch import nn
        from autoonco.nets.augmentation import Augmentation
        from autoonco.nets.recipe import Recipe
        from autoonco.nets.training import train

        class Scale(nn.Module):
            def forward(self, crops):
                return crops.float() / 255 if crops.dtype == torch.uint8 else crops

        torch.manual_seed(0)
        network = nn.Sequential(
            Scale(), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(400, 2)
        )
        crops = np.random.default_rng(0).integers(0, 255, (len(y), 1, 12, 12)).astype(np.uint8)
        recipe = Recipe(
            epochs=6, learning_rate=0.01, batch_size=7, ema=0.3, label_smoothing=0.1,
            augmentation=Augmentation(strength=1.0),
        )
        return Model(train(
            network, crops, y, recipe, n_classes=2, n_image_channels=1, until_epoch=fidelity.epochs,
            seed=context.seed, checkpoint=context.checkpoint,
        ))


family = Family()
'''


@pytest.fixture
def network_family(tmp_path, monkeypatch):
    folder = tmp_path / "families"
    info = folder / "network-0.0.dist-info"
    info.mkdir(parents=True)
    (folder / "network_family.py").write_text(NETWORK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: network\nVersion: 0.0\n")
    (info / "entry_points.txt").write_text("[autoonco.families]\nnetwork = network_family:family\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)
    all_families.cache_clear()
    yield
    all_families.cache_clear()


@pytest.fixture
def folder(tmp_path):
    """Five checkpoints of 100 bytes, `a` the oldest."""
    folder = CheckpointFolder(tmp_path, max_bytes=500)
    for number, name in enumerate("abcde"):
        slot = folder.slot(name)
        (slot / "state").write_bytes(bytes(100))
        os.utime(slot, (number, number))
    return folder


def kept(folder, tmp_path, *, room_for, **how):
    CheckpointFolder(tmp_path, max_bytes=100 * room_for).slot("next", **how)
    return "".join(sorted(path.name for path in tmp_path.iterdir() if path.name != "next"))


@pytest.mark.parametrize("room_for", range(6))
def test_the_oldest_make_room(folder, tmp_path, room_for):
    assert kept(folder, tmp_path, room_for=room_for) == "abcde"[5 - room_for :]


@pytest.mark.parametrize(
    ("room_for", "expected"), [(5, "abcde"), (4, "abde"), (3, "abd"), (2, "ab"), (1, "b"), (0, "")]
)
def test_what_may_be_promoted_goes_last_and_the_best_of_it_at_the_very_end(
    folder, tmp_path, room_for, expected
):
    """c and e are of no use any more; b is better than a, and a than d."""
    assert kept(folder, tmp_path, room_for=room_for, promotable=["b", "a", "d"]) == expected


@pytest.mark.parametrize("room_for", [0, 1, 2])
def test_what_is_in_use_is_never_removed(folder, tmp_path, room_for):
    assert "ac" in kept(folder, tmp_path, room_for=room_for, in_use={"a", "c"}, promotable=["e", "b"])
    assert (tmp_path / "a" / "state").stat().st_size == 100


def test_asking_for_one_again_neither_removes_nor_empties_it(folder, tmp_path):
    slot = CheckpointFolder(tmp_path, max_bytes=0).slot("b", in_use={"d"})
    assert (slot / "state").stat().st_size == 100
    assert {path.name for path in tmp_path.iterdir()} == {"b", "d"}


def test_never_more_bytes_than_allowed_however_sizes_fall(tmp_path):
    """Property over random sizes, use and ranks: the bound holds but for what is in use; nothing goes needlessly."""
    rng = np.random.default_rng(0)
    for round_ in range(30):
        root = tmp_path / str(round_)
        names = [f"n{i}" for i in range(8)]
        sizes = {name: int(rng.integers(0, 100)) for name in names}
        for name in names:
            (CheckpointFolder(root).slot(name) / "state").write_bytes(bytes(sizes[name]))
        in_use = set(rng.choice(names, 2, replace=False).tolist())
        promotable = rng.permutation(names)[:4].tolist()
        limit = int(rng.integers(0, 400))
        CheckpointFolder(root, max_bytes=limit).slot("next", in_use=in_use, promotable=promotable)
        left = {path.name for path in root.iterdir()} - {"next"}
        assert in_use <= left
        assert sum(sizes[name] for name in left) <= limit or left == in_use
        gone = [name for name in names if name not in left]
        if gone:  # the last to go was needed
            last = max(gone, key=lambda n: (n in promotable, -promotable.index(n) if n in promotable else 0))
            if last in promotable:
                assert sum(sizes[name] for name in left) + sizes[last] > limit
        ranks = [promotable.index(n) for n in gone if n in promotable]
        stay = [promotable.index(n) for n in left - in_use if n in promotable]
        assert all(worse > better for worse, better in itertools.product(ranks, stay))


def test_nothing_is_left_in_the_end(folder, tmp_path):
    folder.clear()
    assert not tmp_path.exists()


@pytest.mark.slow
def test_cut_in_one_process_and_continued_in_another_equals_uninterrupted(
    network_family, setup, problem, tmp_path
):
    """Weights, averages and statistics of the model; moments and steps of the optimiser in the checkpoint."""
    template = Task(
        id=0,
        family="network",
        config={},
        fidelity=Fidelity(folds=1, epochs=5),
        fold=problem.folds[0],
        fingerprint=problem.fingerprint.to_json(),
        seed=3,
    )

    def end(pool, epochs, name, checkpoint):
        model, kept = tmp_path / name, tmp_path / checkpoint
        fidelity = Fidelity(folds=1, epochs=epochs)
        pool.submit(
            replace(template, fidelity=fidelity, checkpoint=str(kept), save_to=str(model)), timeout_s=90
        )
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            for ended in pool.poll():
                assert ended.status is Status.SUCCESS, ended.reason
                state = load_file(kept / "training.safetensors")
                return ended.proba[0, 0], load_file(model / "tensors.safetensors"), state
        raise AssertionError("no end")

    with WorkerPool(setup) as pool:
        first, part, _ = end(pool, 2, "cut", "thawed")
        _, whole, state = end(pool, 5, "whole", "uncut")
    with WorkerPool(setup) as pool:
        second, thawed, state_thawed = end(pool, 5, "thawed-model", "thawed")
    assert first != second  # process ids
    assert max(np.abs(whole[key] - part[key]).max() for key in whole) > 1e-3
    for one, other in [(whole, thawed), (state, state_thawed)]:
        assert set(one) == set(other)
        for key in one:
            np.testing.assert_allclose(one[key], other[key], atol=1e-6, rtol=0)
    assert {"averaged", "network", "optimizer"} == {key.split("/")[0] for key in state}
