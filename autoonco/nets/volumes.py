"""3D backbones behind the face that timm gives 2D ones, so that heads, blocks and modes are the same for both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoonco.nets.checkpointing import run_all


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Which modules of a network come one after the other: the first ones, its stages, and what ends it.

    Parameters
    ----------
    stem, neck
        Names of modules before and after the stages.
    stages
        Names of the modules of each stage; the maps after each are the network's layers.
    width
        Channels at the end.
    """

    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    neck: tuple[str, ...] = ()
    width: int


class VolumeBackbone(nn.Module):  # type: ignore[misc]
    """A network for crops ``(n, channels, depth, height, width)`` as timm's show themselves.

    Parameters
    ----------
    net
        The network; its own classifier is not used, and should be gone.
    anatomy
        Its parts in order.
    n_classes
        Outputs; 0 leaves the classifier out.
    drop_rate
        Dropout before the classifier.

    Attributes
    ----------
    grad_checkpointing
        Whether blocks are computed anew for their gradient instead of being kept: less memory, a third more time.
    """

    num_prefix_tokens = 0
    output_fmt = "NCHW"

    def __init__(self, net: nn.Module, anatomy: Anatomy, *, n_classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.net = net
        self.anatomy = anatomy
        self.head_hidden_size = anatomy.width
        self.head_drop = nn.Dropout(drop_rate)
        self.classifier: nn.Module = nn.Identity()
        self.grad_checkpointing = False
        self.reset_classifier(n_classes)

    @property
    def feature_info(self) -> tuple[tuple[str, ...], ...]:
        """The layers that `forward_intermediates` may be asked for, from the first to the last."""
        return self.anatomy.stages

    @property
    def stem_convs(self) -> tuple[nn.Conv3d, ...]:
        """The convolutions that meet the crops: the first one, and its shortcut where a block says that it has one."""
        first = next(module for module in self.net.modules() if isinstance(module, nn.Conv3d))
        return (first, *getattr(self.net, "stem_shortcuts", ()))

    def reset_classifier(self, n_classes: int) -> None:
        """Give the network a new classifier, with random weights, or none."""
        self.classifier = nn.Linear(self.head_hidden_size, n_classes) if n_classes else nn.Identity()
        if n_classes:
            nn.init.zeros_(self.classifier.bias)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Switch `grad_checkpointing`."""
        self.grad_checkpointing = enable

    def groups(self, *, coarse: bool = False) -> list[list[str]]:
        """Return names of parameters from the stem to the classifier, a block or with `coarse` a stage each."""
        stages = [self._blocks(stage) for stage in self.anatomy.stages]
        middle = [[prefix for block in stage for prefix in block] for stage in stages]
        parts = middle if coarse else [block for stage in stages for block in stage]
        ends = [*(f"net.{name}" for name in self.anatomy.neck), "classifier"]
        found: list[list[str]] = [[] for _ in range(len(parts) + 2)]
        for name, _ in self.named_parameters():
            place = next(
                (number for number, part in enumerate([*parts, ends], start=1) if _within(name, part)), 0
            )
            found[place].append(name)
        return found

    def _blocks(self, stage: Sequence[str]) -> list[list[str]]:
        """Return prefixes of the blocks of a stage: what it chains, one by one."""
        blocks: list[list[str]] = []
        for name in stage:
            module = self.net.get_submodule(name)
            if _is_chain(module):
                blocks += [[f"net.{name}.{child}"] for child, _ in module.named_children()]
            else:
                blocks.append([f"net.{name}"])
        return blocks

    def _modules_of(self, names: Sequence[str]) -> Iterator[nn.Module]:
        """Yield modules by name, what they chain one by one."""
        for name in names:
            module = self.net.get_submodule(name)
            if _is_chain(module):
                yield from module
            else:
                yield module

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps ``(n, channels, depth, height, width)`` after each stage, the last one after the neck."""
        x = run_all(list(self._modules_of(self.anatomy.stem)), x)
        found = []
        for stage in self.anatomy.stages:
            x = self._run(stage, x)
            found.append(x)
        found[-1] = run_all(list(self._modules_of(self.anatomy.neck)), x)
        return found

    def _run(self, stage: Sequence[str], x: torch.Tensor) -> torch.Tensor:
        again = self.grad_checkpointing and self.training
        return run_all(list(self._modules_of(stage)), x, again=again)

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: Sequence[int],
        output_fmt: str = "NCHW",  # noqa: ARG002 - timm's form
        **_: Any,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the last features and the maps after the stages of these numbers."""
        found = self.maps(x)
        return found[-1], [found[index] for index in indices]

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last maps."""
        return self.maps(x)[-1]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return logits of the last features, or what the classifier sees."""
        seen = self.head_drop(self.summary(x))
        return seen if pre_logits else self.classifier(seen)

    def summary(self, x: torch.Tensor) -> torch.Tensor:
        """Return one vector a crop ``(n, width)`` of the last features: their mean."""
        return x.flatten(2).mean(dim=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, n_classes)``, or the features where there is no classifier."""
        return self.forward_head(self.forward_features(x))


class TokenBackbone(VolumeBackbone):
    """A vision transformer: patches as tokens, perhaps with a class token before them.

    Parameters
    ----------
    net
        One of MONAI's, with ``patch_embedding``, ``blocks`` and ``norm``; its class token is ``cls_token``.
    n_tokens
        Patches along each axis.
    """

    def __init__(self, net: nn.Module, *, width: int, n_tokens: tuple[int, ...], n_classes: int) -> None:
        stages = tuple((f"blocks.{number}",) for number in range(len(net.blocks)))
        anatomy = Anatomy(stem=("patch_embedding",), stages=stages, neck=("norm",), width=width)
        super().__init__(net, anatomy, n_classes=n_classes)
        self.n_tokens = n_tokens
        self.num_prefix_tokens = int(hasattr(net, "cls_token"))

    @property
    def cls_token(self) -> torch.Tensor | None:
        """The class token, where there is one."""
        return getattr(self.net, "cls_token", None)

    def no_weight_decay(self) -> set[str]:
        """Return names of positions and tokens."""
        own = {"net.cls_token"} if self.num_prefix_tokens else set()
        return own | {"net.patch_embedding.position_embeddings"}

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens ``(n, n_tokens, width)`` after the last norm."""
        return self._tokens(x)[-1]

    def _tokens(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the tokens after each block, those of the last one normalised."""
        tokens = self.net.patch_embedding(x)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        found = []
        for stage in self.anatomy.stages:
            tokens = self._run(stage, tokens)
            found.append(tokens)
        found[-1] = self.net.norm(tokens)
        return found

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the patches' tokens after each block as maps ``(n, width, depth, height, width)``."""
        return [self._laid_out(tokens) for tokens in self._tokens(x)]

    def _laid_out(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, self.num_prefix_tokens :].transpose(1, 2).unflatten(2, self.n_tokens)

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: Sequence[int],
        output_fmt: str = "NCHW",  # noqa: ARG002 - timm's form
        **_: Any,
    ) -> tuple[torch.Tensor, list[Any]]:
        """Return the last tokens and, of the blocks of these numbers, maps with the class token's beside them."""
        found = self._tokens(x)
        maps = [self.net.norm(found[index]) if index < len(found) - 1 else found[-1] for index in indices]
        if not self.num_prefix_tokens:
            return found[-1], [self._laid_out(tokens) for tokens in maps]
        return found[-1], [(self._laid_out(tokens), tokens[:, :1]) for tokens in maps]

    def summary(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class token's vector, or the mean of the patches'."""
        return x[:, 0] if self.num_prefix_tokens else x.mean(dim=1)


class ChannelNorm(nn.Module):  # type: ignore[misc]
    """Channels of each position standardised, without weights: how Swin-UNETR hands its maps on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape ``(n, channels, ...)``."""
        return nn.functional.layer_norm(x.movedim(1, -1), [x.shape[1]]).movedim(-1, 1)


def _is_chain(module: nn.Module) -> bool:
    """Return whether a module is a chain of blocks; a chain of layers is a block itself."""
    return isinstance(module, nn.Sequential) and all(any(child.children()) for child in module)


def _within(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
