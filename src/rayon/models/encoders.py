"""Encoders: torch modules that turn texts or photos into one vector each, named by their source.

Knows the shape of an encoder and its identity, under which features are kept. Refuses to know how the weights are
read (`text_sources`, `image_sources`), how products are batched (`encoding`) and what is learnt from features. A source
that cannot be had is an `EncoderError`; no encoder is ever replaced by another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rayon.models.bundled import EncoderError, hash_fields
from rayon.models.computed import COMPUTED
from rayon.models.image_sources import IMAGE_BUNDLED, LoadedImage, image_source
from rayon.models.text_sources import TEXT_BUNDLED, LoadedText, text_source

__all__ = ["EncoderError", "ImageEncoder", "TextEncoder", "encoder_key", "load_image_encoder", "load_text_encoder"]


class TextEncoder(nn.Module):
    """A text encoder: text -> token ids -> one vector of `dim` numbers.

    Frozen or trained like any module. `tokenize` is work for the CPU and needs no weights: a collate function may call
    it in another process. `source`, `dim` and `max_tokens` say what it is; `prefix` is put before every text.
    """

    def __init__(self, source: str, loaded: LoadedText, max_tokens: int, prefix: str, key: str) -> None:
        super().__init__()
        self.source, self.dim, self.max_tokens, self.prefix = source, loaded.dim, max_tokens, prefix
        self.network = loaded.network
        self.tokenise = loaded.tokenise
        self._key = key

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids, 1..max_tokens of them, prefix and special tokens included."""
        return self.tokenise([self.prefix + text for text in texts], self.max_tokens)

    def pad(self, ids: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 (N, L), where L is the length of the longest of `ids`."""
        longest = max(map(len, ids), default=1)
        fill = self.tokenise.padding
        padded = [[*row, *(fill for _ in range(longest - len(row)))] for row in ids]
        lengths = torch.tensor([len(row) for row in ids], dtype=torch.int64)
        mask = torch.arange(longest) < lengths[:, None]
        return {
            "input_ids": torch.tensor(padded, dtype=torch.int64).reshape(-1, longest),
            "attention_mask": mask.long(),
        }

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the texts as one padded batch: `input_ids` and `attention_mask`, int64 (N, L), L <= max_tokens."""
        return self.pad(self.token_ids(texts))

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the texts' vectors, (N, dim) float32, on the tokens' device."""
        vectors: Tensor = self.network(tokens)
        return vectors.float()

    def content_key(self) -> str:
        """Return the identity of this encoder as loaded (see `encoder_key`); training it does not change it."""
        return self._key


class ImageEncoder(nn.Module):
    """An image encoder: square photo -> one vector of `dim` numbers. Frozen or trained like any module.

    Photos travel as uint8 and are normalised here, with `mean` and `std` in pixel units (0..255).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, source: str, loaded: LoadedImage, side: int, key: str) -> None:
        super().__init__()
        self.source, self.side = source, side
        # channels_last: twice as fast on a CPU, and what tensor cores want
        self.network = loaded.network.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(loaded.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(loaded.std).view(1, 3, 1, 1), persistent=False)
        self._key = key
        self.eval()
        with torch.inference_mode():
            self.dim = int(self(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[1])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the photos' vectors, (N, dim) float32, from RGB pixels, uint8 (N, 3, side, side)."""
        scaled = pixels.to(dtype=torch.float32, memory_format=torch.channels_last).sub(self.mean).div_(self.std)
        vectors: Tensor = self.network(scaled)
        return vectors.float()

    def content_key(self) -> str:
        """Return the identity of this encoder as loaded (see `encoder_key`); training it does not change it."""
        return self._key


def load_text_encoder(source: str, max_tokens: int) -> TextEncoder:
    """Build a text encoder in evaluation mode, on the CPU.

    Args:
        source: `bundled:multilingual-e5-small`, `bundled:use-multilingual`, `hf:<id or folder>`, `hf:<folder>@random`.
        max_tokens: where texts are cut, special tokens included.

    Raises:
        EncoderError: the source is unknown, its package, folder or file is missing or not the expected one, or it reads
            fewer than `max_tokens` tokens.
    """
    known = text_source(source)
    key = encoder_key(source, max_tokens)
    loaded = known.load()
    if loaded.longest is not None and max_tokens > loaded.longest:
        raise EncoderError(
            f"{source} reads at most {loaded.longest} tokens: set max_tokens to that or less, not {max_tokens}"
        )
    return TextEncoder(source, loaded, max_tokens, known.prefix, key).eval()


def load_image_encoder(source: str, side: int) -> ImageEncoder:
    """Build an image encoder in evaluation mode, on the CPU.

    Args:
        source: `bundled:efficientnet-lite0`, `timm:<name>`, `torchvision:<name>`, either of the latter with `@random`.
        side: width and height of the photos it will see, in pixels.

    Raises:
        EncoderError: the source is unknown, its package or weights cannot be had, or it cannot read photos of `side`.
    """
    loaded = image_source(source).load(side)
    try:
        return ImageEncoder(source, loaded, side, encoder_key(source, side))
    except (RuntimeError, AssertionError) as error:
        raise EncoderError(f"{source} does not read photos of {side} x {side} pixels: {error}") from error


def encoder_key(source: str, size: int) -> str:
    """Return the identity of an encoder without building it: equal keys, equal features. 64 hexadecimal digits.

    It covers the weights and tokenizer by content (not the place they were read from), `size` (max_tokens of a text
    encoder, side of an image encoder), prefix, pooling and normalisation. For `bundled:` sources nothing is read.

    Raises:
        EncoderError: the source is unknown, or its folder or weights cannot be had.
    """
    kind = source.partition(":")[0]
    if source in COMPUTED:
        return hash_fields({"computed": source, "version": COMPUTED[source].version})
    if source in TEXT_BUNDLED or kind == "hf":
        text = text_source(source)
        return hash_fields(
            {"weights": text.weights(), "max_tokens": size, "prefix": text.prefix, "pooling": text.pooling}
        )
    if source in IMAGE_BUNDLED or kind in ("timm", "torchvision"):
        return hash_fields({"weights": image_source(source).weights(), "kind": kind, "side": size})
    known = ", ".join([*TEXT_BUNDLED, *IMAGE_BUNDLED, *COMPUTED])
    raise EncoderError(
        f"there is no encoder '{source}'; known are {known}, hf:<id or folder>, timm:<name> and torchvision:<name>"
    )
