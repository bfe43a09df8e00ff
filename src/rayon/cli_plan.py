"""The command `python -m rayon plan`: what a catalogue of N products asks for.

Parses, prints; `rayon.scaling` reckons. Heavy imports stay inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayon.cli_shared import DEMO, Experiment, print_table, read_settings, sentences, write_json

if TYPE_CHECKING:
    from rayon.scaling.plan import Means, Plan, Prices
    from rayon.scaling.steps import Sizes

SAMPLE = 200_000


def plan(
    products: Annotated[int, typer.Option(min=1, help="how many products the catalogue has")],
    experiment: Experiment = DEMO,
    train_on: Annotated[
        int, typer.Option(min=1, help="how many of them are made a dataset version of, and trained on, at most")
    ] = SAMPLE,
    watched: Annotated[
        int, typer.Option(min=0, help="how many predictions a monitor looks at, at most", show_default="all")
    ] = 0,
    pods: Annotated[int, typer.Option(min=1, help="pods at a time")] = 50,
    cores: Annotated[int, typer.Option(min=1, help="cores of a pod")] = 4,
    memory: Annotated[float, typer.Option(min=1, help="gigabytes of memory of a pod")] = 16.0,
    disk: Annotated[float, typer.Option(min=1, help="gigabytes of disk of a pod")] = 100.0,
    start: Annotated[float, typer.Option(min=0, help="seconds until a pod has begun")] = 60.0,
    tasks: Annotated[int, typer.Option(min=0, max=100, help="tasks of ScoreFlow", show_default="score.tasks")] = 0,
    prices: Annotated[
        Path | None, typer.Option(help="a YAML file of prices", show_default="rayon's own, to be replaced")
    ] = None,
    json_file: Annotated[str, typer.Option("--json", help="write all as JSON to this file, - for the screen")] = "",
) -> None:
    """Reckon what a catalogue of so many products asks for: tasks, time, memory, storage, requests, money.

    A formula over what was measured on catalogues of some thousand products (tests/benchmarks/scaling.py): beyond them
    it extrapolates. PreprocessFlow and TrainFlow are reckoned for a sample (--train-on), ScoreFlow and MonitorFlow for
    all. What would break on the way is listed with the size at which it does. docs/scaling.md has the formula.
    """
    import dataclasses

    from rayon.scaling.measured import read_measured
    from rayon.scaling.plan import Means, as_dict, make_plan, read_prices
    from rayon.scaling.steps import Sizes

    with sentences():
        config = read_settings(experiment)
        asked = read_prices(prices.read_text(encoding="utf-8") if prices else "")
    if tasks:
        config = dataclasses.replace(config, score=dataclasses.replace(config.score, tasks=tasks))
    sizes = Sizes(products, min(products, train_on), min(products, watched or products))
    measured, means = read_measured(), Means(pods, cores, memory, disk, start)
    found = make_plan(sizes, config, measured, means, asked)
    if json_file:
        about = {"sizes": sizes._asdict(), "means": means._asdict(), "measured": dict(measured.about)}
        write_json({**about, "prices": dataclasses.asdict(asked), **as_dict(found)}, json_file)
    if json_file != "-":
        _tell(found, sizes, means, asked)


def _tell(found: Plan, sizes: Sizes, means: Means, prices: Prices) -> None:
    table = [
        ("flow", "step", "tasks", "products", "wall", "memory", "disk", "stored", "features", "PUT", "GET", "cost", "")
    ]
    for one in found.planned:
        step = one.step
        table.append(
            (
                step.flow,
                step.step,
                f"{step.tasks:,}",
                _short(step.rows),
                _time(one.seconds),
                _bytes(step.memory),
                _bytes(step.disk),
                _bytes(step.stored),
                _bytes(step.features),
                _short(step.puts),
                _short(step.gets),
                f"{one.money:,.2f}",
                one.short and f"TOO LITTLE {one.short}",
            )
        )
    print_table(table)
    money = sum(one.money for one in found.planned)
    typer.echo(
        f"\n{sizes.products:,} products, {sizes.trained:,} trained on; {means.pods} pods of {means.cores} cores: "
        f"{money:,.0f} {prices.currency} once, {found.storage:,.2f} a month of storage (prices of {prices.date}: "
        "defaults, to be replaced by yours)"
    )
    if found.unknown:
        typer.echo(f"not reckoned, since never measured: {', '.join(found.unknown)}")
    typer.echo("\nwhat gives way, and at how many products")
    asked = {"TrainFlow": sizes.trained, "PreprocessFlow": sizes.trained, "MonitorFlow": sizes.watched}
    limits = [("", "what", "at", "why", "what to do")]
    for limit in found.limits:
        reached = limit.products < asked.get(limit.what.partition(":")[0], sizes.products)
        limits.append(("REACHED" if reached else "", limit.what, _short(limit.products), limit.why, limit.remedy))
    print_table(limits)


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:  # 999,999 is 1M, not 1e+03k
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    return f"{_short(number)}B".replace("GB", " GB").replace("MB", " MB").replace("kB", " kB") if number else ""


def _time(seconds: float) -> str:
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"
