"""Are two samples of products alike? Tests whose false alarms are known, each with an effect size beside its p-value.

Works on arrays alone: it knows neither products nor models nor what follows from an answer. A p-value says whether a
difference may be chance, an effect how large it is: with many products the least difference is significant, with few a
large one may be chance, so that both have to be asked. scipy takes a third of a second to import: it waits until a test
is made, since some who import this module only name tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_EXPECTED = 5.0
_EXACT = 2000
_MEDIAN_ROWS = 500


class Difference(NamedTuple):
    """How two samples differ: the p-value under 'no difference', the effect size (0: none; its unit is the test's),
    and how many rows of each were looked at.
    """

    p: float
    effect: float
    reference: int
    current: int


def mmd_test(
    reference: Floats, current: Floats, limit: int = 1000, permutations: int = 1999, seed: int = 0
) -> Difference:
    """Compare two samples of vectors, (N, D) and (M, D), in any respect: the maximum mean discrepancy.

    Gaussian kernel, its width the median distance; the p-value is that of a permutation test, so that the share of
    false alarms is what it says (Gretton et al., JMLR 13, 2012). The effect is the root of the unbiased estimate, 0
    where that is negative: about .05 is hardly visible, above .3 the samples have little in common. At most `limit`
    rows of each side are drawn, which bounds time and memory whatever N and M are.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> found = mmd_test(rng.normal(size=(80, 3)), rng.normal(1.0, size=(60, 3)), permutations=199)
        >>> found.p, found.effect > 0.4
        (0.005, True)
    """
    rng = np.random.default_rng(seed)
    first, second = (_drawn(sample, limit, rng) for sample in (reference, current))
    n, m = len(first), len(second)
    if min(n, m) < 2:
        return Difference(1.0, 0.0, n, m)
    pooled = np.concatenate([first, second]).astype(np.float64)
    from scipy.spatial.distance import cdist

    distances = cdist(pooled, pooled, "sqeuclidean").astype(np.float32)
    some = rng.permutation(n + m)[:_MEDIAN_ROWS]
    width = float(np.median(distances[np.ix_(some, some)][np.triu_indices(len(some), 1)])) or 1.0
    kernel = np.exp(-distances / width)
    np.fill_diagonal(kernel, 0.0)
    chosen = np.zeros((n + m, permutations + 1), dtype=np.float32)
    chosen[:n, 0] = 1.0
    for column in range(1, permutations + 1):
        chosen[rng.permutation(n + m)[:n], column] = 1.0
    within = (chosen * (kernel @ chosen)).sum(axis=0, dtype=np.float64)
    total, touching = kernel.sum(dtype=np.float64), kernel.sum(axis=1, dtype=np.float64) @ chosen
    between, others = touching - within, total - 2 * touching + within
    statistic = within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * between / (n * m)
    p = float((1 + (statistic[1:] >= statistic[0] - 1e-12).sum()) / (permutations + 1))
    return Difference(p, float(np.sqrt(max(statistic[0], 0.0))), n, m)


def ks_test(reference: Floats, current: Floats) -> Difference:
    """Compare two samples of numbers, (N,) and (M,): Kolmogorov and Smirnov's test.

    The effect is the largest gap between the two distribution functions, in [0, 1].

    Example:
        >>> found = ks_test(np.arange(100), np.arange(100) + 30)
        >>> found.p < 0.001, round(found.effect, 2)
        (True, 0.3)
    """
    if min(len(reference), len(current)) < 2:
        return Difference(1.0, 0.0, len(reference), len(current))
    from scipy.stats import ks_2samp

    found = ks_2samp(reference, current, method="asymp")
    return Difference(float(found.pvalue), float(found.statistic), len(reference), len(current))


def mix_test(reference: Ints, current: Ints) -> Difference:
    """Compare how two samples are spread over the same K cells, (K,) counts each: chi-square of the 2 x K table.

    Both samples are taken as drawn; a test that takes the reference as exact alarms far too often. Cells of which
    fewer than five are expected are put together. The effect is Cohen's w, the root of the chi-square distance of the
    two mixes, less what chance adds to it: .1 is small, .3 medium, .5 large (Cohen 1988).

    Example:
        >>> found = mix_test(np.array([50, 50]), np.array([90, 10]))
        >>> found.p < 0.001, round(found.effect, 2)
        (True, 0.86)
    """
    n, m = int(reference.sum()), int(current.sum())
    table = np.stack([reference, current]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if min(n, m) == 0 or table.shape[1] < 2:
        return Difference(1.0, 0.0, n, m)
    small = table.sum(axis=0) * min(n, m) / (n + m) < _EXPECTED
    if small.any():
        rest = table[:, small].sum(axis=1, keepdims=True)
        table = np.concatenate([table[:, ~small], rest], axis=1)
    if table.shape[1] < 2:
        return Difference(1.0, 0.0, n, m)
    from scipy.stats import chi2_contingency

    statistic, p, freedom, _ = chi2_contingency(table, correction=False)
    return Difference(float(p), float(np.sqrt(max(statistic - freedom, 0.0) * (n + m) / (n * m))), n, m)


def share_test(reference_hits: int, reference: int, current_hits: int, current: int) -> Difference:
    """Compare two shares, so many of so many. The effect is their absolute difference.

    Fisher's exact test for up to 2,000 rows, above that chi-square with Yates's correction, which is the same there.

    Example:
        >>> found = share_test(10, 200, 40, 200)
        >>> found.p < 0.001, round(found.effect, 2)
        (True, 0.15)
    """
    if min(reference, current) == 0:
        return Difference(1.0, 0.0, reference, current)
    table = [[reference_hits, reference - reference_hits], [current_hits, current - current_hits]]
    effect = abs(current_hits / current - reference_hits / reference)
    if reference_hits + current_hits in (0, reference + current):
        return Difference(1.0, 0.0, reference, current)
    from scipy.stats import chi2_contingency, fisher_exact

    p = fisher_exact(table).pvalue if reference + current <= _EXACT else chi2_contingency(table).pvalue
    return Difference(float(p), float(effect), reference, current)


def psi(reference: Ints, current: Ints, minimum: int = 500) -> float | None:
    """Return the population stability index of two mixes, (K,) counts each; half a row is added to every cell.

    Above .1 is called a shift, above .25 a large one, and no p-value goes with it. With few rows it is mostly chance:
    None where either side has fewer than `minimum`.

    Example:
        >>> round(psi(np.array([500, 500]), np.array([900, 100])), 2)
        0.88
        >>> psi(np.array([50, 50]), np.array([90, 10])) is None
        True
    """
    if min(reference.sum(), current.sum()) < minimum:
        return None
    used = (reference + current) > 0
    p, q = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in (reference, current))
    return float(((q - p) * np.log(q / p)).sum())


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values corrected for how many there are: the chance of any false alarm among all of them is then at
    most the level they are held against, however they depend on one another (Holm 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def _drawn(sample: Floats, limit: int, rng: np.random.Generator) -> Floats:
    return sample if len(sample) <= limit else sample[rng.choice(len(sample), limit, replace=False)]
