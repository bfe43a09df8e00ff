"""The gate: may a candidate become champion? Records, each with a threshold, what was measured and whether it holds.

Knows what two models said of the same gold set, and nothing of runs, tags or files. A model that fails one line is
held; the words of the failing lines are the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayon.calibration import expected_calibration_error
from rayon.config import Gate
from rayon.evaluation import category_f1, confusion, constant_predictor, macro_f1, paired_gain

PROMOTE, HOLD = "promote", "hold"


class Said(NamedTuple):
    """What a model said of N gold products: log-probabilities (N, C) as they are, and with photos or texts taken away
    (None where it then has nothing to look at). C may be one more than there are categories: the last column then
    stands for categories that exist no longer.
    """

    whole: NDArray[np.floating]
    without_photo: NDArray[np.floating] | None
    without_text: NDArray[np.floating] | None


class GateRecord(NamedTuple):
    """One line of the gate: what was asked for, what was measured, whether it holds, and that in words."""

    name: str
    threshold: float
    actual: float
    passed: bool
    sentence: str


class Verdict(NamedTuple):
    """'promote' or 'hold', the records behind it, and the reason in words."""

    verdict: str
    records: tuple[GateRecord, ...]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        return {**self._asdict(), "records": [record._asdict() for record in self.records]}


def judge(
    labels: NDArray[np.integer],
    categories: Sequence[str],
    candidate: Said,
    rival: Said | float,
    settings: Gate,
    reproduced: float,
    resamples: int = 1000,
) -> Verdict:
    """Judge a candidate on the gold set; the first model of a catalogue, without a champion, must beat the baseline.

    Args:
        labels: (N,) ints in [0, C).
        rival: what the champion said, or, where there is none, the macro-F1 of the tf-idf baseline.
        reproduced: the largest difference between the candidate's probabilities and those that its bundle gives in a
            fresh process.

    Example:
        >>> labels = np.arange(40) % 2
        >>> sure = np.log(np.where(labels[:, None] == [0, 1], 0.99, 0.01))
        >>> judge(labels, ["lamps", "robots"], Said(sure, None, None), 0.9, Gate(), reproduced=0.0).verdict
        'promote'
        >>> worse = np.log(np.where(labels[:, None] == [0, 0], 0.7, 0.3))
        >>> judge(labels, ["lamps", "robots"], Said(worse, None, None), 0.9, Gate(ece=0.5), reproduced=0.0).verdict
        'hold'
    """
    classes = len(categories)
    predicted = candidate.whole.argmax(axis=1)
    score = macro_f1(labels, predicted, classes)
    confidence = np.exp(candidate.whole.max(axis=1))
    error = expected_calibration_error(confidence, predicted == labels)
    constant = constant_predictor(labels, predicted)
    records = [
        _at_least("floor", settings.floor, score, "macro-F1"),
        _at_most("calibration", settings.ece, error, "calibration error (ECE)"),
        GateRecord(
            "not constant", 0.0, float(constant), not constant,
            "it hardly looks at the product: nearly always the same answer" if constant else "its answers differ",
        ),
        _at_most("reproduced", 1e-4, reproduced, "difference to its bundle in a fresh process"),
    ]  # fmt: skip
    if isinstance(rival, Said):
        records += _against(labels, categories, candidate, rival, settings, resamples)
    else:
        records.append(_at_least("beats tf-idf", rival, score, "macro-F1, against that of tf-idf,"))
    failed = [record.sentence for record in records if not record.passed]
    reason = "; ".join(failed) or "every line of the gate holds"
    return Verdict(HOLD if failed else PROMOTE, tuple(records), reason)


def _against(
    labels: NDArray[np.integer],
    categories: Sequence[str],
    candidate: Said,
    champion: Said,
    settings: Gate,
    resamples: int,
) -> list[GateRecord]:
    classes = len(categories)
    ours, theirs = candidate.whole.argmax(axis=1), champion.whole.argmax(axis=1)
    gain = paired_gain(labels, ours, theirs, classes, settings.confidence, resamples)
    interval = f"[{gain.low:+.4f}, {gain.high:+.4f}]"
    records = [
        GateRecord(
            "gain", settings.margin, gain.value, gain.value >= settings.margin,
            f"macro-F1 gains {gain.value:+.4f} over the champion, {settings.margin:+.4f} is asked for",
        ),
        GateRecord(
            "gain's interval", settings.lower_bound, gain.low, gain.low >= settings.lower_bound,
            f"the gain's {settings.confidence:.0%} interval {interval} reaches down to {gain.low:+.4f}, "
            f"{settings.lower_bound:+.4f} is the limit",
        ),
        _categories(labels, ours, theirs, categories, settings),
    ]  # fmt: skip
    for name, what in (("without_photo", "without photo"), ("without_text", "without text")):
        mine, other = getattr(candidate, name), getattr(champion, name)
        if other is None:
            continue
        before = macro_f1(labels, other.argmax(axis=1), classes)
        after = macro_f1(labels, mine.argmax(axis=1), classes) if mine is not None else 0.0
        sentence = f"macro-F1 {what} is {after:.3f}, the champion's {before:.3f}"
        records.append(_fall(what, settings.modality_fall, before - after, sentence))
    return records


def _categories(
    labels: NDArray[np.integer],
    ours: NDArray[np.integer],
    theirs: NDArray[np.integer],
    categories: Sequence[str],
    settings: Gate,
) -> GateRecord:
    classes = len(categories) + 1
    before, after = (category_f1(confusion(labels, each, classes))[:-1] for each in (theirs, ours))
    enough = np.bincount(labels, minlength=len(categories)) >= settings.category_products
    if not enough.any():
        few = f"no category has {settings.category_products} gold products"
        return GateRecord("worst category", settings.category_fall, 0.0, True, few)
    falls = np.where(enough, before - after, -np.inf)
    worst = int(falls.argmax())
    sentence = f"F1 of '{categories[worst]}' goes from {before[worst]:.3f} to {after[worst]:.3f}"
    return _fall("worst category", settings.category_fall, float(falls[worst]), sentence)


def _fall(name: str, threshold: float, actual: float, sentence: str) -> GateRecord:
    return GateRecord(name, threshold, actual, actual <= threshold, f"{sentence}; a fall of {threshold:g} is the limit")


def _at_least(name: str, threshold: float, actual: float, what: str) -> GateRecord:
    passed = actual >= threshold
    return GateRecord(name, threshold, actual, passed, f"{what} is {actual:.3f}, {threshold:.3f} is the least")


def _at_most(name: str, threshold: float, actual: float, what: str) -> GateRecord:
    return GateRecord(
        name, threshold, actual, actual <= threshold, f"{what} is {actual:.3g}, {threshold:g} is the most"
    )
