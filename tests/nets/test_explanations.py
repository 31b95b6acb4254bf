"""Maps fall on a lesion that was planted where only it tells the classes apart, and change with the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import SimpleITK as sitk
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom
from torch import nn

from autoonco.data.cache import ArtefactCache
from autoonco.data.case import Case
from autoonco.data.fingerprint import Intensity
from autoonco.data.placement import put_back
from autoonco.data.preprocessing import SliceView, VolumeView
from autoonco.data.readers import read_image
from autoonco.families.contract import FitContext, Runtime
from autoonco.families.maps import odds_of, on_scan, slopes
from autoonco.families.networks import TrainedNetwork
from autoonco.families.pretrained2d import family, probe_of
from autoonco.nets.builders import Network, build_2d, build_3d
from autoonco.nets.explanations import Method, explain_crop, log_odds
from autoonco.nets.inputs import InputSpec, crop, crops
from autoonco.tabular.pipeline import complete
from tests.fingerprints import PICTURES

WIDTH, HEIGHT, RADIUS = 80, 64, 9
GREY = {"mean": [0.5] * 3, "std": [0.25] * 3, "architecture": "x"}


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Pictures of tissue; in those of class 1 a bright disk, whose place `lesions` tells."""

    cases: list[Case]
    y: NDArray[np.int64]
    lesions: NDArray[np.bool_]

    @property
    def positive(self) -> list[Case]:
        return [case for case, label in zip(self.cases, self.y, strict=True) if label]


def planted(folder: Path, n: int, seed: int) -> Planted:
    rng, (rows, columns) = np.random.default_rng(seed), np.mgrid[:HEIGHT, :WIDTH]
    y, cases, lesions = np.arange(n) % 2, [], []
    folder.mkdir(exist_ok=True)
    for index in range(n):
        tissue = gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), 3)
        grey = 90 + 20 * tissue / tissue.std()
        centre = rng.uniform(RADIUS + 1, HEIGHT - RADIUS - 1), rng.uniform(RADIUS + 1, WIDTH - RADIUS - 1)
        disk = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < RADIUS**2
        if y[index]:
            grey[disk] += 60 + 25 * rng.normal(size=int(disk.sum()))
        path = folder / f"{index}.png"
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(path)
        cases.append(Case(case=str(index), patient=str(index), images={"image": path}, row=index + 1))
        lesions.append(disk)
    return Planted(cases=cases, y=y, lesions=np.array(lesions))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("known"), 32, seed=0)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("fresh"), 16, seed=1)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime(artefacts=ArtefactCache(tmp_path_factory.mktemp("cache")), n_threads=1)


def spec_of(size: int) -> InputSpec:
    return InputSpec(intensity={"image": Intensity.BYTE}, view=SliceView(size=size), ndim=2)


def on_lesions(maps: Sequence[NDArray[np.float32]], data: Planted) -> tuple[float, float, float]:
    """Return the mean share of a map's mass in its own lesion, in those of other cases, and a lesion's area share.

    The second is what a map gets that says the same of every picture: the middle, the edges, or all of it.
    """
    lesions = data.lesions[data.y == 1]
    mass = np.stack(maps)
    assert (mass.sum(axis=(1, 2)) > 0).all(), "a map is empty"
    shares = np.einsum("ihw,jhw->ij", mass / mass.sum(axis=(1, 2), keepdims=True), lesions)
    n = len(shares)
    own = float(np.trace(shares) / n)
    return own, float((shares.sum() - n * own) / (n * (n - 1))), float(lesions.mean())


def assert_on_lesions(maps: Sequence[NDArray[np.float32]], data: Planted) -> None:
    own, others, area = on_lesions(maps, data)
    assert own > 1.5 * area, (own, area)
    assert own > 1.5 * others, (own, others)


def taught(network: Network, data: Planted, size: int, runtime: Runtime, *, epochs: int) -> TrainedNetwork:
    """Return the network after a short training: batches of 8, AdamW, flips."""
    pictures = torch.from_numpy(crops(data.cases, spec_of(size), runtime.artefacts))
    labels, order = torch.from_numpy(data.y), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(epochs):
        network.train()
        for rows in torch.randperm(len(labels), generator=order).split(8):
            turned = pictures[rows].flip(2 + int(torch.randint(2, (1,), generator=order)))
            batch = torch.cat([pictures[rows], turned])
            loss = nn.functional.cross_entropy(network(batch), labels[rows].repeat(2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return TrainedNetwork(network=network.eval(), build={}, spec=spec_of(size), runtime=runtime)


def vit(pool: str) -> Network:
    options = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 4}
    torch.manual_seed(0)
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=2, global_pool=pool, **options)
    return Network(backbone, GREY)


def swin() -> Network:
    options = {"img_size": 64, "patch_size": 4, "window_size": 4, "embed_dim": 24, "depths": (1, 1)}
    torch.manual_seed(0)
    backbone = timm.create_model("swin_tiny_patch4_window7_224", num_classes=2, num_heads=(2, 4), **options)
    return Network(backbone, GREY)


def cnn() -> Network:
    """Small, and without batch norms, which a short training leaves unsettled."""
    torch.manual_seed(0)
    backbone = timm.create_model("convnext_atto", num_classes=2, depths=(1, 1, 1, 1), dims=(16, 32, 48, 64))
    return Network(backbone, GREY)


TRAINED: dict[str, tuple[Callable[[], Network], Method, int]] = {
    "vit, class token": (lambda: vit("token"), Method.ATTENTION, 12),
    "vit, mean of patches": (lambda: vit("avg"), Method.ATTENTION, 12),
    "swin": (swin, Method.GRAD_CAM, 20),
    "cnn": (cnn, Method.GRAD_CAM, 16),
}


@pytest.fixture(scope="module", params=TRAINED.values(), ids=TRAINED)
def trained(
    request: pytest.FixtureRequest, known: Planted, runtime: Runtime
) -> tuple[TrainedNetwork, Method]:
    make, method, epochs = request.param
    return taught(make(), known, 64, runtime, epochs=epochs), method


@pytest.mark.slow
def test_maps_of_a_trained_network_fall_on_the_lesion(
    trained: tuple[TrainedNetwork, Method], fresh: Planted
) -> None:
    model, method = trained
    found = model.explain(fresh.positive, 1)
    assert {one.method for one in found} == {method}
    assert all(one.map.shape == (HEIGHT, WIDTH) and one.map.max() == 1 for one in found)
    assert_on_lesions([one.map for one in found], fresh)


@pytest.mark.slow
def test_random_weights_give_another_map(trained: tuple[TrainedNetwork, Method], fresh: Planted) -> None:
    model, _ = trained
    drawn = copy.deepcopy(model.network)
    torch.manual_seed(1)
    for parameter in drawn.parameters():  # as in Adebayo et al., "Sanity Checks for Saliency Maps", 2018
        nn.init.normal_(parameter, std=0.2)
    cases = fresh.positive[:4]
    seen, again = (np.stack([one.map for one in model.explain(cases, 1)]) for _ in range(2))
    other = np.stack([one.map for one in replace(model, network=drawn).explain(cases, 1)])
    assert (again == seen).all()
    assert np.abs(seen - other).mean() > 0.5 * seen.mean()


HEADS = {
    "linear": ({"head:learner": "logistic_regression", "head:logistic_regression:C": 0.02}, Method.GRAD_CAM),
    "trained by gradient": ({"classifier": "linear"}, Method.GRAD_CAM),
    "as probed by default": (probe_of("tf_efficientnet_lite0") | {"size": 128}, Method.GRAD_CAM),
    "trees": ({"head:learner": "xgboost"}, Method.OCCLUSION),
}


@pytest.mark.slow
@pytest.mark.parametrize(("head", "method"), HEADS.values(), ids=HEADS)
def test_maps_of_a_frozen_network_fall_on_the_lesion(
    head: dict[str, object], method: Method, known: Planted, fresh: Planted, runtime: Runtime
) -> None:
    config = {"mode": "frozen", "network": "tf_efficientnet_lite0", "size": 128, **head}
    config = complete(family.space(FINGERPRINT), config)
    fidelity = family.plan(config, 1.0, inner_folds=2, n_train=32)
    context = FitContext(runtime=runtime, fingerprint=FINGERPRINT, seed=0)
    model = family.fit(config, known.cases, known.y, fidelity=fidelity, context=context)
    few = Planted(cases=fresh.cases[:8], y=fresh.y[:8], lesions=fresh.lesions[:8])
    found = model.explain(few.positive, 1)
    assert {one.method for one in found} == {method}
    assert_on_lesions([one.map for one in found], few)


FINGERPRINT = replace(PICTURES, n_cases=32, n_patients=32, class_counts=(16, 16), shape=(WIDTH, HEIGHT))


class Patch(nn.Module):
    """Logits whose class 1 is the brightness of one patch of the first channel, through maps of `stride` pixels."""

    def __init__(self, where: tuple[slice, ...], stride: int) -> None:
        super().__init__()
        self.where = where
        pool = nn.AvgPool2d if len(where) == 2 else nn.AvgPool3d
        self.backbone = nn.Sequential(pool(stride))
        self.anything = nn.Parameter(torch.ones(1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(crops[:, :1]) * self.anything
        seen = maps[(slice(None), 0, *self.where)].flatten(1).sum(dim=1)
        return torch.stack([torch.zeros_like(seen), seen], dim=1)


def score(network: nn.Module, given: torch.Tensor) -> torch.Tensor:
    return log_odds(network(given), 1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_occlusion_finds_the_only_pixels_that_count(ndim: int) -> None:
    where = (slice(8, 16),) * ndim
    bright = np.full((1, *(32,) * ndim), 50, np.uint8)
    bright[(0, *where)] = 250
    network = Patch(where, 1)
    found = explain_crop(network, score, bright, n_image_channels=1, has_gradient=False)
    assert found.method is Method.OCCLUSION
    (values,) = found.values
    assert values.shape == bright.shape[1:]
    inside = np.zeros(values.shape, bool)
    inside[where] = True
    near = np.zeros(values.shape, bool)
    near[(slice(1, 23),) * ndim] = True  # a window that touches it
    assert values[inside].min() > 0
    assert values[inside].mean() > 3 * values[~inside].mean()
    np.testing.assert_allclose(values[~near], 0, atol=1e-5)


def test_occlusion_leaves_masks_alone() -> None:
    def of_mask(_: nn.Module, given: torch.Tensor) -> torch.Tensor:
        return given[:, 1].flatten(1).sum(dim=1)

    pair = np.random.default_rng(0).integers(0, 255, (2, 16, 16)).astype(np.uint8)
    network = Patch((slice(0, 4),) * 2, 1)
    found = explain_crop(network, of_mask, pair, n_image_channels=1, has_gradient=False)
    assert not found.values.any()


def test_grad_cam_is_the_weighted_sum_of_the_maps_of_the_deepest_layer() -> None:
    network = build_2d("tf_efficientnet_lite0", n_classes=2, seed=1).eval()
    picture = np.random.default_rng(0).integers(0, 255, (3, 224, 224)).astype(np.uint8)
    found = explain_crop(network, score, picture, n_image_channels=3)
    assert found.method is Method.GRAD_CAM
    # by hand: the network ends in a mean over positions and a linear layer, so the weights are known
    maps = network.backbone.forward_features(network.scale(torch.from_numpy(picture)[None])).detach()
    weights = network.backbone.classifier.weight[1] - network.backbone.classifier.weight[0]
    expected = torch.einsum("c,chw->hw", weights.detach(), maps[0]).clamp(min=0) / maps[0, 0].numel()
    np.testing.assert_allclose(found.values[0], expected.numpy(), rtol=1e-3, atol=1e-6)
    assert network.backbone.blocks[0][0].bn1.act.inplace  # what was asked is as it was


def test_each_picture_of_a_case_has_a_map_of_its_own() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64)).astype(np.uint8)
    network = cnn().eval()

    def of_second(network: nn.Module, given: torch.Tensor) -> torch.Tensor:
        logits = network(given.unflatten(1, (2, 3)).flatten(0, 1)).unflatten(0, (-1, 2))
        return log_odds(logits[:, 1], 1)

    layout = {"n_pictures": 2, "n_image_channels": 6}
    both = [
        explain_crop(network, of_second, pictures.reshape(6, 64, 64), has_gradient=how, **layout)
        for how in (True, False)
    ]
    alone = explain_crop(network, score, pictures[1], n_image_channels=3)
    assert not both[0].values[0].any()  # no gradient at all
    # occluded pictures are computed eight at a time, the whole one alone: that rounds another way, by 3e-8 of log odds
    assert both[1].values[0].max() < 1e-6
    np.testing.assert_allclose(both[0].values[1], alone.values[0], rtol=1e-4, atol=1e-7)


def test_slopes_are_those_of_a_linear_head_and_flat_ones_are_none() -> None:
    rng = np.random.default_rng(0)
    weights, features = rng.normal(size=(3, 5)), rng.normal(size=5)

    def proba(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(torch.from_numpy(x @ weights.T).softmax(dim=1))

    probabilities = proba(features[None])[0]
    others = np.delete(probabilities, 1) / np.delete(probabilities, 1).sum()
    expected = weights[1] - others @ np.delete(weights, 1, axis=0)
    np.testing.assert_allclose(slopes(proba, features, 1), expected, rtol=1e-5)
    assert not slopes(lambda x: np.tile([0.0, 1.0], (len(x), 1)), features, 1).any()
    assert np.isfinite(odds_of(np.array([[0.0, 1.0], [1.0, 0.0]]), 1)).all()


@pytest.mark.parametrize("distance", [0.0, 2e-4, 8e-4])
def test_a_threshold_nearby_is_no_slope(distance: float) -> None:
    features = np.array([1.0, 1.0, -1.0])

    def stump(x: NDArray[np.float64]) -> NDArray[np.float64]:
        high = np.where(x[:, 1] > 1 + distance, 0.8, 0.3)
        return np.c_[1 - high, high]

    assert not slopes(stump, features, 1).any()

    def both(x: NDArray[np.float64]) -> NDArray[np.float64]:
        high = 1 / (1 + np.exp(-2 * x[:, 0] - np.where(x[:, 1] > 1 + distance, 5, 0)))
        return np.c_[1 - high, high]

    np.testing.assert_allclose(slopes(both, features, 1), [2, 0, 0], atol=1e-5)


def test_a_linear_head_stays_where_it_is_while_its_case_is_explained(
    known: Planted, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "mode": "frozen",
        "network": "tf_efficientnet_lite0",
        "classifier": "linear",
        "linear:epochs": 5,
    }
    config = complete(family.space(FINGERPRINT), config) | {"size": 64}
    fidelity = family.plan(config, 1.0, inner_folds=2, n_train=8)
    context = FitContext(runtime=runtime, fingerprint=FINGERPRINT, seed=0)
    model = family.fit(config, known.cases[:8], known.y[:8], fidelity=fidelity, context=context)

    def moved(*_: object, **__: object) -> NoReturn:
        raise AssertionError(
            "a head that was moved to a GPU can't predict from embeddings on the CPU any more"
        )

    monkeypatch.setattr(model.head, "to", moved)
    (found,) = model.explain(known.positive[:1], 1)
    assert found.map.shape == (HEIGHT, WIDTH)


def volume(folder: Path) -> Case:
    """A turned scan of 20 x 24 x 10 voxels with a lesion in one corner."""
    values = np.random.default_rng(0).uniform(0, 255, (10, 24, 20)).astype(np.float32)
    mask = np.zeros(values.shape, np.uint8)
    mask[4:8, 3:9, 10:17] = 1
    mask[5, 3:12, 9:18] = 1
    paths = []
    for name, array in (("image", values), ("mask", mask)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.8, 3.0))
        image.SetOrigin((5.0, -20.0, 7.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        paths.append(folder / f"{name}.nii.gz")
        sitk.WriteImage(image, str(paths[-1]))
    return Case(case="v", patient="v", images={"image": paths[0]}, masks={"mask": paths[1]}, row=1)


VIEWS = {
    "slice": SliceView(size=96, use_mask=True),
    "crop of a slice": SliceView(size=96, focus="lesion", use_mask=True),
    "neighbours": SliceView(size=96, focus="lesion", use_mask=True, slices="adjacent"),
    "planes": SliceView(size=96, focus="lesion", use_mask=True, slices="planes"),
    "cube": VolumeView(size=48),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_crop_of_a_volume_goes_back_to_the_voxels_it_came_from(
    view: SliceView | VolumeView, tmp_path: Path
) -> None:
    case = volume(tmp_path)
    spec = InputSpec(intensity={"image": Intensity.BYTE}, view=view, ndim=3)
    seen = crop(case, spec).astype(np.float32)
    if isinstance(view, SliceView):
        channel = 1 if view.slices == "adjacent" else 0
        seen = seen.reshape(spec.n_pictures, 3, 96, 96)[:, channel]
    placed = on_scan(seen, case, spec)
    truth = sitk.GetArrayFromImage(read_image(case.images["image"]))
    covered = placed > 0
    assert covered.any()
    assert np.corrcoef(placed[covered], truth[covered])[0, 1] > 0.8
    if isinstance(view, SliceView) and view.slices != "planes":
        assert np.flatnonzero(covered.any(axis=(1, 2))).tolist() == [
            5
        ]  # the slice of the largest area, no other


def test_a_picture_goes_back_to_its_pixels(fresh: Planted) -> None:
    case = fresh.cases[1]
    picture = np.asarray(Image.open(case.images["image"]), np.float32)
    spec = spec_of(WIDTH)  # padded to a square at its own resolution: back is the identity
    placed = on_scan(crop(case, spec)[:1].astype(np.float32), case, spec)
    np.testing.assert_allclose(placed, picture / picture.max(), atol=1e-2)


def test_coarse_values_are_interpolated_between_the_centres_of_their_cells() -> None:
    grid, image = sitk.Image([8, 8], sitk.sitkUInt8), sitk.Image([8, 8], sitk.sitkUInt8)
    values = np.random.default_rng(0).uniform(size=(4, 4)).astype(np.float32)
    expected = zoom(values, 2, order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(put_back(values, grid, image), expected, atol=1e-6)
    image.SetOrigin((100.0, 0.0))
    assert not put_back(values, grid, image).any()


NETWORKS_3D = {"monai_resnet10": Method.GRAD_CAM, "monai_vit_tiny": Method.ATTENTION}


@pytest.mark.parametrize(("name", "method"), NETWORKS_3D.items())
def test_networks_of_volumes_explain_on_the_scans_grid(
    name: str, method: Method, runtime: Runtime, tmp_path: Path
) -> None:
    case, view = volume(tmp_path), VolumeView(size=16, focus="lesion", margin=0.1)
    spec = InputSpec(intensity={"image": Intensity.BYTE}, view=view, ndim=3)
    network = build_3d(name, n_classes=3, in_channels=1, size=16).eval()
    model = TrainedNetwork(network=network, build={}, spec=spec, runtime=runtime)
    found = [model.explain([case], target)[0] for target in range(3)]
    assert {one.method for one in found} == {method}
    assert {one.map.shape for one in found} == {(10, 24, 20)}
    best = max(found, key=lambda one: float(one.map.sum()))
    assert best.map.max() == 1
    assert not best.map[:, :, 0].any()  # beyond the cube around the lesion
