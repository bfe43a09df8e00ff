"""Batches of products by row number, gathered from what was encoded, or tokenised and decoded on the way.

Knows where a branch's input lies and how to put a batch of it together; knows neither encoders nor models: how texts
become tokens and photos become squares is handed in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

# torch says once a process that sparse tensors are in beta, and unchecked. A filter would not do: flows show warnings
# that our modules cause, and set theirs later.
with warnings.catch_warnings(action="ignore"):
    torch.sparse_csr_tensor([0, 1], [0], [1.0], size=(1, 1), check_invariants=False)

Tokens = dict[str, Tensor]


class Batch(NamedTuple):
    """B products. `inputs` holds what each branch looks at, by its name: weighted grams (B, V) as sparse CSR, features
    (B, D) float32, tokens (a dict of (B, L) int64) or pixels (B, 3, side, side) uint8. `labels` are -1 where unknown;
    `folds` says which replica of a head never learns from the product.
    """

    inputs: dict[str, Tensor | Tokens]
    has_text: Tensor
    has_image: Tensor
    labels: Tensor
    folds: Tensor


@dataclass(frozen=True)
class BranchInputs:
    """Where the branches' inputs come from, for N products: one entry a branch, in exactly one of the mappings.

    `grams` and `features` are computed; when a batch is made `tokenisers` read `texts` and `photos` are decoded.
    `photos` gives a row's square of pixels, uint8 (side, side, 3).
    """

    grams: Mapping[str, sparse.csr_matrix] = field(default_factory=dict)
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    tokenisers: Mapping[str, Callable[[Sequence[str]], Tokens]] = field(default_factory=dict)
    photos: Mapping[str, Callable[[int], NDArray[np.uint8]]] = field(default_factory=dict)
    texts: Sequence[str] = ()

    @property
    def computed(self) -> bool:
        """Say whether every branch reads from memory, so that no worker process is worth its start."""
        return not self.tokenisers and not self.photos


class Targets(NamedTuple):
    """What is known of N products beside their inputs, all (N,): labels (-1 unknown), folds, presences."""

    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    has_text: NDArray[np.bool_]
    has_image: NDArray[np.bool_]


class Collator:
    """Gathers the products of some rows into a `Batch`. Picklable where its inputs are, for worker processes."""

    def __init__(self, inputs: BranchInputs, targets: Targets) -> None:
        self.inputs, self.targets = inputs, targets

    def __call__(self, rows: Sequence[int]) -> Batch:
        """Return the batch of these row numbers, in their order. ~n is row n without text and photo: it fills a batch
        and teaches nothing.
        """
        index = np.asarray(rows, dtype=np.int64)
        there = index >= 0
        index = np.where(there, index, ~index)
        gathered: dict[str, Tensor | Tokens] = {}
        for name, matrix in self.inputs.grams.items():
            gathered[name] = sparse_rows(matrix, index)
        for name, features in self.inputs.features.items():
            gathered[name] = torch.from_numpy(np.ascontiguousarray(features[index], dtype=np.float32))
        for name, tokenise in self.inputs.tokenisers.items():
            gathered[name] = tokenise([self.inputs.texts[row] for row in index])
        for name, photo in self.inputs.photos.items():
            squares = np.stack([photo(int(row)) for row in index])
            gathered[name] = torch.from_numpy(squares).permute(0, 3, 1, 2)
        return Batch(gathered, *(torch.from_numpy(column) for column in self._targets(index, there)))

    def _targets(
        self, index: NDArray[np.int64], there: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_] | NDArray[np.int64], ...]:
        targets = self.targets
        present = targets.has_text[index] & there, targets.has_image[index] & there
        return *present, targets.labels[index], targets.folds[index]


def sparse_rows(matrix: sparse.csr_matrix, rows: NDArray[np.int64]) -> Tensor:
    """Return some rows of a SciPy CSR matrix as a sparse CSR tensor, float32 (len(rows), V)."""
    part = matrix[rows]
    return torch.sparse_csr_tensor(
        torch.from_numpy(part.indptr.astype(np.int64)),
        torch.from_numpy(part.indices.astype(np.int64)),
        torch.from_numpy(part.data.astype(np.float32)),
        size=part.shape,
        check_invariants=False,
    )
