"""Word and character grams of a text, hashed and tf-idf weighted: the n-gram branch's eyes.

Learns which buckets occur and how rare they are, and nothing about categories. What it learnt is two arrays, so that a
bundle can hold it as tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rayon.config import NgramBranch

_CHUNK = 4096


class NgramVectorizer:
    """Turns texts into rows of weighted gram columns.

    A text's first line, the title, and the rest of it, the description, are told apart: the same word says more in a
    title. Grams are hashed into 2**log2_buckets buckets, a quarter each for the title's words and characters and for
    the description's, so that no vocabulary is held; only the buckets met in `min_products` training texts or more
    become columns. Weights are (1 + log count) x idf, scaled to length 1 within each quarter, then to length 1
    together, so that no quarter drowns another.
    """

    def __init__(
        self, settings: NgramBranch, buckets: NDArray[np.int32] | None = None, idf: NDArray[np.float32] | None = None
    ) -> None:
        """Take `settings` and, to restore a fitted one, `buckets` (V,) sorted and `idf` (V,)."""
        self.settings = settings
        self.buckets = buckets if buckets is not None else np.empty(0, dtype=np.int32)
        self.idf = idf if idf is not None else np.empty(0, dtype=np.float32)

    @property
    def columns(self) -> int:
        """Return V, the number of columns."""
        return len(self.buckets)

    def fit(self, texts: Sequence[str]) -> None:
        """Learn the columns and their rarity from the training texts."""
        self._learn(self._counts(texts), np.full(len(texts), True))

    def fit_transform(self, texts: Sequence[str], learn: NDArray[np.integer]) -> sparse.csr_matrix:
        """Learn from the texts at the places `learn` alone, and return the rows of all of them, (N, V) float32.

        The same as to fit and to transform, in little more than half the time: grams are counted once.
        """
        counts = self._counts(texts)
        chosen = np.full(len(texts), False)
        chosen[learn] = True
        self._learn(counts, chosen)
        return self._weigh(counts)

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return the texts' rows, (N, V) float32; a text without a known gram has an empty one."""
        return self._weigh(self._counts(texts))

    def knows(self, words: Sequence[str]) -> NDArray[np.bool_]:
        """Say which words, in lower case, are columns of the title or of the description, (N,).

        Words share buckets with other grams, so that a new word now and then passes for a known one.
        """
        if not len(words):
            return np.zeros(0, dtype=bool)
        hasher = self._hasher(ngram_range=(1, 1), token_pattern=None, tokenizer=str.split)
        hashed = hasher.transform(words).tocsr()
        found = np.zeros(len(words), dtype=bool)
        filled = np.diff(hashed.indptr) > 0
        buckets = hashed.indices[hashed.indptr[:-1][filled]]
        for quarter in (0, 2):  # the words of the title, those of the description
            found[filled] |= np.isin(buckets + quarter * self._quarter, self.buckets)
        return found

    def _hasher(self, **more: Any) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer  # takes a second, and who encodes reads no grams

        return HashingVectorizer(
            n_features=self._quarter, alternate_sign=False, norm=None, strip_accents="unicode", **more
        )

    @property
    def _quarter(self) -> int:
        return int(2 ** (self.settings.log2_buckets - 2))

    def _counts(self, texts: Sequence[str]) -> sparse.csr_matrix:
        analyzers = [
            self._hasher(ngram_range=self.settings.words, token_pattern=r"(?u)\b\w+\b"),
            self._hasher(analyzer="char_wb", ngram_range=self.settings.characters),
        ]
        rows = [sparse.csr_matrix((0, 4 * self._quarter), dtype=np.float32)]
        for chunk in _chunks(texts):
            halves = [text.partition("\n") for text in chunk]
            fields = [[half[0] for half in halves], [half[2] for half in halves]]
            parts = [analyzer.transform(field) for field in fields for analyzer in analyzers]
            rows.append(sparse.hstack(parts, format="csr", dtype=np.float32))
        return sparse.vstack(rows, format="csr")

    def _learn(self, counts: sparse.csr_matrix, chosen: NDArray[np.bool_]) -> None:
        met = counts.indices[np.repeat(chosen, np.diff(counts.indptr))]
        products = np.bincount(met, minlength=counts.shape[1])
        self.buckets = np.flatnonzero(products >= self.settings.min_products).astype(np.int32)
        self.idf = (np.log((1 + chosen.sum()) / (1 + products[self.buckets])) + 1).astype(np.float32)

    def _weigh(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        edges = np.searchsorted(self.buckets, self._quarter * np.arange(5))
        known = counts[:, self.buckets].tocsr()
        known.data = (1 + np.log(known.data)) * self.idf[known.indices]
        parts = [_unit_rows(known[:, start:end]) for start, end in pairwise(edges)]
        return _unit_rows(sparse.hstack(parts, format="csr")).astype(np.float32)


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return sparse.diags(scale).dot(matrix).tocsr()


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK))
