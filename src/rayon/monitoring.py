"""The verdict on a window of production: ok, watch or retrain, from records that say what was asked and what was found.

Knows opened windows, tests and limits; it starts nothing, and it knows neither flows nor where products come from. That
there is nothing to look at, or too little, is a verdict and no mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from rayon.columns import Columns
from rayon.drift import Difference, holm
from rayon.evaluation import Interval, macro_f1
from rayon.feed import Counted, look_at_feed
from rayon.measures import Compared, compare, limit_of, mix_psi
from rayon.monitoring_config import Limit, Monitoring, Settling
from rayon.performance import Estimated, Measured, corrected, estimate, measure
from rayon.tally import DECISIONS, Tally, counts_of
from rayon.window import Window

OK, WATCH, RETRAIN = "ok", "watch", "retrain"
NO_DATA, TOO_FEW = "no data", "too few rows"

Severity = Literal["ok", "watch", "retrain", "strong"]
_ORDER = ("ok", "watch", "retrain", "strong")


class Record(NamedTuple):
    """One line of the verdict: what was measured, its limits, the effect that was found, its p-value corrected for the
    number of tests (None where it was not tested), how grave that is, and all of it in words.
    """

    name: str
    threshold: float
    actual: float
    p: float | None
    severity: Severity
    sentence: str


class Judgement(NamedTuple):
    """A window judged.

    `alone` is the verdict that the window would get without those before it; `reasons` are the sentences of the records
    that are not ok, gravest first. `measured` and `estimated` map accuracy and macro_f1 to value and 95% interval, None
    where there were no labels, or no products. `facts` holds counts: rows, sample (how many of them were opened),
    labels, repeated, repeated_content, psi, estimation_error.
    """

    verdict: str
    alone: str
    reasons: tuple[str, ...]
    records: tuple[Record, ...]
    measured: dict[str, Interval] | None
    estimated: dict[str, Interval] | None
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the judgement as plain data."""
        return {
            **self._asdict(),
            "reasons": list(self.reasons),
            "records": [record._asdict() for record in self.records],
            "measured": _plain(self.measured),
            "estimated": _plain(self.estimated),
        }


def judge(
    reference: Window,
    current: Window,
    categories: Sequence[str],
    settings: Monitoring,
    past: Sequence[str] = (),
    seed: int = 0,
    columns: Columns | None = None,
) -> Judgement:
    """Compare a window with the reference and say what follows.

    A difference counts where it is both unlikely to be chance (p-values corrected by Holm's method over all tests, so
    that `alpha` is the chance of any false alarm in the window) and large enough to matter (`settings.limits`). Where
    labels of people show that accuracy holds all the same, a difference asks for a look at most.

    Args:
        past: what earlier windows asked for alone, newest first: `retrain` waits until windows agree.
        columns: how the columns of what was scored differ from training's.
    """
    reference, current = (window._replace(whole=window.counted()) for window in (reference, current))
    then, now = reference.counted(), current.counted()
    rows = now.rows
    facts: dict[str, Any] = {"rows": rows, "sample": len(current.frame), "reference_rows": then.rows, "labels": 0}
    if rows == 0:
        return Judgement(NO_DATA, NO_DATA, ("there are no predictions in this window",), (), None, None, facts)
    before, estimated = _estimates(reference, current, categories)
    if rows < settings.minimum_rows or then.rows < settings.minimum_rows:
        sentence = f"{rows:,} products, {then.rows:,} in the reference: {settings.minimum_rows:,} are needed"
        return Judgement(TOO_FEW, TOO_FEW, (sentence,), (), None, _intervals(estimated), facts)
    feed = look_at_feed(reference, current, columns)
    looked_at = settings.view_rows, settings.permutations, seed, settings.labels
    compared = compare(reference, current, categories, *looked_at) + feed.compared
    measured, labelled = _measured(reference, now, categories, settings.labels)
    if measured is not None:
        compared.append(_fall(reference, measured))
    adjusted = holm([each.difference.p for each in compared])
    records = [
        _record(each, float(p), limit_of(each.name, settings.limits), settings.alpha)
        for each, p in zip(compared, adjusted, strict=True)
    ]
    if estimated is not None and before is not None:
        records.append(_advice(before, estimated, settings.limits.estimated_macro_f1))
    records += [_counted(each, getattr(settings.limits, each.name)) for each in feed.counted]
    if measured is not None and _holds(reference, measured, settings.limits.accuracy):
        records = [_calmed(record, measured.labels) for record in records]
    records.sort(key=_gravity)
    facts |= {
        "labels": labelled,
        "repeated": now.repeated_ids(),
        "repeated_content": feed.repeated,
        "psi": mix_psi(then, now, categories, settings.psi_rows),
        "estimation_error": estimated.accuracy.value - measured.accuracy.value if measured and estimated else None,
    }
    worst = records[0].severity if records else "ok"
    alone = RETRAIN if worst in ("retrain", "strong") else worst
    verdict = settle(alone, worst == "strong", past, settings.settling)
    reasons = [record.sentence for record in records if record.severity != "ok"]
    if verdict != alone:
        reasons.insert(0, _why_other(verdict, settings.settling))
    return Judgement(
        verdict, alone, tuple(reasons), tuple(records), _intervals(measured), _intervals(estimated), facts
    )  # fmt: skip


_OF_LABELS = ("accuracy", "new_categories")
_OF_THE_FEED = ("columns", "most_repeated", "repeated_content")


def _holds(reference: Window, measured: Measured, limit: Limit) -> bool:
    """Say whether labels show that accuracy has not fallen by as much as retraining is for."""
    return limit.retrain is not None and _accuracy_before(reference) - measured.accuracy.low < limit.retrain


def _calmed(record: Record, labels: int) -> Record:
    """Products may differ and still be judged as well as before: then retraining would mend nothing."""
    if record.name in _OF_LABELS or record.severity not in ("retrain", "strong"):
        return record
    words = f"{record.sentence}; yet accuracy holds, by {labels:,} labels of people"
    return record._replace(severity="watch", sentence=words)


def settle(alone: str, strong: bool, past: Sequence[str], settling: Settling) -> str:
    """Return the verdict of a window, given what it says alone and what earlier ones said alone, newest first.

    `retrain` needs `alarms` windows of the last `windows`, or one that is beyond doubt; it stays as long as they are
    among the last ones. So one odd window neither starts nor ends it.

    Example:
        >>> settle("retrain", False, ["ok", "ok"], Settling(windows=3, alarms=2))
        'watch'
        >>> settle("retrain", False, ["ok", "retrain"], Settling(windows=3, alarms=2))
        'retrain'
    """
    alarms = [alone, *past][: settling.windows].count(RETRAIN)
    if strong or alarms >= settling.alarms:
        return RETRAIN
    return WATCH if alone == RETRAIN else alone


def _why_other(verdict: str, settling: Settling) -> str:
    if verdict == RETRAIN:
        return f"at least {settling.alarms} of the last {settling.windows} windows asked for retraining"
    return (
        f"this window alone would ask for retraining; {settling.alarms} of the last {settling.windows} have to, so "
        "that one odd window starts nothing"
    )


def _record(compared: Compared, p: float, limit: Limit, alpha: float) -> Record:
    effect = compared.difference.effect
    severity: Severity = "ok"
    if p < alpha:
        for step, least in (("watch", limit.watch), ("retrain", limit.retrain), ("strong", limit.strong)):
            if least is not None and effect >= least:
                severity = step  # type: ignore[assignment]
    return Record(compared.name, limit.watch, effect, p, severity, compared.sentence)


def _gravity(record: Record) -> tuple[int, int, float]:
    """Order records: the gravest first, of those what the feed does, since the rest may come of it."""
    of_the_feed = _OF_THE_FEED.index(record.name) if record.name in _OF_THE_FEED else len(_OF_THE_FEED)
    return -_ORDER.index(record.severity), of_the_feed, record.p if record.p is not None else 1.0


def _counted(counted: Counted, limit: Limit) -> Record:
    """What is counted asks for a look at most: it is the feed's fault, and retraining mends no feed."""
    severity: Severity = "watch" if counted.actual >= limit.watch else "ok"
    return Record(counted.name, limit.watch, counted.actual, None, severity, counted.sentence)


def _estimates(
    reference: Window, current: Window, categories: Sequence[str]
) -> tuple[Estimated | None, Estimated | None]:
    """Return what the confidences say of reference and window, corrected by how wrong they are on the reference."""
    names = pd.Index(list(categories), dtype="str")
    labels = names.get_indexer(pd.Index(reference.frame["given_category"]))
    labelled = reference.take(np.flatnonzero(labels >= 0))
    found = [
        estimate(window.top_labels, window.top_probabilities, len(names)) for window in (reference, labelled, current)
    ]
    before, told, now = found
    if before is None or told is None or now is None:
        return before, now
    truth, predicted = labels[labels >= 0], labelled.top_labels[:, 0]
    real = float((truth == predicted).mean()), macro_f1(truth, predicted, len(names))
    return corrected(before, told, *real), corrected(now, told, *real)


def _advice(before: Estimated, now: Estimated, limit: Limit) -> Record:
    """What the confidences say of macro-F1: at most worth a look, since they stay high under drift."""
    fall = before.macro_f1.value - now.macro_f1.value
    apart = now.macro_f1.high < before.macro_f1.low
    sentence = (
        f"macro-F1 is estimated at {now.macro_f1.value:.2f} from the confidences, {before.macro_f1.value:.2f} in "
        "training"
    )
    severity: Severity = "watch" if apart and fall >= limit.watch else "ok"
    return Record("estimated_macro_f1", limit.watch, fall, None, severity, sentence)


def _measured(
    reference: Window, current: Tally, categories: Sequence[str], minimum: int
) -> tuple[Measured | None, int]:
    told = current.labelled(pd.Index(list(categories), dtype="str"))
    known = reference.frame[reference.frame["given_category"] != ""]
    if not len(told) or known.empty:
        return None, len(told)
    predicted, labels, strata = told.T
    right = int((known["category"] == known["given_category"]).sum())
    measured = measure(
        predicted,
        np.where(labels >= 0, labels, len(categories)),
        strata,
        counts_of(current.decisions, DECISIONS),
        len(categories),
        (right, len(known)),
        minimum,
    )
    return measured, len(told)


def _accuracy_before(reference: Window) -> float:
    known = reference.frame[reference.frame["given_category"] != ""]
    return float((known["category"] == known["given_category"]).mean())


def _fall(reference: Window, measured: Measured) -> Compared:
    known = reference.frame[reference.frame["given_category"] != ""]
    before = _accuracy_before(reference)
    now = measured.accuracy
    sentence = (
        f"accuracy is {now.value:.0%} [{now.low:.0%}, {now.high:.0%}] by {measured.labels:,} labels of people, "
        f"{before:.0%} in training"
    )
    return Compared(
        "accuracy", Difference(measured.worse, max(before - now.value, 0.0), len(known), measured.labels), sentence
    )


def _intervals(found: Measured | Estimated | None) -> dict[str, Interval] | None:
    return None if found is None else {"accuracy": found.accuracy, "macro_f1": found.macro_f1}


def _plain(found: dict[str, Interval] | None) -> dict[str, dict[str, float]] | None:
    return None if found is None else {name: interval._asdict() for name, interval in found.items()}
