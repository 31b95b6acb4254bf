"""Members with a network as MONAI bundles (https://docs.monai.io/en/latest/mb_specification.html).

    member-<n>/configs/metadata.json    what goes in and out, versions, use
               configs/inference.json   network, transforms, loader and what ``run`` does, for `monai.bundle`
               models/                  meta.json, tensors.safetensors, and head.skops of a frozen network
               docs/                    README.md, license.txt

The specification's ``model.pt`` and ``model.ts`` are pickle inside, which this project neither writes nor reads:
`monai_parts.member_network` loads safetensors in their place, as ``network_def`` says. The metadata follow the schema
that they name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoonco.bundle import Bundle
from autoonco.card import USE, card_text
from autoonco.data.cache import write_atomically
from autoonco.exporting.folder import refuse_full
from autoonco.exporting.networks import NetworkMember, network_members
from autoonco.families.state import write_state

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
VERSION = "0.1.0"
"""Of the bundle's layout."""
_SIGNS = ("$", "@", "%")
_PARTS = "autoonco.exporting.monai_parts"
_PACKAGES = ("autoonco", "timm", "safetensors", "scikit-learn", "skops", "SimpleITK", "nibabel", "pydicom")


def write_monai_bundle(bundle: Bundle, folder: Path) -> tuple[Path, ...]:
    """Write a bundle for each member that has a network, see `Exports.to_monai_bundle`."""
    members = network_members(bundle, "a MONAI bundle")
    targets = [folder / f"member-{member.number}" for member in members]
    for target in targets:
        refuse_full(target)
    for member, target in zip(members, targets, strict=True):
        _write(member, bundle, target)
    return tuple(targets)


def _write(member: NetworkMember, bundle: Bundle, target: Path) -> None:
    models = target / "models"
    write_state(models, member.model.state())
    sha256 = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(models.iterdir())}
    _text(target / "configs" / "inference.json", _json(inference(member, bundle, sha256)))
    _text(target / "configs" / "metadata.json", _json(metadata(member, bundle)))
    _text(target / "docs" / "README.md", _readme(bundle))
    _text(target / "docs" / "license.txt", _licence(member))


def _text(path: Path, text: str) -> None:
    write_atomically(path, lambda new: new.write_text(text, encoding="utf-8"))


def _json(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, indent=2) + "\n"


def inference(member: NetworkMember, bundle: Bundle, sha256: Mapping[str, str]) -> dict[str, Any]:
    """Return ``inference.json``, which ``python -m monai.bundle run --config_file configs/inference.json`` runs."""
    reading = {
        "channels": list(bundle.fingerprint.channels),
        "clinical": list(bundle.fingerprint.clinical),
        "repair": bundle.facts.get("repair"),
        "reading": bundle.facts.get("reading"),
    }
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "manifest": "scans.csv",
        "output": "predictions.csv",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": f"{_PARTS}.member_network",
            "folder": "$@bundle_root + '/models'",
            "family": member.family,
            "sha256": dict(sha256),
        },
        "network": "$@network_def.to(@device)",
        "cases": {
            "_target_": f"{_PARTS}.cases_of",
            "manifest": "@manifest",
            "reading": inert(reading),
        },
        "preprocessing": {"_target_": f"{_PARTS}.CaseCrop", "spec": inert(member.model.spec.to_json())},
        "dataset": {"_target_": "monai.data.Dataset", "data": "@cases", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "monai.data.DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {"_target_": "monai.inferers.SimpleInferer"},
        "run": [
            {
                "_target_": f"{_PARTS}.write_answers",
                "network": "@network",
                "loader": "@dataloader",
                "inferer": "@inferer",
                "classes": inert(list(bundle.classes)),
                "device": "@device",
                "path": "@output",
            }
        ],
    }


def inert(plain: Any) -> str:
    r"""Return JSON as text that `ConfigParser` leaves alone, whatever classes and channels are called.

    A text of a config that begins with ``$`` is run as Python, one with ``@`` or ``%`` stands for something else.

    Examples
    --------
    >>> inert(["$1/0"])
    '["\\u00241/0"]'
    """
    text = json.dumps(plain)
    for sign in _SIGNS:
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _words(name: str) -> str:
    """Return a name as a text of the metadata, which may be parsed as a config too."""
    return f"'{name}'" if name.startswith(_SIGNS) else name


def metadata(member: NetworkMember, bundle: Bundle) -> dict[str, Any]:
    """Return ``metadata.json``."""
    data, classes = bundle.fingerprint, ", ".join(map(_words, bundle.classes))
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "changelog": {VERSION: f"exported by autoonco {version('autoonco')}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in _PACKAGES},
        "name": f"autoonco member {member.number}",
        "task": f"Classification of {data.ndim}D images: {classes}",
        "description": (
            f"Member {member.number} ({member.family}, weight {member.weight:g}) of an ensemble that autoonco fitted "
            f"on {data.n_cases} cases of {data.n_patients} patients. Its probabilities are its own: the ensemble's are "
            "the weighted mean of its members', calibrated. No figure on test cases belongs to a member alone."
        ),
        "authors": "who ran the search that made this model, with autoonco",
        "copyright": "of who ran the search; see docs/license.txt for the weights it started from",
        "data_type": "NIfTI, NRRD, DICOM, PNG, JPEG or TIFF, named by a manifest (.csv)",
        "pred_classes": classes,
        "intended_use": f"{USE} For research. Not a medical device.",
        "network_data_format": {"inputs": {"image": _input(member)}, "outputs": {"pred": _output(bundle)}},
        "ensemble": inert({"member": member.number, **member.facts}),
    }


def _input(member: NetworkMember) -> dict[str, Any]:
    spec = member.model.spec
    channels, *sides = spec.shape
    names = [f"grey values {number}" for number in range(spec.n_image_channels)]
    names += [f"mask {number}" for number in range(channels - spec.n_image_channels)]
    return {
        "type": "image",
        "format": "magnitude",
        "modality": ", ".join(f"{_words(name)} ({unit})" for name, unit in spec.intensity.items()),
        "num_channels": channels,
        "spatial_shape": list(sides),
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in enumerate(names)},
    }


def _output(bundle: Bundle) -> dict[str, Any]:
    return {
        "type": "probabilities",
        "format": "classes",
        "modality": "n/a",
        "num_channels": len(bundle.classes),
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(number): _words(name) for number, name in enumerate(bundle.classes)},
    }


def _readme(bundle: Bundle) -> str:
    return f"""# A network of autoonco as a MONAI bundle

From the bundle's folder, with autoonco and fire installed:

    python -m monai.bundle run --config_file configs/inference.json --manifest scans.csv --output predictions.csv

`scans.csv` has a row a case and the columns that the model was made from. Weights are safetensors and, for a
scikit-learn head, skops; each file's SHA-256 is in `configs/inference.json` and is checked. There is no pickle here,
so there is no `model.pt`: `network_def` loads the weights.

{card_text(bundle.card)}"""


def _licence(member: NetworkMember) -> str:
    """Return what is known of the licence of the weights that the network started from."""
    from autoonco.nets.zoo import all_networks

    name = str((getattr(member.model, "build", None) or {}).get("name"))
    weights = (all_networks().get(name) or {}).get("weights")
    if not weights:
        return "The network was trained from random weights: its licence is for who trained it to choose.\n"
    source = weights.get("source") or weights.get("hub") or "not known"
    return (
        f"The network may have started from pretrained weights of {name}: licence {weights['licence']}, source "
        f"{source}. What was learned since belongs to who trained it.\n"
    )
