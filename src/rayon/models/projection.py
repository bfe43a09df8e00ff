"""A few numbers that stand for an encoder's many: principal components of the training products' features.

Fitted once, when a model is trained, and kept in its bundle, so that products can be compared with those of the
training without either the training catalogue or an encoder. Knows arrays; it does not know what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DIMENSIONS = 16
"""Length of a view: enough to tell departments and photographers apart, small enough to keep for every product."""

_ROWS = 5000
"""Principal components of so many products are those of all, near enough; the fit then takes a fraction of a second."""


_ROUNDING = 1e-3
"""What is smaller than this shows how numbers were rounded: a component whose spread is so small a part of the first
one's is left zero, and nothing is novel where less than its square is left unexplained."""


class Projection(NamedTuple):
    """From features to a view of one modality. `branches` are the feature branches that are put side by side, D long.

    `mean` and `scale`, both (D,), standardise them; `components` (K, D) make the view, each of its K numbers with
    variance 1 over the training products; `residual` is the mean square that the components leave unexplained there.
    """

    branches: tuple[str, ...]
    mean: Floats
    scale: Floats
    components: Floats
    residual: float


class View(NamedTuple):
    """N products seen through a projection: (N, DIMENSIONS) float32, and how unlike the training they are, (N,).

    `novelty` is the root of what the components leave unexplained, over its root mean square in training: about 1 for
    products like those, more for what training never showed. Both are NaN for products without the modality.
    """

    view: Floats
    novelty: Floats


def evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return `most` of some rows, evenly spread over them, or all where they are fewer."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def fit_projection(features: Mapping[str, Floats], branches: Sequence[str], rows: NDArray[np.int64]) -> Projection:
    """Fit the projection of one modality's feature branches, (N, D) each, on the products `rows` that have it.

    At most 5,000 of them, evenly spread, are looked at. With fewer products, or fewer features that vary, than
    DIMENSIONS the last components are zeros.
    """
    chosen = evenly(rows, _ROWS)
    from sklearn.decomposition import PCA  # takes a second, and who only knows DIMENSIONS fits nothing

    stacked = np.concatenate([features[name][chosen] for name in branches], axis=1).astype(np.float32)
    width = stacked.shape[1]
    components = np.zeros((DIMENSIONS, width), dtype=np.float32)
    if len(chosen) < 2:
        return Projection(tuple(branches), np.zeros(width, np.float32), np.ones(width, np.float32), components, 1.0)
    mean, scale = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
    standard = (stacked - mean) / scale
    count = min(DIMENSIONS, width, len(chosen) - 1)
    found = PCA(count, svd_solver="randomized" if count < min(standard.shape) else "full", random_state=0).fit(standard)
    spread = np.sqrt(np.maximum(found.explained_variance_, 1e-12))
    told = spread > _ROUNDING * spread[0]
    components[:count][told] = (found.components_ / spread[:, None])[told]
    projection = Projection(tuple(branches), mean, scale.astype(np.float32), components, 1.0)
    return projection._replace(residual=max(float(np.mean(_unexplained(standard, projection))), _ROUNDING**2))


def project(projection: Projection, features: Mapping[str, Floats], present: NDArray[np.bool_]) -> View:
    """Return the view of N products, given their feature branches (N, D) and which of them have the modality."""
    stacked = np.concatenate([features[name] for name in projection.branches], axis=1)
    standard = (stacked - projection.mean) / projection.scale
    view = (standard @ projection.components.T).astype(np.float32)
    novelty = np.sqrt(_unexplained(standard, projection) / projection.residual).astype(np.float32)
    view[~present], novelty[~present] = np.nan, np.nan
    return View(view, novelty)


def _unexplained(standard: Floats, projection: Projection) -> NDArray[np.float32]:
    """Return the mean square, (N,), that is left of standardised features when their components are taken away."""
    lengths = np.linalg.norm(projection.components, axis=1, keepdims=True)
    axes = np.divide(projection.components, lengths, out=np.zeros_like(projection.components), where=lengths > 0)
    # not as a difference of squares: where nearly all is explained that would be the rounding of large numbers
    left: NDArray[np.float32] = np.square(standard - (standard @ axes.T) @ axes).mean(axis=1)
    return left
