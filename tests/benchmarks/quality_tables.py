"""The tables of quality, from the measurements that are kept: a mean over splits each, and paired differences.

Knows the files of `results/quality/` alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results import save

Rows = Sequence[Mapping[str, Any]]
Found = dict[str, dict[int, dict[str, Any]]]

ORDER = ("tfidf", "photo features", "frozen features", "frozen average", "text", "photo", "feature fusion")
TUNED = "fusion, tuned on a GPU"
LAST = ("plain average", "fusion", TUNED)
PEERS = {
    "AutoGluon, tenfold": "tenfold",
    "AutoGluon, tenfold with encoding": "first",
    "AutoGluon, converged": "converged",
    "AutoGluon, converged on a GPU": "gpu",
}
"""What AutoGluon was limited by, and what `quality.py --peers` calls it: ten times our training's CPU seconds, those of
encoding not counted, or counted; nothing."""
TOLD = {
    "tfidf": "tf-idf + logistic regression",
    "photo features": "photo features + logistic regression",
    "frozen features": "text and photo features + logistic regression",
    "frozen average": "average of tf-idf and photo regressions",
    "text": "rayon, text",
    "photo": "rayon, photo",
    "feature fusion": "rayon, feature fusion",
    "plain average": "rayon, plain average of the branches",
    "fusion": "rayon, fusion",
    TUNED: "rayon, fusion, encoders tuned on a GPU",
}
COLUMNS = {
    "macro-F1": "macro_f1",
    "held out": "held_out",
    "weighted-F1": "weighted_f1",
    "accuracy": "accuracy",
    "ECE": "ece",
    "filed at 95%": "filed_95",
    "without photo": "without_photo",
    "without text": "without_text",
    "training CPU s": "train_cpu",
    "encoding CPU s": "encode_cpu",
    "rows a CPU s": "rows_per_cpu_second",
    "peak MB": "peak_mb",
    "model MB": "model_mb",
    "with encoders MB": "disk_mb",
    "GPU s": "train_wall",
}
NOTES = (
    "Each row is the mean over its own splits, as many as the second column says; gains are over the splits that both "
    "have, ± the standard error of the mean difference. 20% of the products, by title, are the gold set.",
    "Training CPU s: features found in the store (all threads and processes). Encoding CPU s: what the first training "
    "pays on top, once for all trainings of a catalogue (estimated from products encoded anew). AutoGluon tunes its "
    "encoders, and so has no such share.",
    "Rows a CPU s: predicting from text and JPEG, encoders included. Peak MB: the whole process, libraries included.",
    "AutoGluon, tenfold: limited to ten times the training CPU seconds of rayon's fusion, features found; with "
    "encoding: to ten times those of a first training. Its learning rate is planned for the epochs that fit. "
    "Converged: its own early stopping, or the epochs that the table says.",
    "On a GPU, its name is in the JSON: seconds of the clock, of a machine that trained several at a time, and quality "
    "alone. AutoGluon's batches hold 128 products then, in single precision. Ours tuned on a "
    "GPU: E5 and EfficientNet-Lite0 end to end with n-grams, weighed on the validation split, by settings that were "
    "written down before and not searched.",
    "Below an epoch AutoGluon has hardly learnt, some steps of a rate that is still rising: being ahead of it there "
    "says that such a budget does not suffice to tune encoders on a CPU, and nothing of how good it becomes. A limit "
    "that has no row was not measured.",
    "AutoGluon has the same text, photos, tokens and weights of multilingual-e5-small and EfficientNet-Lite0, tuned "
    "end to end with its own recipe; it lacks the second text encoder, n-grams and neighbours "
    "(tests/benchmarks/peer.py).",
)


def read_kept(folder: Path) -> dict[str, Found]:
    """Return what is kept, by catalogue, candidate and seed."""
    found: dict[str, Found] = defaultdict(lambda: defaultdict(dict))
    for file in sorted(folder.glob("*/*/*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        found[content["catalogue"]][content["candidate"]][content["seed"]] = content
    return found


def rows_of(found: Found) -> list[dict[str, Any]]:
    """Return a row a candidate: means over its splits, and what fusion gains over it."""
    rows = []
    for name in (*ORDER, *LAST, *PEERS):
        if not (splits := found.get(name)):
            continue
        row: dict[str, Any] = {"candidate": TOLD.get(name, name), "splits": len(splits)}
        for column, key in COLUMNS.items():
            values = [split[key] for split in splits.values() if split.get(key) is not None]
            row[column] = float(np.mean(values)) if values else None
        epochs = [split["epochs"] for split in splits.values() if "epochs" in split]
        row["epochs"] = float(np.mean(epochs)) if epochs else None
        row["fusion gains"] = gain(found, name)
        rows.append(row)
    return rows


def gain(found: Found, name: str) -> str:
    """Return fusion's gain in macro-F1 over a candidate on the splits of both, in words."""
    ours, theirs = found.get("fusion", {}), found[name]
    both = sorted(set(ours) & set(theirs))
    if name == "fusion" or not both:
        return ""
    gains = np.array([ours[seed]["macro_f1"] - theirs[seed]["macro_f1"] for seed in both])
    error = f" ± {gains.std(ddof=1) / np.sqrt(len(both)):.3f}" if len(both) > 1 else ""
    return f"{gains.mean():+.3f}{error} ({len(both)})"


def claims(found: Found, catalogue: str) -> list[dict[str, Any]]:
    """Return what should hold against each peer and baseline, on the splits of both, and whether it does."""
    rows = []
    ours = found.get("fusion", {})
    for name in (*ORDER[:4], *PEERS):
        both = sorted(set(ours) & set(found.get(name, {})))
        if not both:
            continue
        theirs = found[name]

        def mean(key: str, whose: Mapping[int, Any], seeds: Sequence[int] = both) -> float | None:
            values = [whose[seed].get(key) for seed in seeds]
            return None if None in values else float(np.mean(values))

        def loss(key: str, whose: Mapping[int, Any]) -> float | None:
            left, whole = mean(key, whose), mean("macro_f1", whose)
            return None if left is None or whole is None else whole - left

        looks_at_both = None not in (mean("without_photo", theirs), mean("without_text", theirs))
        row: dict[str, Any] = {"catalogue": catalogue, "against": TOLD.get(name, name), "splits": len(both)}
        row["macro-F1 ahead"] = _held(mean("macro_f1", ours), mean("macro_f1", theirs))
        row["ECE lower"] = _held(mean("ece", theirs), mean("ece", ours))
        for lost in ("without photo", "without text"):
            key = lost.replace(" ", "_")
            row[f"loses less {lost}"] = _held(loss(key, theirs), loss(key, ours)) if looks_at_both else ""
        spent, own, encoding = mean("train_cpu", theirs), mean("train_cpu", ours), mean("encode_cpu", ours)
        assert own is not None and encoding is not None
        row["their training / ours"] = None if spent is None else spent / own
        row["... / ours with encoding"] = None if spent is None else spent / (own + encoding)
        rows.append(row)
    return rows


def _held(better: float | None, worse: float | None) -> str:
    if better is None or worse is None:
        return ""
    return f"{'yes' if better > worse else 'NO'} ({better - worse:+.3f})"


def write_tables(folder: Path) -> None:
    """Write `quality.json` and `quality.md` from what is kept."""
    found = read_kept(folder)
    tables: dict[str, Any] = {f"{name}, by candidate": rows_of(found[name]) for name in sorted(found)}
    tables["What should hold, rayon's fusion against each"] = [
        row for n in sorted(found) for row in claims(found[n], n)
    ]
    every = [split for candidates in found.values() for splits in candidates.values() for split in splits.values()]
    if not every:
        print("nothing was measured yet, so there is no table")
        return
    dates = sorted(split["date"] for split in every)
    commits = ", ".join(sorted({split["commit"] for split in every}))
    measured = f"Measured from {dates[0]} to {dates[-1]}, at the commits {commits} ('+': with changes)."
    names = {name for candidates in found.values() for name in candidates}
    peers = [flag for name, flag in PEERS.items() if name in names]
    command = " ".join(
        ["python tests/benchmarks/quality.py", *(["--peers", *peers] * bool(peers)), *(["--tuned"] * (TUNED in names))]
    )
    title = "Quality, beside scikit-learn and AutoGluon"
    save("quality", title, tables, (*NOTES, measured), command=command)
