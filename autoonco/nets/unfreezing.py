"""Which part of a network learns when: blocks from the stem to the head, the last of them first."""

from __future__ import annotations

from torch import nn

Blocks = list[dict[str, nn.Parameter]]


def blocks_of(network: nn.Module) -> Blocks:
    """Return the parameters by name in groups from the stem (first) to the head (last), none twice.

    A network that knows its `blocks` says them; of any other the children count, in order. What belongs to no block
    (a head put around a network) is part of the last one.
    """
    named = dict(network.named_parameters())
    if callable(getattr(network, "blocks", None)):
        groups = [dict.fromkeys(block) for block in network.blocks()]
    else:
        children = [name for name, _ in network.named_children()]
        groups = [dict.fromkeys(n for n in named if n.partition(".")[0] == child) for child in children]
    found = [{name: named[name] for name in group} for group in groups if group] or [{}]
    placed = {name for block in found for name in block}
    found[-1] |= {name: parameter for name, parameter in named.items() if name not in placed}
    return found


def train_last(network: nn.Module, n_blocks: int) -> None:
    """Have the last `n_blocks` learn (1 is the head alone), and keep all before as they are, running means too.

    Parameters
    ----------
    network
        One that knows how to `freeze` parts of itself, as `nets.network.Network` does.
    """
    blocks = blocks_of(network)
    kept = {name for block in blocks[: max(0, len(blocks) - n_blocks)] for name in block}
    network.freeze(kept)
