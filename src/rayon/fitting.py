"""Fits a classifier with Lightning: alone or in several processes, going on from its checkpoints, and lets it judge.

Knows Lightning, and where checkpoints lie. It does not know products, branches, or what becomes of the judgements.
"""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy

from rayon.config import Config
from rayon.data.datamodule import ProductDataModule
from rayon.models.classifier import HeldOut, ProductClassifier
from rayon.nodes import Nodes, NodesError, from_first, to_first

CHECKPOINT = "last.ckpt"
BEST = "best.ckpt"


class History(Callback):
    """Keeps what Lightning logged, a row an epoch, in the checkpoint too: a continued training has all of it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": float(trainer.current_epoch), **values})

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def fit(
    classifier: ProductClassifier,
    module: ProductDataModule,
    config: Config,
    folder: Path,
    key: str,
    history: History,
    callbacks: Sequence[Callback],
    logger: Any,
    nodes: Nodes,
) -> int:
    """Fit, going on from a checkpoint of the same training, and return the epoch it went on from.

    Every epoch leaves `last.ckpt` in the folder, the best one `best.ckpt`; the first of several processes writes them,
    and what the classifier holds in the end is the last.

    Args:
        key: what makes two trainings the same: checkpoints of another one are removed.
        history: gets a row an epoch, those before a kill too.
        nodes: the processes that fit it together, which have met (`rayon.nodes.joined`).

    Raises:
        NodesError: a process lacks the checkpoint that the first would go on from.
    """
    mark = folder / "training.json"
    last = folder / CHECKPOINT
    known: dict[str, Any] = {}
    if nodes.first:
        known = _open(folder, mark, key)
    known = from_first(known, nodes)
    if "history" in known:  # it was finished
        history.rows = known["history"]
        return len(history.rows)
    mine = _epochs_in(last)
    resumed = _agree(mine, folder, nodes)
    classifier.nodes = nodes
    # nobody goes on from it: without the optimizer's state it is a third as large
    best = ModelCheckpoint(
        folder, filename=Path(BEST).stem, monitor="val_nll", save_weights_only=True, enable_version_counter=False
    )
    # a checkpoint of its own: `save_last` saves only in epochs that are the best so far
    latest = ModelCheckpoint(folder, filename=Path(CHECKPOINT).stem, enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=config.trainer.max_epochs,
        accelerator=config.trainer.accelerator,
        precision=config.trainer.precision,
        callbacks=[
            EarlyStopping("val_nll", patience=config.trainer.patience),
            best,
            latest,
            *([_Apart(nodes.rank)] if nodes.size > 1 else []),
            *callbacks,
            history,
        ],
        logger=logger,
        gradient_clip_val=1.0 if classifier.network.encoders else None,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1_000_000,
        **_together(nodes, config.trainer.accelerator, bool(classifier.network.encoders)),
    )
    trainer.strategy.checkpoint_io = _Whole()
    trainer.fit(classifier, module, ckpt_path=str(last) if resumed else None, weights_only=True)
    if nodes.first:
        _write(mark, {"key": key, "history": history.rows})
    return resumed


def _open(folder: Path, mark: Path, key: str) -> dict[str, Any]:
    """Return what is known of the training whose checkpoints the folder holds; those of another one are removed, and
    what is left of a finished one whose best epoch was removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = json.loads(mark.read_text()) if mark.exists() else {}
    if known.get("key") != key or ("history" in known and not (folder / BEST).exists()):
        for stale in folder.glob("*.ckpt"):
            stale.unlink()
        known = {"key": key}
        _write(mark, known)
    return known


def _epochs_in(last: Path) -> int:
    """Return how many epochs a checkpoint holds, 0 where there is none; one that is damaged is removed."""
    if not last.exists():
        return 0
    try:
        return int(torch.load(last, weights_only=True, map_location="cpu")["epoch"]) + 1
    except (RuntimeError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
        last.unlink()
        warnings.warn(f"{last} is damaged, so the training begins anew: {error}", stacklevel=3)
        return 0


class _Whole(TorchCheckpointIO):
    """Puts a checkpoint there whole or not at all: Lightning's own way copies it where /tmp is another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        part = f"{path}.part"
        super().save_checkpoint(checkpoint, part, storage_options)
        os.replace(part, path)


def _agree(mine: int, folder: Path, nodes: Nodes) -> int:
    """Return the epoch to go on from, that of the first process; stop all of them where another one cannot."""
    epochs = from_first(to_first(mine, nodes), nodes)
    if epochs[0] and len(set(epochs)) > 1:
        raise NodesError(
            f"the processes found checkpoints of different epochs in {folder}: {epochs}, by rank. All must find the "
            "same: name a `shared` place, or put `cache` on a disk that all machines mount."
        )
    return epochs[0]


class _Given(LightningEnvironment):
    """Tells Lightning that its processes run already, one a machine as it sees it, and which of them this one is."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self._rank


class _Apart(Callback):
    """Lets each process drop out other units than the rest: Lightning gives all of them one seed."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(torch.initial_seed() + self._rank)


def _together(nodes: Nodes, accelerator: str, encoders: bool) -> dict[str, Any]:
    """Return what a Lightning trainer has to be told of the processes; alone, that there is one device."""
    if nodes.size == 1:
        return {"devices": 1}
    gpu = None if accelerator == "cpu" else nodes.gpu
    return {
        "devices": 1 if gpu is None else [gpu],
        "num_nodes": nodes.size,
        # an encoder may hold weights that nothing here uses, and whose gradients would be waited for
        "strategy": DDPStrategy(process_group_backend=nodes.backend, find_unused_parameters=encoders),
        "plugins": [_Given(nodes.rank)],
        "use_distributed_sampler": False,  # the data module deals out the rows
    }


def _write(mark: Path, content: dict[str, Any]) -> None:
    """Put the mark there whole or not at all, whenever the process is killed."""
    temporary = mark.with_suffix(".part")
    temporary.write_text(json.dumps(content))
    temporary.replace(mark)


def load_best(classifier: ProductClassifier, folder: Path) -> None:
    """Give the classifier the weights of its best epoch."""
    classifier.load_state_dict(torch.load(folder / BEST, weights_only=True, map_location="cpu")["state_dict"])


def judge(classifier: ProductClassifier, module: ProductDataModule, config: Config) -> HeldOut:
    """Return what the classifier says of the held-out products, in their order, and what the encoders that it trains
    make of them; one process does it alone.
    """
    trainer = pl.Trainer(
        accelerator=config.trainer.accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[],
    )
    keeper = _Judge(classifier)
    trainer.validate(keeper, datamodule=module, verbose=False)
    return classifier.take_held_out()


class _Judge(pl.LightningModule):
    """Runs a classifier over held-out products and leaves what it keeps where it is."""

    def __init__(self, classifier: ProductClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def validation_step(self, batch: Any, index: int) -> None:
        self.classifier.keep(batch, features=True)
