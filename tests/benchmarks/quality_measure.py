"""Measures one candidate on one split, in a process of its own: quality, seconds, memory, bytes.

Knows an opened catalogue, kept below `build/`, and the candidates by name. Every candidate, AutoGluon as well, is
measured by the same functions. Seconds are those of the processor, all threads and worker processes together, so that
they do not depend on who else is at work.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from in_memory import prepare_in_memory
from peer import run_autogluon
from quality_candidates import BASELINES, Fitted, answer_gold, cross_validated, fit, plain_average
from results import commit, versions
from scaling_stages import forget_peak, peak
from rayon.config import Config, parse_config, read_config, resolve_paths
from rayon.data.dataset import Dataset, open_dataset
from rayon.data.shards import Manifest
from rayon.data.synthetic import write_catalogue
from rayon.bundle import read_bundle
from rayon.gold import GoldPredictions, gold_rows, predict_gold, report_gold
from rayon.inputs import Encoded, encode_dataset, split_rows, texts_of
from rayon.models.bundled import cache_folder
from rayon.models.encoders import load_image_encoder, load_text_encoder
from rayon.models.encoding import encode_images, encode_texts
from rayon.training import train_candidate

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
TUNED_EPOCHS, TUNED_RATE, TUNED_WORKERS = 15, 1e-4, 4
"""Of our encoders tuned on a GPU: epochs at most, their learning rate at its highest, processes that read photos."""

NOTHING_ENCODED = Encoded({}, {})
SAMPLE = 96
"""Products, of the gold set, on which the speed of predicting is measured."""

Measured = dict[str, Any]


def cpu_seconds() -> float:
    """Return the processor's seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a fork of this process, which has imported all and computed nothing; return what it returns.

    Raises:
        RuntimeError: the function raised, or its process died.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        succeeded, told = ours.recv()
    except EOFError:
        succeeded, told = False, "its process died"
    process.join()
    if not succeeded:
        raise RuntimeError(f"{function.__name__}: {told}")
    return told


def _run(pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)  # threads that wait for each other burn seconds
    try:
        with threadpool_limits(1):
            pipe.send((True, function(*arguments)))
    except Exception as error:  # told by the parent
        pipe.send((False, f"{type(error).__name__}: {error}"))


def read_experiment(file: str, catalogs: Path | None) -> Config:
    """Return the settings of an experiment; `catalogs` is where the real catalogues are, if not beside the project."""
    settings = read_config((ROOT / file).read_text(encoding="utf-8"))
    if catalogs is not None:
        for name in ("products", "images"):
            settings["catalog"][name] = settings["catalog"][name].replace("../shared/catalogs", str(catalogs))
    return resolve_paths(parse_config(settings), ROOT)


def prepare(config: Config, encode: bool = True) -> None:
    """Keep a catalogue, drawn where it is a generated one, opened below `build/`; its features in the experiment's
    cache, unless nobody asks for them.
    """
    if config.catalog.synthetic is not None:
        write_catalogue(Path(config.catalog.products).parent, config.catalog.synthetic)
    manifest, read_shard = prepare_in_memory(config)
    dataset = open_dataset(manifest, read_shard, _folder(config) / "shards", config.split, config.fusion.folds)
    (_folder(config) / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    if encode:
        encode_dataset(dataset, config)


def opened(config: Config, seed: int) -> tuple[Dataset, Config]:
    """Return what `prepare` kept, split by a seed, and the settings with it."""
    manifest = Manifest.from_json((_folder(config) / "manifest.json").read_text(encoding="utf-8"))
    split = dataclasses.replace(config.split, seed=seed)
    ours = dataclasses.replace(config, split=split)
    shards = _folder(config) / "shards"
    return open_dataset(manifest, lambda ref: b"", shards, split, ours.fusion.folds), ours


def measure(config: Config, seed: int, name: str) -> dict[str, Measured]:
    """Train and measure a baseline or one of ours; return what was found, by candidate ('fusion' brings another)."""
    dataset, ours = opened(config, seed)
    encoded = encode_dataset(dataset, ours)
    learn, _ = split_rows(dataset, folds=1)
    with tempfile.TemporaryDirectory() as folder:
        forget_peak()
        started = cpu_seconds()
        fitted = fit(name, dataset, encoded, ours, Path(folder) / "checkpoints")
        spent, megabytes = cpu_seconds() - started, peak() / 1e6
    held_out = cross_validated(dataset) if name == "tfidf" else fitted.held_out
    found = {name: quality(answer_gold(fitted, dataset, encoded), dataset, ours, held_out)}
    if name == "fusion":
        other = plain_average(fitted)
        found["plain average"] = quality(answer_gold(other, dataset, encoded), dataset, ours, other.held_out)
    encoding, answering = speed(fitted, dataset, ours)
    disk = len(fitted.data) / 1e6
    cost = {
        "train_cpu": spent,
        "encode_cpu": encoding * len(learn),
        "rows_per_cpu_second": 1 / (encoding + answering),
        "peak_mb": megabytes,
        "model_mb": disk,
        "disk_mb": disk + sum(megabytes_of(source) for source in fitted.encoders),
    }
    return {candidate: {**measured, **cost, **stamp()} for candidate, measured in found.items()}


def measure_tuned(config: Config, seed: int, name: str) -> dict[str, Measured]:
    """Train and measure our fusion with its encoders tuned end to end, on a GPU: what is measured is quality alone."""
    dataset, ours = opened(config, seed)
    ours = tuned(ours)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = train_candidate("fusion", dataset, NOTHING_ENCODED, ours, Path(folder) / "checkpoints")
    assert trained is not None
    spent = time.perf_counter() - started
    gold = predict_gold(read_bundle(trained.bundle), dataset, NOTHING_ENCODED)
    megabytes = len(trained.bundle) / 1e6
    cost = {"train_wall": spent, "gpu": torch.cuda.get_device_name(), "epochs": len(trained.history)}
    size = {"model_mb": megabytes, "disk_mb": megabytes}
    return {name: {**quality(gold, dataset, ours, float("nan")), **cost, **size, **stamp()}}


def tuned(config: Config) -> Config:
    """Return the settings with the encoders that AutoGluon has, tuned end to end in mixed precision on a GPU."""
    text = dataclasses.replace(config.branches.text, encoders=("bundled:multilingual-e5-small",), trainable=True)
    image = dataclasses.replace(config.branches.image, trainable=True)
    trainer = dataclasses.replace(
        config.trainer,
        max_epochs=TUNED_EPOCHS,
        batch_size=64,
        encoder_learning_rate=TUNED_RATE,
        precision="bf16-mixed",
        accelerator="gpu",
        workers=TUNED_WORKERS,
    )
    return dataclasses.replace(
        config, branches=dataclasses.replace(config.branches, text=text, image=image), trainer=trainer
    )


def measure_peer(
    config: Config,
    seed: int,
    name: str,
    cpu_limit: int | None,
    epochs: int,
    threads: int = 1,
    gpu: bool = False,
) -> dict[str, Measured]:
    """Train and measure AutoGluon within so many CPU seconds, or until it stops by itself; on a GPU quality alone."""
    dataset, ours = opened(config, seed)
    folder = ROOT / "build" / "peers" / "runs" / f"{config.name}-{seed}-{name.replace(',', '').replace(' ', '-')}"
    photos = ROOT / "build" / "peers" / "photos" / config.name
    run = run_autogluon(dataset, folder, photos, cpu_limit, epochs, threads, gpu)
    facts = run.facts
    cost = {"model_mb": facts["disk_mb"], "disk_mb": facts["disk_mb"]}
    if gpu:
        cost |= {"train_wall": facts["train_wall"], "gpu": facts["gpu"], "precision": facts["precision"]}
    else:
        cost |= {"train_cpu": facts["train_cpu"], "encode_cpu": 0.0}
        cost |= {"rows_per_cpu_second": facts["rows_per_cpu_second"], "peak_mb": facts["peak_mb"]}
    more = {
        "epochs": facts["epochs"],
        "cpu_limit": cpu_limit,
        "most_epochs": epochs,
        "threads": threads,
        "peer": facts["versions"],
    }
    return {name: {**quality(run.gold, dataset, ours, float("nan")), **cost, **more, **stamp()}}


def quality(gold: GoldPredictions, dataset: Dataset, config: Config, held_out: float) -> Measured:
    """Return what predictions on the gold set are worth; `gap` is mean confidence less accuracy."""
    report = report_gold(gold, dataset, config)
    values = {
        **{name: interval.value for name, interval in report.metrics.items()},
        "held_out": held_out,
        "ece": report.ece,
        "gap": float(np.exp(gold.log_probabilities.max(axis=1)).mean() - report.metrics["accuracy"].value),
        "filed_95": report.coverage.get("0.95"),
        "filed_99": report.coverage.get("0.99"),
        "without_photo": report.without_photo,
        "without_text": report.without_text,
        "gold": report.products,
        "learnt": len(split_rows(dataset, folds=1)[0]),
    }
    return {name: None if value is None or np.isnan(value) else value for name, value in values.items()}


def speed(fitted: Fitted, dataset: Dataset, config: Config) -> tuple[float, float]:
    """Return CPU seconds a product of encoding, from text and JPEG, and of answering, on products of the gold set."""
    rows, every = gold_rows(dataset)[:SAMPLE], texts_of(dataset)
    texts, photos = [every[row] for row in rows], dataset.photos(rows.tolist())
    seen = [photo for photo in photos if photo is not None]
    has_photo = np.array([photo is not None for photo in photos], dtype=bool)
    text, image = config.branches.text, config.branches.image
    spent, features = 0.0, {}
    for source in fitted.encoders:
        reads_text = source in text.encoders
        encoder: Any = (
            load_text_encoder(source, text.max_tokens) if reads_text else load_image_encoder(source, image.side)
        )
        encode: Any = encode_texts if reads_text else encode_images
        items, size = (texts, text.batch_size) if reads_text else (seen, image.batch_size)
        encode(encoder, items[:8], size)  # warm up
        started = cpu_seconds()
        made = encode(encoder, items, size)
        spent += cpu_seconds() - started
        features[source] = np.zeros((len(rows), made.shape[1]), dtype=np.float32)
        features[source][slice(None) if reads_text else has_photo] = made
    started = cpu_seconds()
    fitted.answer(texts, has_photo, features)
    return spent / len(rows), (cpu_seconds() - started) / len(rows)


def megabytes_of(source: str) -> float:
    """Return the megabytes of an encoder as it lies on disk to be loaded: float32, or as its package brings it."""
    from rayon.models import bundled_image, bundled_use

    if source == "bundled:multilingual-e5-small":
        folders = sorted(cache_folder().glob("multilingual-e5-small-*"))
        return sum(file.stat().st_size for file in folders[0].iterdir()) / 1e6
    if source == "bundled:use-multilingual":
        return sum(file.locate(source).stat().st_size for file in (bundled_use.WEIGHTS, bundled_use.PIECES)) / 1e6
    return bundled_image.LITE0_FILE.locate(source).stat().st_size / 1e6


def stamp() -> Measured:
    """Return when and with what something was measured."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions()}


def _folder(config: Config) -> Path:
    return BUILD / config.name


__all__: list[str] = ["BASELINES", "apart", "measure", "measure_peer", "measure_tuned", "prepare", "read_experiment"]
