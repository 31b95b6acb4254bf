"""autoonco: automated, honest classification of oncology images.

>>> import autoonco
>>> clf = autoonco.fit("data.csv", time_limit="30min")  # doctest: +SKIP
>>> clf.report("out/")  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoonco.classifier import AutoOncoClassifier, fit, load
    from autoonco.data.arrays import ArrayScan
    from autoonco.data.manifest import Dataset
    from autoonco.errors import AutoOncoError
    from autoonco.reporting.result import Result
    from autoonco.settings import Settings

# Imported on first use (PEP 562): `import autoonco` alone must not cost the seconds of scikit-learn and pandas.
_HOMES = {
    "ArrayScan": "autoonco.data.arrays",
    "AutoOncoClassifier": "autoonco.classifier",
    "AutoOncoError": "autoonco.errors",
    "Dataset": "autoonco.data.manifest",
    "Result": "autoonco.reporting.result",
    "Settings": "autoonco.settings",
    "fit": "autoonco.classifier",
    "load": "autoonco.classifier",
}

__all__ = ["ArrayScan", "AutoOncoClassifier", "AutoOncoError", "Dataset", "Result", "Settings", "fit", "load"]
__version__ = "0.1.0"

# What a run does is logged under this name; it is heard where the application says so.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoonco' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
