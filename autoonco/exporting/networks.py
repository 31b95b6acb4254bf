"""The members of a model that have a network, and their ONNX files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoonco.bundle import Bundle
from autoonco.errors import ExportError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class NetworkMember:
    """A member of an ensemble that looks at crops of a case through one network.

    Attributes
    ----------
    number
        Its position in the ensemble.
    weight
        Its vote.
    family
        Name of its family, empty where that is not known.
    model
        The fitted model; it has a `network` and the `spec` of its crops.
    """

    number: int
    weight: float
    family: str
    model: Any

    @property
    def is_frozen(self) -> bool:
        """Whether the network was never trained on the task, and a learner decides on its embeddings."""
        return hasattr(self.model, "head")

    @property
    def facts(self) -> Mapping[str, Any]:
        """How a crop is made, and what a learner or several views add to the network, as plain JSON."""
        found = {
            key: asdict(part) for key in ("features", "views") if (part := getattr(self.model, key, None))
        }
        return {"member_weight": self.weight, "input": self.model.spec.to_json(), **found}

    @property
    def shown(self) -> nn.Module:
        """The network as it leads to the answer: a frozen one gives the features of a picture that its learner sees."""
        network: nn.Module = self.model.network
        if not self.is_frozen:
            return network
        from autoonco.nets.embeddings import Embedding

        features = self.model.features
        return Embedding(network, features.pooling, n_layers=features.n_layers)


def network_members(bundle: Bundle, form: str) -> tuple[NetworkMember, ...]:
    """Return the members that have a network, to be written in a `form` that only networks have.

    Raises
    ------
    ExportError
        If there is none; the message names the families of the model.
    """
    families = getattr(bundle, "families", ())
    found = tuple(
        NetworkMember(
            number=number,
            weight=weight,
            family=families[number] if number < len(families) else "",
            model=model,
        )
        for number, (weight, model) in enumerate(bundle.members)
        if getattr(model, "network", None) is not None and getattr(model, "spec", None) is not None
    )
    if not found:
        made_of = f" It is made of {', '.join(dict.fromkeys(families))}." if families else ""
        raise ExportError(
            f"No member of this model has a network that could be written as {form}.{made_of} Export it as plain files "
            "(--to folder), or fit with families=('pretrained2d', 'volumetric3d')."
        )
    return found


def write_onnx(bundle: Bundle, folder: Path) -> tuple[Path, ...]:
    """Write the network of each member that has one to an ONNX file, see `Exports.to_onnx`."""
    members = network_members(bundle, "ONNX")
    from autoonco.nets.onnx_export import to_onnx  # torch, which a member has loaded anyway

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for member in members:
        facts = {
            "classes": list(bundle.classes),
            "outputs": "embedding" if member.is_frozen else "logits",
            **member.facts,
        }
        spec = member.model.spec
        # a frozen network sees the pictures of a case one by one, a trained one all of them
        shape = (spec.in_channels, *spec.shape[1:]) if member.is_frozen else spec.shape
        path = folder / f"member-{member.number}.onnx"
        written.append(to_onnx(member.shown, path, shape, facts=facts))
    return tuple(written)
