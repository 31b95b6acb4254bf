"""A model as a folder of plain files, which a person, any tool and `autoonco.load` can read; no pickle is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoonco.archive import unpack
from autoonco.card import card_text
from autoonco.data.cache import write_atomically
from autoonco.errors import AutoOncoError

_README = """# A model of autoonco as plain files

{statement}

| file | what it holds |
| --- | --- |
| `manifest.json` | classes, members with their weights, fingerprint of the training data, SHA-256 of every file below |
| `members/<n>/meta.json` | how member n is built and how it prepares a case |
| `members/<n>/tensors.safetensors` | weights of its network, if it has one |
| `members/<n>/*.skops` | its scikit-learn steps, if it has any; skops files hold types by name and no code |
| `decisions/` | calibration, threshold, prediction sets, and what a usual case is like |
| `preprocessing.json` | what each member makes of a case before it looks at it |
| `thresholds.json` | how probabilities become a class and a set of classes |
| `model_card.md` | data, figures, limits |
| `requirements.txt` | versions that the model was made with |
| `predict.py` | predicts new scans |

`autoonco.load(<this folder>)` reads it, and checks each file against its hash first; `.save("model.onco")` of what it
returns packs it into one file again.
"""

_PREDICT = '''"""Predict new scans with the model in this folder: python predict.py SCANS -o predictions.csv"""

import argparse
from pathlib import Path

import autoonco


def main() -> None:
    """Read the arguments, predict, write a row a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", help="manifest (.csv), folder, or image file")
    parser.add_argument("-o", "--out", default="predictions.csv", help="table to write")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    arguments = parser.parse_args()
    model = autoonco.load(Path(__file__).resolve().parent, device=arguments.device)
    model.predict_table(arguments.scans).to_csv(arguments.out, index=False)


if __name__ == "__main__":
    main()
'''


def write_folder(model: Path, folder: Path) -> Path:
    """Take the model file `model` apart into `folder`, with what a reader of it wants to know; return the folder.

    Raises
    ------
    AutoOncoError
        If it is no model file, or something is in the folder already.
    UnsafeBundleError
        If a member's name, size or hash is not as it must be.
    """
    refuse_full(folder)
    manifest = unpack(model, folder)
    for name, text in _texts(manifest).items():
        write_atomically(folder / name, lambda new, text=text: new.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    return folder


def refuse_full(folder: Path) -> None:
    """Raise `AutoOncoError` where `folder` holds something: an export overwrites nothing of the user's."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AutoOncoError(f"There is something in {folder} already: name another folder.")


def _texts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the files beside the members by name; they repeat the manifest and are not read again."""
    members = [
        {"member": number, **{key: member.get(key) for key in ("family", "weight", "preprocessing")}}
        for number, member in enumerate(manifest["members"])
    ]
    card = card_text(manifest.get("card") or {})
    return {
        "README.md": _README.format(statement=manifest.get("statement", "")),
        "preprocessing.json": json.dumps({"input": manifest.get("input"), "members": members}, indent=1)
        + "\n",
        "thresholds.json": json.dumps(manifest.get("thresholds"), indent=1) + "\n",
        "requirements.txt": _requirements(manifest["facts"].get("versions") or {}),
        "predict.py": _PREDICT,
    } | ({"model_card.md": card} if card else {})


def _requirements(versions: Mapping[str, str]) -> str:
    python = f"# Python {versions['python']}\n" if "python" in versions else ""
    return python + "".join(f"{name}=={found}\n" for name, found in versions.items() if name != "python")
