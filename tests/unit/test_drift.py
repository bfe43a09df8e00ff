"""Tests of two samples: false alarms as rare as they say, differences found, effects that do not grow with the rows."""

from __future__ import annotations

import numpy as np
import pytest

from rayon.drift import holm, ks_test, mix_test, mmd_test, psi, share_test


def normal(rng: np.random.Generator, rows: int, shift: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return (shift + spread * rng.normal(size=(rows, 8))).astype(np.float32)


def test_mmd_alarms_no_oftener_than_it_says_where_nothing_differs():
    p = [
        mmd_test(normal(rng, 120), normal(rng, 80), permutations=199, seed=n).p
        for n, rng in enumerate(map(np.random.default_rng, range(150)))
    ]
    assert 0.01 <= np.mean(np.array(p) < 0.1) <= 0.18
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("shift", "spread"), [(0.5, 1.0), (0.0, 1.6)])
def test_mmd_finds_another_place_and_another_spread(shift, spread):
    rng = np.random.default_rng(0)
    found = mmd_test(normal(rng, 300), normal(rng, 300, shift, spread), permutations=199)
    assert found.p == pytest.approx(1 / 200) and found.effect > 0.05


def test_mmd_looks_at_a_bounded_sample_and_repeats_itself():
    rng = np.random.default_rng(0)
    first, second = normal(rng, 5000), normal(rng, 3000, 0.3)
    found = mmd_test(first, second, limit=200, permutations=199, seed=3)
    assert (found.reference, found.current) == (200, 200)
    assert found == mmd_test(first, second, limit=200, permutations=199, seed=3)


def test_mmd_effects_rank_differences_and_do_not_depend_on_the_rows():
    rng = np.random.default_rng(1)
    effects = [mmd_test(normal(rng, 400), normal(rng, 400, s), permutations=199).effect for s in (0.2, 0.6, 3.0)]
    assert effects[0] < effects[1] < effects[2] and effects[2] > 0.6
    many = mmd_test(normal(rng, 1000), normal(rng, 1000, 0.6), permutations=199).effect
    assert many == pytest.approx(effects[1], abs=0.05)


def test_the_mix_test_takes_both_samples_as_drawn():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(16))
    p = [mix_test(rng.multinomial(500, shares), rng.multinomial(500, shares)).p for _ in range(400)]
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.09


def test_the_mix_test_finds_a_shift_whose_effect_does_not_depend_on_the_rows():
    before, after = np.array([300, 200, 100, 5, 0]), np.array([100, 200, 300, 5, 0])
    few, many = mix_test(before, after), mix_test(before * 50, after * 50)
    assert few.p < 1e-6
    assert few.effect == pytest.approx(many.effect, abs=0.03)
    assert many.effect == pytest.approx(0.66 * np.sqrt(4 / 3), abs=0.15)
    assert mix_test(before, before * 2).effect == 0.0


def test_rare_cells_are_put_together_and_empty_ones_forgotten():
    before = np.array([200, 200] + [1] * 30)
    after = np.array([200, 200] + [0] * 15 + [2] * 15)
    assert mix_test(before, after).p > 0.5
    assert mix_test(np.array([10, 0]), np.array([10, 0])).p == 1.0
    assert mix_test(np.array([0, 0]), np.array([10, 5])).p == 1.0


def test_shares_are_compared_exactly_where_there_are_few():
    assert share_test(1, 480, 40, 200).p < 1e-9
    assert share_test(1, 480, 40, 200).effect == pytest.approx(0.2 - 1 / 480)
    assert share_test(10, 500, 4, 200).p == pytest.approx(1.0)
    assert share_test(0, 500, 0, 9000).p == 1.0
    assert share_test(500, 5000, 700, 5000).p < 1e-6
    assert share_test(0, 0, 3, 10).p == 1.0


def test_ks_tells_how_far_two_distributions_are_apart():
    rng = np.random.default_rng(0)
    assert ks_test(rng.random(500), rng.random(400)).p > 0.01
    apart = ks_test(rng.random(500), 1 + rng.random(400))
    assert apart.effect == 1.0 and apart.p < 1e-20
    assert ks_test(rng.random(1), rng.random(400)).p == 1.0


def test_psi_is_withheld_where_it_is_chance():
    counts = np.array([300, 200, 100])
    assert psi(counts, counts) == pytest.approx(0.0)
    assert psi(counts, counts[::-1]) == pytest.approx(2 * (1 / 3) * np.log(3), abs=0.02)
    assert psi(counts, counts // 2) is None


def test_holm_corrects_for_the_number_of_tests():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == [] and holm([0.9, 0.9]).tolist() == [1.0, 1.0]
    rng = np.random.default_rng(0)
    alarms = [(holm(rng.random(17).tolist()) < 0.1).any() for _ in range(1000)]
    assert 0.06 <= np.mean(alarms) <= 0.14
