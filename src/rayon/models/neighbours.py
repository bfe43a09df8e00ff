"""The training products that a product resembles most, and what they say of its category.

A branch without weights: it remembers training products by what frozen encoders made of them, and answers with the
categories of the nearest. Heads draw lines through all of a catalogue; this sees the series, the author, the model
range that a product belongs to. Knows features and labels; it does not know what is done with its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rayon.config import NeighbourBranch
from rayon.data.batches import Targets
from rayon.models.computed import is_computed
from rayon.models.network import Branch
from rayon.models.projection import evenly

Floats = NDArray[np.float32]

LENGTHS = {"text": 256, "image": 128}
"""How many numbers are remembered of a product, by modality. Half as many lose a fifth of what neighbours bring."""

TEMPERATURE = 0.05
"""A neighbour counts e times as much as one whose cosine is so much smaller."""

DOUBT = 0.05
"""The probability that is shared among all categories, whatever the neighbours are."""

_SAMPLE = 20_000
"""Principal axes of so many products are those of all, near enough."""

_CHUNK = 8192
_CELLS = 2**25
"""Cosines that are held at once: 128 MB."""


class Neighbours(NamedTuple):
    """Remembered products of one modality.

    `branches` are the feature branches that are put side by side, D long; `mean` (D,) and `axes` (D, K) turn them into
    a product's place, of length 1. `keys` (M, K) are the remembered products' places, float32 numbers that half
    precision can hold, `labels` (M,) their categories. The `nearest` ones answer.
    """

    branches: tuple[str, ...]
    mean: Floats
    axes: Floats
    keys: Floats
    labels: NDArray[np.int64]
    nearest: int


def branch_of(modality: str) -> str:
    """Return the name under which neighbours of a modality are one more branch of the fusion."""
    return f"neighbours-{modality}"


def fit_neighbours(
    features: Mapping[str, Floats],
    branches: Sequence[str],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    length: int,
    nearest: int,
) -> Neighbours:
    """Remember products.

    Each branch is centred and scaled to length 1, so that none drowns another; then come the principal axes, each
    divided by the root of its spread: the first ones tell a catalogue's departments apart, which heads do already.

    Args:
        features: (N, D) each, of all products.
        rows: (M,) the products to remember, at least one; they have the modality.
        labels: (N,) of all products.
        length: K; fewer where the features are fewer.
        nearest: how many of them answer.
    """
    mean = np.concatenate([features[name][rows].mean(axis=0, dtype=np.float64) for name in branches])
    mean = mean.astype(np.float32)
    centred = _centred(features, branches, mean, evenly(rows, _SAMPLE))
    spread, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(centred))
    spread, axes = spread[-length:], axes[:, -length:]
    axes = axes / np.maximum(spread, 1e-6 * max(spread[-1], 1e-12)) ** 0.25
    nobody = np.empty((0, axes.shape[1]), dtype=np.float32)
    found = Neighbours(tuple(branches), mean, axes.astype(np.float32), nobody, labels[rows], nearest)
    return found._replace(keys=_places(found, features, rows).astype(np.float16).astype(np.float32))


def neighbour_logits(neighbours: Neighbours, features: Mapping[str, Floats], classes: int) -> Floats:
    """Return what the nearest remembered products say: log-probabilities of the categories, (N, classes).

    Rows of products without the modality mean nothing.
    """
    rows = np.arange(len(features[neighbours.branches[0]]))
    return _said(_places(neighbours, features, rows), neighbours.keys, neighbours.labels, neighbours.nearest, classes)


def held_out_logits(
    neighbours: Neighbours,
    folds: NDArray[np.int64],
    features: Mapping[str, Floats],
    rows: NDArray[np.int64],
    asking: NDArray[np.int64],
    classes: int,
) -> Floats:
    """Return what neighbours say of products that may be among them, (N, classes): nobody of a product's own fold has a
    say.

    Args:
        folds: (M,) of the remembered products.
        rows: (N,) which products ask, of those that `features` has.
        asking: (N,) their folds; one that nobody remembered is of, -1, hears all.
    """
    places = _places(neighbours, features, rows)
    found = np.empty((len(asking), classes), dtype=np.float32)
    for fold in np.unique(asking):
        others, mine = (folds != fold) | (fold < 0), asking == fold
        keys, labels = neighbours.keys[others], neighbours.labels[others]
        found[mine] = _said(places[mine], keys, labels, neighbours.nearest, classes)
    return found


def remember(
    branches: Sequence[Branch],
    features: Mapping[str, Floats],
    targets: Targets,
    learn: NDArray[np.int64],
    judged: NDArray[np.int64],
    classes: int,
    settings: NeighbourBranch,
) -> tuple[dict[str, Neighbours], dict[str, Floats]]:
    """Remember the products that are learnt from, for each modality that frozen encoders look at.

    Args:
        features: (N, D) by branch, of all products; `targets` are those of the same.
        learn: rows to remember, of which `settings.products` are, evenly spread.
        judged: rows that held-out answers are wanted for.

    Returns:
        The neighbours by modality, and their held-out answers, (len(judged), classes), by `branch_of` it.
    """
    found, answers = {}, {}
    present = {"text": targets.has_text, "image": targets.has_image}
    for modality, length in LENGTHS.items():
        names = [
            b.name
            for b in branches
            if b.kind == "features" and b.modality == modality and not is_computed(b.source, modality)
        ]
        rows = learn[present[modality][learn]]
        if not names or not len(rows):
            continue
        rows = evenly(rows, settings.products)
        found[modality] = fit_neighbours(features, names, rows, targets.labels, length, settings.count)
        folds = targets.folds
        answers[branch_of(modality)] = held_out_logits(
            found[modality], folds[rows], features, judged, folds[judged], classes
        )
    return found, answers


def _centred(features: Mapping[str, Floats], branches: Sequence[str], mean: Floats, rows: NDArray[np.int64]) -> Floats:
    parts, start = [], 0
    for name in branches:
        part = features[name][rows].astype(np.float32)
        part -= mean[start : start + part.shape[1]]
        parts.append(_unit(part))
        start += part.shape[1]
    return np.concatenate(parts, axis=1)


def _places(neighbours: Neighbours, features: Mapping[str, Floats], rows: NDArray[np.int64]) -> Floats:
    found = np.empty((len(rows), neighbours.axes.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):  # features put side by side, of all at once, would fill the memory
        part = slice(start, start + _CHUNK)
        centred = _centred(features, neighbours.branches, neighbours.mean, rows[part])
        found[part] = _unit(centred @ neighbours.axes)
    return found


def _unit(rows: Floats) -> Floats:
    unit: Floats = F.normalize(torch.from_numpy(rows), dim=1, eps=1e-6).numpy()
    return unit


@torch.inference_mode()
def _said(places: Floats, keys: Floats, labels: NDArray[np.int64], nearest: int, classes: int) -> Floats:
    said = np.full((len(places), classes), -np.log(classes), dtype=np.float32)
    if not len(keys):
        return said
    categories = torch.from_numpy(labels)
    step = max(1, _CELLS // len(keys))
    # the same memory for every part, and NumPy's product: a fifth of the time less than torch's into fresh memory
    room = np.empty((min(step, len(places)), len(keys)), dtype=np.float32)
    for start in range(0, len(places), step):
        part = places[start : start + step]
        likeness = np.matmul(part, keys.T, out=room[: len(part)])
        cosines, who = torch.from_numpy(likeness).topk(min(nearest, len(keys)), dim=1)
        weights = torch.softmax(cosines / TEMPERATURE, dim=1)
        votes = torch.zeros(len(weights), classes).scatter_add_(1, categories[who], weights)
        said[start : start + step] = torch.log((1 - DOUBT) * votes + DOUBT / classes).numpy()
    return said
