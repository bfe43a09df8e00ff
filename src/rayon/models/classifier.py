"""The product classifier: the network's heads, trained together by Lightning, each judged on products it never saw.

Knows batches and branches. It does not know where inputs come from, what a branch's source is, or how branches are
weighed in the end beyond asking `rayon.models.fusion` each epoch how good the whole is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from rayon.calibration import negative_log_likelihood
from rayon.config import Trainer
from rayon.data.batches import Batch
from rayon.data.datamodule import ProductDataModule
from rayon.evaluation import macro_f1
from rayon.models.fusion import fit_pool, fuse
from rayon.models.heads import NgramHead
from rayon.models.network import ProductNetwork
from rayon.nodes import ALONE, from_first, summed, to_first, whole_of

_WARM_UP = 0.1
_MOMENTUM = 0.9


class HeldOut(NamedTuple):
    """What heads say of products they did not learn from: each branch's logits (N, C), labels and presence, (N,).

    `features` are what encoders trained with them made of those products, (N, D) by branch, where they were kept.
    """

    logits: dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    has_text: NDArray[np.bool_]
    has_image: NDArray[np.bool_]
    features: dict[str, NDArray[np.float32]]


class _Kept(NamedTuple):
    """A batch of what `HeldOut` holds."""

    logits: dict[str, Tensor]
    targets: tuple[Tensor, Tensor, Tensor]
    features: dict[str, Tensor]


class ProductClassifier(pl.LightningModule):
    """Trains a `ProductNetwork`, in one process or in several (`nodes`) that learn the same.

    Hyper-parameters are primitives, so that checkpoints load weights-only. `replicas` is folds + 1, or 1 where the
    held-out products are a split of their own. `class_weights` (C,) weigh the loss; `settings` are the trainer's.
    """

    def __init__(
        self,
        branches: Sequence[Sequence[Any]],
        class_weights: Sequence[float],
        replicas: int,
        settings: Mapping[str, Any],
        feature_fusion: bool = False,
        modality_dropout: float = 0.0,
        encoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["encoders"])
        self.settings = Trainer(**settings)
        self.network = ProductNetwork(
            branches,
            len(class_weights),
            replicas,
            self.settings.hidden,
            self.settings.dropout,
            feature_fusion,
            modality_dropout,
            encoders,
        )
        self.replicas, self.classes = replicas, len(class_weights)
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)
        self.nodes = ALONE
        self.held_out: list[_Kept] = []

    @property
    def modalities(self) -> dict[str, str]:
        """Return the modality of each branch that has a say."""
        return self.network.modalities

    @property
    def _in_place(self) -> bool:
        return self.device.type == "cpu" and self.nodes.size == 1

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return each branch's logits, (B, R, C); rows without the branch's modality mean nothing."""
        logits: dict[str, Tensor] = self.network(batch)
        return logits

    def on_train_start(self) -> None:
        """Switch the encoders' dropout on: they come in evaluation mode, and Lightning leaves modes as they are."""
        self.train()
        for head in self.network.heads.values():
            if self._in_place and isinstance(head, NgramHead):
                head.add_in_place()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradients that heads add to."""
        optimizer.zero_grad(set_to_none=not self._in_place)

    def on_validation_model_zero_grad(self) -> None:
        """Keep them here too, where Lightning would free them."""
        if not self._in_place:
            super().on_validation_model_zero_grad()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the sum of the branches' and replicas' weighted cross-entropies: they do not share parameters.

        Each is a mean over the batch. Of several processes each has a part of the batch: it divides by the weights of
        all, and the mean of the processes' gradients is then the gradient of the whole batch.
        """
        sums, shares = [], []
        learns = batch.folds[:, None] != torch.arange(self.replicas, device=self.device)
        if self.replicas == 1:
            learns = torch.ones_like(learns)
        weights = cast(Tensor, self.class_weights)[batch.labels]
        for name, logits in self(batch).items():
            present = self._present(self.modalities[name], batch)
            share = weights[:, None] * (learns & present[:, None])
            labels = batch.labels[:, None].expand(-1, self.replicas)
            each = F.cross_entropy(logits.float().permute(0, 2, 1), labels, reduction="none")
            sums.append((each * share).sum(dim=0))
            shares.append(share.sum(dim=0))
        total = summed(torch.stack(shares), self.nodes).clamp_min(1e-6) / self.nodes.size
        loss = (torch.stack(sums) / total).sum(dim=1).sum()
        self.log(
            "train_loss",
            loss / (len(sums) * self.replicas),
            on_epoch=True,
            on_step=False,
            batch_size=len(batch.labels),
            sync_dist=self.nodes.size > 1,
        )
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keep, for every product, what the replica that never learnt from it says."""
        self.keep(batch)

    def keep(self, batch: Batch, features: bool = False) -> None:
        """Keep what is said of the products of a batch, for `take_held_out`; with what trained encoders make of them,
        where `features` asks for it.
        """
        judge = batch.folds.clamp_max(self.replicas - 1)
        rows = torch.arange(len(judge), device=self.device)
        seen = self.network.see(batch)
        logits = {name: each[rows, judge].float().cpu() for name, each in self.network.answer(seen, batch).items()}
        made = {name: seen[name].float().cpu() for name in self.network.trained if features}
        # without the inputs: the photos of a whole split would fill the memory
        self.held_out.append(_Kept(logits, (batch.labels.cpu(), batch.has_text.cpu(), batch.has_image.cpu()), made))

    def on_validation_epoch_end(self) -> None:
        """Log how good the branches are together: `val_nll`, nats, lower is better, and `val_macro_f1`, in [0, 1].

        Of several processes the first judges what all of them saw, so that all stop, or go on, for the same numbers.
        """
        parts = to_first(self.take_held_out(), self.nodes)
        if self.trainer.sanity_checking:
            return
        score = self._score(self._whole(parts)) if self.nodes.first else (0.0, 0.0)
        nll, f1 = from_first(score, self.nodes)
        self.log("val_nll", nll, prog_bar=True)
        self.log("val_macro_f1", f1, prog_bar=True)

    def _score(self, held: HeldOut) -> tuple[float, float]:
        pool = fit_pool(self.modalities, held.logits, held.labels, held.has_text, held.has_image)
        fused, _ = fuse(pool, held.logits, held.has_text, held.has_image)
        return negative_log_likelihood(fused, held.labels), macro_f1(held.labels, fused.argmax(axis=1), self.classes)

    def _whole(self, parts: Sequence[HeldOut]) -> HeldOut:
        """Put the processes' parts together again, in the order of the held-out rows."""
        if len(parts) == 1:
            return parts[0]
        total = len(cast(ProductDataModule, self.trainer.datamodule).held_out_rows)  # type: ignore[attr-defined]
        return HeldOut(
            {name: whole_of([part.logits[name] for part in parts], total) for name in self.modalities},
            whole_of([part.labels for part in parts], total),
            whole_of([part.has_text for part in parts], total),
            whole_of([part.has_image for part in parts], total),
            {},
        )

    def take_held_out(self) -> HeldOut:
        """Return what validation steps have kept since the last call, in their order."""
        kept, self.held_out = self.held_out, []
        labels, has_text, has_image = (torch.cat([each.targets[i] for each in kept]).numpy() for i in range(3))
        return HeldOut(
            {name: torch.cat([each.logits[name] for each in kept]).numpy() for name in self.modalities},
            labels,
            has_text,
            has_image,
            {name: torch.cat([each.features[name] for each in kept]).numpy() for name in kept[0].features},
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a rate per kind of weight, warmed up and brought down linearly to zero over the whole training."""
        settings = self.settings
        groups: dict[str, list[nn.Parameter]] = {"ngram": [], "head": [], "encoder": [], "bias": []}
        for name, parameter in self.named_parameters():
            _, part, head, *_ = name.split(".")
            if part == "encoders":
                groups["encoder"].append(parameter)
            elif name.endswith("bias"):
                groups["bias"].append(parameter)
            else:
                groups["ngram" if self.network.is_ngram(head) else "head"].append(parameter)
        # With eps = 1, far above any gradient here, Adam is plain momentum. On linear weights over rare grams Adam's
        # equal steps overfit: momentum is worth four hundredths of a nat and two points of macro-F1.
        rates = {
            "ngram": (settings.ngram_learning_rate / (1 - _MOMENTUM), 0.0, 1.0),
            "head": (settings.learning_rate, settings.weight_decay, 1e-8),
            "encoder": (settings.encoder_learning_rate, settings.weight_decay, 1e-8),
            "bias": (settings.learning_rate, 0.0, 1e-8),
        }
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": rates[kind][0], "weight_decay": rates[kind][1], "eps": rates[kind][2]}
                for kind, parameters in groups.items()
                if parameters
            ],
            betas=(_MOMENTUM, 0.999),
            # a fused step unscales gradients itself, which rules out clipping them in mixed precision
            fused=not self.network.encoders,
        )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warm = max(int(steps * _WARM_UP), 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm, max(steps - step, 0) / max(steps - warm, 1))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _present(self, modality: str, batch: Batch) -> Tensor:
        if modality == "both":
            return batch.has_text | batch.has_image
        return batch.has_text if modality == "text" else batch.has_image


def class_weights(labels: NDArray[np.integer], classes: int, balance: float) -> list[float]:
    """Return a loss weight a class, (C,), 1 on average over products: even at balance 0, inverse to frequency at 1."""
    counts = np.bincount(labels, minlength=classes)
    weights = (len(labels) / (classes * np.maximum(counts, 1))) ** balance
    weights /= (weights * counts).sum() / max(len(labels), 1)
    return [float(weight) for weight in weights]
