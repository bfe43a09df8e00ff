"""Classification heads that hold several replicas of themselves, so that one fit gives out-of-fold predictions.

Replica k of R never learns from fold k; the last replica learns from everything and is the one that is served. All
replicas train in the same pass, as one batched product, which costs far less than R separate fits and leaves one
checkpoint to resume from. A head knows its input and the number of classes, neither products nor catalogues.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn


class DenseHead(nn.Module):
    """A one-hidden-layer perceptron per replica over features that are first standardised: (N, D) -> (N, R, C)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, classes: int, replicas: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.dropout = dropout
        self.first = nn.Parameter(torch.randn(replicas, dim, hidden) * math.sqrt(2.0 / dim))
        self.first_bias = nn.Parameter(torch.zeros(replicas, 1, hidden))
        # zeros: the first prediction is uniform, whatever the width
        self.second = nn.Parameter(torch.zeros(replicas, hidden, classes))
        self.second_bias = nn.Parameter(torch.zeros(replicas, 1, classes))

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the features' mean and standard deviation over the training products, each (D,)."""
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / deviation.clamp_min(1e-6))

    def forward(self, features: Tensor, added: Tensor | None = None) -> Tensor:
        """Return the replicas' logits, (N, R, C), of the features, (N, D); `added` (N, R, H) joins the hidden layer."""
        standard = F.dropout((features - self.mean) * self.scale, self.dropout, self.training)
        hidden = torch.einsum("nd,rdh->rnh", standard, self.first) + self.first_bias
        if added is not None:
            hidden = hidden + added.permute(1, 0, 2)
        hidden = F.gelu(hidden)
        hidden = F.dropout(hidden, self.dropout, self.training)
        return (torch.bmm(hidden, self.second) + self.second_bias).permute(1, 0, 2)

    def keep_last(self) -> DenseHead:
        """Return the served head: this one's last replica alone."""
        _, dim, hidden = self.first.shape
        served = DenseHead(dim, self.second.shape[2], 1, hidden, self.dropout)
        served.mean.copy_(self.mean)
        served.scale.copy_(self.scale)
        for name, mine in self.named_parameters():
            served.get_parameter(name).data.copy_(mine.data[-1:])
        return served


class _SparseProduct(torch.autograd.Function):
    """Sparse grams (N, V) times weights (V, K), whose gradient is sparse: the rows of those columns that were met."""

    @staticmethod
    def forward(ctx: Any, grams: Tensor, weight: Tensor) -> Tensor:
        ctx.grams, ctx.shape = grams, weight.shape
        product: Tensor = torch.sparse.mm(grams, weight)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        grams, (gradient,) = ctx.grams, gradients
        met, place = torch.unique(grams.col_indices(), return_inverse=True)
        # the rows of one layout are the columns of the other: this is the transpose, and copies nothing
        parts = grams.values().numpy(), place.numpy(), grams.crow_indices().numpy()
        transposed = sparse.csc_matrix(parts, shape=(len(met), len(gradient)))
        rows = torch.from_numpy(transposed @ gradient.numpy())
        return None, torch.sparse_coo_tensor(met[None], rows, ctx.shape, is_coalesced=True, check_invariants=False)


class NgramHead(nn.Module):
    """One weight per gram column, replica and class, summed over a product's weighted grams: (N, V) -> (N, R, C).

    This is an embedding bag with per-sample weights, computed as one sparse product: the same sums, and on a CPU half
    the time of `nn.EmbeddingBag`'s dense gradient and a quarter of its sparse one.
    """

    def __init__(self, columns: int, classes: int, replicas: int) -> None:
        super().__init__()
        self.replicas, self.classes, self.adds_in_place = replicas, classes, False
        self.weight = nn.Parameter(torch.zeros(columns, replicas * classes))
        self.bias = nn.Parameter(torch.zeros(replicas, classes))

    def forward(self, grams: Tensor) -> Tensor:
        """Return the replicas' logits, (N, R, C), of weighted grams, sparse CSR (N, V)."""
        # sparse products are not to be had in bfloat16 on a CPU
        with torch.autocast(grams.device.type, enabled=False):
            product: Any = _SparseProduct.apply if self.adds_in_place else torch.sparse.mm
            sums: Tensor = product(grams, self.weight)
        return sums.view(-1, self.replicas, self.classes) + self.bias

    def add_in_place(self) -> None:
        """From now on, add a batch's gradient to one that stays, on a CPU and where one process learns alone.

        A batch meets a tenth of the columns, and to make a new gradient of all of them, tens of megabytes, takes three
        quarters of a step. Who learns has to set gradients to zero, and not to None.
        """
        self.weight.grad = torch.zeros_like(self.weight)
        self.adds_in_place = True

    def keep_last(self) -> NgramHead:
        """Return the served head: this one's last replica alone."""
        served = NgramHead(self.weight.shape[0], self.classes, 1)
        served.weight.data.copy_(self.weight.data[:, -self.classes :])
        served.bias.data.copy_(self.bias.data[-1:])
        return served
