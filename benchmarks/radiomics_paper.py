"""What a radiomics paper does: pyradiomics on the drawn lesion, then LASSO with a logistic regression, or XGBoost."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autoonco.data.cache import content_hash, digest
from autoonco.data.case import Case
from autoonco.data.grids import luminance
from autoonco.data.manifest import Dataset
from autoonco.data.readers import read_scan
from benchmarks.peers import NotHereError

Table = NDArray[np.float64]
SMALL_RANGE = 10.0
"""Grey values that span less are no Hounsfield units: 32 bins then, pyradiomics' width of 25 else."""
SIGMAS_MM = [1.0, 3.0]


def paper_features(train: Dataset, test: Dataset, shared: Path) -> tuple[Table, Table, float]:
    """Return the features of both, and the seconds that their extraction takes (also where it was done before).

    Raises
    ------
    NotHereError
        Where pyradiomics is not installed, or a case has no mask.
    """
    cases = [*train.cases, *test.cases]
    if any(case.mask_of(channel) is None for case in cases for channel in case.images):
        raise NotHereError("Radiomics needs a mask for every case and channel.")
    path = shared / f"pyradiomics-{digest(*map(content_hash, cases))[:16]}.npz"
    if not path.exists():
        start = time.monotonic()
        table = _extract(cases)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, table=table, seconds=time.monotonic() - start)
    with np.load(path, allow_pickle=False) as kept:
        table, seconds = kept["table"], float(kept["seconds"])
    return table[: len(train)], table[len(train) :], seconds


def _extract(cases: Sequence[Case]) -> Table:
    try:
        import radiomics  # noqa: F401 - an extra of autoonco, asked for here in one sentence
    except ImportError:
        raise NotHereError("pyradiomics is not installed: pip install '.[oracle]'.") from None
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        rows = list(pool.map(features_of, cases, chunksize=4))
    names = sorted(set().union(*rows))
    return np.array([[row.get(name, np.nan) for name in names] for row in rows])


def feature_names(cases: Sequence[Case], n_features: int) -> list[tuple[str, str]]:
    """Return channel and pyradiomics' name of each column that `paper_features` gives such cases.

    Their values are kept and their names are not, so that the first case is extracted for them again.
    """
    found: set[tuple[str, str]] = set()
    for case in cases:
        found |= {(channel, name) for channel in case.images for name in channel_features(case, channel)}
        if len(found) == n_features:
            break
    return sorted(found, key="_".join)


def features_of(case: Case) -> dict[str, float]:
    """Return pyradiomics' features of a case: original and wavelet images, LoG too where voxels have a size."""
    return {
        f"{channel}_{name}": value
        for channel in case.images
        for name, value in channel_features(case, channel).items()
    }


def channel_features(case: Case, channel: str) -> dict[str, float]:
    """Return pyradiomics' features of one image of a case."""
    from radiomics import featureextractor, setVerbosity

    setVerbosity(60)
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    scan = read_scan(case, channel)
    image = luminance(scan.image) if scan.image.GetNumberOfComponentsPerPixel() > 1 else scan.image
    flat = image.GetDimension() == 2
    if flat:
        image, mask = sitk.JoinSeries(image), sitk.JoinSeries(scan.mask)
    else:
        mask = scan.mask
    values = sitk.GetArrayViewFromImage(image)
    binning = {"binCount": 32} if np.ptp(values) < SMALL_RANGE else {"binWidth": 25}
    extractor = featureextractor.RadiomicsFeatureExtractor(**binning, force2D=flat)
    extractor.enableImageTypeByName("Wavelet")
    if not flat:
        extractor.enableImageTypeByName("LoG", customArgs={"sigma": SIGMAS_MM})
    if flat:
        extractor.enableFeatureClassByName("shape2D")
        extractor.disableAllFeatures()
        for name in ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "shape2D"):
            extractor.enableFeatureClassByName(name)
    values_of = extractor.execute(sitk.Cast(image, sitk.sitkFloat64), mask)
    return {name: float(value) for name, value in values_of.items() if not name.startswith("diagnostics")}


def lasso(seed: int) -> Any:
    """Return standardised features, chosen by a cross-validated LASSO, in a logistic regression."""
    from sklearn.feature_selection import SelectFromModel
    from sklearn.linear_model import LassoCV, LogisticRegression
    from sklearn.pipeline import make_pipeline

    # The usual LASSO regresses the label itself; with no feature left, the strongest ten stand in.
    selector = SelectFromModel(
        LassoCV(cv=5, random_state=seed, max_iter=5000), threshold=1e-5, max_features=None
    )
    return make_pipeline(*_clean(), _AtLeast(selector, 10), LogisticRegression(max_iter=5000))


def xgboost(seed: int) -> Any:
    """Return XGBoost with its defaults."""
    from sklearn.pipeline import make_pipeline
    from xgboost import XGBClassifier

    return make_pipeline(*_clean(), XGBClassifier(random_state=seed, n_jobs=1))


def _clean() -> tuple[Any, ...]:
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    return (
        FunctionTransformer(numbers_of),
        SimpleImputer(strategy="median"),
        VarianceThreshold(),
        StandardScaler(),
    )


def numbers_of(x: Table) -> Table:
    """Return features with NaN where a value is none: infinite, or so large that squares of it overflow."""
    return np.where(np.isfinite(x) & (np.abs(x) < 1e30), x, np.nan)


class _AtLeast:
    """A selector that falls back to the `n` features with the largest F where it would leave none."""

    def __init__(self, selector: Any, n: int) -> None:
        self.selector, self.n = selector, n

    def fit(self, X: Table, y: Any) -> _AtLeast:
        from sklearn.feature_selection import f_classif

        chosen = self.selector.fit(X, y).get_support()
        if not chosen.any():
            chosen[np.argsort(-np.nan_to_num(f_classif(X, y)[0]))[: self.n]] = True
        self.chosen_ = chosen
        return self

    def fit_transform(self, X: Table, y: Any, **_: Any) -> Table:
        return self.fit(X, y).transform(X)

    def transform(self, X: Table) -> Table:
        return X[:, self.chosen_]


LEARNERS: Mapping[str, Callable[[int], Any]] = {"lasso": lasso, "xgboost": xgboost}
"""By name: takes a seed to what fits and predicts."""
