"""How good are the candidates on a real catalogue, over several title-grouped splits?

    python tests/benchmarks/quality.py                      the catalogues of configs/bestbuy15.yaml and books33.yaml
    python tests/benchmarks/quality.py configs/catalog.yaml --seeds 3

Prints a Markdown table: the mean over split seeds, and what fusion gains over the tf-idf baseline on the same splits.
`held_out` is macro-F1 on all products outside the gold set, each judged by a model that never saw it.
A catalogue that is not there is skipped. Beside the candidates it measures two other fusions of the same features:
the plain average of the branches' log-probabilities and, on request, feature-level fusion.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shutil
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np

from in_memory import prepare_in_memory
from rayon.bundle import read_bundle
from rayon.config import Config, parse_config, read_config, resolve_paths
from rayon.data.dataset import Dataset, open_dataset
from rayon.gold import GoldPredictions, predict_gold, predict_gold_baseline, report_gold
from rayon.evaluation import macro_f1
from rayon.inputs import Encoded, encode_dataset, split_rows, texts_of
from rayon.models.baseline import baseline_probabilities
from rayon.models.fusion import Pool
from rayon.training import train_candidate

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ("configs/bestbuy15.yaml", "configs/books33.yaml")
COLUMNS = (
    *("macro_f1", "held_out", "weighted_f1", "accuracy", "ece", "gap", "0.95", "0.99"),
    *("without_photo", "without_text", "cpu"),
)


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=DEFAULT)
    parser.add_argument("--seeds", type=int, default=5, help="how many splits (5)")
    parser.add_argument("--feature-fusion", action="store_true", help="also train feature-level fusion")
    parser.add_argument("--json", type=Path, help="also write every measurement to this file")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    measured: dict[str, Any] = {}
    for path in arguments.configs:
        config = resolve_paths(parse_config(read_config((ROOT / path).read_text())), ROOT)
        if not Path(config.catalog.products).exists():
            print(f"{path}: skipped, {config.catalog.products} is not there")
            continue
        measured[config.name] = run(config, arguments.seeds, arguments.feature_fusion)
        show(config.name, measured[config.name])
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1))


def run(config: Config, seeds: int, feature_fusion: bool) -> dict[str, list[dict[str, float]]]:
    """Return, for each candidate, a dict of measurements a split."""
    manifest, read_shard = prepare_in_memory(config)
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            split = dataclasses.replace(config.split, seed=seed)
            ours = dataclasses.replace(config, split=split)
            dataset = open_dataset(manifest, read_shard, Path(folder) / "shards", split, ours.fusion.folds)
            encoded = encode_dataset(dataset, ours)
            held_out = cross_validated(dataset)
            started = time.process_time()
            baseline = predict_gold_baseline(dataset)
            note(results["tfidf"], baseline, dataset, ours, started, held_out)
            for kind in ("text", "image", "fusion"):
                train(kind, dataset, encoded, ours, Path(folder) / "checkpoints", results)
            if feature_fusion:
                other = dataclasses.replace(ours, fusion=dataclasses.replace(ours.fusion, kind="feature"))
                train("fusion", dataset, encoded, other, Path(folder) / "checkpoints", results, "feature fusion")
            line = "  ".join(f"{name} {rows[-1]['macro_f1']:.3f}" for name, rows in results.items())
            print(f"{config.name} split {seed}: {line}", flush=True)
    return dict(results)


def train(
    kind: str,
    dataset: Dataset,
    encoded: Encoded,
    config: Config,
    folder: Path,
    results: dict[str, list[dict[str, float]]],
    name: str = "",
) -> None:
    """Train a candidate and note what it does on the gold set."""
    started = time.process_time()
    trained = train_candidate(kind, dataset, encoded, config, folder)
    shutil.rmtree(folder)
    bundle = read_bundle(trained.bundle)
    held_out = macro_f1(trained.labels, trained.probabilities.argmax(axis=1), len(dataset.categories))
    note(results[name or kind], predict_gold(bundle, dataset, encoded), dataset, config, started, held_out)
    pool = bundle.served.pool
    if kind == "fusion" and not name:
        even = {state: tuple(1 / max(sum(w > 0 for w in ws), 1) for w in ws) for state, ws in pool.weights.items()}
        flat = {state: (0.0,) * len(bias) for state, bias in pool.bias.items()}
        averaged = bundle._replace(served=bundle.served._replace(pool=Pool(pool.branches, pool.modalities, even, flat)))
        note(results["plain average"], predict_gold(averaged, dataset, encoded), dataset, config, started)


def note(
    rows: list[dict[str, float]],
    gold: GoldPredictions,
    dataset: Dataset,
    config: Config,
    started: float,
    held_out: float = float("nan"),
) -> None:
    """Add one split's measurements to a candidate's rows; `gap` is mean confidence less accuracy."""
    report = report_gold(gold, dataset, config)
    rows.append(
        {
            **{name: interval.value for name, interval in report.metrics.items()},
            "held_out": held_out,
            "ece": report.ece,
            "gap": float(np.exp(gold.log_probabilities.max(axis=1)).mean() - report.metrics["accuracy"].value),
            **report.coverage,
            "without_photo": report.without_photo if report.without_photo is not None else float("nan"),
            "without_text": report.without_text if report.without_text is not None else float("nan"),
            "cpu": time.process_time() - started,
        }
    )


def cross_validated(dataset: Dataset) -> float:
    """Return the baseline's macro-F1 on train and validation, each fold judged by a fit on the others: the products on
    which the candidates' `held_out` is measured, which are four times as many as the gold set's.
    """
    learn, _ = split_rows(dataset, folds=1)
    frame = dataset.frame.iloc[learn]
    every = texts_of(dataset)
    texts = [every[row] for row in learn]
    labels, folds = frame["label"].to_numpy().astype(np.int64), frame["fold"].to_numpy()
    predicted = np.zeros_like(labels)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        probabilities = baseline_probabilities(
            [texts[i] for i in outside], labels[outside], [texts[i] for i in inside], len(dataset.categories)
        )
        predicted[inside] = probabilities.argmax(axis=1)
    return macro_f1(labels, predicted, len(dataset.categories))


def show(name: str, results: dict[str, list[dict[str, float]]]) -> None:
    """Print a catalogue's table."""
    splits = len(next(iter(results.values())))
    print(f"\n### {name}, mean of {splits} title-grouped splits, 20% gold\n")
    print("| candidate | " + " | ".join(COLUMNS) + " | over tf-idf |")
    print("| --- |" + " --- |" * (len(COLUMNS) + 1))
    base = [row["macro_f1"] for row in results["tfidf"]]
    for candidate, rows in results.items():
        cells = [np.mean([row[column] for row in rows]) for column in COLUMNS]
        gain = np.mean([row["macro_f1"] - b for row, b in zip(rows, base, strict=True)])
        shown = [
            f"{cell:.1f}" if column == "cpu" else f"{cell:.3f}" for column, cell in zip(COLUMNS, cells, strict=True)
        ]
        print(f"| {candidate} | " + " | ".join(shown).replace("nan", "-") + f" | {gain:+.3f} |")
    print()


if __name__ == "__main__":
    main()
