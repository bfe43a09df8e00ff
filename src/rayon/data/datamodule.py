"""Batches for Lightning: which products are learnt from, in which order, and which judge.

Knows rows and loaders; what a batch holds is `rayon.data.batches`'s.
"""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from rayon.data.batches import Batch, BranchInputs, Collator, Targets
from rayon.nodes import ALONE, Nodes, part_of

__all__ = ["Batch", "BranchInputs", "Collator", "ProductDataModule", "Targets"]


class ProductDataModule(pl.LightningDataModule):
    """Training and held-out batches. With folds the held-out products are the training products themselves, each of
    which is then read by the replica that never learnt from it.

    Of several processes (`nodes`) each reads its part of every batch of `batch_size`: together, what one alone reads.
    """

    def __init__(
        self,
        collator: Collator,
        train_rows: NDArray[np.int64],
        held_out_rows: NDArray[np.int64],
        batch_size: int,
        workers: int,
        seed: int,
        nodes: Nodes = ALONE,
    ) -> None:
        super().__init__()
        self.collator, self.train_rows, self.held_out_rows = collator, train_rows, held_out_rows
        self.batch_size, self.seed, self.nodes = batch_size, seed, nodes
        # reading from memory is faster than sending it between processes
        self.workers = 0 if collator.inputs.computed else workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled training batches; the order depends on the seed and the epoch alone."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        # shuffled here, not by the loader: a training that goes on starts to iterate twice
        order = np.random.default_rng((self.seed, epoch)).permutation(self.train_rows)
        size = self.batch_size
        parts = [part_of(order[start : start + size], self.nodes) for start in range(0, len(order), size)]
        return self._loader(np.concatenate(parts), size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return held-out batches in order."""
        size = 4 * self.batch_size if self.workers == 0 else self.batch_size
        return self._loader(part_of(self.held_out_rows, self.nodes), size)

    def _loader(self, rows: NDArray[np.int64], batch_size: int) -> DataLoader[Batch]:
        return DataLoader(
            rows.tolist(),
            batch_size=-(-batch_size // self.nodes.size),
            collate_fn=self.collator,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )
