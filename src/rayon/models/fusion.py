"""Decision-level fusion: weigh what each branch says, knowing which branches have something to look at.

Works on log-probabilities, whatever made them. The answer to a product with both text and photo, with text alone and
with a photo alone is weighed apart: a missing modality is left out, never replaced by zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rayon.calibration import Tempering, fit_tempering, log_softmax, temper
from rayon.models.projection import evenly

PRESENCES = ("both", "text", "image")
"""What a product may have to look at. 'neither' is refused before it gets here."""

_RIDGE = 1e-3
_BIAS_RIDGE = 1e-3
_ENOUGH_ALONE = 50
_FEW = 100
"""Products with text and photo: fewer, where far more have one of the two, teach less than those."""
_FAR_MORE = 4
_ENOUGH = 5000
"""Held-out products that teach a pool which only judges others: more would not change what it says of them."""


class Pool(NamedTuple):
    """A logarithmic opinion pool: per presence, one weight >= 0 a branch and one bias a class.

    `branches` and `modalities` are parallel, `weights[presence]` likewise; a modality is 'text', 'image' or 'both' (a
    branch that reads the two at once), and a branch that cannot see weighs 0. Weights carry the calibration too: they
    need not sum to one, and a pool of one branch is that branch's temperature. `bias[presence]` (C,) gives back the
    class frequencies that a class-balanced loss took away. `tempering[presence]` says how sure the whole may be; a
    presence that is not in it is left as it is.
    """

    branches: tuple[str, ...]
    modalities: tuple[str, ...]
    weights: dict[str, tuple[float, ...]]
    bias: dict[str, tuple[float, ...]]
    tempering: Mapping[str, Tempering] = MappingProxyType({})


def presence(has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return each product's place in `PRESENCES`, (N,), -1 where it has neither text nor photo."""
    return np.select([has_text & has_image, has_text, has_image], [0, 1, 2], default=-1).astype(np.int64)


def fit_pool(
    modalities: Mapping[str, str],
    logits: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    has_text: NDArray[np.bool_],
    has_image: NDArray[np.bool_],
    presences: Sequence[str] = PRESENCES,
) -> Pool:
    """Find the weights under which held-out predictions are most likely (linear in log-probabilities: Hinton's product
    of experts, weighted, plus a bias; convex, so the answer is unique).

    Every product teaches every presence it can stand for: one with text and photo is also an example of text alone and
    of photo alone, which is modality dropout carried out in full. A small ridge pulls towards equal weights, which
    matters only where very few products show a presence. Where hardly any has text and photo, and many have one of the
    two, a product with both is answered as if it had that one alone.

    Args:
        modalities: 'text', 'image' or 'both' of each branch.
        logits: each branch's (N, C) logits, from heads that did not learn from those products.
        labels: (N,) ints in [0, C).
        presences: those to find weights for; in others no branch has a say.
    """
    names = tuple(modalities)
    kinds = tuple(modalities[name] for name in names)
    weights: dict[str, tuple[float, ...]] = {}
    bias: dict[str, tuple[float, ...]] = {}
    classes = next(iter(logits.values())).shape[1]
    for state in PRESENCES:
        like = _like(state, kinds, has_text, has_image)
        rows = _examples(like, kinds, has_text, has_image)
        seeing = [i for i, kind in enumerate(kinds) if like == "both" or kind in ("both", like)]
        found, shift = np.zeros(len(names)), np.zeros(classes)
        if seeing and state in presences:
            stacked = np.stack([log_softmax(logits[names[i]][rows]) for i in seeing])
            found[seeing], shift = _fit_weights(stacked, labels[rows])
        weights[state] = tuple(map(float, found))
        bias[state] = tuple(map(float, shift))
    return Pool(names, kinds, weights, bias)


def temper_pool(
    pool: Pool,
    logits: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    has_text: NDArray[np.bool_],
    has_image: NDArray[np.bool_],
) -> Pool:
    """Return the pool with its tempering, fitted for each presence to what it says of the same held-out products."""
    found: dict[str, Tempering] = {}
    for state in PRESENCES:
        like = _like(state, pool.modalities, has_text, has_image)
        rows = _examples(like, pool.modalities, has_text, has_image)
        if any(pool.weights[state]) and rows.any():
            seen = np.full(int(rows.sum()), True)
            part = {name: logits[name][rows] for name in pool.branches}
            mixed, _ = fuse(pool._replace(tempering={}), part, seen & (state != "image"), seen & (state != "text"))
            found[state] = fit_tempering(mixed, labels[rows])
    return pool._replace(tempering=found)


def cross_fuse(
    modalities: Mapping[str, str],
    logits: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    has_text: NDArray[np.bool_],
    has_image: NDArray[np.bool_],
    parts: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Return the log-probabilities (N, C) that tempered pools give to held-out products, each part (N,) by a pool that
    was fitted to the others: what a pool says of those that it was fitted to promises more than it keeps.
    """
    told = np.empty(next(iter(logits.values())).shape, dtype=np.float64)
    state = presence(has_text, has_image)
    for part in np.unique(parts):
        mine, others = parts == part, evenly(np.flatnonzero(parts != part), _ENOUGH)
        wanted = [name for number, name in enumerate(PRESENCES) if number in state[mine]]
        seen = {name: logits[name][others] for name in modalities}
        known = labels[others], has_text[others], has_image[others]
        pool = temper_pool(fit_pool(modalities, seen, *known, wanted), seen, *known)
        told[mine] = fuse(pool, {name: logits[name][mine] for name in modalities}, has_text[mine], has_image[mine])[0]
    return told


def fuse(
    pool: Pool,
    logits: Mapping[str, NDArray[np.floating]],
    has_text: NDArray[np.bool_],
    has_image: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fused log-probabilities (N, C) and the text's share of the best class's evidence, (N,) in [0, 1].

    A branch's evidence is its weight times how far its log-probability of the best class stands above its mean over
    classes; a share is taken over branches that speak for the class. Where no branch sees anything the answer is
    uniform and the share 0.5.
    """
    state = presence(has_text, has_image)
    table = np.array([pool.weights[name] for name in PRESENCES] + [(0.0,) * len(pool.branches)])
    weights = table[state]
    logs = [log_softmax(logits[name]) for name in pool.branches]
    shifts = np.array([pool.bias[name] for name in PRESENCES] + [(0.0,) * logs[0].shape[1]])
    mixed = shifts[state]
    for column, log in enumerate(logs):
        mixed += weights[:, column, None] * log
    best = mixed.argmax(axis=1)
    rows = np.arange(len(best))
    evidence = [np.clip(weights[:, i] * (log[rows, best] - log.mean(axis=1)), 0, None) for i, log in enumerate(logs)]
    text = _summed([e for e, kind in zip(evidence, pool.modalities, strict=True) if kind == "text"], len(best))
    total = _summed(evidence, len(best))
    # where the bias alone decides, no branch speaks: each then counts for what it weighs
    heard = weights[:, [kind == "text" for kind in pool.modalities]].sum(axis=1)
    silent = np.divide(heard, weights.sum(axis=1), out=np.full(len(best), 0.5), where=weights.sum(axis=1) > 0)
    share = np.divide(text, total, out=silent, where=total > 0)
    log = log_softmax(mixed)
    for number, name in enumerate(PRESENCES):
        if name in pool.tempering:
            log[state == number] = temper(mixed[state == number], pool.tempering[name])
    return log, share


def _like(state: str, modalities: Sequence[str], has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]) -> str:
    """Return the presence by which a product of `state` is answered: another than 'both' where nothing looks at the
    other side, or too few products show both.
    """
    if state != "both":
        return state
    sides = set(modalities)
    if len(sides) == 1 and "both" not in sides:
        return sides.pop()
    most, name = max((int(has_text.sum()), "text"), (int(has_image.sum()), "image"))
    both = int((has_text & has_image).sum())
    borrow = both < _FEW and most >= _FAR_MORE * both and bool(sides & {name, "both"})
    return name if borrow else state


def _examples(
    state: str, modalities: Sequence[str], has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say which products teach what to do in a presence, (N,)."""
    rows = {"both": has_text & has_image, "text": has_text, "image": has_image}[state]
    alone: NDArray[np.bool_] = rows & (has_text != has_image)
    # what a branch that reads the two at once says with a photo is not what it says without
    return alone if state != "both" and "both" in modalities and alone.sum() >= _ENOUGH_ALONE else rows


def _summed(parts: Sequence[NDArray[np.float64]], rows: int) -> NDArray[np.float64]:
    return np.sum(parts, axis=0) if parts else np.zeros(rows)


def _fit_weights(
    logs: NDArray[np.float64], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    branches, rows, classes = logs.shape
    even = np.full(branches, 1.0 / branches)
    if rows == 0:
        return even, np.zeros(classes)
    index = np.arange(rows)
    ridge = _RIDGE * min(1.0, 100 / rows)

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = point[:branches], point[branches:]
        mixed = log_softmax(np.tensordot(weights, logs, axes=1) + bias)
        error = np.exp(mixed)
        error[index, labels] -= 1.0
        error /= rows
        gradient = np.concatenate(
            [
                np.tensordot(logs, error, axes=([1, 2], [0, 1])) + 2 * ridge * (weights - even),
                error.sum(axis=0) + 2 * _BIAS_RIDGE * bias,
            ]
        )
        penalty = ridge * ((weights - even) ** 2).sum() + _BIAS_RIDGE * (bias**2).sum()
        return float(-mixed[index, labels].mean() + penalty), gradient

    from scipy.optimize import minimize  # as in calibration: who only predicts does without

    start = np.concatenate([even, np.zeros(classes)])
    bounds = [(0.0, None)] * branches + [(None, None)] * classes
    # the products are small: handing each to several BLAS threads costs twenty times what it computes
    with threadpool_limits(limits=1, user_api="blas"):
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[:branches], found[branches:]
