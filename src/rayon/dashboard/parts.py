"""The chapters of the dashboard: what is shown of which jobs. Knows keys and kinds of panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rayon.dashboard.panels import MANY, bars, chart, differences, lines, over_time, pattern, scatter, table
from rayon.tracking.keys import CHAMPION, TIME, coverage_key
from rayon.tracking.run import CONFUSION_CHART, CONFUSION_COLUMNS, LINES_CHART, LINES_COLUMNS


class Part(NamedTuple):
    """A chapter of the dashboard: its title, what it is about, the jobs whose runs it shows, and its panels.

    `panels` makes new ones at each call: a panel has one place. `columns` are those of its table of runs.
    """

    title: str
    words: str
    jobs: tuple[str, ...]
    panels: Callable[[], list[Any]]
    columns: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def parts(target: float, windows: int = MANY) -> tuple[Part, ...]:
    """Return the chapters, in order.

    Args:
        target: the precision that decides.
        windows: of how many runs of MonitorFlow the curves are drawn. The newest has all points, but it is the first
            one only where the runs beside it are of MonitorFlow as well.
    """
    filed = coverage_key(target)
    return (
        Part(
            "Trainings",
            "The candidates of each training, epoch by epoch, and how good they turned out on the gold set.",
            ("train",),
            lambda: [
                lines("Loss on held-out products (nats)", "val_nll"),
                lines("Macro-F1 on held-out products", "val_macro_f1"),
                lines("Loss on products that are learnt from (nats)", "train_loss"),
                bars("Macro-F1 on the gold set", "test/macro_f1"),
                scatter("Calibration error over macro-F1", "test/macro_f1", "test/ece"),
                differences(),
            ],
            ("config:candidate.value", "config:dataset.value", "summary:test/macro_f1", "summary:test/ece"),
        ),
        Part(
            "Gold set",
            "The selected candidate of each training on products that no training sees, with 95% intervals. What is "
            "left without photo, and without text, tells how much each counts.",
            ("evaluate",),
            lambda: [
                *(
                    bars(f"{title}, 95% interval", f"test/{name}/low", f"test/{name}", f"test/{name}/high")
                    for name, title in (
                        ("macro_f1", "Macro-F1"),
                        ("weighted_f1", "Weighted-F1"),
                        ("accuracy", "Accuracy"),
                    )
                ),
                bars(f"Filed without a human at {target:.0%} precision", filed),
                bars("Macro-F1 without photo, without text", "test/without_photo", "test/without_text"),
                bars("Macro-F1 gained over tf-idf", "test/over_tfidf"),
                table("gold"),
            ],
            ("config:candidate.value", "config:dataset.value", "summary:test/macro_f1", f"summary:{filed}"),
        ),
        Part(
            "Reliability",
            "How often the model is right by how sure it is: on the ideal line it is as often right as it says.",
            ("evaluate",),
            lambda: [
                chart("reliability", LINES_CHART, LINES_COLUMNS, title="Reliability", xname="confidence"),
                bars("Expected calibration error", "test/ece"),
                bars("Negative log-likelihood (nats)", "test/nll"),
            ],
        ),
        Part(
            "Confusion",
            "True by predicted category, on the gold set.",
            ("evaluate",),
            lambda: [chart("confusion", CONFUSION_CHART, CONFUSION_COLUMNS, wide=True, title="Confusion")],
        ),
        Part(
            "Wrong products",
            "The surest wrong answers on the gold set, with their photos; then labels of the whole catalogue that "
            "models which never saw them find hard to believe.",
            ("evaluate",),
            lambda: [table("mistakes"), table("suspects")],
        ),
        Part(
            "Monitoring",
            "What is predicted in production beside what the model saw in training, window by window. Drift is shown "
            "over its limit: from 1 on it counts.",
            ("monitor",),
            lambda: [
                lines("Verdict: 0 ok, 1 watch, 2 retrain", "monitor/verdict", x=TIME, runs=windows),
                pattern("Drift over its limit", r"^monitor/drift/", TIME, windows),
                pattern(
                    "Accuracy and macro-F1, estimated and measured", r"^monitor/(estimated|measured)_", TIME, windows
                ),
                lines("Products a window", "monitor/rows", x=TIME, runs=windows),
            ],
            ("summary:monitor/said", "config:model.value", "summary:monitor/rows"),
        ),
        Part(
            "Champions",
            "Who was made champion when, by whom and why; the newest run's table has all of it.",
            ("gate", "promote", "rollback"),
            lambda: [
                table("champions"),
                over_time("Macro-F1 of each new champion on the gold set of its day", "champion/macro_f1"),
            ],
            tuple(
                f"summary:champion/{name}" for name in ("number", "kind", "to", "before", "who", "reason", "verdict")
            ),
            (CHAMPION,),
        ),
        Part(
            "Gate",
            "What was measured of each candidate before it was promoted or held.",
            ("gate",),
            lambda: [
                over_time("Macro-F1 at the gate", "gate/floor"),
                over_time("Calibration error at the gate", "gate/calibration"),
                over_time("Promoted: 1, held: 0", "gate/promoted"),
            ],
            ("summary:gate/verdict", "summary:gate/promoted", "summary:gate/floor"),
        ),
        Part(
            "Production",
            "What was scored: how much of it could be filed without a human.",
            ("score",),
            lambda: [
                over_time("Share filed without a human", "score/accepted_share"),
                over_time("Mean confidence", "score/mean_confidence"),
                over_time("Products scored", "score/products"),
                over_time("Rows rejected", "score/rejected"),
                over_time("Share without photo", "score/without_photo_share"),
            ],
            ("config:model.value", "summary:score/products", "summary:score/accepted_share"),
        ),
        Part(
            "Data",
            "Dataset versions: what was read, kept and refused.",
            ("preprocess",),
            lambda: [
                bars("Rows and products", "dataset/read", "dataset/kept", "dataset/new", "dataset/rejected"),
                bars("Photos refused, products without photo", "dataset/photos_refused", "dataset/without_photo"),
                over_time("Categories", "dataset/categories"),
                over_time("Products labelled by people", "dataset/feedback"),
            ],
            ("config:dataset.value", "summary:dataset/kept", "summary:dataset/categories"),
        ),
        Part(
            "Feedback",
            "What people said of predictions, what of it was believed, and whether a retraining was asked for.",
            ("feedback",),
            lambda: [
                bars("Pieces of feedback", "feedback/read", "feedback/accepted", "feedback/corrections"),
                over_time("Waiting for an admin", "feedback/waiting"),
                over_time("People who said something", "feedback/people"),
                over_time("Retraining asked for", "feedback/retraining"),
            ],
            ("summary:feedback/read", "summary:feedback/waiting", "summary:feedback/retraining"),
        ),
    )
