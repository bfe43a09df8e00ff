"""The network: branches and their heads, from a batch to each branch's logits.

Knows batches and branches, and no trainer: what serves loads this alone. It does not know where inputs come from or how
branches are weighed in the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayon.data.batches import Batch
from rayon.models.heads import DenseHead, NgramHead

JOINT = "joint"
"""The branch of feature-level fusion: it reads every branch's input at once."""


class Branch(NamedTuple):
    """A branch as plain data: `kind` is 'ngram' (weighted grams), 'features' (computed) or 'encoder' (trained here),
    `modality` 'text' or 'image', `dim` the columns or features it brings, `source` the encoder's name, '' for n-grams.
    """

    name: str
    kind: str
    modality: str
    dim: int
    source: str = ""


class ProductNetwork(nn.Module):
    """A head a branch (decision-level fusion), or one head over all branches (feature-level fusion).

    Args:
        branches: the branches, `Branch` records or lists of their fields.
        classes: C, the number of categories.
        replicas: R, how many replicas each head holds; the last is the one that is served.
        hidden: width of a head's hidden layer.
        dropout: share of a head's inputs and hidden units left out while training.
        feature_fusion: whether one head reads all branches.
        modality_dropout: in feature-level fusion, the share of products that lose a modality while training.
        encoders: the modules of the branches of kind 'encoder', trained end to end.
    """

    def __init__(
        self,
        branches: Sequence[Sequence[Any]],
        classes: int,
        replicas: int,
        hidden: int,
        dropout: float,
        feature_fusion: bool = False,
        modality_dropout: float = 0.0,
        encoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.branches = tuple(Branch(*branch) for branch in branches)
        self.classes, self.replicas, self.hidden, self.dropout = classes, replicas, hidden, dropout
        self.feature_fusion, self.modality_dropout = feature_fusion, modality_dropout
        self.encoders = nn.ModuleDict({_key(name): module for name, module in (encoders or {}).items()})
        self.heads = nn.ModuleDict(self._make_heads())

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments that make this network again, less its encoders: plain data."""
        return {
            "branches": [list(branch) for branch in self.branches],
            "classes": self.classes,
            "replicas": self.replicas,
            "hidden": self.hidden,
            "dropout": self.dropout,
            "feature_fusion": self.feature_fusion,
            "modality_dropout": self.modality_dropout,
        }

    def keep_last(self) -> ProductNetwork:
        """Return the network that is served: the last replica of each head, with the same encoders."""
        served = ProductNetwork(**{**self.options, "replicas": 1})
        served.encoders = self.encoders
        for name, head in self.heads.items():
            served.heads[name] = cast(DenseHead | NgramHead, head).keep_last()
        return served

    @property
    def modalities(self) -> dict[str, str]:
        """Return the modality of each branch that has a say: those of decision-level fusion, or the joint one."""
        return {JOINT: "both"} if self.feature_fusion else {b.name: b.modality for b in self.branches}

    @property
    def trained(self) -> tuple[str, ...]:
        """Return the branches whose encoders are trained here."""
        return tuple(branch.name for branch in self.branches if branch.kind == "encoder")

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
        """Return each branch's logits, (B, R, C); rows without the branch's modality mean nothing."""
        return self.answer(self.see(batch), batch)

    def see(self, batch: Batch) -> dict[str, Tensor]:
        """Return what each branch's head is given: grams, features, or what its encoder makes of the input, (B, D)."""
        return {branch.name: self._see(branch, batch) for branch in self.branches}

    def answer(self, seen: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the logits, as `forward` does, of what the branches see."""
        if self.feature_fusion:
            return {JOINT: self._joint(seen, batch)}
        return {name: self.heads[_key(name)](given) for name, given in seen.items()}

    def _see(self, branch: Branch, batch: Batch) -> Tensor:
        given: Any = batch.inputs[branch.name]
        seen: Tensor = self.encoders[_key(branch.name)](given) if branch.kind == "encoder" else given
        return seen

    def _joint(self, seen: Mapping[str, Tensor], batch: Batch) -> Tensor:
        present = {"text": batch.has_text, "image": batch.has_image}
        if self.training and self.modality_dropout:
            hidden = torch.rand(len(batch.labels), device=batch.labels.device)
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

    def is_ngram(self, head: str) -> bool:
        """Say whether the head of that name reads grams."""
        return isinstance(self.heads[head], NgramHead)

    def _make_heads(self) -> dict[str, nn.Module]:
        hidden, dropout = self.hidden, self.dropout
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

    def _dense(self, name: str) -> DenseHead:
        return cast(DenseHead, self.heads[_key(name)])


def _key(name: str) -> str:
    """Module names may not hold dots."""
    return name.replace(".", "_")
