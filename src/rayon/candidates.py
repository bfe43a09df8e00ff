"""What TrainFlow's steps do with candidates: run one, select one, publish what was measured.

Brings together training, the gold set, cards and tracking; the flow stores what comes back. Metaflow's `current` is
handed in.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.bundle import describe_bundle, read_bundle
from rayon.cards import model_card
from rayon.cards_training import CardCallback
from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.evaluation import macro_f1, suspects
from rayon.gold import GoldPredictions, predict_gold, predict_gold_baseline, report_gold
from rayon.inputs import candidate_branches, encode_dataset
from rayon.preparing import progress_line
from rayon.report import Report
from rayon.tracking import Identity, TrackedRun, start, summary_of_test
from rayon.training import train_candidate

BASELINE = "tfidf"


class Outcome(NamedTuple):
    """What the evaluation leaves as artifacts, all plain data: the selected candidate's report, a dict a candidate, the
    suspicious labels, the gold predictions of the selected one as a frame, and where the W&B run is.
    """

    report: dict[str, Any]
    comparison: list[dict[str, Any]]
    suspects: pd.DataFrame
    predictions: pd.DataFrame
    wandb: str


def run_candidate(name: str, dataset: Dataset, config: Config, current: Any) -> dict[str, Any]:
    """Train one candidate and run it on the gold set; return the artifact of its task, plain data.

    Keys: bundle (bytes, None for the baseline), gold (a dict of arrays), rows, labels and probabilities of held-out
    products (None for the baseline), history, resumed_from_epoch.
    """
    if name == BASELINE:
        print("tfidf: words and characters, logistic regression")
        gold = predict_gold_baseline(dataset)
        return {"bundle": None, "gold": gold._asdict(), "probabilities": None, "history": [], "resumed_from_epoch": 0}
    encoded = encode_dataset(dataset, config, progress_line())
    folder = _checkpoint_folder(name, config, current)
    branches = [branch.name for branch in candidate_branches(name, config)]
    with _track(config, current, f"train-{name}", [name]) as run:
        card = CardCallback(name, {"branches": ", ".join(branches), "products": f"{len(dataset):,}"})
        logger = run.lightning_logger()
        trained = train_candidate(
            name,
            dataset,
            encoded,
            config,
            folder,
            [card],
            logger or False,
            {"run": f"{current.flow_name}/{current.run_id}"},
        )
        gold = predict_gold(read_bundle(trained.bundle), dataset, encoded)
        report = report_gold(gold, dataset, config)
        run.summary(_summary(report))
        print(f"{name}: gold macro-F1 {report.metrics['macro_f1'].value:.3f} after {len(trained.history)} epochs")
    shutil.rmtree(folder, ignore_errors=True)
    return {**trained._asdict(), "probabilities": trained.probabilities, "gold": gold._asdict()}


def select(results: Mapping[str, Mapping[str, Any]], classes: int) -> str:
    """Return the candidate with the best macro-F1 on held-out products; the baseline, and the gold set, have no say."""
    scores = {name: _held_out_f1(result, classes) for name, result in results.items()}
    promotable = {name: score for name, score in scores.items() if score is not None}
    if not promotable:
        raise ValueError("only the baseline was trained, and it is never promoted: add 'fusion' to 'candidates'.")
    return max(promotable, key=lambda name: promotable[name])


def publish(
    results: Mapping[str, Mapping[str, Any]],
    selected: str,
    dataset: Dataset,
    config: Config,
    current: Any,
    encoded: Mapping[str, int],
    dataset_run: str,
) -> Outcome:
    """Measure every candidate on the gold set, draw the card `model` and log the selected one to Weights & Biases."""
    reports = {
        name: report_gold(GoldPredictions(**result["gold"]), dataset, config) for name, result in results.items()
    }
    comparison = [
        {
            "name": name,
            "macro_f1": report.metrics["macro_f1"]._asdict(),
            "weighted_f1": report.metrics["weighted_f1"].value,
            "accuracy": report.metrics["accuracy"].value,
            "ece": report.ece,
            "coverage": report.coverage,
            "validation_macro_f1": _held_out_f1(results[name], len(dataset.categories)),
            "resumed_from_epoch": results[name]["resumed_from_epoch"],
        }
        for name, report in reports.items()
    ]
    report, gold = reports[selected], GoldPredictions(**results[selected]["gold"])
    mistakes = _mistakes(gold, dataset, config.evaluation.mistakes)
    doubtful = _suspects(results[selected], gold, dataset, config.evaluation.suspects)
    with _track(config, current, "evaluate", [selected]) as run:
        run.summary({**_summary(report), "selected": selected})
        run.confusion(report.confusion, report.categories)
        columns = ("product_id", "title", "category", "predicted", "confidence", "image")
        run.table("mistakes", columns, [[row[c] for c in columns] for row in mistakes], photos="image")
        run.table("suspects", list(doubtful.columns), doubtful.to_numpy().tolist())
        about = describe_bundle(results[selected]["bundle"])["about"]
        run.artifact(f"{config.name}-bundle", "model", results[selected]["bundle"], "bundle.safetensors", about)
        where = run.where()
    facts = {
        "catalogue": config.name,
        "dataset": f"{dataset_run}, fingerprint {dataset.fingerprint[:12]}",
        "products": f"{len(dataset):,} of which {report.products:,} in the gold set",
        "encoded in this run": ", ".join(f"{source}: {count:,}" for source, count in encoded.items()) or "nothing",
        "bundle": f"{len(results[selected]['bundle']) / 1e6:.1f} MB, artifact `bundle` of this run",
        "Weights & Biases": where,
    }
    rows: Any = [
        {**row, "macro_f1": reports[row["name"]].metrics["macro_f1"], "note": _note(row)} for row in comparison
    ]
    suspicious: Any = doubtful.to_dict("records")
    current.card["model"].extend(model_card(report, rows, selected, mistakes, suspicious, facts))
    return Outcome(_plain(report), comparison, doubtful, _frame(gold, dataset), where)


def closing_lines(
    report: Mapping[str, Any],
    comparison: list[dict[str, Any]],
    selected: str,
    dataset_run: str,
    wandb: str,
    current: Any,
) -> list[str]:
    """Return the five lines that end a run: what, how good, against what, where to look, what next."""
    macro = report["metrics"]["macro_f1"]
    others = [f"{row['name']} {row['macro_f1']['value']:.3f}" for row in comparison if row["name"] != selected]
    coverage = ", ".join(
        f"{share:.0%} at {float(target):.0%} precision" for target, share in report["coverage"].items()
    )
    return [
        f"trained   {selected}, {len(report['categories'])} categories, on {dataset_run}",
        f"gold set  macro-F1 {macro['value']:.3f} [{macro['low']:.3f}, {macro['high']:.3f}], ECE {report['ece']:.3f}, "
        f"fileable without a human: {coverage}",
        f"against   {', '.join(others) or 'nothing else'}",
        f"look at   python flows/train_flow.py card view {current.run_id}/evaluate --id model | W&B: {wandb}",
        "next      python flows/preprocess_flow.py run (a dataset version of its own), "
        "--config experiment configs/catalog.yaml (your catalogue)",
    ]


def _held_out_f1(result: Mapping[str, Any], classes: int) -> float | None:
    if result["probabilities"] is None:
        return None
    return macro_f1(result["labels"], result["probabilities"].argmax(axis=1), classes)


def _note(row: Mapping[str, Any]) -> str:
    if row["name"] == BASELINE:
        return "the yardstick, never promoted"
    return f"resumed from epoch {row['resumed_from_epoch']}" if row["resumed_from_epoch"] else ""


def _mistakes(gold: GoldPredictions, dataset: Dataset, count: int) -> Any:
    """The surest wrong predictions on the gold set, surest first."""
    predicted = gold.log_probabilities.argmax(axis=1)
    confidence = np.exp(gold.log_probabilities.max(axis=1))
    wrong = np.flatnonzero(predicted != gold.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    return [
        {
            **_named(dataset, int(gold.rows[i])),
            "predicted": dataset.categories[predicted[i]],
            "confidence": float(confidence[i]),
            "image": dataset.photo(int(gold.rows[i])),
        }
        for i in wrong
    ]


def _suspects(result: Mapping[str, Any], gold: GoldPredictions, dataset: Dataset, count: int) -> pd.DataFrame:
    """The least believable labels of the whole catalogue, by models that never learnt from them."""
    rows = np.concatenate([result["rows"], gold.rows])
    labels = np.concatenate([result["labels"], gold.labels])
    probabilities = np.concatenate([result["probabilities"], np.exp(gold.log_probabilities)])
    found = suspects(labels, probabilities, count)
    named = pd.DataFrame([_named(dataset, int(rows[row])) for row in found["row"]])
    if named.empty:
        return pd.DataFrame(columns=["product_id", "title", "category", "suggested", "margin"])
    return named.assign(
        suggested=[dataset.categories[label] for label in found["suggested"]], margin=found["margin"].to_numpy()
    )


def _frame(gold: GoldPredictions, dataset: Dataset) -> pd.DataFrame:
    """The gold predictions a row a product: product_id, category, predicted, confidence, text_share, has_image."""
    products = dataset.frame.iloc[gold.rows]
    categories: NDArray[np.object_] = np.array(dataset.categories, dtype=object)
    return pd.DataFrame(
        {
            "product_id": products["product_id"].to_numpy(),
            "category": products["category"].to_numpy(),
            "predicted": categories[gold.log_probabilities.argmax(axis=1)],
            "confidence": np.exp(gold.log_probabilities.max(axis=1)),
            "text_share": gold.text_share,
            "has_image": products["has_image"].to_numpy(),
        }
    )


def _named(dataset: Dataset, row: int) -> dict[str, Any]:
    product = dataset.frame.iloc[row]
    title = product["designation"] or product["description"][:120]
    return {"product_id": product["product_id"], "title": title, "category": product["category"]}


def _track(config: Config, current: Any, job: str, tags: list[str]) -> TrackedRun:
    identity = Identity(current.flow_name, current.run_id, current.step_name, current.task_id, current.retry_count)
    return start(config.tracking, identity, job, asdict(config), Path(config.cache), [config.name, *tags])


def _checkpoint_folder(name: str, config: Config, current: Any) -> Path:
    """The folder of a candidate's checkpoints; a resumed run takes over those of the run it resumes."""
    root = Path(config.cache) / "checkpoints"
    folder = root / f"{current.flow_name}-{current.run_id}" / name
    origin = root / f"{current.flow_name}-{current.origin_run_id}" / name
    if current.origin_run_id and origin.is_dir() and not folder.exists():
        shutil.copytree(origin, folder)
    return folder


def _summary(report: Report) -> dict[str, float]:
    numbers = {
        "nll": report.nll,
        "ece": report.ece,
        "without_photo": report.without_photo,
        "without_text": report.without_text,
    }
    return summary_of_test(report.metrics, numbers, report.coverage)


def _plain(report: Report) -> dict[str, Any]:
    return {
        **report._asdict(),
        "metrics": {name: interval._asdict() for name, interval in report.metrics.items()},
        "reliability": [entry._asdict() for entry in report.reliability],
        "categories": list(report.categories),
    }
