"""A trained classifier as it is served: its heads' last replicas, the grams it knows and how its branches are weighed.

One path from inputs to probabilities, for the gold set, for batches and for a single product. Knows neither files nor
where inputs come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rayon.data.batches import Batch, BranchInputs, Collator, Targets
from rayon.models.fusion import Pool, fuse
from rayon.models.neighbours import Neighbours, branch_of, neighbour_logits
from rayon.models.network import JOINT, ProductNetwork
from rayon.models.ngrams import NgramVectorizer

_BATCH = 512


class Served(NamedTuple):
    """What answers: the network with one replica a head, the n-gram columns (None without that branch), the pool, and
    the remembered products by modality, where there are any.
    """

    network: ProductNetwork
    vectorizer: NgramVectorizer | None
    pool: Pool
    neighbours: Mapping[str, Neighbours] = MappingProxyType({})


class Predicted(NamedTuple):
    """Log-probabilities (N, C), float64, and the text's share of the evidence for the best class, (N,) in [0, 1].

    `features` are what encoders that were trained with the heads make of the products, (N, D) by branch.
    """

    log_probabilities: NDArray[np.float64]
    text_share: NDArray[np.float64]
    features: Mapping[str, NDArray[np.float32]] = MappingProxyType({})


def serve(
    trained: ProductNetwork,
    vectorizer: NgramVectorizer | None,
    pool: Pool,
    neighbours: Mapping[str, Neighbours] = MappingProxyType({}),
) -> Served:
    """Return what a training has made, less the replicas that only judged it."""
    return Served(trained.keep_last().cpu().eval(), vectorizer, pool, neighbours)


def branch_logits(
    served: Served, inputs: BranchInputs, has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """Return each branch's logits, (N, C), those of the network computed on its device."""
    return _look(served, inputs, has_text, has_image)[0]


@torch.inference_mode()
def _look(
    served: Served, inputs: BranchInputs, has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Return each branch's logits, (N, C), and what each trained encoder makes of the products, (N, D)."""
    network = served.network
    count = len(has_text)
    unknown = np.full(count, -1, dtype=np.int64)
    collate = Collator(inputs, Targets(unknown, np.zeros(count, dtype=np.int64), has_text, has_image))
    device = next(network.parameters()).device
    size = _BATCH if inputs.computed else 32
    parts = {name: [np.zeros((0, network.classes), dtype=np.float32)] for name in network.modalities}
    made = {b.name: [np.zeros((0, b.dim), dtype=np.float32)] for b in network.branches if b.kind == "encoder"}
    for start in range(0, count, size):
        batch = _moved(collate(range(start, min(start + size, count))), device)
        seen = network.see(batch)
        for name, logits in network.answer(seen, batch).items():
            parts[name].append(logits[:, 0].float().cpu().numpy())
        for name, features in made.items():
            features.append(seen[name].float().cpu().numpy())
    told = _whole(parts)
    for modality, known in served.neighbours.items():
        told[branch_of(modality)] = neighbour_logits(known, inputs.features, network.classes)
    return told, _whole(made)


def _whole(parts: Mapping[str, list[NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.concatenate(each) for name, each in parts.items()}


def predict(
    served: Served, inputs: BranchInputs, has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> Predicted:
    """Classify N products. A product with neither text nor photo gets the uniform answer.

    In feature-level fusion the text's share is measured by leaving a modality out: how much the log-probability of the
    best class falls without text, against how much it falls without the photo.
    """
    return _each(served, inputs, [(has_text, has_image)])[0]


def ablate(
    served: Served, inputs: BranchInputs, has_text: NDArray[np.bool_], has_image: NDArray[np.bool_]
) -> tuple[Predicted, Predicted | None, Predicted | None]:
    """Classify N products as they are, without their photos and without their texts: None where that leaves the
    branches nothing to look at.
    """
    nothing = np.zeros_like(has_text)
    whole, without_photo, without_text = _each(
        served, inputs, [(has_text, has_image), (has_text, nothing), (nothing, has_image)]
    )
    modalities = {branch.modality for branch in served.network.branches}
    return whole, without_photo if "text" in modalities else None, without_text if "image" in modalities else None


def _each(
    served: Served, inputs: BranchInputs, presences: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
) -> list[Predicted]:
    joint = JOINT in served.pool.branches
    # what a branch of decision-level fusion sees does not depend on what else is there: it is asked once for all
    looks = [_look(served, inputs, *presence) for presence in (presences if joint else presences[:1])]
    found = []
    for number, (has_text, has_image) in enumerate(presences):
        logits, features = looks[number if joint else 0]
        log, share = fuse(served.pool, logits, has_text, has_image)
        if joint:
            share = _share_by_occlusion(served, inputs, has_text, has_image, log)
        found.append(Predicted(log, share, features))
    return found


def _moved(batch: Batch, device: torch.device) -> Batch:
    inputs = {
        name: {part: tensor.to(device) for part, tensor in given.items()}
        if isinstance(given, dict)
        else given.to(device)
        for name, given in batch.inputs.items()
    }
    return Batch(inputs, *(column.to(device) for column in batch[1:]))


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
