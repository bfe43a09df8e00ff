"""A trained classifier as it is served: its heads' last replicas, the grams it knows and how its branches are weighed.

One path from inputs to probabilities, for the gold set, for batches and for a single product. Knows neither files nor
where inputs come from.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rayon.data.datamodule import BranchInputs, Collator, Targets
from rayon.models.classifier import JOINT, ProductClassifier
from rayon.models.fusion import Pool, fuse
from rayon.models.heads import DenseHead, NgramHead
from rayon.models.ngrams import NgramVectorizer

_BATCH = 512


class Served(NamedTuple):
    """What answers: the classifier with one replica a head, the n-gram columns (None without that branch), the pool."""

    classifier: ProductClassifier
    vectorizer: NgramVectorizer | None
    pool: Pool


class Predicted(NamedTuple):
    """Log-probabilities (N, C), float64, and the text's share of the evidence for the best class, (N,) in [0, 1]."""

    log_probabilities: NDArray[np.float64]
    text_share: NDArray[np.float64]


def serve(trained: ProductClassifier, vectorizer: NgramVectorizer | None, pool: Pool) -> Served:
    """Return what a training has made, less the replicas that only judged it."""
    settings = dict(trained.hparams)
    served = ProductClassifier(**{**settings, "replicas": 1}, encoders=None)
    served.encoders = trained.encoders
    for name, head in trained.heads.items():
        served.heads[name] = cast(DenseHead | NgramHead, head).keep_last()
    return Served(served.cpu().eval(), vectorizer, pool)


@torch.inference_mode()
def branch_logits(
    served: Served, inputs: BranchInputs, has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """Return each branch's logits, (N, C), on the classifier's device."""
    count = len(has_text)
    unknown = np.full(count, -1, dtype=np.int64)
    collate = Collator(inputs, Targets(unknown, np.zeros(count, dtype=np.int64), has_text, has_image))
    device = served.classifier.device
    size = _BATCH if inputs.computed else 32
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in served.pool.branches}
    for start in range(0, count, size):
        batch = collate(range(start, min(start + size, count)))
        moved = served.classifier.transfer_batch_to_device(batch, device, 0)
        for name, logits in served.classifier(moved).items():
            parts[name].append(logits[:, 0].float().cpu().numpy())
    empty = np.zeros((0, served.classifier.classes), dtype=np.float32)
    return {name: np.concatenate([empty, *part]) for name, part in parts.items()}


def predict(
    served: Served, inputs: BranchInputs, has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> Predicted:
    """Classify N products. A product with neither text nor photo gets the uniform answer.

    In feature-level fusion the text's share is measured by leaving a modality out: how much the log-probability of the
    best class falls without text, against how much it falls without the photo.
    """
    log, share = fuse(served.pool, branch_logits(served, inputs, has_text, has_image), has_text, has_image)
    if JOINT in served.pool.branches:
        share = _share_by_occlusion(served, inputs, has_text, has_image, log)
    return Predicted(log, share)


def _share_by_occlusion(
    served: Served,
    inputs: BranchInputs,
    has_text: NDArray[np.bool_],
    has_image: NDArray[np.bool_],
    log: NDArray[np.float64],
) -> NDArray[np.float64]:
    both = has_text & has_image
    rows, best = np.arange(len(log)), log.argmax(axis=1)
    falls = []
    for text, image in ((has_text & ~both, has_image), (has_text, has_image & ~both)):
        without, _ = fuse(served.pool, branch_logits(served, inputs, text, image), text, image)
        falls.append(np.clip(log[rows, best] - without[rows, best], 0.0, None))
    total = falls[0] + falls[1]
    share = np.divide(falls[0], total, out=np.full(len(log), 0.5), where=total > 0)
    return np.where(both, share, np.where(has_text, 1.0, np.where(has_image, 0.0, 0.5)))
