"""Heads as a later training takes them up: all replicas, by category name and gram bucket.

A replica that never learnt from a fold of titles is taken up by the replica of the same fold, so that what it says of
those products stays a judgement of what it never saw. Knows networks and vectorizers; it does not know where heads are
kept, nor when a training should go on from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from rayon.models.header import read_header
from rayon.models.heads import DenseHead, NgramHead
from rayon.models.network import ProductNetwork
from rayon.models.ngrams import NgramVectorizer

_BUCKETS = "buckets"


class WarmStartError(ValueError):
    """Heads cannot be taken up. The message says why."""


def dump_heads(
    network: ProductNetwork, vectorizer: NgramVectorizer | None, categories: Sequence[str], key: str
) -> bytes:
    """Return a network's heads as bytes (safetensors), weights in half precision. `key` says who may take them up."""
    tensors = {name: value.detach().cpu() for name, value in network.heads.state_dict().items()}
    for name, _ in network.heads.named_parameters():  # what standardises features may be larger than that holds
        tensors[name] = tensors[name].half()
    if vectorizer is not None:
        tensors[_BUCKETS] = torch.from_numpy(vectorizer.buckets)
    return save(tensors, {"key": key, "categories": json.dumps(list(categories), ensure_ascii=False)})


def take_up(
    network: ProductNetwork, vectorizer: NgramVectorizer | None, categories: Sequence[str], key: str, data: bytes
) -> None:
    """Give a network's heads the weights that `dump_heads` kept; categories and grams that are new start from zero.

    Raises:
        WarmStartError: the bytes hold no heads, or those of a training with other settings. No weight was changed.
    """
    try:
        kept = {name: value.float() if value.is_floating_point() else value for name, value in load(data).items()}
        facts, _ = read_header(data)
        known = json.loads(facts["categories"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise WarmStartError(f"these bytes hold no heads: {error}") from error
    if facts.get("key") != key:
        raise WarmStartError("they were trained with other settings, or another split")
    classes = _places(known, categories)
    columns = None if vectorizer is None else _places(kept[_BUCKETS].tolist(), vectorizer.buckets.tolist())
    for name, head in network.heads.items():
        if isinstance(head, DenseHead) and kept[f"{name}.first"].shape != head.first.shape:
            raise WarmStartError(f"the features of {name} have another length by now")
    for name, head in network.heads.items():
        mine = {part.removeprefix(f"{name}."): value for part, value in kept.items() if part.startswith(f"{name}.")}
        if isinstance(head, NgramHead):
            assert columns is not None  # a network with grams comes with a vectorizer
            _take_grams(head, mine, columns, classes, len(known))
        else:
            _take_dense(cast(DenseHead, head), mine, classes)


def _take_dense(head: DenseHead, kept: dict[str, Tensor], classes: NDArray[np.int64]) -> None:
    """The moments by which features are standardised are the kept ones: the weights belong to them."""
    there = torch.from_numpy(np.flatnonzero(classes >= 0))
    old = torch.from_numpy(classes[classes >= 0])
    with torch.no_grad():
        for name in ("mean", "scale", "first", "first_bias"):
            getattr(head, name).copy_(kept[name])
        head.second[:, :, there] = kept["second"][:, :, old]
        head.second_bias[:, :, there] = kept["second_bias"][:, :, old]


def _take_grams(
    head: NgramHead, kept: dict[str, Tensor], columns: NDArray[np.int64], classes: NDArray[np.int64], known: int
) -> None:
    rows, old_rows = torch.from_numpy(np.flatnonzero(columns >= 0)), torch.from_numpy(columns[columns >= 0])
    there, old = torch.from_numpy(np.flatnonzero(classes >= 0)), torch.from_numpy(classes[classes >= 0])
    before = kept["weight"].view(-1, head.replicas, known)[old_rows][:, :, old]
    with torch.no_grad():
        weight = head.weight.view(-1, head.replicas, head.classes)
        weight[rows[:, None], :, there] = before.permute(0, 2, 1)
        head.bias[:, there] = kept["bias"][:, old]


def _places(before: Sequence[Any], now: Sequence[Any]) -> NDArray[np.int64]:
    """Return where each of `now` was before, -1 for what is new."""
    known = {item: place for place, item in enumerate(before)}
    return np.array([known.get(item, -1) for item in now], dtype=np.int64)
