"""Batches for Lightning: which products are learnt from, in which order, and which judge.

Knows rows and loaders; what a batch holds is `rayon.data.batches`'s.
"""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from rayon.data.batches import Batch, BranchInputs, Collator, Targets

__all__ = ["Batch", "BranchInputs", "Collator", "ProductDataModule", "Targets"]


class ProductDataModule(pl.LightningDataModule):
    """Training and held-out batches. With folds the held-out products are the training products themselves, each of
    which is then read by the replica that never learnt from it.
    """

    def __init__(
        self,
        collator: Collator,
        train_rows: NDArray[np.int64],
        held_out_rows: NDArray[np.int64],
        batch_size: int,
        workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.collator, self.train_rows, self.held_out_rows = collator, train_rows, held_out_rows
        self.batch_size, self.seed = batch_size, seed
        # reading from memory is faster than sending it between processes
        self.workers = 0 if collator.inputs.computed else workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled training batches; the order depends on the seed and the epoch alone."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        # shuffled here, not by the loader: a training that goes on starts to iterate twice
        order = np.random.default_rng((self.seed, epoch)).permutation(self.train_rows)
        return self._loader(order, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return held-out batches in order."""
        return self._loader(self.held_out_rows, 4 * self.batch_size if self.workers == 0 else self.batch_size)

    def _loader(self, rows: NDArray[np.int64], batch_size: int) -> DataLoader[Batch]:
        return DataLoader(
            rows.tolist(),
            batch_size=batch_size,
            collate_fn=self.collator,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )
