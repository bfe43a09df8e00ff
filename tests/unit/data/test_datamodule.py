"""Loaders: every row once an epoch, in an order that the seed and the epoch alone decide."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy import sparse
from torch import nn

from rayon.data.batches import Batch, BranchInputs, Collator, Targets
from rayon.data.datamodule import ProductDataModule
from rayon.nodes import Nodes

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


@pytest.mark.parametrize("workers", [0, 2])
def test_every_row_comes_once_an_epoch(inputs, targets, workers):
    module = ProductDataModule(Collator(inputs, targets), np.arange(30), np.arange(30, N), 8, workers, seed=0)
    assert module.workers == workers
    train = [rows_in(batch) for batch in module.train_dataloader()]
    in_order = [row for rows in train for row in rows]
    assert sorted(in_order) == list(range(30)) and in_order != list(range(30))
    assert [len(rows) for rows in train] == [8, 8, 8, 6]
    assert [row for batch in module.val_dataloader() for row in rows_in(batch)] == list(range(30, N))


def test_processes_share_out_every_batch(inputs, targets):
    computed = Collator(BranchInputs(inputs.grams, inputs.features), targets)

    def batches(rank: int, size: int) -> tuple[list[list[int]], list[list[int]]]:
        module = ProductDataModule(computed, np.arange(30), np.arange(30, N), 8, 0, 0, Nodes(rank, size))
        return tuple(
            [batch.inputs["vector"][:, 0].tolist() for batch in loader]
            for loader in (module.train_dataloader(), module.val_dataloader())
        )

    (whole, judged), *shared = batches(0, 1), *(batches(rank, 3) for rank in range(3))
    for parts, together in zip(zip(*(train for train, _ in shared), strict=True), whole, strict=True):
        assert len({len(part) for part in parts}) == 1
        # one row at most fills each part, and it is of the same batch
        assert {row for part in parts for row in part} == set(together)
        assert sum(map(len, parts)) < len(together) + 3
    assert {row for _, held in shared for rows in held for row in rows} == {row for rows in judged for row in rows}


def test_no_process_is_started_for_what_lies_in_memory(inputs, targets):
    computed = BranchInputs(inputs.grams, inputs.features)
    assert computed.computed and not inputs.computed
    assert ProductDataModule(Collator(computed, targets), np.arange(9), np.arange(9), 4, 2, 0).workers == 0


class Reader(pl.LightningModule):
    """Keeps the rows of every epoch's batches."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.epochs: list[list[int]] = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, index):
        self.epochs[-1] += rows_in(batch)
        return self.linear(batch.inputs["vector"]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-9)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_order_depends_on_seed_and_epoch_alone(inputs, targets, tmp_path):
    def orders(seed: int, first: int, last: int) -> list[list[int]]:
        torch.manual_seed(np.random.default_rng().integers(1000))
        module = ProductDataModule(
            Collator(BranchInputs(inputs.grams, inputs.features), targets), np.arange(N), np.arange(N), 8, 0, seed
        )
        trainer = pl.Trainer(
            max_epochs=last,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            reload_dataloaders_every_n_epochs=1,
            limit_val_batches=0,
        )
        reader, checkpoint = Reader(), tmp_path / f"{seed}-{first}.ckpt"
        trainer.fit(reader, module, ckpt_path=checkpoint if first else None, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{seed}-{last}.ckpt")
        return reader.epochs

    whole = orders(1, 0, 4)
    assert len({tuple(rows) for rows in whole}) == 4
    assert orders(1, 0, 2) == whole[:2]
    assert orders(1, 2, 4) == whole[2:]
    assert orders(2, 0, 1) != whole[:1]
