"""Trains one candidate on an opened dataset: inputs, Lightning, held-out predictions, fusion, bundle.

Knows products, branches and settings. It does not know what runs it: a flow step, a notebook and a benchmark call the
same functions. Where to write checkpoints and what to tell while training are handed in.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback

from rayon.bundle import Bundle, Thresholds, dump_bundle
from rayon.calibration import coverage_at, threshold_for
from rayon.config import Config
from rayon.data.batches import BranchInputs, Collator, Targets
from rayon.data.datamodule import ProductDataModule
from rayon.data.dataset import Dataset
from rayon.fitting import History, fit, judge, load_best
from rayon.inputs import Encoded, candidate_branches, make_inputs, split_rows, texts_of
from rayon.models.classifier import HeldOut, ProductClassifier, class_weights
from rayon.models.encoders import ImageEncoder, TextEncoder, encoder_key, load_image_encoder, load_text_encoder
from rayon.models.fusion import cross_fuse, fit_pool, temper_pool
from rayon.models.neighbours import Neighbours, branch_of, remember
from rayon.models.network import Branch
from rayon.models.ngrams import NgramVectorizer
from rayon.models.projection import Projection, fit_projection
from rayon.models.served import serve
from rayon.models.warm_start import WarmStartError, dump_heads, take_up
from rayon.nodes import ALONE, Nodes, joined
from rayon.schema import TooLittleError

_PARTS = 5
"""Of held-out products without folds: each is judged by a pool that was fitted to the others."""


class Trained(NamedTuple):
    """What training a candidate leaves, all of it plain data.

    `rows`, `labels` and `probabilities` say of each product that was held out its row in the dataset, its label and
    what heads and a pool that never learnt from it make of it, (M, C). `history` has a row an epoch. `heads` are for a
    later training to go on from: None where `trainer.warm_epochs` is 0, or encoders were trained as well. `warm`: it
    went on from earlier ones.
    """

    bundle: bytes
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    history: list[dict[str, float]]
    resumed_from_epoch: int
    heads: bytes | None
    warm: bool


def train_candidate(
    kind: str,
    dataset: Dataset,
    encoded: Encoded,
    config: Config,
    folder: Path,
    callbacks: Sequence[Callback] = (),
    logger: Any = False,
    about: Mapping[str, Any] | None = None,
    nodes: Nodes = ALONE,
    heads: bytes | None = None,
) -> Trained | None:
    """Train the candidate 'text', 'image' or 'fusion' and bundle it.

    Frozen encoders: heads are cross-fitted on train + validation, every product is judged by the replica that never saw
    it, and those judgements weigh and calibrate the branches; thresholds are set by what a pool fitted to the other
    folds says. Trainable encoders, feature-level fusion or `folds: 0`: heads learn from train and the validation split
    judges. The gold set is not touched here.

    Args:
        folder: checkpoints are written to `<folder>/last.ckpt` every epoch; the same training found there is continued.
        callbacks: further Lightning callbacks (progress).
        about: facts to put into the bundle.
        heads: what an earlier training of the same settings left, to go on from for `trainer.warm_epochs`; other ones
            are not taken up, with a warning.
        nodes: the processes that train it together, each of which calls this with the same arguments. They share the
            folder, in which rank 0 alone writes, and `batch_size`: learning rates stay as they are.

    Returns:
        What was trained; None on every process but the first, which alone judges, calibrates and bundles.

    Raises:
        ValueError: there is no branch, no training product, or fewer than two categories, or there are more processes
            than products in a batch.
        NodesError: a process is lost, or found another checkpoint than the first.
    """
    branches = candidate_branches(kind, config)
    trainable = any(branch.kind == "encoder" for branch in branches)
    feature_fusion = config.fusion.kind == "feature" and len(branches) > 1
    folds = 0 if trainable or feature_fusion else config.fusion.folds
    learn, judged = split_rows(dataset, folds)
    frame = dataset.frame
    labels = frame["label"].to_numpy().astype(np.int64)
    _check(kind, branches, labels[learn], len(judged))
    if nodes.size > config.trainer.batch_size:
        raise TooLittleError(
            f"trainer.nodes = {nodes.size} processes cannot share batches of trainer.batch_size = "
            f"{config.trainer.batch_size} products: raise the one or lower the other."
        )
    pl.seed_everything(config.trainer.seed, workers=True, verbose=False)

    vectorizer, grams = None, {}
    for branch in branches:
        if branch.kind == "ngram":
            vectorizer = NgramVectorizer(config.branches.ngram)
            grams[branch.name] = vectorizer.fit_transform(texts_of(dataset), learn)
    encoders = _load_trainable(branches, config)
    everything = np.arange(len(dataset), dtype=np.int64)
    inputs = make_inputs(dataset, everything, branches, encoded, None, encoders, config.branches.image.side)
    inputs = dataclasses.replace(inputs, grams=grams)
    sized = [branch._replace(dim=_dim(branch, inputs, encoders)) for branch in branches]
    targets = Targets(
        labels,
        frame["fold"].to_numpy().astype(np.int64) if folds else np.full(len(frame), -1, dtype=np.int64),
        frame["has_text"].to_numpy(dtype=bool),
        frame["has_image"].to_numpy(dtype=bool),
    )
    classifier = ProductClassifier(
        branches=[list(branch) for branch in sized],
        class_weights=class_weights(labels[learn], len(dataset.categories), config.trainer.class_balance),
        replicas=folds + 1,
        settings=dataclasses.asdict(config.trainer),
        feature_fusion=feature_fusion,
        modality_dropout=config.fusion.modality_dropout,
        encoders=encoders,
    )
    classifier.network.standardise(
        {name: _moments(features, learn, targets, _modality(sized, name)) for name, features in inputs.features.items()}
    )
    module = ProductDataModule(
        Collator(inputs, targets),
        learn,
        judged,
        config.trainer.batch_size,
        config.trainer.workers,
        config.trainer.seed,
        nodes,
    )
    settings = _settings_key(kind, config)
    keeps = config.trainer.warm_epochs > 0 and not trainable and not feature_fusion and nodes.size == 1
    warm = keeps and _go_on(classifier, vectorizer, dataset.categories, settings, heads)
    if warm:
        config = dataclasses.replace(
            config, trainer=dataclasses.replace(config.trainer, max_epochs=config.trainer.warm_epochs)
        )
    history = History()
    key = _training_key(settings, dataset, config, heads if warm else None)
    with joined(nodes):
        resumed = fit(classifier, module, config, folder, key, history, callbacks, logger, nodes)
    if not nodes.first:
        return None

    load_best(classifier, folder)
    classifier.nodes = module.nodes = ALONE
    held = judge(classifier, module, config)
    neighbours: dict[str, Neighbours] = {}
    logits, modalities = dict(held.logits), dict(classifier.modalities)
    if config.branches.neighbours.enabled and not feature_fusion:
        classes = len(dataset.categories)
        neighbours, answers = remember(
            sized, inputs.features, targets, learn, judged, classes, config.branches.neighbours
        )
        logits |= answers
        modalities |= {branch_of(modality): modality for modality in neighbours}
    pool = fit_pool(modalities, logits, held.labels, held.has_text, held.has_image)
    pool = temper_pool(pool, logits, held.labels, held.has_text, held.has_image)
    parts = targets.folds[judged] if folds else np.arange(len(judged)) % _PARTS
    probabilities = np.exp(cross_fuse(modalities, logits, held.labels, held.has_text, held.has_image, parts))
    correct = probabilities.argmax(axis=1) == held.labels
    bundle = Bundle(
        served=serve(classifier.network, vectorizer, pool, neighbours),
        categories=dataset.categories,
        text=config.branches.text,
        image=config.branches.image,
        ngram=config.branches.ngram,
        encoder_keys={b.source: _encoder_key(b, config) for b in sized if b.kind == "features"},
        thresholds=tuple(
            Thresholds(
                precision,
                threshold_for(probabilities.max(axis=1), correct, precision),
                coverage_at(probabilities.max(axis=1), correct, precision),
            )
            for precision in sorted(config.evaluation.precision_targets)
        ),
        reference={**describe_reference(frame.iloc[judged], probabilities), "columns": list(dataset.columns)},
        about={
            "candidate": kind,
            "dataset": dataset.fingerprint,
            "catalog": config.name,
            "gold": {"test": config.split.test, "seed": config.split.seed},
            **(about or {}),
        },
        preprocess=config.preprocess,
        projections=_projections(sized, inputs, targets, learn, held, judged),
    )
    left = dump_heads(classifier.network, vectorizer, dataset.categories, settings) if keeps else None
    told = probabilities.astype(np.float32)
    return Trained(dump_bundle(bundle), judged, held.labels, told, history.rows, resumed, left, warm)


def _projections(
    branches: Sequence[Branch],
    inputs: BranchInputs,
    targets: Targets,
    learn: NDArray[np.int64],
    held: HeldOut,
    judged: NDArray[np.int64],
) -> dict[str, Projection]:
    """Fit the views of each modality that encoders look at: on the products that are learnt from where they are frozen,
    else on held-out ones, which an encoder that was trained sees as it will see others.
    """
    found = {}
    for modality, present in (("text", targets.has_text), ("image", targets.has_image)):
        names = [b.name for b in branches if b.kind != "ngram" and b.modality == modality]
        if any(name in held.features for name in names):
            computed = {name: inputs.features[name][judged] for name in names if name in inputs.features}
            found[modality] = fit_projection({**computed, **held.features}, names, np.flatnonzero(present[judged]))
        elif names:
            found[modality] = fit_projection(inputs.features, names, learn[present[learn]])
    return found


def describe_reference(frame: pd.DataFrame, probabilities: NDArray[np.floating]) -> dict[str, Any]:
    """Return what held-out products look like, as plain data: mix, predicted mix, confidences, lengths, gaps."""
    confidence = probabilities.max(axis=1)
    lengths = frame["designation"].str.len() + frame["description"].str.len()
    classes = probabilities.shape[1]
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=classes)
    return {
        "products": len(frame),
        "mix": np.bincount(frame["label"], minlength=classes).tolist(),
        "predicted_mix": predicted.tolist(),
        "confidence_histogram": np.histogram(confidence, bins=20, range=(0.0, 1.0))[0].tolist(),
        "text_length_deciles": np.percentile(lengths, np.arange(0, 101, 10)).round(1).tolist(),
        "without_description": float((frame["description"] == "").mean()),
        "without_photo": float((~frame["has_image"]).mean()),
    }


def _check(kind: str, branches: Sequence[Branch], labels: NDArray[np.int64], judged: int) -> None:
    if not branches:
        raise TooLittleError(
            f"the candidate '{kind}' has no branch: enable one under 'branches' or drop it from 'candidates'."
        )
    if len(np.unique(labels)) < 2:
        raise TooLittleError(
            f"{len(labels)} training products in {len(np.unique(labels))} categories: two categories are needed at "
            "least. Add products, or lower preprocess.min_products_per_category."
        )
    if judged == 0:
        raise TooLittleError(
            "no product is left to judge by: raise split.validation, or set fusion.folds to 2 or more."
        )


def _settings_key(kind: str, config: Config) -> str:
    """What two trainings must have in common for one to go on from the other's heads: all but the products and how long
    they take.
    """
    trainer = {**dataclasses.asdict(config.trainer), "max_epochs": None, "warm_epochs": None}
    settings = [trainer, *(dataclasses.asdict(part) for part in (config.split, config.branches, config.fusion))]
    return sha256(json.dumps([kind, *settings], sort_keys=True).encode()).hexdigest()


def _training_key(settings: str, dataset: Dataset, config: Config, heads: bytes | None) -> str:
    """What makes two trainings the same: a checkpoint of another one is never continued."""
    begun = sha256(heads).hexdigest() if heads is not None else ""
    facts = (settings, dataset.fingerprint, config.trainer.max_epochs, begun)
    return sha256(json.dumps(facts).encode()).hexdigest()


def _go_on(
    classifier: ProductClassifier,
    vectorizer: NgramVectorizer | None,
    categories: Sequence[str],
    settings: str,
    heads: bytes | None,
) -> bool:
    """Take up heads where there are any that fit; say whether."""
    if heads is None:
        return False
    try:
        take_up(classifier.network, vectorizer, categories, settings, heads)
    except WarmStartError as error:
        warnings.warn(f"the heads of the last training are not taken up: {error}; it begins anew.", stacklevel=2)
        return False
    return True


def _load_trainable(branches: Sequence[Branch], config: Config) -> dict[str, Any]:
    loaded: dict[str, TextEncoder | ImageEncoder] = {}
    for branch in branches:
        if branch.kind != "encoder":
            continue
        if branch.modality == "text":
            loaded[branch.name] = load_text_encoder(branch.source, config.branches.text.max_tokens)
        else:
            loaded[branch.name] = load_image_encoder(branch.source, config.branches.image.side)
    return loaded


def _dim(branch: Branch, inputs: BranchInputs, encoders: Mapping[str, Any]) -> int:
    if branch.kind == "ngram":
        return int(inputs.grams[branch.name].shape[1])
    if branch.kind == "features":
        return int(inputs.features[branch.name].shape[1])
    return int(encoders[branch.name].dim)


def _modality(branches: Sequence[Branch], name: str) -> str:
    return next(branch.modality for branch in branches if branch.name == name)


def _moments(
    features: NDArray[np.float32], rows: NDArray[np.int64], targets: Targets, modality: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    present = rows[(targets.has_text if modality == "text" else targets.has_image)[rows]]
    if len(present) == 0:
        return np.zeros(features.shape[1]), np.ones(features.shape[1])
    chosen = features[present].astype(np.float64)
    return chosen.mean(axis=0), chosen.std(axis=0)


def _encoder_key(branch: Branch, config: Config) -> str:
    size = config.branches.text.max_tokens if branch.modality == "text" else config.branches.image.side
    return encoder_key(branch.source, size)
