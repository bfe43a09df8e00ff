"""Fusion: never worse than its best branch, deaf to noise, blind to what is not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from rayon.calibration import Tempering, expected_calibration_error, log_softmax, negative_log_likelihood
from rayon.models.fusion import PRESENCES, Pool, cross_fuse, fit_pool, fuse, presence, temper_pool

RIDGE = 1e-3
"""The most, in nats, that pulling towards equal weights may cost."""


def problem(seed: int, strengths: dict[str, float], rows: int = 400, classes: int = 4):
    """Labels and branches' logits; a branch of strength 0 knows nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    logits = {
        name: rng.normal(scale=1.5, size=(rows, classes)) + strength * np.eye(classes)[labels]
        for name, strength in strengths.items()
    }
    return labels, logits


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The one temperature under which the labels are likeliest."""
    cost = lambda log_t: negative_log_likelihood(logits / np.exp(log_t), labels)  # noqa: E731
    return float(np.exp(minimize_scalar(cost, bounds=(-3.0, 3.0), method="bounded").x))


def there(rows: int) -> np.ndarray:
    return np.ones(rows, dtype=bool)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(
        st.tuples(st.sampled_from(["text", "image"]), st.floats(-1.0, 4.0), st.floats(0.1, 8.0)), min_size=1, max_size=4
    ),
    st.integers(5, 400),
)
def test_the_whole_is_no_worse_than_its_best_branch(seed, branches, rows):
    modalities = {f"b{i}": kind for i, (kind, _, _) in enumerate(branches)}
    labels, logits = problem(seed, {f"b{i}": strength for i, (_, strength, _) in enumerate(branches)}, rows)
    logits = {f"b{i}": logits[f"b{i}"] * scale for i, (_, _, scale) in enumerate(branches)}
    pool = fit_pool(modalities, logits, labels, there(rows), there(rows))
    for state, has_text, has_image in (("both", 1, 1), ("text", 1, 0), ("image", 0, 1)):
        seeing = [name for name, kind in modalities.items() if state in ("both", kind)]
        if seeing:
            fused, _ = fuse(pool, logits, there(rows) * bool(has_text), there(rows) * bool(has_image))
            best = min(negative_log_likelihood(logits[name], labels) for name in seeing)
            assert negative_log_likelihood(fused, labels) <= best + RIDGE


def test_the_whole_is_better_than_its_best_branch_where_branches_know_different_things():
    labels, logits = problem(0, {"a": 2.0, "b": 2.0}, 2000)
    fused, _ = fuse(
        fit_pool({"a": "text", "b": "image"}, logits, labels, there(2000), there(2000)),
        logits,
        there(2000),
        there(2000),
    )
    alone = max((logits[name].argmax(axis=1) == labels).mean() for name in "ab")
    assert (fused.argmax(axis=1) == labels).mean() > alone + 0.05


def test_a_branch_that_knows_nothing_hardly_weighs():
    labels, logits = problem(1, {"good": 3.0, "noise": 0.0}, 3000)
    pool = fit_pool({"good": "text", "noise": "image"}, logits, labels, there(3000), there(3000))
    good, noise = pool.weights["both"]
    assert noise < 0.05 < 0.5 < good


def test_a_branch_that_is_always_wrong_weighs_nothing():
    labels, logits = problem(2, {"good": 3.0, "liar": -3.0}, 800)
    pool = fit_pool({"good": "text", "liar": "text"}, logits, labels, there(800), there(800))
    assert pool.weights["both"][1] == 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60))
def test_no_weight_is_negative_and_none_goes_to_what_cannot_see(seed, rows):
    labels, logits = problem(seed, {"t": 1.0, "i": -1.0, "j": 2.0}, rows)
    rng = np.random.default_rng(seed)
    has_text = rng.random(rows) < 0.5
    pool = fit_pool(
        {"t": "text", "i": "image", "j": "both"}, logits, labels, has_text, ~has_text | (rng.random(rows) < 0.3)
    )
    assert set(pool.weights) == set(pool.bias) == set(PRESENCES)
    assert min(weight for weights in pool.weights.values() for weight in weights) >= 0.0
    assert pool.weights["text"][1] == 0.0 and pool.weights["image"][0] == 0.0
    assert all(np.isfinite(values).all() for values in (*pool.weights.values(), *pool.bias.values()))


def test_one_branch_is_calibrated_by_its_temperature():
    rng = np.random.default_rng(3)
    honest = rng.normal(scale=2.0, size=(6000, 4))
    labels = (np.exp(log_softmax(honest)).cumsum(axis=1) > rng.random((6000, 1))).argmax(axis=1)
    logits = {"a": honest * 3.0}
    pool = fit_pool({"a": "text"}, logits, labels, there(6000), there(6000))
    assert pool.weights["text"][0] == pytest.approx(1 / temperature(logits["a"], labels), rel=0.02)
    assert np.abs(pool.bias["text"]).max() < 0.1


def test_frequencies_that_a_balanced_loss_took_away_come_back():
    rng = np.random.default_rng(4)
    shares = np.array([0.7, 0.2, 0.1])
    labels = rng.choice(3, 5000, p=shares)
    balanced = rng.normal(size=(5000, 3)) + 1.5 * np.eye(3)[labels]
    pool = fit_pool({"a": "text"}, {"a": balanced}, labels, there(5000), ~there(5000))
    fused, _ = fuse(pool, {"a": balanced}, there(5000), ~there(5000))
    np.testing.assert_allclose(np.exp(fused).mean(axis=0), shares, atol=0.02)
    assert pool.bias["text"][0] > pool.bias["text"][1] > pool.bias["text"][2]


@pytest.mark.parametrize("state", PRESENCES)
def test_weights_and_biases_are_the_best_there_are(state):
    rows = 600
    labels, logits = problem(5, {"t": 1.5, "u": 0.7, "i": 1.0}, rows)
    modalities = {"t": "text", "u": "text", "i": "image"}
    has_text, has_image = there(rows) & (state != "image"), there(rows) & (state != "text")
    pool = fit_pool(modalities, logits, labels, there(rows), there(rows))
    names = [name for name, kind in modalities.items() if state in ("both", kind)]

    def cost(point: np.ndarray) -> float:
        mixed = sum(weight * log_softmax(logits[name]) for weight, name in zip(point, names, strict=False))
        return negative_log_likelihood(mixed + point[len(names) :], labels)

    fused, _ = fuse(pool, logits, has_text, has_image)
    start = np.concatenate([np.full(len(names), 0.5), np.zeros(4)])
    without_gradient = minimize(cost, start, method="Powell", options={"xtol": 1e-4, "ftol": 1e-8}).fun
    assert negative_log_likelihood(fused, labels) <= without_gradient + 2 * RIDGE
    found = np.array(
        [w for w, kind in zip(pool.weights[state], pool.modalities, strict=True) if state in ("both", kind)]
    )
    point = np.concatenate([found, pool.bias[state]])
    for place in range(len(point)):
        for step in (-0.2, 0.2):
            moved = point.copy()
            moved[place] += step
            assert cost(moved) > cost(point), (place, step)


def test_what_is_not_there_is_not_heard():
    labels, logits = problem(6, {"t": 2.0, "i": 2.0}, 300)
    has_image = np.arange(300) % 2 == 0
    pool = fit_pool({"t": "text", "i": "image"}, logits, labels, there(300), has_image)
    fused, share = fuse(pool, logits, there(300), has_image)
    shouting = {**logits, "i": np.where(has_image[:, None], logits["i"], 50.0 * np.eye(4)[0])}
    again, _ = fuse(pool, shouting, there(300), has_image)
    np.testing.assert_array_equal(fused, again)
    assert (share[~has_image] == 1.0).all()
    np.testing.assert_array_equal(
        fit_pool(pool_modalities(pool), shouting, labels, there(300), has_image).weights["both"], pool.weights["both"]
    )


def pool_modalities(pool: Pool) -> dict[str, str]:
    return dict(zip(pool.branches, pool.modalities, strict=True))


def test_products_with_both_teach_what_to_do_when_one_is_missing():
    labels, logits = problem(7, {"t": 3.0, "i": 0.5}, 2000)
    pool = fit_pool({"t": "text", "i": "image"}, logits, labels, there(2000), there(2000))
    fused, _ = fuse(pool, logits, ~there(2000), there(2000))
    calibrated = negative_log_likelihood(logits["i"] / temperature(logits["i"], labels), labels)
    assert negative_log_likelihood(fused, labels) <= calibrated + RIDGE


def test_a_joint_branch_is_calibrated_without_photo_on_products_that_have_none():
    """With a photo a joint branch says something else than without: one cannot stand for the other."""
    rng = np.random.default_rng(8)
    rows = 4000
    labels = rng.integers(0, 4, rows)
    has_image = np.arange(rows) % 2 == 0
    honest = rng.normal(size=(rows, 4)) + 2.0 * np.eye(4)[labels]
    # far too sure where the photo is missing
    logits = {"joint": np.where(has_image[:, None], 2.0 * honest, 12.0 * honest)}
    pool = fit_pool({"joint": "both"}, logits, labels, there(rows), has_image)
    fused, _ = fuse(pool, logits, there(rows), has_image)
    alone = ~has_image
    best = negative_log_likelihood(
        logits["joint"][alone] / temperature(logits["joint"][alone], labels[alone]), labels[alone]
    )
    assert negative_log_likelihood(fused[alone], labels[alone]) <= best + 0.01


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 50))
def test_answers_are_distributions_and_shares_lie_between_0_and_1(seed, rows):
    labels, logits = problem(seed, {"t": 1.0, "i": 1.0}, rows)
    rng = np.random.default_rng(seed)
    has_text, has_image = rng.random((2, rows)) < 0.6
    pool = fit_pool({"t": "text", "i": "image"}, logits, labels, has_text, has_image)
    fused, share = fuse(pool, logits, has_text, has_image)
    assert fused.shape == (rows, 4) and fused.dtype == np.float64
    np.testing.assert_allclose(np.exp(fused).sum(axis=1), 1.0)
    assert ((share >= 0) & (share <= 1)).all()
    neither = ~has_text & ~has_image
    np.testing.assert_allclose(fused[neither], -np.log(4))
    assert (share[neither] == 0.5).all()


def test_the_share_says_who_spoke_for_the_answer():
    pool = Pool(
        ("t", "i"),
        ("text", "image"),
        {state: (1.0, 1.0) for state in PRESENCES},
        {state: (0.0,) * 3 for state in PRESENCES},
    )
    eye = np.eye(3)
    logits = {
        "t": np.stack([4 * eye[0], 0 * eye[0], 4 * eye[0], 2 * eye[0]]),
        "i": np.stack([0 * eye[0], 4 * eye[1], 4 * eye[0], 6 * eye[2]]),
    }
    fused, share = fuse(pool, logits, there(4), there(4))
    assert fused.argmax(axis=1).tolist() == [0, 1, 0, 2]
    np.testing.assert_allclose(share, [1.0, 0.0, 0.5, 0.0], atol=1e-9)


def test_tempering_learns_what_wrong_labels_leave_certain():
    """With a tenth of the labels drawn at random no prediction is sure, and no weight can say so."""
    labels, logits = problem(9, {"t": 6.0, "i": 2.0}, 6000)
    rng = np.random.default_rng(9)
    noisy = np.where(rng.random(6000) < 0.1, rng.integers(0, 4, 6000), labels)
    half, rest = slice(0, 3000), slice(3000, 6000)
    part = {name: values[half] for name, values in logits.items()}
    pool = fit_pool({"t": "text", "i": "image"}, part, noisy[half], there(3000), there(3000))
    tempered = temper_pool(pool, part, noisy[half], there(3000), there(3000))
    assert set(tempered.tempering) == set(PRESENCES)
    unseen = {name: values[rest] for name, values in logits.items()}
    errors, costs, answers = [], [], []
    for each in (pool, tempered):
        fused, _ = fuse(each, unseen, there(3000), there(3000))
        np.testing.assert_allclose(np.exp(fused).sum(axis=1), 1.0)
        answers.append(fused.argmax(axis=1))
        errors.append(expected_calibration_error(np.exp(fused.max(axis=1)), answers[-1] == noisy[rest]))
        costs.append(negative_log_likelihood(fused, noisy[rest]))
    np.testing.assert_array_equal(*answers)
    assert costs[1] < costs[0] - 0.01 and errors[1] < errors[0]


def test_a_presence_that_taught_nothing_is_not_tempered():
    labels, logits = problem(10, {"t": 2.0}, 200)
    pool = fit_pool({"t": "text"}, logits, labels, there(200), ~there(200))
    tempered = temper_pool(pool, logits, labels, there(200), ~there(200))
    assert set(tempered.tempering) == {"both", "text"}  # which only looks at texts
    assert isinstance(tempered.tempering["text"], Tempering)
    pool = fit_pool({"t": "text", "j": "both"}, {**logits, "j": logits["t"]}, labels, there(200), ~there(200))
    assert "image" not in temper_pool(pool, {**logits, "j": logits["t"]}, labels, there(200), ~there(200)).tempering


@pytest.mark.parametrize("photos", [0, 5, 50])
@pytest.mark.parametrize("modalities", [{"t": "text", "u": "text"}, {"t": "text", "u": "text", "i": "image"}])
def test_a_photo_does_no_harm_where_hardly_any_product_had_one(modalities, photos):
    labels, logits = problem(14, {"t": 4.0, "u": 3.0, "i": 1.0}, 4000, classes=16)
    learnt, asked = np.arange(4000) < 1200, np.arange(4000) >= 1200
    logits = {name: logits[name] for name in modalities}
    part = {name: logits[name][learnt] for name in modalities}
    known = labels[learnt], there(1200), np.arange(1200) < photos
    pool = temper_pool(fit_pool(modalities, part, *known), part, *known)
    part = {name: logits[name][asked] for name in modalities}
    alone, _ = fuse(pool, part, there(2800), ~there(2800))
    with_photo, _ = fuse(pool, part, there(2800), there(2800))
    np.testing.assert_allclose(with_photo, alone)
    right = with_photo.argmax(axis=1) == labels[asked]
    assert right.mean() > 0.8 and expected_calibration_error(np.exp(with_photo.max(axis=1)), right) < 0.03


def test_few_products_that_all_have_both_teach_all_the_same():
    labels, logits = problem(15, {"t": 1.0, "i": 3.0}, 80)
    pool = fit_pool({"t": "text", "i": "image"}, logits, labels, there(80), there(80))
    assert pool.weights["both"][1] > pool.weights["both"][0] > 0


def test_nobody_is_judged_by_a_pool_that_knew_the_answer():
    labels, logits = problem(12, {"t": 1.0, "i": 0.5}, 400)
    has_image, parts = np.arange(400) % 3 > 0, np.arange(400) % 5
    modalities = {"t": "text", "i": "image"}
    told = cross_fuse(modalities, logits, labels, there(400), has_image, parts)
    np.testing.assert_allclose(np.exp(told).sum(axis=1), 1.0)
    other = np.where(parts == 2, (labels + 1) % 4, labels)
    again = cross_fuse(modalities, logits, other, there(400), has_image, parts)
    np.testing.assert_array_equal(again[parts == 2], told[parts == 2])
    assert (again[parts != 2] != told[parts != 2]).any()


def test_a_pool_promises_more_of_what_it_was_fitted_to():
    rng = np.random.default_rng(13)
    labels, noise = rng.integers(0, 20, 300), {"t": rng.normal(size=(300, 20))}
    pool = fit_pool({"t": "text"}, noise, labels, there(300), ~there(300))
    own, _ = fuse(pool, noise, there(300), ~there(300))
    told = cross_fuse({"t": "text"}, noise, labels, there(300), ~there(300), np.arange(300) % 5)
    guess = np.log(20)
    assert negative_log_likelihood(own, labels) < guess - 0.01 < guess < negative_log_likelihood(told, labels)


def test_presence():
    has_text, has_image = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 0, 1, 0], dtype=bool)
    assert presence(has_text, has_image).tolist() == [0, 1, 2, -1]
