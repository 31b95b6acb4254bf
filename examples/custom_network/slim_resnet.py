"""A slim residual network for pictures, made known to timm."""

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet

# What timm has to know of it: its first convolution and its classifier by name.
default_cfgs = generate_default_cfgs({"slim_resnet": {"first_conv": "conv1", "classifier": "fc"}})


@register_model
def slim_resnet(pretrained=False, **options):
    kind = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}
    return build_model_with_cfg(ResNet, "slim_resnet", pretrained, **kind, **options)
