"""What runs found, for notebooks: reports, costs, a model's gold set, a monitored window, as records and frames.

One of the modules that know Metaflow: it reads the artifacts of runs that it is given. It draws nothing and judges
nothing anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from metaflow import Run, Step

from rayon.champions import RegistryError, champion, started
from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.error_analysis import JUDGED
from rayon.evaluation import Interval
from rayon.gallery import Gallery, read_gallery
from rayon.gold import gold_rows
from rayon.monitor_run import open_both
from rayon.preparing import open_version
from rayon.production import read_window
from rayon.reference import read_reference
from rayon.registry import dataset_of
from rayon.report import Report, read_report
from rayon.window import Window

_PARTS = {"prepare and encode": ("start", "encode"), "train": ("train",), "evaluate and judge": ("evaluate", "gate")}
_LABEL_DIGITS = 6


class GoldSet(NamedTuple):
    """What a training's model said of its gold set: `judged`, a row a product with `rayon.error_analysis.JUDGED`, and
    the dataset version it comes from.
    """

    judged: pd.DataFrame
    dataset: Dataset


class Watched(NamedTuple):
    """A monitored window and what it was compared with, opened; `reference` is the model's gold set."""

    reference: Window
    current: Window


def label(run: Run, name: str) -> str:
    """Return what to call a run in a picture: when it began (UTC), its number, and whether it is champion of `name`."""
    served = champion(name)
    number = run.id if len(run.id) <= _LABEL_DIGITS else f"..{run.id[-_LABEL_DIGITS:]}"
    mark = " (champion)" if served is not None and served.to == run.pathspec else ""
    return f"{started(run):%d %b %H:%M}, {number}{mark}"


def read_reports(runs: Sequence[Run], name: str) -> dict[str, Report]:
    """Return the reports of trainings of catalogue `name`, each on its own gold set, by `label`."""
    return {label(run, name): read_report(_artifact(run, "evaluate", "report")) for run in runs}


def read_candidates(run: Run) -> dict[str, Interval]:
    """Return the gold macro-F1 of each candidate of a training, with its interval."""
    return {row["name"]: Interval(**row["macro_f1"]) for row in _artifact(run, "evaluate", "comparison")}


def read_costs(runs: Sequence[Run], name: str) -> pd.DataFrame:
    """Return what trainings took: a row a run by `label`, a column a part of it with the seconds of its tasks.

    Tasks that ran at the same time are all counted, so that the sum may be more than a run lasted.
    """
    return pd.DataFrame.from_dict(
        {
            label(run, name): {
                part: sum(map(_seconds, (run[step] for step in steps))) for part, steps in _PARTS.items()
            }
            for run in runs
        },
        orient="index",
    )


def read_facts(runs: Sequence[Run], name: str) -> pd.DataFrame:
    """Return what trainings were made of: a row a run by `label`.

    Columns: selected candidate, products of the gold set, encoded (products read anew by an encoder), bundle_mb,
    macro_f1, ece, filed_at_95 (share of the gold set that can be filed at 95% precision, NaN where not measured).
    """
    rows = {}
    for run in runs:
        report = _artifact(run, "evaluate", "report")
        rows[label(run, name)] = {
            "selected": _artifact(run, "evaluate", "selected"),
            "gold products": report["products"],
            "encoded": sum(_artifact(run, "evaluate", "encoded").values()),
            "bundle_mb": len(_artifact(run, "evaluate", "bundle")) / 1e6,
            "macro_f1": report["metrics"]["macro_f1"]["value"],
            "ece": report["ece"],
            "filed_at_95": report["coverage"].get("0.95", np.nan),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def open_gold(run: Run, config: Config) -> GoldSet:
    """Return what a training's model said of its gold set, as the training kept it: nothing is judged anew.

    Raises:
        RegistryError: it kept no reference, or the experiment's split has changed since.
    """
    dataset = open_version(dataset_of(run.pathspec).manifest, config)
    said = read_reference(_artifact(run, "evaluate", "reference")).table.to_pandas()
    rows = gold_rows(dataset)
    products = dataset.frame.iloc[rows].reset_index(drop=True)
    if said["product_id"].tolist() != products["product_id"].tolist():
        raise RegistryError(
            f"the gold set of {run.pathspec} is not that of the experiment now: `split` has changed since. Train again."
        )
    judged = pd.DataFrame(
        {
            "row": rows,
            "product_id": products["product_id"],
            "title": products["designation"].where(products["designation"] != "", products["description"].str[:120]),
            "category": products["category"],
            "predicted": said["category"],
            "confidence": said["confidence"],
            "right": said["category"] == products["category"],
            "filed": said["decision"] == "accept",
            "text_share": said["text_contribution"],
            "has_text": products["has_text"],
            "has_description": products["description"] != "",
            "has_photo": products["has_image"],
            "language": said["language"].fillna(""),
        }
    )
    return GoldSet(judged[list(JUDGED)], dataset)


def open_gallery(run: Run) -> Gallery:
    """Return the training products that a training keeps to compare with.

    Raises:
        RegistryError: it kept none.
    """
    return read_gallery(_artifact(run, "evaluate", "gallery"))


def open_watched(run: Run, config: Config) -> Watched:
    """Return the window that a monitoring run judged and its reference, read again from where they came from.

    Raises:
        WindowError, RegistryError: the predictions are gone.
    """
    reference = read_reference(_artifact(run, "start", "reference"))
    sources, judged = _artifact(run, "start", "sources"), _artifact(run, "judge", "point")["rows"]
    production = read_window(sources, reference.model, config=config)
    if judged and not production.table.num_rows:
        raise RegistryError(
            f"the {judged:,} predictions that {run.pathspec} looked at are gone from {', '.join(sources)}: look at a "
            "newer run."
        )
    return Watched(*open_both(reference, production))


def describe_windows(points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return windows (`rayon.monitor_run.make_point`) as a table: a row a run, in their order.

    Columns: time (UTC), rows, verdict, alone (what the window would get without those before it), model, largest (the
    comparison that is furthest beyond its limit) and times, how many limits that is.
    """
    rows = {}
    for point in points:
        largest = max(point["ratios"], key=lambda name: point["ratios"][name], default="")
        rows[point["run"]] = {
            **{name: point[name] for name in ("time", "rows", "verdict", "alone", "model")},
            "largest": largest.replace("_", " "),
            "times": point["ratios"].get(largest, np.nan),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _artifact(run: Run, step: str, name: str) -> Any:
    try:
        return run[step].task[name].data  # type: ignore[index]
    except (KeyError, TypeError) as error:
        raise RegistryError(
            f"{run.pathspec} kept no '{name}': it is of an older version, or its artifacts are gone. Run it again."
        ) from error


def _seconds(step: Step) -> float:
    return sum((task.finished_at - task.created_at).total_seconds() for task in step if task.finished_at)
