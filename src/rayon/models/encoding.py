"""Turning many texts or photos into features, as fast as the machine allows.

Knows how to cut work into pieces and how to keep every core, or the GPU, busy. Refuses to know where features are kept
(`features`) and which products the texts and photos belong to.

On a CPU each worker thread takes a small piece all the way, from bytes to features, with one thread inside torch: the
cores never wait for each other, no decoded photo waits in memory, and activations stay below the 32 MB from which
glibc maps and unmaps memory anew for every layer (with batches of 32 photos that is half of the time). On a GPU the
threads decode, a bounded number of batches ahead, while the calling thread feeds the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayon.data.images import decode_square
from rayon.models.encoders import ImageEncoder, TextEncoder

Features = NDArray[np.float32]
Progress = Callable[[int], None]
"""Called with the number of products done so far, in the calling thread."""

_CPU_TOKENS = 1024
_CPU_PIXELS = 4 * 224 * 224
"""What one piece of work holds at most on a CPU; fewer tokens waste arithmetic, more leave the cache."""

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def encode_texts(
    encoder: TextEncoder,
    texts: Sequence[str],
    batch_size: int = 32,
    device: str = "auto",
    workers: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Return the texts' features, (N, encoder.dim) float32, in the order of `texts`.

    Args:
        encoder: moved to the device and left there; a training encoder is in evaluation mode meanwhile.
        texts: any number of texts, none included.
        batch_size: texts a batch at most; a CPU takes fewer at a time where they are long.
        device: a torch device, or 'auto': CUDA where there is one, else the CPU.
        workers: threads on a CPU; 0 for as many as torch would use.
        progress: told how many texts are done.
    """
    target = resolve_device(device)
    ids = [np.array(row, np.int32) for row in _token_ids(encoder, texts)]
    order = np.argsort([-len(row) for row in ids], kind="stable")  # longest first: what does not fit shows at once
    out = np.empty((len(texts), encoder.dim), np.float32)

    tokens = _share(sum(map(len, ids)), workers, _CPU_TOKENS)

    def pieces() -> Iterator[NDArray[np.intp]]:
        start = 0
        while start < len(order):
            longest = len(ids[order[start]])
            size = min(batch_size, max(1, tokens // longest)) if target.type == "cpu" else batch_size
            yield order[start : start + size]
            start += size

    def forward(rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Tensor]:
        tokens = encoder.pad([ids[row].tolist() for row in rows])
        with torch.inference_mode():
            return rows, encoder({name: tensor.to(target, non_blocking=True) for name, tensor in tokens.items()})

    done = 0
    with _evaluating(encoder, target):
        todo = list(pieces())
        results = _on_every_core(forward, todo, workers) if target.type == "cpu" else map(forward, todo)
        for rows, features in _one_behind(results):
            out[rows] = features.cpu().numpy()
            done += len(rows)
            if progress is not None:
                progress(done)
    return out


def encode_images(
    encoder: ImageEncoder,
    images: Iterable[bytes],
    batch_size: int = 32,
    device: str = "auto",
    workers: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Return the photos' features, (N, encoder.dim) float32, in the order of `images`.

    Args:
        encoder: moved to the device and left there; a training encoder is in evaluation mode meanwhile.
        images: encoded photos as `rayon.data.images.normalise_photo` makes them; may be a generator, which is read only
            a few batches ahead.
        batch_size: photos a batch at most; a CPU takes fewer at a time.
        device: a torch device, or 'auto': CUDA where there is one, else the CPU.
        workers: decoding threads, which on a CPU encode too; 0 for as many as torch would use.
        progress: told how many photos are done.

    Raises:
        rayon.data.images.PhotoError: bytes that are no decodable JPEG.
    """
    target = resolve_device(device)

    def decode(photos: list[bytes]) -> Tensor:
        square = np.empty((len(photos), encoder.side, encoder.side, 3), np.uint8)
        for row, photo in enumerate(photos):
            square[row] = decode_square(photo, encoder.side)
        pixels = torch.from_numpy(square).permute(0, 3, 1, 2)  # channels_last as it is: nothing is copied
        return pixels.pin_memory() if target.type == "cuda" else pixels

    def forward(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = encoder(pixels.to(target, non_blocking=True))
            return features

    parts = [np.empty((0, encoder.dim), np.float32)]
    done = 0
    with _evaluating(encoder, target):
        if target.type == "cpu":
            most = max(1, _CPU_PIXELS // encoder.side**2)
            size = min(batch_size, _share(len(images), workers, most) if isinstance(images, Sequence) else most)
            results = _on_every_core(lambda photos: forward(decode(photos)), _batched(images, size), workers)
        else:
            results = map(forward, _ahead(decode, _batched(images, batch_size), workers or torch.get_num_threads()))
        for features in _one_behind(results):
            parts.append(features.cpu().numpy())
            done += len(features)
            if progress is not None:
                progress(done)
    return np.concatenate(parts)


def _share(total: int, workers: int, most: int) -> int:
    """Return how much a piece holds at most: of little work each core gets its part, rather than one of them all."""
    return min(most, max(1, -(-total // (workers or torch.get_num_threads()))))


def resolve_device(device: str) -> torch.device:
    """Return the torch device of that name; 'auto' is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def _token_ids(encoder: TextEncoder, texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), 4096):  # a tokenizer's answer weighs many times the ids in it
        yield from encoder.token_ids(texts[start : start + 4096])


def _batched(items: Iterable[_Piece], size: int) -> Iterator[list[_Piece]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _on_every_core(function: Callable[[_Piece], _Result], pieces: Iterable[_Piece], workers: int) -> Iterator[_Result]:
    """Yield function(piece) in order, computed by one single-threaded worker a core. A lone piece keeps all cores."""
    iterator = iter(pieces)
    first = list(islice(iterator, 2))
    threads = torch.get_num_threads()
    if len(first) < 2:
        yield from map(function, first)
        return

    def alone(piece: _Piece) -> _Result:
        torch.set_num_threads(1)  # holds for the calling thread
        return function(piece)

    def rest() -> Iterator[_Piece]:
        yield from first
        yield from iterator

    try:
        yield from _ahead(alone, rest(), workers or threads)
    finally:
        torch.set_num_threads(threads)


def _ahead(function: Callable[[_Piece], _Result], pieces: Iterable[_Piece], workers: int) -> Iterator[_Result]:
    """Yield function(piece) in order, computed by `workers` threads, at most 2 * workers pieces ahead."""
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="rayon-encode") as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(function, piece))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _one_behind(results: Iterable[_Result]) -> Iterator[_Result]:
    """Yield results one step late: a GPU is given its next batch before the previous one is waited for."""
    waiting: deque[_Result] = deque()
    for result in results:
        waiting.append(result)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


@contextmanager
def _evaluating(encoder: nn.Module, device: torch.device) -> Iterator[None]:
    training = encoder.training
    encoder.to(device).eval()
    try:
        yield
    finally:
        encoder.train(training)
