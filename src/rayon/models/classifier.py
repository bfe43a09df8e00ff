"""The product classifier: one head a branch, trained together by Lightning, each judged on products it never saw.

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
from rayon.data.datamodule import Batch
from rayon.evaluation import macro_f1
from rayon.models.fusion import fit_pool, fuse
from rayon.models.heads import DenseHead, NgramHead

JOINT = "joint"
"""The branch of feature-level fusion: it reads every branch's input at once."""

_WARM_UP = 0.1


class Branch(NamedTuple):
    """A branch as plain data: `kind` is 'ngram' (weighted grams), 'features' (computed) or 'encoder' (trained here),
    `modality` 'text' or 'image', `dim` the columns or features it brings, `source` the encoder's name, '' for n-grams.
    """

    name: str
    kind: str
    modality: str
    dim: int
    source: str = ""


class HeldOut(NamedTuple):
    """What heads say of products they did not learn from: each branch's logits (N, C), labels and presence, (N,)."""

    logits: dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    has_text: NDArray[np.bool_]
    has_image: NDArray[np.bool_]


class ProductClassifier(pl.LightningModule):
    """A head a branch (decision-level fusion), or one head over all branches (feature-level fusion).

    Hyper-parameters are primitives, so that checkpoints load weights-only. `replicas` is folds + 1, or 1 where the
    held-out products are a split of their own. `class_weights` (C,) weigh the loss. `encoders` are the modules of the
    branches of kind 'encoder', trained end to end.
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
        self.branches = tuple(Branch(*branch) for branch in branches)
        self.settings = Trainer(**settings)
        self.replicas, self.classes = replicas, len(class_weights)
        self.feature_fusion, self.modality_dropout = feature_fusion, modality_dropout
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)
        self.encoders = nn.ModuleDict({_key(name): module for name, module in (encoders or {}).items()})
        self.heads = nn.ModuleDict(self._make_heads())
        self.held_out: list[tuple[dict[str, Tensor], Batch]] = []

    def _make_heads(self) -> dict[str, nn.Module]:
        hidden, dropout = self.settings.hidden, self.settings.dropout
        heads: dict[str, nn.Module] = {}
        dense = [branch for branch in self.branches if branch.kind != "ngram"]
        for branch in self.branches:
            if branch.kind == "ngram":
                width = hidden if self.feature_fusion else self.classes
                heads[_key(branch.name)] = NgramHead(branch.dim, width, self.replicas)
            elif not self.feature_fusion:
                heads[_key(branch.name)] = DenseHead(branch.dim, self.classes, self.replicas, hidden, dropout)
        if self.feature_fusion:
            # two more inputs say which modalities are there, so that a masked one is not taken for an average one
            heads[JOINT] = DenseHead(sum(b.dim for b in dense) + 2, self.classes, self.replicas, hidden, dropout)
        return heads

    @property
    def modalities(self) -> dict[str, str]:
        """Return the modality of each branch that has a say: those of decision-level fusion, or the joint one."""
        return {JOINT: "both"} if self.feature_fusion else {b.name: b.modality for b in self.branches}

    def encoder(self, branch: str) -> nn.Module:
        """Return the module of a branch of kind 'encoder'."""
        return self.encoders[_key(branch)]

    def standardise(self, statistics: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]) -> None:
        """Set each feature branch's mean and standard deviation over the training products, each (D,)."""
        known = {
            name: (torch.from_numpy(m).float(), torch.from_numpy(s).float()) for name, (m, s) in statistics.items()
        }
        if not self.feature_fusion:
            for name, (mean, deviation) in known.items():
                self._dense(name).standardise(mean, deviation)
            return
        parts = [known.get(b.name, (torch.zeros(b.dim), torch.ones(b.dim))) for b in self.branches if b.kind != "ngram"]
        flags = (torch.zeros(2), torch.ones(2))
        mean, deviation = (torch.cat([part[i] for part in (*parts, flags)]) for i in (0, 1))
        self._dense(JOINT).standardise(mean, deviation)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return each branch's logits, (B, R, C); rows that lack the branch's modality mean nothing and are masked later."""
        seen = {b.name: self._see(b, batch) for b in self.branches}
        if self.feature_fusion:
            return {JOINT: self._joint(seen, batch)}
        return {name: self.heads[_key(name)](given) for name, given in seen.items()}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the sum of the branches' and replicas' weighted cross-entropies: they do not share parameters."""
        losses = []
        learns = batch.folds[:, None] != torch.arange(self.replicas, device=self.device)
        if self.replicas == 1:
            learns = torch.ones_like(learns)
        weights = cast(Tensor, self.class_weights)[batch.labels]
        for name, logits in self(batch).items():
            present = self._present(self.modalities[name], batch)
            share = weights[:, None] * (learns & present[:, None])
            labels = batch.labels[:, None].expand(-1, self.replicas)
            each = F.cross_entropy(logits.float().permute(0, 2, 1), labels, reduction="none")
            losses.append(((each * share).sum(dim=0) / share.sum(dim=0).clamp_min(1e-6)).sum())
        loss = torch.stack(losses).sum()
        self.log(
            "train_loss",
            loss / (len(losses) * self.replicas),
            on_epoch=True,
            on_step=False,
            batch_size=len(batch.labels),
        )
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keep, for every product, what the replica that never learnt from it says."""
        judge = batch.folds.clamp_max(self.replicas - 1)
        rows = torch.arange(len(judge), device=self.device)
        logits = {name: each[rows, judge].float().cpu() for name, each in self(batch).items()}
        self.held_out.append((logits, batch))

    def on_validation_epoch_end(self) -> None:
        """Log how good the branches are together: `val_nll`, nats, lower is better, and `val_macro_f1`, in [0, 1]."""
        held = self.take_held_out()
        if self.trainer.sanity_checking:
            return
        pool = fit_pool(self.modalities, held.logits, held.labels, held.has_text, held.has_image)
        fused, _ = fuse(pool, held.logits, held.has_text, held.has_image)
        self.log("val_nll", negative_log_likelihood(fused, held.labels), prog_bar=True)
        self.log("val_macro_f1", macro_f1(held.labels, fused.argmax(axis=1), self.classes), prog_bar=True)

    def take_held_out(self) -> HeldOut:
        """Return what validation steps have kept since the last call, in their order."""
        kept, self.held_out = self.held_out, []
        return HeldOut(
            {name: torch.cat([logits[name] for logits, _ in kept]).numpy() for name in self.modalities},
            *(
                torch.cat([getattr(batch, column) for _, batch in kept]).cpu().numpy()
                for column in ("labels", "has_text", "has_image")
            ),
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a rate per kind of weight, warmed up and brought down linearly to zero over the whole training."""
        settings = self.settings
        groups: dict[str, list[nn.Parameter]] = {"ngram": [], "head": [], "encoder": [], "bias": []}
        for name, parameter in self.named_parameters():
            if name.startswith("encoders."):
                groups["encoder"].append(parameter)
            elif name.endswith("bias"):
                groups["bias"].append(parameter)
            else:
                ngram = isinstance(self.heads[name.split(".")[1]], NgramHead)
                groups["ngram" if ngram else "head"].append(parameter)
        rates = {
            "ngram": (settings.ngram_learning_rate, 0.0),
            "head": (settings.learning_rate, settings.weight_decay),
            "encoder": (settings.encoder_learning_rate, settings.weight_decay),
            "bias": (settings.learning_rate, 0.0),
        }
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": rates[kind][0], "weight_decay": rates[kind][1]}
                for kind, parameters in groups.items()
                if parameters
            ],
            fused=True,
        )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warm = max(int(steps * _WARM_UP), 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm, max(steps - step, 0) / max(steps - warm, 1))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _see(self, branch: Branch, batch: Batch) -> Tensor:
        given: Any = batch.inputs[branch.name]
        seen: Tensor = self.encoders[_key(branch.name)](given) if branch.kind == "encoder" else given
        return seen

    def _joint(self, seen: Mapping[str, Tensor], batch: Batch) -> Tensor:
        present = {"text": batch.has_text, "image": batch.has_image}
        if self.training and self.modality_dropout:
            hidden = torch.rand(len(batch.labels), device=self.device)
            both = batch.has_text & batch.has_image
            present["text"] = batch.has_text & ~(both & (hidden < self.modality_dropout / 2))
            present["image"] = batch.has_image & ~(both & (hidden > 1 - self.modality_dropout / 2))
        head = self._dense(JOINT)
        parts = [seen[b.name] for b in self.branches if b.kind != "ngram"]
        flags = torch.stack([present["text"], present["image"]], dim=1).float()
        mask = [present[b.modality][:, None].expand(-1, b.dim) for b in self.branches if b.kind != "ngram"]
        mask.append(torch.ones_like(flags, dtype=torch.bool))
        # a masked feature becomes its mean, which is 0 once standardised
        given = torch.where(torch.cat(mask, dim=1), torch.cat([*parts, flags], dim=1), head.mean)
        grams = [
            self.heads[_key(b.name)](seen[b.name]) * present["text"][:, None, None]
            for b in self.branches
            if b.kind == "ngram"
        ]
        logits: Tensor = head(given, grams[0] if grams else None)
        return logits

    def _present(self, modality: str, batch: Batch) -> Tensor:
        if modality == "both":
            return batch.has_text | batch.has_image
        return batch.has_text if modality == "text" else batch.has_image

    def _dense(self, name: str) -> DenseHead:
        return cast(DenseHead, self.heads[_key(name)])


def class_weights(labels: NDArray[np.integer], classes: int, balance: float) -> list[float]:
    """Return a loss weight a class, (C,): 1 everywhere at balance 0, inverse to its frequency at 1, 1 on average over products."""
    counts = np.bincount(labels, minlength=classes)
    weights = (len(labels) / (classes * np.maximum(counts, 1))) ** balance
    weights /= (weights * counts).sum() / max(len(labels), 1)
    return [float(weight) for weight in weights]


def _key(name: str) -> str:
    """Module names may not hold dots."""
    return name.replace(".", "_")
