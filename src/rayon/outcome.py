"""The end of a training run: select a candidate, measure all on the gold set, draw the card, log to W&B.

Brings together reports, cards and tracking; the flow stores what comes back. It trains nothing and never imports a
trainer. Metaflow's `current` is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.bundle_document import describe_bundle
from rayon.cards import model_card
from rayon.config import BASELINE, Config
from rayon.data.dataset import Dataset
from rayon.evaluation import macro_f1, suspects
from rayon.gold import GoldPredictions, report_gold
from rayon.preparing import track
from rayon.reference import make_reference
from rayon.report import Report, plain_report
from rayon.schema import TooLittleError
from rayon.tracking.keys import gold_values


class Outcome(NamedTuple):
    """What the evaluation leaves as artifacts, all plain data: the selected candidate's report, a dict a candidate, the
    suspicious labels, the gold predictions of the selected one as a frame, where the W&B run is, the reference that
    production will be compared with (`rayon.reference`, Parquet bytes), and what the gate judges, the fields of
    `rayon.gate.Said`.
    """

    report: dict[str, Any]
    comparison: list[dict[str, Any]]
    suspects: pd.DataFrame
    predictions: pd.DataFrame
    wandb: str
    reference: bytes
    said: dict[str, Any]


def select(results: Mapping[str, Mapping[str, Any]], classes: int) -> str:
    """Return the candidate with the best macro-F1 on held-out products; the baseline, and the gold set, have no say."""
    scores = {name: _held_out_f1(result, classes) for name, result in results.items()}
    promotable = {name: score for name, score in scores.items() if score is not None}
    if not promotable:
        raise TooLittleError("only the baseline was trained, and it is never promoted: add 'fusion' to 'candidates'.")
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
    told = {"candidate": selected, "dataset": dataset.fingerprint[:12]}
    with track(config, current, "evaluate", [selected], title=f"evaluate {selected}", **told) as run:
        run.summary({**summary_of(report), **_over_baseline(reports, selected), "selected": selected})
        run.table("gold", ("candidate", "metric", "value", "low", "high"), _intervals(reports))
        bins = [entry for entry in report.reliability if entry.products]
        run.reliability([entry.confidence for entry in bins], [entry.accuracy for entry in bins])
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
    model = f"{current.flow_name}/{current.run_id}"
    reference, said = make_reference(results[selected]["bundle"], model, dataset, config)
    predictions = _frame(gold, dataset)
    return Outcome(plain_report(report), comparison, doubtful, predictions, where, reference, said._asdict())


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


def summary_of(report: Report) -> dict[str, float]:
    """Return a report's numbers under the keys that every W&B run of this project uses."""
    numbers = {
        "nll": report.nll,
        "ece": report.ece,
        "without_photo": report.without_photo,
        "without_text": report.without_text,
        "products": report.products,
    }
    return gold_values(report.metrics, numbers, report.coverage)


def _over_baseline(reports: Mapping[str, Report], selected: str) -> dict[str, float]:
    if BASELINE not in reports:
        return {}
    ours, baseline = (reports[name].metrics["macro_f1"].value for name in (selected, BASELINE))
    return {"test/over_tfidf": ours - baseline}


def _intervals(reports: Mapping[str, Report]) -> list[list[Any]]:
    return [
        [name, metric, *interval] for name, report in reports.items() for metric, interval in report.metrics.items()
    ]
