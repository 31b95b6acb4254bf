"""Published 3D weights come under our names and along our axes: files as their authors write them, of other numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from autoonco.errors import AutoOncoError, OfflineWeightsError, WeightsError
from autoonco.nets.access import Access, using
from autoonco.nets.builders import build_3d
from autoonco.nets.fetching import fetch, verify
from autoonco.nets.weight_files import read_record
from autoonco.nets.zoo import entry_of, left_out, with_weights

Tensors = Mapping[str, torch.Tensor]
SIZE = 32
EVERYTHING = Access(licences=("any",))


def shaken(module: nn.Module) -> nn.Module:
    """Return a module with every number of its own, statistics of norms too."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            if value.ndim > 1:  # by its inputs, or a hundred layers overflow
                value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
            else:
                value.copy_(torch.rand_like(value) * 0.1 + (0.5 if "running_var" in name else 0))
    return module.eval()


def prefixed(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def medicalnet(depth: int) -> tuple[nn.Module, dict[str, object]]:
    """By MONAI's own account of these files: keys of `ResNetFeatures` after ``module.``, in ``state_dict``."""
    from monai.networks.nets.resnet import ResNetFeatures

    class Pooled(ResNetFeatures):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[-1].mean(dim=(2, 3, 4))

    net = shaken(Pooled(f"resnet{depth}", pretrained=False, spatial_dims=3, in_channels=1))
    extra = {"module.conv_seg.0.weight": torch.zeros(1)}
    return net, {"epoch": 9, "state_dict": prefixed(net.state_dict(), "module.") | extra}


def ct_fm() -> tuple[nn.Module, dict[str, object]]:
    from monai.networks.nets.segresnet_ds import SegResEncoder

    net = shaken(SegResEncoder(blocks_down=(1, 2, 2, 4, 4), head_module=lambda x: x[-1].mean(dim=(2, 3, 4))))
    return net, dict(net.state_dict())


def swin(inner: str, outer: str) -> tuple[nn.Module, dict[str, object]]:
    from monai.networks.nets import SwinUNETR

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = shaken(SwinUNETR(in_channels=1, out_channels=14, feature_size=48))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.whole.swinViT(x, True)[-1].mean(dim=(2, 3, 4))

    net = Pooled().eval()
    tensors = prefixed(net.whole.swinViT.state_dict(), inner)
    decoder = {f"{inner.partition('swinViT')[0]}decoder1.weight": torch.zeros(2)}
    return net, {outer: tensors | decoder, "optimizer": {"lr": 0.1}}


def swin_ssl() -> tuple[nn.Module, dict[str, object]]:
    """MONAI's `SwinUNETR.load_from` reads these files, so it is asked what is in them."""
    net, content = swin("module.", "state_dict")
    tensors = content["state_dict"]
    assert isinstance(tensors, dict)
    content["state_dict"] = {
        name.replace("mlp.linear1", "mlp.fc1").replace("mlp.linear2", "mlp.fc2"): value
        for name, value in tensors.items()
    } | {"module.norm.weight": torch.zeros(1), "module.rotation_head.weight": torch.zeros(4, 768)}
    from monai.networks.nets import SwinUNETR

    theirs = SwinUNETR(in_channels=1, out_channels=14, feature_size=48)
    theirs.load_from(content)
    for name, value in theirs.swinViT.state_dict().items():
        assert torch.equal(value, net.whole.swinViT.state_dict()[name]), name
    return net, content


class StuNet(nn.Module):
    """The encoder's names as in the published code: units numbered within stages numbered in a list."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_blocks_context = nn.ModuleList()
        for number, (one, other) in enumerate(zip((1, *dims[:-1]), dims, strict=True)):
            unit = nn.ModuleDict(
                {
                    "conv1": nn.Conv3d(one, other, 3, stride=1 + (number > 0), padding=1),
                    "norm1": nn.InstanceNorm3d(other, affine=True),
                    "conv2": nn.Conv3d(other, other, 3, padding=1),
                    "norm2": nn.InstanceNorm3d(other, affine=True),
                    "conv3": nn.Conv3d(one, other, 1, stride=1 + (number > 0)),
                }
            )
            self.conv_blocks_context.append(nn.ModuleList([unit]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        act = nn.functional.leaky_relu
        for (unit,) in self.conv_blocks_context:
            y = unit["norm2"](unit["conv2"](act(unit["norm1"](unit["conv1"](x)))))
            x = act(y + unit["conv3"](x))
        return x.mean(dim=(2, 3, 4))


def stunet() -> tuple[nn.Module, dict[str, object]]:
    """With the training log of nnU-Net v1 beside the tensors: numbers of numpy's."""
    net = shaken(StuNet((16, 32, 64, 128, 256, 256)))
    other = {"seg_outputs.0.weight": torch.zeros(1)}
    log = ([np.float64(0.5), np.float64(0.25)], [np.float32(1.0)], [np.int64(3)])
    return net, {"epoch": 4000, "state_dict": dict(net.state_dict()) | other, "plot_stuff": log}


class I3ResNet(nn.Module):
    """torchvision's ResNet-152 with kernels of three layers where it has some of three pixels."""

    def __init__(self) -> None:
        super().__init__()
        import torchvision

        flat = torchvision.models.resnet152(weights=None)
        for module in list(flat.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Conv2d):
                    stem = child.kernel_size[0] == 7
                    depth, stride = (3, 1) if stem else (child.kernel_size[0], child.stride[0])
                    kernel = (depth, *child.kernel_size)
                    deep = nn.Conv3d(
                        child.in_channels, child.out_channels, kernel, stride=(stride, *child.stride),
                        padding=(depth // 2, *child.padding), bias=False,
                    )  # fmt: skip
                    setattr(module, name, deep)
                elif isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.BatchNorm3d(child.num_features))
        flat.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        flat.avgpool = nn.AdaptiveAvgPool3d(1)
        flat.fc = nn.Identity()
        self.flat = shaken(flat)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flat(x.expand(-1, 3, -1, -1, -1))


def merlin() -> tuple[nn.Module, dict[str, object]]:
    net = I3ResNet().eval()
    heads = {"encode_image.i3_resnet.classifier.weight": torch.zeros(2), "encode_text.a": torch.zeros(2)}
    return net, prefixed(net.flat.state_dict(), "encode_image.i3_resnet.") | heads


def astra() -> tuple[nn.Module, dict[str, object]]:
    """As the package's encoder alone, in half precision."""
    net = I3ResNet().eval()
    half = {name: v.half() if v.is_floating_point() else v for name, v in net.flat.state_dict().items()}
    net.flat.load_state_dict(half)
    return net, {"state_dict": half, "meta": {"source": "there"}}


Made = Callable[[], tuple[nn.Module, dict[str, object]]]
FILES: dict[str, Made] = {
    "medicalnet_resnet10": lambda: medicalnet(10),
    "medicalnet_resnet18": lambda: medicalnet(18),
    "medicalnet_resnet34": lambda: medicalnet(34),
    "medicalnet_resnet50": lambda: medicalnet(50),
    "swin_unetr_ssl": swin_ssl,
    "suprem_swin": lambda: swin("module.backbone.swinViT.", "net"),
    "stunet_small": stunet,
    "ct_fm": ct_fm,
    "merlin": merlin,
    "astra": astra,
}
QUICK = ("medicalnet_resnet10", "stunet_small")


def written(name: str, content: dict[str, object], folder: Path) -> Path:
    path = folder / f"theirs{Path(entry_of(name)['weights']['file']).suffix}"
    if path.suffix == ".safetensors":
        save_file({key: value for key, value in content.items() if isinstance(value, torch.Tensor)}, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow], id=n) for n in FILES]
)
def test_a_file_of_theirs_gives_their_features(name: str, tmp_path: Path) -> None:
    reference, content = FILES[name]()
    fetch(name, tmp_path / "weights", given=written(name, content, tmp_path))
    access = Access(folder=tmp_path / "weights", licences=("any",))
    size = 64 if name.startswith("stunet") else SIZE
    with using(access):
        assert name in with_weights(3)
        assert verify(tmp_path / "weights")[name] is None
        network = build_3d(name, n_classes=0, in_channels=1, size=size, pretrained=True).eval()
    volume = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 1, size, size, size), np.uint8))
    entry = entry_of(name)
    standardised = (volume.double() / 255 - entry["mean"][0]) / entry["std"][0]
    axes = entry["weights"].get("axes", "zyx")
    as_theirs = standardised.permute(0, 1, *(2 + "zyx".index(axis) for axis in axes))
    with torch.inference_mode():
        # in double precision: a hundred layers of random weights make much of a rounded sum
        expected, got = reference.double()(as_theirs.contiguous()), network.double()(volume)
    scale = float(expected.abs().max())
    torch.testing.assert_close(got / scale, expected / scale, rtol=1e-3, atol=1e-4)
    fact = read_record(tmp_path / "weights")[name]
    assert fact["converted"]
    assert fact["licence"] == entry["weights"]["licence"]


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    _, content = medicalnet(10)
    path = written("medicalnet_resnet10", content, tmp_path)
    with pytest.raises(WeightsError, match="does not fit"):
        fetch("medicalnet_resnet34", tmp_path / "weights", given=path)
    with pytest.raises(WeightsError, match="mapping of tensors"):
        fetch("suprem_swin", tmp_path / "weights", given=path)  # its tensors would be under another name
    assert not (tmp_path / "weights" / "weights.json").exists()


def test_what_is_on_no_hub_is_told_where_to_get(tmp_path: Path) -> None:
    with using(EVERYTHING):
        assert "model_swinvit.pt" in left_out(3)["swin_unetr_ssl"]
        assert "--from FILE" in left_out(3)["swin_unetr_ssl"]
    with pytest.raises(AutoOncoError, match="on no hub"):
        fetch("swin_unetr_ssl", tmp_path)
    with pytest.raises(OfflineWeightsError, match="not on this machine"):
        build_3d("ct_fm", n_classes=0, in_channels=1, size=SIZE, pretrained=True)


def test_a_licence_that_nobody_told_has_to_be_allowed() -> None:
    assert "licence unknown is not allowed" in left_out(3)["swin_unetr_ssl"]
