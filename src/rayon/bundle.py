"""The bundle: all that is served, as one block of plain bytes.

A safetensors file whose header carries a JSON document: tensors hold the heads' weights, gram columns and trained
encoders; the document holds the branches, the categories, the calibration, thresholds, the text settings and what the
model saw in training. Nothing in it is executed when it is read. Knows no flow, no registry and no catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch
from pydantic import BaseModel
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from rayon.bundle_document import CHECKSUM, FORMAT, HEADER, UNSEALED, BundleError, check_seal, describe_bundle, seal
from rayon.calibration import Tempering
from rayon.config import ImageBranch, NgramBranch, Preprocess, TextBranch
from rayon.models.encoders import EncoderError, load_image_encoder, load_text_encoder
from rayon.models.fusion import Pool
from rayon.models.neighbours import Neighbours
from rayon.models.network import Branch, ProductNetwork
from rayon.models.ngrams import NgramVectorizer
from rayon.models.projection import Projection
from rayon.models.served import Served

_PROJECTED = ("mean", "scale", "components")
_REMEMBERED = ("mean", "axes", "labels")


class Thresholds(NamedTuple):
    """The lowest confidence from which predictions were right `precision` of the time on held-out products, and the
    share of them that reached it. A confidence of 1.01 files nothing.
    """

    precision: float
    confidence: float
    coverage: float


class Bundle(NamedTuple):
    """A classifier with all that is needed to use it and to know where it comes from.

    `categories` names the labels. `preprocess` says how a product is cleaned and its photo shrunk before anything looks
    at it; `text`, `image` and `ngram` say how it then becomes inputs. `encoder_keys` holds,
    by source, the identity of the frozen encoders it was trained on. `thresholds` are sorted by precision.
    `reference` describes the training products and names their catalogue's columns; `about` holds plain facts (dataset
    fingerprint, run, candidate, date).
    `projections` make the views of 'text' and 'image' that monitoring compares; one without encoders has none.
    """

    served: Served
    categories: tuple[str, ...]
    text: TextBranch
    image: ImageBranch
    ngram: NgramBranch
    encoder_keys: dict[str, str]
    thresholds: tuple[Thresholds, ...]
    reference: dict[str, Any]
    about: dict[str, Any]
    preprocess: Preprocess = Preprocess()
    projections: Mapping[str, Projection] = MappingProxyType({})


class _Threshold(BaseModel):
    precision: float
    confidence: float
    coverage: float


class _Network(BaseModel):
    branches: list[tuple[str, str, str, int, str]]


class _Facts(BaseModel):
    """What of a bundle's document nothing else would check when it is read."""

    network: _Network
    categories: list[str]
    encoder_keys: dict[str, str]
    thresholds: list[_Threshold]
    reference: dict[str, Any]
    about: dict[str, Any]


def dump_bundle(bundle: Bundle) -> bytes:
    """Return the bundle as bytes; `read_bundle` restores it."""
    served = bundle.served
    tensors = {f"network.{name}": tensor for name, tensor in served.network.state_dict().items()}
    if served.vectorizer is not None:
        tensors["ngram.buckets"] = torch.from_numpy(served.vectorizer.buckets)
        tensors["ngram.idf"] = torch.from_numpy(served.vectorizer.idf)
    for modality, known in served.neighbours.items():
        for name in _REMEMBERED:
            tensors[f"neighbours.{modality}.{name}"] = torch.from_numpy(getattr(known, name))
        tensors[f"neighbours.{modality}.keys"] = torch.from_numpy(known.keys).half()
    for modality, projection in bundle.projections.items():
        for name in _PROJECTED:
            tensors[f"projection.{modality}.{name}"] = torch.from_numpy(getattr(projection, name))
    document = {
        "format": FORMAT,
        CHECKSUM: UNSEALED,
        "network": served.network.options,
        "pool": {
            **served.pool._asdict(),
            "tempering": {state: list(tempering) for state, tempering in served.pool.tempering.items()},
        },
        "categories": bundle.categories,
        "text": _settings(bundle.text),
        "image": _settings(bundle.image),
        "ngram": _settings(bundle.ngram),
        "encoder_keys": bundle.encoder_keys,
        "thresholds": [threshold._asdict() for threshold in bundle.thresholds],
        "reference": bundle.reference,
        "about": bundle.about,
        "preprocess": _settings(bundle.preprocess),
        "neighbours": {
            modality: {"branches": known.branches, "nearest": known.nearest}
            for modality, known in served.neighbours.items()
        },
        "projections": {
            modality: {"branches": projection.branches, "residual": projection.residual}
            for modality, projection in bundle.projections.items()
        },
    }
    contiguous: dict[str, Tensor] = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return seal(save_tensors(contiguous, metadata={HEADER: json.dumps(document, ensure_ascii=False)}))


def read_bundle(data: bytes) -> Bundle:
    """Restore a bundle from the bytes that `dump_bundle` returned.

    Raises:
        BundleError: the bytes are cut off or no bundle, or the bundle was written by a newer version.
    """
    document = describe_bundle(data)
    check_seal(data)
    try:
        facts = _Facts.model_validate(document)
        tensors = load_tensors(data)
        text, image = TextBranch(**_tuples(document["text"])), ImageBranch(**_tuples(document["image"]))
        ngram = NgramBranch(**_tuples(document["ngram"]))
        vectorizer = None
        if "ngram.buckets" in tensors:
            buckets, idf = tensors.pop("ngram.buckets").numpy(), tensors.pop("ngram.idf").numpy()
            vectorizer = NgramVectorizer(ngram, buckets.astype(np.int32), idf.astype(np.float32))
        projections = {
            modality: Projection(
                branches=tuple(known["branches"]),
                residual=known["residual"],
                **{name: tensors.pop(f"projection.{modality}.{name}").numpy() for name in _PROJECTED},
            )
            for modality, known in document.get("projections", {}).items()
        }
        branches = [Branch(*branch) for branch in document["network"]["branches"]]
        neighbours = {
            modality: _neighbours(modality, known, branches, len(facts.categories), tensors)
            for modality, known in document.get("neighbours", {}).items()
        }
        trained = {
            branch.name: load_text_encoder(branch.source, text.max_tokens)
            if branch.modality == "text"
            else load_image_encoder(branch.source, image.side)
            for branch in branches
            if branch.kind == "encoder"
        }
        network = ProductNetwork(**document["network"], encoders=trained)
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})
        pool = document["pool"]
        served = Served(
            network.eval(),
            vectorizer,
            Pool(
                tuple(pool["branches"]),
                tuple(pool["modalities"]),
                {state: tuple(weights) for state, weights in pool["weights"].items()},
                {state: tuple(bias) for state, bias in pool["bias"].items()},
                {state: Tempering(*values) for state, values in pool.get("tempering", {}).items()},
            ),
            neighbours,
        )
        return Bundle(
            served,
            tuple(facts.categories),
            text,
            image,
            ngram,
            facts.encoder_keys,
            tuple(Thresholds(**dict(threshold)) for threshold in facts.thresholds),
            facts.reference,
            facts.about,
            Preprocess(**document.get("preprocess", {})),
            projections,
        )
    except EncoderError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise BundleError(f"the bundle is damaged ({error}): take the artifact again, or train anew.") from error


def _neighbours(
    modality: str, known: Mapping[str, Any], branches: Sequence[Branch], classes: int, tensors: dict[str, Tensor]
) -> Neighbours:
    mean, axes, labels, keys = (tensors.pop(f"neighbours.{modality}.{n}").numpy() for n in (*_REMEMBERED, "keys"))
    dims = {branch.name: branch.dim for branch in branches}
    width = sum(dims[name] for name in known["branches"])
    shapes = (mean.shape, axes.shape, keys.shape)
    if shapes != ((width,), (width, axes.shape[1]), (len(labels), axes.shape[1])):
        raise ValueError(f"its neighbours have the shapes {shapes}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError("a neighbour has a category that the bundle has not")
    return Neighbours(
        tuple(known["branches"]), mean, axes, keys.astype(np.float32), labels, max(1, int(known["nearest"]))
    )


def _settings(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
