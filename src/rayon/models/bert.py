"""BERT's encoder in plain torch: what transformers' `BertModel` computes, without importing transformers.

That import takes three seconds of processor time in every process that encodes, most of it for what is not used here.
Weights have the names that `BertModel` gives them, so that bundles hold either's. Knows token ids and hidden states;
pooling and tokenizers are others'. Architecture: Devlin et al. 2019, arXiv 1810.04805.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BertSettings(NamedTuple):
    """The sizes of a BERT, under the names of its config.json; dropout is the share left out while training."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    pad_token_id: int
    dropout: float = 0.1


class States(NamedTuple):
    """The last layer's states, (N, L, hidden_size); those of padding mean nothing."""

    last_hidden_state: Tensor


class Bert(nn.Module):
    """A BERT without pooler, whose weights wait to be loaded.

    `input_ids` and `attention_mask`, both (N, L), become states (N, L, hidden_size).
    """

    def __init__(self, config: BertSettings) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> States:
        """Return the last states; a row is to have one token at least."""
        keep = attention_mask[:, None, None, :].bool()
        mask = None if bool(keep.all()) else keep
        states = self.embeddings(input_ids)
        layers: Any = self.encoder["layer"]
        for layer in layers:
            states = layer(states, mask)
        return States(states)


class _Embeddings(nn.Module):
    def __init__(self, config: BertSettings) -> None:
        super().__init__()
        width = config.hidden_size
        # Not drawn at random, which takes a second for 250,000 words: weights are loaded. (torch's "meta" device, which
        # draws nothing either, imports its compiler: another second.)
        self.word_embeddings = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
            torch.empty(config.vocab_size, width), freeze=False, padding_idx=config.pad_token_id
        )
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        # one kind of text alone: every token is of type 0
        together = self.word_embeddings(ids) + self.token_type_embeddings.weight[0] + self.position_embeddings(places)
        states: Tensor = self.dropout(self.LayerNorm(together))
        return states


class _Layer(nn.Module):
    def __init__(self, config: BertSettings) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": _Attention(config), "output": _Added(config.hidden_size, config.hidden_size, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.intermediate_size)})
        self.output = _Added(config.intermediate_size, config.hidden_size, config)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        attended = self.attention["output"](self.attention["self"](states, mask), states)
        wide = F.gelu(self.intermediate["dense"](attended))
        out: Tensor = self.output(wide, attended)
        return out


class _Attention(nn.Module):
    def __init__(self, config: BertSettings) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.dropout = config.num_attention_heads, config.dropout
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            part(states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return seen.transpose(1, 2).flatten(2)


class _Added(nn.Module):
    """A linear layer whose result is added to what came before it, then normalised."""

    def __init__(self, width: int, out: int, config: BertSettings) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)
        self.LayerNorm = nn.LayerNorm(out, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, before: Tensor) -> Tensor:
        added: Tensor = self.LayerNorm(self.dropout(self.dense(states)) + before)
        return added
