"""Where text encoders come from: `bundled:<name>` packages, `hf:<id or folder>` and `hf:<folder>@random`.

Knows how each source is identified without loading it, and how it is loaded. Loads tensors only (safetensors, npz),
never pickled objects. Refuses to know batches and features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rayon.models import bundled_e5, bundled_use
from rayon.models.bundled import EncoderError, cached, hash_fields, hash_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig

RANDOM = "@random"
_TOKENISER_SUFFIXES = (".json", ".txt", ".model")
_LONGEST_BELIEVABLE = 1_000_000
"""Tokenizers without a limit say 10^30."""


class Tokenise(Protocol):
    """Turns texts into token ids, special tokens included, each list cut at `max_tokens`. Picklable."""

    padding: int

    def __call__(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return the ids of each text: 1..max_tokens of them."""
        ...


class LoadedText(NamedTuple):
    """A text source, built: a network from tokens to (N, dim), its tokenizer, dim, and the most tokens it can read."""

    network: nn.Module
    tokenise: Tokenise
    dim: int
    longest: int | None


class TextSource(NamedTuple):
    """A text source before anything is built. `weights()` is a hash of what its output depends on, cheap to get."""

    weights: Callable[[], str]
    load: Callable[[], LoadedText]
    prefix: str
    pooling: str


def text_source(source: str) -> TextSource:
    """Return what is known of a source.

    Raises:
        EncoderError: the name is no known source.
    """
    kind, _, name = source.partition(":")
    if source in TEXT_BUNDLED:
        return TEXT_BUNDLED[source]
    if kind == "hf" and name:
        at_random = name.endswith(RANDOM)
        where = name.removesuffix(RANDOM)
        return TextSource(
            lambda: _hash_folder(_folder(source, where), at_random),
            lambda: _load_hf(source, _folder(source, where), at_random),
            "",
            "mean",
        )
    raise EncoderError(
        f"there is no text encoder '{source}'; known are {', '.join(TEXT_BUNDLED)}, hf:<id or folder> and, with random "
        f"weights, hf:<folder>{RANDOM}"
    )


class MeanPooled(nn.Module):
    """A transformer whose last hidden states are averaged over the tokens that are not padding: (N, L) -> (N, dim)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the mean states (N, dim) of `input_ids` and `attention_mask`, both (N, L)."""
        mask = tokens["attention_mask"]
        hidden = self.body(input_ids=tokens["input_ids"], attention_mask=mask).last_hidden_state
        weights = mask.to(hidden.dtype)[..., None]
        pooled: Tensor = (hidden * weights).sum(1) / weights.sum(1)
        return pooled


class FastTokenise:
    """A `tokenizers.Tokenizer` with its padding id."""

    def __init__(self, tokenizer: Tokenizer, padding: int) -> None:
        self.tokenizer, self.padding = tokenizer, padding

    def __call__(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return the ids of each text."""
        self.tokenizer.enable_truncation(max_tokens)
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]


class HubTokenise:
    """A `transformers` tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.padding = tokenizer, int(tokenizer.pad_token_id or 0)

    def __call__(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return the ids of each text."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(
            list(texts), truncation=True, max_length=max_tokens, return_attention_mask=False
        )["input_ids"]
        return ids


def _load_e5() -> LoadedText:
    binary = bundled_e5.FILE.verified(_E5)
    folder = cached(f"multilingual-e5-small-{_E5_WEIGHTS[:16]}", lambda empty: bundled_e5.convert(binary, empty))
    body, tokenizer = bundled_e5.load(folder)
    config = body.config
    tokenise = FastTokenise(tokenizer, config.pad_token_id)
    return LoadedText(MeanPooled(body), tokenise, config.hidden_size, config.max_position_embeddings)


def _load_use() -> LoadedText:
    network = bundled_use.load(bundled_use.WEIGHTS.verified(_USE))
    tokenise = bundled_use.PieceTokenise(bundled_use.PIECES.verified(_USE))
    return LoadedText(network, tokenise, network.dim, None)


def _load_hf(source: str, folder: Path, at_random: bool) -> LoadedText:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    if not at_random and not any(folder.glob("*.safetensors")):
        raise EncoderError(
            f"{source}: {folder} holds no .safetensors file, and pickled weights are not loaded; save the model with "
            "save_pretrained(folder, safe_serialization=True)"
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if at_random:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                body = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        else:
            body = _read_body(source, folder, config)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise EncoderError(
            f"{source}: {folder} is no folder of a transformers encoder and its tokenizer: {error}"
        ) from error
    if config.is_encoder_decoder:
        raise EncoderError(f"{source} is an encoder-decoder; name an encoder such as BERT, CamemBERT, XLM-R or E5")
    if getattr(body, "pooler", None) is not None:
        body.pooler = None  # mean pooling does not use it, and unused weights upset distributed training
    limit = tokenizer.model_max_length
    return LoadedText(
        MeanPooled(body), HubTokenise(tokenizer), config.hidden_size, limit if limit < _LONGEST_BELIEVABLE else None
    )


def _read_body(source: str, folder: Path, config: PretrainedConfig) -> nn.Module:
    """Return a transformer with the weights of a folder, all of them: what a file lacks would be drawn at random."""
    from transformers import AutoModel
    from transformers.utils import logging

    told, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        found: tuple[nn.Module, dict[str, Any]] = AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(told)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    body, info = found
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise EncoderError(
            f"{source}: {folder} lacks {len(missing)} of the weights that its config.json asks for, such as "
            f"{missing[0]}; save the whole model again with save_pretrained(folder)"
        )
    return body


def _folder(source: str, where: str) -> Path:
    """Return the folder itself, or the newest snapshot of a hub id (fetched where it is not there yet)."""
    folder = Path(where).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", where) or where.startswith("."):
        raise EncoderError(f"{source}: there is no folder {folder}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    patterns = ["*.safetensors", *(f"*{suffix}" for suffix in _TOKENISER_SUFFIXES)]
    try:
        return Path(snapshot_download(where, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise EncoderError(
            f"{source}: '{where}' is no folder here and the hub does not give it ({type(error).__name__}); without a "
            f"network name a folder, or one of {', '.join(TEXT_BUNDLED)}"
        ) from error


def _hash_folder(folder: Path, at_random: bool) -> str:
    suffixes = _TOKENISER_SUFFIXES if at_random else (*_TOKENISER_SUFFIXES, ".safetensors")
    files = {file.name: hash_file(file) for file in sorted(folder.iterdir()) if file.suffix in suffixes}
    if at_random:
        import transformers

        files |= {"random": f"torch {torch.__version__}, transformers {transformers.__version__}"}
    return hash_fields(files)


_E5, _USE = "bundled:multilingual-e5-small", "bundled:use-multilingual"
_E5_WEIGHTS = hash_fields({"file": bundled_e5.FILE.sha256, "layout": bundled_e5.LAYOUT})
_USE_WEIGHTS = hash_fields({"weights": bundled_use.WEIGHTS.sha256, "pieces": bundled_use.PIECES.sha256})

TEXT_BUNDLED = {
    _E5: TextSource(lambda: _E5_WEIGHTS, _load_e5, "query: ", "mean"),
    _USE: TextSource(lambda: _USE_WEIGHTS, _load_use, "", "sum/sqrt"),
}
"""The sources that need no network, by name; the one place where such an encoder is added."""
