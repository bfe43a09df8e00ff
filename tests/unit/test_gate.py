"""The gate: what it holds and why, on arrays whose answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import f1_score

from rayon.config import Gate
from rayon.evaluation import confusion, macro_f1, paired_gain
from rayon.gate import HOLD, PROMOTE, Said, judge
from rayon.rescoring import _translated

CATEGORIES = ("a", "b", "c", "d")
LABELS = np.arange(800) % 4


def log_probabilities(right: float, seed: int = 0, columns: int = 4, certainty: float | None = None) -> np.ndarray:
    """Predictions that are right for that share of LABELS, honest about it unless `certainty` is given."""
    rng = np.random.default_rng(seed)
    answers = np.where(rng.random(len(LABELS)) < right, LABELS, (LABELS + 1 + rng.integers(0, 3, len(LABELS))) % 4)
    sure = right if certainty is None else certainty
    table = np.full((len(LABELS), columns), (1 - sure) / (columns - 1))
    table[np.arange(len(LABELS)), answers] = sure
    return np.log(table)


def said(right: float, seed: int = 0, photo: float = 0.7, text: float = 0.6, **more) -> Said:
    return Said(
        log_probabilities(right, seed, **more), log_probabilities(photo, seed + 1), log_probabilities(text, seed + 2)
    )


def verdict(candidate: Said, champion: Said | None = None, baseline: float = 0.5, reproduced: float = 0.0, **changes):
    settings = dataclasses.replace(Gate(), **changes)
    yardstick = macro_f1(LABELS, log_probabilities(baseline, 9).argmax(axis=1), 4)
    return judge(LABELS, CATEGORIES, candidate, yardstick if champion is None else champion, settings, reproduced)


def failing(judged) -> list[str]:
    return [record.name for record in judged.records if not record.passed]


def test_the_first_model_only_has_to_beat_the_baseline():
    assert verdict(said(0.8)).verdict == PROMOTE
    held = verdict(said(0.8), baseline=0.9)
    assert (held.verdict, failing(held)) == (HOLD, ["beats tf-idf"])
    assert "against that of tf-idf" in held.reason


def test_a_better_model_is_promoted_and_a_worse_one_held_with_the_reason():
    assert verdict(said(0.9, 3), said(0.8)).verdict == PROMOTE
    held = verdict(said(0.6, 3), said(0.8))
    assert held.verdict == HOLD and {"gain", "gain's interval"} <= set(failing(held))
    assert "over the champion" in held.reason


def test_the_same_model_is_no_gain():
    held = verdict(said(0.8), said(0.8))
    assert failing(held) == ["gain"]
    assert verdict(said(0.8), said(0.8), margin=0.0).verdict == PROMOTE


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"floor": 0.95}, "floor"),
        ({"ece": 0.001}, "calibration"),
        ({"lower_bound": 0.2}, "gain's interval"),
        ({"margin": 0.5}, "gain"),
    ],
)
def test_each_threshold_holds_on_its_own(changes, line):
    assert failing(verdict(said(0.9, 3), said(0.8), **changes)) == [line]


def test_a_bundle_that_says_something_else_elsewhere_is_held():
    assert failing(verdict(said(0.9), reproduced=0.01)) == ["reproduced"]
    assert failing(verdict(said(0.9), reproduced=float("inf"))) == ["reproduced"]


def test_a_constant_predictor_is_held_however_sure_it_is():
    constant = np.log(np.full((800, 4), 0.1 / 3))
    constant[:, 2] = np.log(0.9)
    assert "not constant" in failing(verdict(Said(constant, None, None)))


def test_a_category_that_falls_is_named():
    champion = said(0.9)
    table = log_probabilities(0.97, 5)
    lost = LABELS == 2
    table[lost] = np.log([0.01, 0.01, 0.01, 0.97])
    held = verdict(
        Said(table, champion.without_photo, champion.without_text), champion, margin=-1, lower_bound=-1, ece=1
    )
    assert failing(held) == ["worst category"] and "F1 of 'c' goes from" in held.reason
    few = verdict(
        Said(table, champion.without_photo, champion.without_text),
        champion, margin=-1, lower_bound=-1, ece=1, category_products=1000,
    )  # fmt: skip
    assert few.verdict == PROMOTE


def test_a_model_may_not_lean_on_one_modality():
    champion = said(0.8, photo=0.75)
    assert failing(verdict(said(0.95, 3, photo=0.5), champion)) == ["without photo"]
    blind = said(0.95, 3, photo=0.8)._replace(without_text=None)
    assert failing(verdict(blind, champion)) == ["without text"]
    assert verdict(said(0.95, 3, photo=0.8), champion._replace(without_text=None)).verdict == PROMOTE


def test_a_champions_categories_that_are_gone_are_wrong_answers():
    champion = log_probabilities(0.9, columns=5)
    champion[LABELS == 1] = np.log([0.01, 0.01, 0.01, 0.01, 0.96])
    judged = verdict(said(0.9, 3), Said(champion, None, None))
    assert judged.verdict == PROMOTE
    assert macro_f1(LABELS, champion.argmax(axis=1), 4) < 0.75


def test_a_candidates_categories_that_are_gone_are_wrong_answers():
    table = log_probabilities(0.9, 3, columns=5)
    gone = np.arange(800) % 40 == 3  # twenty products of the last category
    table[gone] = np.log([0.01, 0.01, 0.01, 0.01, 0.96])
    candidate = Said(_translated(table, ("a", "b", "c", "d", "last year's"), CATEGORIES), None, None)
    macro = f1_score(LABELS, table.argmax(axis=1), labels=range(4), average="macro")
    for rival in (None, Said(log_probabilities(0.7), None, None)):
        judged = verdict(candidate, rival)
        floor = next(record for record in judged.records if record.name == "floor")
        assert floor.actual == pytest.approx(macro) and judged.verdict == PROMOTE
    assert failing(verdict(candidate, candidate)) == ["gain"]


def test_the_paired_gain_is_the_difference_and_its_interval_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 1500)
    theirs = np.where(rng.random(1500) < 0.7, labels, rng.integers(0, 5, 1500))
    ours = np.where(rng.random(1500) < 0.1, labels, theirs)
    gain = paired_gain(labels, ours, theirs, 5)
    assert gain.value == pytest.approx(macro_f1(labels, ours, 5) - macro_f1(labels, theirs, 5))
    assert gain.low < gain.value < gain.high
    shuffled = rng.permutation(1500)
    unpaired = paired_gain(labels, ours, np.where(theirs[shuffled] == labels[shuffled], labels, (labels + 1) % 5), 5)
    assert gain.high - gain.low < unpaired.high - unpaired.low
    wide = paired_gain(labels, ours, theirs, 5, confidence=0.99)
    assert wide.low < gain.low and wide.high > gain.high


def test_the_bootstrap_agrees_with_drawing_products():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 200)
    ours, theirs = (np.where(rng.random(200) < share, labels, rng.integers(0, 3, 200)) for share in (0.8, 0.6))
    draws = []
    for _ in range(2000):
        rows = rng.integers(0, 200, 200)
        draws.append(macro_f1(labels[rows], ours[rows], 3) - macro_f1(labels[rows], theirs[rows], 3))
    low, high = np.percentile(draws, [2.5, 97.5])
    gain = paired_gain(labels, ours, theirs, 3, resamples=2000)
    assert (gain.low, gain.high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))
    assert confusion(labels, ours, 3).sum() == 200


def test_a_verdict_is_plain_data():
    plain = verdict(said(0.8)).as_dict()
    assert plain["verdict"] == PROMOTE and all(set(record) >= {"name", "passed"} for record in plain["records"])
