"""What rayon tells Weights & Biases: every key with its unit, and the jobs that log it. One table for all flows.

Runs log under these names and no others, dashboards are built of them, docs/wandb.md is made of them
(`python -m rayon dashboard --keys`), and tests compare them with what real runs left. Knows neither W&B nor flows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["axis", "curve", "value", "text", "chart", "table", "setting"]

STEP = "trainer/global_step"
"""The axis of a training's curves, the one Lightning's logger uses. W&B's own step drops what comes out of order."""

TIME = "monitor/time"
"""The axis of a monitor's curves."""

CHAMPION = "champion"
"""The tag of the runs that made a champion."""

JOBS = {
    "preprocess": "PreprocessFlow: a dataset version",
    "train": "TrainFlow: a candidate",
    "evaluate": "TrainFlow: the selected candidate on the gold set",
    "gate": "TrainFlow: candidate against champion",
    "score": "ScoreFlow: products scored",
    "monitor": "MonitorFlow: a window, and those before it",
    "feedback": "FeedbackFlow: what people said",
    "promote": "a promotion by hand",
    "rollback": "a rollback by hand",
}
"""The job types of runs, W&B's own field, and what each is."""

_TAG_CHARS = 64


class Key(NamedTuple):
    """A key, its unit, how it is logged, by which jobs, and what it says.

    A name may hold a part in angle brackets that stands for anything without a slash. An axis and a curve are logged
    point by point, a value and a text once, in the summary; a chart and a table are shown as such; a setting is found
    in the run's config.
    """

    name: str
    unit: str
    kind: Kind
    jobs: tuple[str, ...]
    meaning: str

    def covers(self, name: str) -> bool:
        """Say whether a logged key is this one."""
        return re.fullmatch(re.sub(r"<\w+>", "[^/]+", re.escape(self.name)), name) is not None


_MEASURED = ("train", "evaluate")
_CROWNED = ("gate", "promote", "rollback")
_ALL = tuple(JOBS)
_SHARE, _COUNT = "[0, 1]", "count"

KEYS = (
    Key(STEP, "optimiser steps", "axis", ("train",), "the axis of a training's curves"),
    Key("epoch", "epochs, from 0", "curve", ("train",), ""),
    Key("train_loss", "nats a product", "curve", ("train",), "on the products that are learnt from"),
    Key("val_nll", "nats a product", "curve", ("train",), "on held-out products; stops the training"),
    Key("val_macro_f1", _SHARE, "curve", ("train",), "macro-F1 on held-out products"),
    *(
        Key(f"test/{name}{end}", _SHARE, "value", _MEASURED, f"{title} on the gold set{said}")
        for name, title in (("macro_f1", "macro-F1"), ("weighted_f1", "weighted-F1"), ("accuracy", "accuracy"))
        for end, said in (("", ""), ("/low", ": its 95% interval from"), ("/high", ": its 95% interval to"))
    ),
    Key("test/nll", "nats a product", "value", _MEASURED, "negative log-likelihood on the gold set"),
    Key("test/ece", _SHARE, "value", _MEASURED, "expected calibration error"),
    Key("test/coverage_at_<percent>", _SHARE, "value", _MEASURED, "share that can be filed at that precision"),
    Key("test/without_photo", _SHARE, "value", _MEASURED, "macro-F1 when the photos are taken away"),
    Key("test/without_text", _SHARE, "value", _MEASURED, "macro-F1 when the texts are taken away"),
    Key("test/products", _COUNT, "value", _MEASURED, "products of the gold set"),
    Key("test/over_tfidf", "macro-F1", "value", ("evaluate",), "gain over the tf-idf baseline"),
    Key("selected", "a candidate", "text", ("evaluate",), "the candidate with the best held-out macro-F1"),
    Key("gold", "rows", "table", ("evaluate",), "every candidate's metrics with their 95% intervals"),
    Key("reliability", _SHARE, "chart", ("evaluate",), "how often right by how sure, beside the ideal"),
    Key(
        "confusion",
        _COUNT,
        "chart",
        ("evaluate",),
        "true by predicted category; of more than 100, those with most mistakes and all others",
    ),
    Key("mistakes", "rows", "table", ("evaluate",), "the surest wrong products of the gold set, with photos"),
    Key("suspects", "rows", "table", ("evaluate",), "labels worth a second look"),
    Key("gate/<line>", "that line's own", "value", ("gate",), "what was measured for a line of the gate"),
    Key("gate/verdict", "promote, hold", "text", ("gate",), ""),
    Key("gate/promoted", "0 or 1", "value", ("gate",), "whether it is champion now"),
    Key("champion/number", _COUNT, "value", _CROWNED, "promotions and rollbacks so far, this one included"),
    Key("champion/kind", "promote, rollback", "text", _CROWNED, ""),
    Key("champion/to", "a run of TrainFlow", "text", _CROWNED, "champion from then on"),
    Key("champion/before", "a run of TrainFlow", "text", _CROWNED, "champion until then, empty where none was"),
    Key("champion/who", "a user", "text", _CROWNED, ""),
    Key("champion/reason", "words", "text", _CROWNED, ""),
    Key("champion/verdict", "promote, hold, forced", "text", _CROWNED, "the gate's, empty after a rollback"),
    Key("champion/macro_f1", _SHARE, "value", ("gate", "promote"), "on the gold set of that day"),
    Key("champions", "rows", "table", _CROWNED, "all promotions and rollbacks so far"),
    Key("dataset/read", "rows", "value", ("preprocess",), "rows of the catalogue"),
    Key("dataset/kept", "products", "value", ("preprocess",), "products of the version, with those of feedback"),
    Key("dataset/new", "products", "value", ("preprocess",), "those of them that were built in this run"),
    Key("dataset/rejected", "rows", "value", ("preprocess",), "rows that are no product"),
    Key("dataset/photos_refused", "products", "value", ("preprocess",), "products whose photo cannot be used"),
    Key("dataset/without_photo", "products", "value", ("preprocess",), "those included"),
    Key("dataset/feedback", "products", "value", ("preprocess",), "labelled by people in the app"),
    Key("dataset/categories", _COUNT, "value", ("preprocess",), ""),
    Key("score/products", _COUNT, "value", ("score",), "predictions written"),
    Key("score/rejected", "rows", "value", ("score",), "rows that cannot be scored"),
    Key("score/accepted_share", _SHARE, "value", ("score",), "filed without a human"),
    Key("score/mean_confidence", _SHARE, "value", ("score",), ""),
    Key("score/without_photo_share", _SHARE, "value", ("score",), ""),
    Key(TIME, "seconds since 1970, UTC", "axis", ("monitor",), "when the window was judged"),
    Key("monitor/verdict", "0 ok, 1 watch, 2 retrain", "curve", ("monitor",), "left out where there was too little"),
    Key("monitor/rows", "products", "curve", ("monitor",), "predictions of the window"),
    Key("monitor/drift/<comparison>", "1: its limit", "curve", ("monitor",), "difference from training over its limit"),
    Key("monitor/measured_<metric>", _SHARE, "curve", ("monitor",), "accuracy and macro_f1, by labels of people"),
    Key("monitor/estimated_<metric>", _SHARE, "curve", ("monitor",), "accuracy and macro_f1, by confidences"),
    Key("monitor/said", "a verdict", "text", ("monitor",), "the window's verdict in words"),
    Key("feedback/read", "pieces", "value", ("feedback",), "looked at: new ones, and those that waited"),
    Key("feedback/accepted", "pieces", "value", ("feedback",), "believed, and data from now on"),
    Key("feedback/corrections", "pieces", "value", ("feedback",), "those of them that correct the model"),
    Key("feedback/waiting", "pieces", "value", ("feedback",), "wait for an admin"),
    Key("feedback/people", _COUNT, "value", ("feedback",), "who said something"),
    Key("feedback/retraining", "0 or 1", "value", ("feedback",), "whether a retraining is asked for"),
    Key("flow_run", "Flow/run", "setting", _ALL, "the Metaflow run, also the group; Registry/catalogue by hand"),
    Key("project_branch", "a branch", "setting", _ALL, "Metaflow's project branch"),
    Key("versions", "versions", "setting", _ALL, "of rayon and the packages that a result may depend on"),
    Key("candidate", "a candidate", "setting", _MEASURED, "tfidf, text, image or fusion"),
    Key("dataset", "12 hex digits", "setting", ("preprocess", *_MEASURED, "gate"), "the dataset version's fingerprint"),
    Key("model", "a run of TrainFlow", "setting", ("score", "monitor"), "whose predictions they are"),
)
"""Everything that runs log. The other settings of a run's config are those of the experiment, under their own names."""


def find_key(name: str, job: str) -> Key | None:
    """Return the table's line on a key that a job logs, the most exact one; None where the table has none."""
    known = [key for key in KEYS if job in key.jobs and key.covers(name)]
    return min(known, key=lambda key: "<" in key.name, default=None)


def tags_of(catalogue: str, branch: str, project: str = "rayon") -> list[str]:
    """Return the tags by which a run is found: Metaflow's project and project branch, and the catalogue's name."""
    tags = [f"project:{project}", f"project_branch:{branch}", f"catalogue:{catalogue}"]
    return [tag[:_TAG_CHARS] for tag in tags]  # W&B refuses longer ones


def coverage_key(target: float) -> str:
    """Return the key of the share that can be filed at a precision: test/coverage_at_95 of 0.95.

    Example:
        >>> coverage_key(0.95)
        'test/coverage_at_95'
    """
    return f"test/coverage_at_{f'{100 * target:g}'.replace('.', '_')}"  # a dot means a key within a key to W&B


def gold_values(
    metrics: Mapping[str, tuple[float, float, float]],
    numbers: Mapping[str, float | None],
    coverage: Mapping[str, float],
) -> dict[str, float]:
    """Return a report's values under their keys: (value, low, high) by metric, plain numbers, coverage by target."""
    values: dict[str, float] = {}
    for name, (value, low, high) in metrics.items():
        values |= {f"test/{name}": value, f"test/{name}/low": low, f"test/{name}/high": high}
    values |= {f"test/{name}": value for name, value in numbers.items() if value is not None}
    return values | {coverage_key(float(target)): share for target, share in coverage.items()}


def gate_key(line: str) -> str:
    """Return the key of a line of the gate: gate/worst_category of 'worst category'."""
    return "gate/" + re.sub(r"\W+", "_", line)


def as_markdown() -> str:
    """Return the table of keys as docs/wandb.md has it."""
    lines = ["| key | unit | | logged by | |", "| --- | --- | --- | --- | --- |"]
    for key in KEYS:
        jobs = "all" if key.jobs == _ALL else ", ".join(key.jobs)
        lines.append(f"| `{key.name}` | {key.unit} | {key.kind} | {jobs} | {key.meaning} |")
    return "\n".join(lines) + "\n"
