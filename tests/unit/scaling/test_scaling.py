"""Plans: the lines go through what was measured, quantities grow as they should, what gives way is told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rayon.config import Config, ConfigError, parse_config, read_config
from rayon.scaling.measured import Measured, fit, fit_all, read_measured
from rayon.scaling.plan import Means, as_dict, make_plan, read_prices
from rayon.scaling.steps import Sizes, steps

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
MEASURED = read_measured()


def demo(**sections) -> Config:
    settings = read_config((CONFIGS / "demo.yaml").read_text())
    return parse_config({name: {**value, **sections.get(name, {})} if isinstance(value, dict) else value
                         for name, value in settings.items()})  # fmt: skip


def plan(products: int, trained: int = 200_000, config: Config | None = None, means: Means | None = None):
    sizes = Sizes(products, min(products, trained), products)
    return make_plan(sizes, config or demo(), MEASURED, means or Means(), read_prices())


def test_a_line_is_found_and_extrapolated():
    found = fit([1000, 3000, 10_000], [5 + 0.002 * n for n in (1000, 3000, 10_000)])
    assert found.fixed == pytest.approx(5, rel=1e-3) and found.each == pytest.approx(0.002, rel=1e-3)
    assert found.off < 1e-6 and found.at(1e8) == pytest.approx(200_005, rel=1e-3)


def test_what_grows_faster_than_the_rows_is_extrapolated_by_its_power():
    found = fit([1000, 3000, 10_000], [n**1.5 for n in (1000, 3000, 10_000)])
    assert found.exponent == pytest.approx(1.5)
    assert found.at(1_000_000) == pytest.approx(1e9)
    assert found.off > 0.05, "a line does not go through them, and the fit says so"


def test_noise_makes_no_part_negative():
    found = fit([1000, 3000, 10_000], [4.0, 2.0, 3.0])
    assert found.fixed >= 0 and found.each >= 0


def test_what_comes_with_rayon_are_the_fits_of_its_points():
    assert {name: {kind: line._asdict() for kind, line in lines.items()} for name, lines in MEASURED.fits.items()} == {
        stage: {kind: pytest.approx(line) for kind, line in lines.items()}
        for stage, lines in fit_all(MEASURED.points).items()
    }
    assert MEASURED.about["date"] and "cores" in MEASURED.about["machine"]
    assert all(len(points) >= 2 for points in MEASURED.points.values())


@pytest.mark.parametrize("name", sorted(file.name for file in CONFIGS.glob("*.yaml") if file.name != "monitoring.yaml"))
def test_every_experiment_has_a_plan(name):
    found = plan(1_000_000, config=parse_config(read_config((CONFIGS / name).read_text())))
    assert {one.step.flow for one in found.planned} == {"PreprocessFlow", "TrainFlow", "ScoreFlow", "MonitorFlow"}
    assert all(one.seconds > 0 and one.money > 0 and one.step.memory > 0 for one in found.planned)


def test_a_larger_catalogue_takes_more_of_everything():
    small, large = (plan(n, trained=n) for n in (20_000, 2_000_000))
    for a, b in zip(small.planned, large.planned, strict=True):
        assert b.step.memory >= a.step.memory and b.step.puts >= a.step.puts and b.money >= a.money
        assert b.step.cpu * b.step.tasks >= a.step.cpu * a.step.tasks
    assert large.storage > 50 * small.storage


def test_more_pods_shorten_what_is_many_tasks_and_nothing_else():
    config = demo(score={"tasks": 100})
    few, many = (plan(10_000_000, config=config, means=Means(pods=pods)) for pods in (10, 100))
    faster = {b.step.step for a, b in zip(few.planned, many.planned, strict=True) if b.seconds < a.seconds}
    assert faster == {"build", "score"}
    assert [b.money for b in many.planned] == pytest.approx([a.money for a in few.planned])


def test_a_sample_bounds_training_whatever_the_catalogue():
    sampled, whole = plan(100_000_000), plan(100_000_000, trained=100_000_000)
    cost = {
        flow: sum(one.money for one in sampled.planned if one.step.flow == flow) for flow in ("TrainFlow", "ScoreFlow")
    }
    assert cost["TrainFlow"] < cost["ScoreFlow"] / 10
    assert not any(one.short for one in sampled.planned if one.step.flow == "TrainFlow")
    assert all(one.short for one in whole.planned if one.step.flow == "TrainFlow")


def test_each_limit_is_where_the_step_reaches_it():
    means, config = Means(memory=8.0), demo()
    found = {limit.what: limit.products for limit in plan(1, config=config, means=means).limits}
    assert found["PreprocessFlow: splits"] == 100 * config.preprocess.shard_rows
    for what, products in found.items():
        flow, _, name = what.partition(": memory of ")
        if name and products < 10**11:
            for factor, over in ((0.98, False), (1.02, True)):
                n = int(products * factor)
                step = next(s for s in steps(Sizes(n, n, n), config, MEASURED) if (s.flow, s.step) == (flow, name))
                assert (step.memory > 8e9) is over, what
    assert list(found.values()) == sorted(found.values()), "the nearest first"


def test_an_encoder_that_was_never_measured_is_told():
    config = demo(branches={"image": {**dataclasses.asdict(demo().branches.image), "encoders": ["timm:resnet50"]}})
    assert plan(1000, config=config).unknown == ["timm:resnet50"]


def test_prices_are_a_file_whose_mistakes_are_named():
    prices = read_prices()
    assert prices.date and prices.core_hour > 0
    with pytest.raises(ConfigError, match="did you mean 'core_hour'"):
        read_prices("date: 2026-01\ncore_hours: 1\n")


def test_the_command_says_what_it_was_asked(tmp_path, monkeypatch):
    from rayon.cli import app

    monkeypatch.chdir(CONFIGS.parent)
    told = CliRunner().invoke(app, ["plan", "--products", "100000000", "--json", str(tmp_path / "plan.json")])
    assert told.exit_code == 0, told.output
    assert "what gives way" in told.output and "REACHED" in told.output and "defaults, to be replaced" in told.output
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["sizes"]["trained"] == 200_000 and content["measured"]["date"]
    assert content["steps"][0]["flow"] == "PreprocessFlow"


def test_a_plan_is_plain_data():
    assert json.dumps(as_dict(plan(10_000)))
    assert isinstance(MEASURED, Measured)
