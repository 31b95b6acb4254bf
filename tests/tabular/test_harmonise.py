"""ComBat against loops over features, and on sites whose effects are known."""

from __future__ import annotations

import numpy as np
import pytest

from autoonco.tabular.harmonise import UNKNOWN_SITE, ComBat


def sites(n_features: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three sites of unequal size with shifts and factors, on features of very different scales."""
    rng = np.random.default_rng(seed)
    codes = np.repeat([0.0, 1.0, 2.0], [30, 20, 12])
    shift, factor = rng.normal(size=(3, n_features)), rng.uniform(0.5, 2, (3, n_features))
    X = rng.normal(size=(62, n_features)) * factor[codes.astype(int)] + shift[codes.astype(int)]
    return X * 10.0 ** rng.uniform(-4, 4, n_features), codes


def by_loops(X: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Johnson et al. 2007, feature by feature, without gaps."""
    n, n_features = X.shape
    labels = np.unique(codes)
    Z, alpha, sigma = np.empty_like(X), [], []
    for g in range(n_features):
        alpha.append(sum((codes == i).mean() * X[codes == i, g].mean() for i in labels))
        residuals = [X[j, g] - X[codes == codes[j], g].mean() for j in range(n)]
        sigma.append(np.sqrt(np.mean(np.square(residuals))))
        Z[:, g] = (X[:, g] - alpha[g]) / sigma[g]
    out = np.empty_like(X)
    for i in labels:
        rows = codes == i
        gamma_hat, delta_hat = Z[rows].mean(axis=0), Z[rows].var(axis=0, ddof=1)
        gamma_bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
        m, s2 = delta_hat.mean(), delta_hat.var(ddof=1)
        lam, theta = (m**2 + 2 * s2) / s2, (m**3 + m * s2) / s2
        for g in range(n_features):
            gamma, delta, count = gamma_hat[g], delta_hat[g], rows.sum()
            for _ in range(500):
                gamma = (count * tau2 * gamma_hat[g] + delta * gamma_bar) / (count * tau2 + delta)
                delta = (theta + 0.5 * ((Z[rows, g] - gamma) ** 2).sum()) / (count / 2 + lam - 1)
            out[rows, g] = sigma[g] / np.sqrt(delta) * (Z[rows, g] - gamma) + alpha[g]
    return out


@pytest.mark.parametrize("seed", range(4))
def test_against_loops(seed):
    X, codes = sites(seed=seed)
    found = ComBat().fit_transform(np.column_stack([X, codes]))
    np.testing.assert_allclose(found / X.std(axis=0), by_loops(X, codes) / X.std(axis=0), atol=1e-5)


def test_sites_come_closer_in_mean_and_spread():
    X, codes = sites(40)
    found = ComBat().fit_transform(np.column_stack([X, codes]))
    for statistic in (np.mean, np.std):
        apart = [
            np.ptp([statistic(t[codes == i] / t.std(axis=0), axis=0) for i in (0, 1, 2)], axis=0).mean()
            for t in (X, found)
        ]
        assert apart[1] < 0.5 * apart[0]


def test_an_unseen_site_and_a_case_without_site_stay_as_they_are():
    X, codes = sites()
    fitted = ComBat().fit(np.column_stack([X, codes]))
    for code in (7.0, UNKNOWN_SITE):
        np.testing.assert_array_equal(fitted.transform(np.column_stack([X, np.full(62, code)])), X)


def test_a_site_of_two_cases_has_no_effect_on_the_others():
    X, codes = sites()
    small = np.column_stack([X[:2] + 1e6, [9.0, 9.0]])
    both = np.vstack([np.column_stack([X, codes]), small])
    one, other = ComBat().fit(np.column_stack([X, codes])), ComBat().fit(both)
    np.testing.assert_array_equal(one.transform(both), other.transform(both))
    np.testing.assert_array_equal(other.transform(small), small[:, :-1])


def test_gaps_stay_gaps_and_change_only_their_feature_much():
    X, codes = sites()
    holed = X.copy()
    holed[::5, 3] = np.nan
    holed[:, 5] = np.nan
    holed[:, 6] = 4.0
    found = ComBat().fit_transform(np.column_stack([holed, codes]))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(holed))
    assert (found[:, 6] == 4.0).all()


def test_a_case_is_harmonised_alike_alone_and_in_company():
    X, codes = sites()
    joined = np.column_stack([X, codes])
    fitted = ComBat().fit(joined[::2])
    alone = np.vstack([fitted.transform(row[None]) for row in joined])
    np.testing.assert_allclose(fitted.transform(joined), alone, rtol=1e-12)
