"""Batches: every part of one holds the rows asked for, in their order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse

from rayon.data.batches import Batch, BranchInputs, Collator, Targets, sparse_rows

N = 37


def count_letters(texts):
    return {"input_ids": torch.tensor([[len(text)] for text in texts])}


def square(row):
    return np.full((4, 4, 3), row, dtype=np.uint8)


@pytest.fixture
def inputs() -> BranchInputs:
    """Every branch says which row it belongs to."""
    numbers = np.arange(N, dtype=np.float32)
    return BranchInputs(
        grams={"gram": sparse.csr_matrix(np.stack([numbers, np.ones(N), np.zeros(N)], axis=1))},
        features={"vector": np.stack([numbers, -numbers], axis=1)},
        tokenisers={"tokens": count_letters},
        photos={"pixels": square},
        texts=["x" * n for n in range(N)],
    )


@pytest.fixture
def targets() -> Targets:
    rows = np.arange(N)
    return Targets(rows % 5, rows % 3, rows % 2 == 0, rows % 4 != 0)


def rows_in(batch: Batch) -> list[int]:
    """The rows of a batch, having checked that all its parts agree on them."""
    rows = batch.inputs["vector"][:, 0].long()
    assert torch.equal(batch.inputs["gram"].to_dense()[:, 0].long(), rows)
    assert torch.equal(batch.labels, rows % 5) and torch.equal(batch.folds, rows % 3)
    assert torch.equal(batch.has_text, rows % 2 == 0) and torch.equal(batch.has_image, rows % 4 != 0)
    if "tokens" in batch.inputs:
        assert torch.equal(batch.inputs["tokens"]["input_ids"][:, 0], rows)
        assert torch.equal(batch.inputs["pixels"][:, 0, 0, 0].long(), rows)
    return rows.tolist()


def test_a_batch_holds_the_rows_asked_for_in_their_order(inputs, targets):
    batch = Collator(inputs, targets)([5, 2, 30, 2])
    assert rows_in(batch) == [5, 2, 30, 2]
    assert batch.inputs["gram"].layout == torch.sparse_csr and batch.inputs["gram"].dtype == torch.float32
    assert batch.inputs["vector"].dtype == torch.float32
    assert batch.inputs["pixels"].shape == (4, 3, 4, 4) and batch.inputs["pixels"].dtype == torch.uint8
    assert batch.labels.dtype == batch.folds.dtype == torch.int64 and batch.has_text.dtype == torch.bool


def test_a_row_that_fills_a_batch_has_neither_text_nor_photo(inputs, targets):
    batch, whole = (Collator(inputs, targets)(rows) for rows in ([5, ~6], [5, 6]))
    assert batch.has_text.tolist() == [False, False] and whole.has_text.tolist() == [False, True]
    assert batch.has_image.tolist() == [True, False] and whole.has_image.tolist() == [True, True]
    assert torch.equal(batch.inputs["vector"], whole.inputs["vector"])
    assert torch.equal(batch.labels, whole.labels) and torch.equal(batch.folds, whole.folds)


def test_rows_of_half_precision_features_come_as_float32(targets):
    features = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float16)
    batch = Collator(BranchInputs(features={"f": features}), targets)([3, 1])
    assert batch.inputs["f"].dtype == torch.float32
    np.testing.assert_array_equal(batch.inputs["f"].numpy(), features[[3, 1]])


def test_sparse_rows_are_the_matrix_rows():
    matrix = sparse.random(20, 50, density=0.1, format="csr", dtype=np.float64, random_state=1)
    rows = np.array([19, 0, 7, 7])
    tensor = sparse_rows(matrix, rows)
    np.testing.assert_allclose(tensor.to_dense().numpy(), matrix.toarray()[rows], rtol=1e-6)
    assert sparse_rows(matrix, np.empty(0, dtype=int)).shape == (0, 50)


def test_collators_travel_to_worker_processes(inputs, targets):
    assert rows_in(pickle.loads(pickle.dumps(Collator(inputs, targets)))([4, 9])) == [4, 9]
