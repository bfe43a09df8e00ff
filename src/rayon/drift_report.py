"""The HTML report of a window: column by column, then and now, for who wants to look closer.

The only module that knows Evidently. The report illustrates and decides nothing: verdicts come from `rayon.drift`,
whose false alarms are known. It is made of a bounded sample, and where it cannot be made a page says why.
"""

from __future__ import annotations

import html
import os
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

# read when Evidently is imported: no word of a catalogue leaves the machine
os.environ["DO_NOT_TRACK"] = "1"

NUMBERS = (
    "confidence",
    "entropy",
    "unknown_words",
    "words",
    "text_novelty",
    "photo_novelty",
    "brightness",
    "sharpness",
)
GROUPS = ("category", "decision", "language")


class DriftReport(NamedTuple):
    """An HTML page, and why it is not the report that was asked for, '' where it is."""

    page: str
    problem: str


def make_report(reference: pd.DataFrame, current: pd.DataFrame, rows: int, megabytes: float, title: str) -> DriftReport:
    """Return the report on two frames of scored products, at most `rows` of each and at most `megabytes` large."""
    if not rows:
        return _instead("no report was asked for (report_rows is 0)")
    try:
        page = _page(_drawn(reference, rows), _drawn(current, rows), title)
    except Exception as error:
        # Evidently raises whatever it meets in degenerate columns, and no verdict depends on it.
        return _instead(f"the report could not be made: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    size = len(page.encode()) / 1e6
    if size > megabytes:
        return _instead(f"the report has {size:.1f} MB, more than the {megabytes:g} that are kept: lower report_rows")
    return DriftReport(page, "")


def _page(reference: pd.DataFrame, current: pd.DataFrame, title: str) -> str:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [name for name in NUMBERS if _usable(reference, current, name)]
    groups = [name for name in GROUPS if reference[name].notna().any() and current[name].notna().any()]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=groups)
    frames = [
        pd.concat([frame[numbers].astype(np.float64), frame[groups].fillna("").astype(str)], axis=1)
        for frame in (reference, current)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # its own chi-square takes the reference as exact and alarms on four of ten undrifted windows
        report = Report([DataDriftPreset(num_method="ks", cat_method="jensenshannon")])
        then, now = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
        page: str = report.run(now, then, name=title).get_html_str(as_iframe=False)
    return page


def _usable(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> bool:
    return all(frame[name].notna().sum() > 1 for frame in (reference, current))


def _drawn(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    drawn = frame if len(frame) <= rows else frame.sample(rows, random_state=0)
    return drawn.reset_index(drop=True)


def _instead(problem: str) -> DriftReport:
    return DriftReport(f"<!DOCTYPE html><title>no report</title><p>{html.escape(problem)}</p>", problem)
