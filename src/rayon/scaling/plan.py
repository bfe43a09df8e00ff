"""A plan: the steps on given means, what they take and cost, and what would break before a catalogue gets that large.

Knows arithmetic. Prices are a file that comes with rayon and is to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from math import ceil
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rayon.config import BASELINE, Config, parse_settings, read_mapping
from rayon.scaling.measured import Measured
from rayon.scaling.steps import SPLITS, Sizes, Step, steps

_HOUR, _MONTH_HOURS, _GB = 3600.0, 730.0, 1e9
_NOTES = 1e7
_LARGEST = 10**11


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Prices:
    """What things cost, in `currency`; `date` says when they were looked up."""

    date: str
    currency: str
    core_hour: float = Field(ge=0)
    gigabyte_hour: float = Field(ge=0)
    disk_gigabyte_month: float = Field(ge=0)
    stored_gigabyte_month: float = Field(ge=0)
    thousand_puts: float = Field(ge=0)
    thousand_gets: float = Field(ge=0)


class Means(NamedTuple):
    """What there is: pods at a time, cores, gigabytes of memory and of disk of each, seconds until a pod has begun."""

    pods: int = 50
    cores: int = 4
    memory: float = 16.0
    disk: float = 100.0
    start: float = 60.0


class Planned(NamedTuple):
    """A step on those means: seconds of wall time, money, and what a pod has too little of ('' for nothing)."""

    step: Step
    seconds: float
    money: float
    short: str


class Limit(NamedTuple):
    """What gives way, at how many products, why, and what to do about it."""

    what: str
    products: int
    why: str
    remedy: str


class Plan(NamedTuple):
    """All steps, what is stored a month in money, and the limits, the nearest first."""

    planned: list[Planned]
    storage: float
    limits: list[Limit]
    unknown: list[str]


def read_prices(text: str = "") -> Prices:
    """Return the prices of a YAML text, or those that come with rayon.

    Raises:
        ConfigError: a price is missing, misspelt or no number.
    """
    text = text or files("rayon.scaling").joinpath("prices.yaml").read_text(encoding="utf-8")
    settings = read_mapping(text)
    return parse_settings(TypeAdapter(Prices), Prices, {**settings, "date": str(settings.get("date", ""))})


def make_plan(sizes: Sizes, config: Config, measured: Measured, means: Means, prices: Prices) -> Plan:
    """Return the plan of a catalogue."""
    planned = [_on(step, means, prices) for step in steps(sizes, config, measured)]
    stored = sum(one.step.stored + one.step.features for one in planned)
    known = measured.about["encoders"]
    encoders = [*config.branches.text.encoders, *config.branches.image.encoders]
    return Plan(
        planned,
        stored / _GB * prices.stored_gigabyte_month,
        sorted(_limits(config, measured, means), key=lambda limit: limit.products),
        [source for source in encoders if source not in known],
    )


def _seconds(step: Step, means: Means) -> float:
    """Return the wall time of one task, without its start."""
    return step.cpu / (means.cores if step.spread else 1)


def _on(step: Step, means: Means, prices: Prices) -> Planned:
    task = means.start + _seconds(step, means)
    hours = step.tasks * task / _HOUR
    pod = means.cores * prices.core_hour + step.memory / _GB * prices.gigabyte_hour
    pod += step.disk / _GB * prices.disk_gigabyte_month / _MONTH_HOURS
    money = hours * pod + (step.puts * prices.thousand_puts + step.gets * prices.thousand_gets) / 1000
    asked = {"memory": (step.memory, means.memory), "disk": (step.disk, means.disk)}
    short = [f"{what} ({there:g} GB)" for what, (needed, there) in asked.items() if needed > there * _GB]
    return Planned(step, ceil(step.tasks / means.pods) * task, money, ", ".join(short))


def _limits(config: Config, measured: Measured, means: Means) -> Iterator[Limit]:
    def of(flow: str, name: str, value: Callable[[Step], float]) -> Callable[[int], float]:
        def at(n: int) -> float:
            found = steps(Sizes(n, n, n), config, measured)
            return next(value(step) for step in found if (step.flow, step.step) == (flow, name))

        return at

    rows = config.preprocess.shard_rows
    yield Limit(
        "PreprocessFlow: splits",
        SPLITS * rows,
        f"a foreach has at most {SPLITS} splits, a shard {rows:,} products",
        "a larger preprocess.shard_rows, or `run --max-num-splits`",
    )
    note = measured.each("tasks", "note")
    yield Limit(
        "PreprocessFlow: notes",
        int(_NOTES**0.5) * rows,
        f"each build task inherits every part: {_NOTES:,.0f} entries of the metadata, {_NOTES * note / _GB:.1f} GB",
        "parts as files, or parts in one artifact: not built",
    )
    held: dict[tuple[str, str], str] = {
        ("PreprocessFlow", "start"): "hashes of all ids, and of the last version's rows",
        ("PreprocessFlow", "combine"): "hashes of all products",
        ("PreprocessFlow", "end"): "the keys of a shard, and a shard with its photos",
        ("TrainFlow", "encode"): "texts and features of all products",
        ("TrainFlow", "train"): "texts, n-grams and features of all products",
        ("TrainFlow", "train: tf-idf"): "the n-grams of all products, in scikit-learn",
        ("TrainFlow", "evaluate"): "the gold set with its photos, scored in one go",
        ("ScoreFlow", "start"): "all parts",
        ("ScoreFlow", "score"): "the predictions of a task's shards",
        ("MonitorFlow", "judge"): "hashes of all predictions of the window",
    }
    for (flow, name), what in held.items():
        if name == "train: tf-idf" and BASELINE not in config.candidates:
            continue
        yield Limit(
            f"{flow}: memory of {name}",
            _reach(of(flow, name, lambda step: step.memory), means.memory * _GB),
            f"{what} in {means.memory:g} GB",
            "train on a sample" if flow in ("PreprocessFlow", "TrainFlow") else "several runs, of a part each",
        )
    yield Limit(
        "TrainFlow: disk",
        _reach(of("TrainFlow", "encode", lambda step: step.disk), means.disk * _GB),
        f"all shards and features on {means.disk:g} GB of each pod's disk",
        "train on a sample",
    )
    timed = {
        ("TrainFlow", "encode"): (config.resources.encode.minutes, "encoding is one task, however many pods there are"),
        ("TrainFlow", "train"): (config.resources.train.minutes, "heads learn in one process"),
        ("ScoreFlow", "score"): (config.resources.score.minutes, f"{config.score.tasks} tasks (score.tasks)"),
    }
    for (flow, name), (minutes, why) in timed.items():
        yield Limit(
            f"{flow}: time of {name}",
            _reach(of(flow, name, lambda step: _seconds(step, means)), minutes * 60.0),
            f"{why}; {minutes / 60:g} h on {means.cores} cores",
            "train on a sample, or a GPU"
            if flow == "TrainFlow"
            else "more tasks, up to 100, larger pods, several runs",
        )
    yield Limit(
        "PreprocessFlow: photos on S3",
        int(means.memory * _GB / measured.each("photos_listed", "memory")),
        f"the first step keeps size and time of every photo of the folder, in {means.memory:g} GB",
        "train on a sample, with a folder of its own",
    )
    encoders = len(config.branches.text.encoders) + len(config.branches.image.encoders)
    yield Limit(
        "shared features: keys",
        int(means.memory * _GB / max(encoders * measured.each("shared_keys", "memory"), 1e-9)),
        f"with `shared`, each process keeps the keys of all products of {encoders} encoders in {means.memory:g} GB",
        "no `shared` for what is scored once",
    )


def _reach(value: Callable[[int], float], limit: float) -> int:
    """Return the number of products at which a growing quantity reaches a limit (two digits)."""
    low, high = 1, _LARGEST
    if value(high) < limit:
        return high
    while high > low * 1.01 + 1:
        middle = int((low * high) ** 0.5) if low > 1 else max(2, high // 1000)
        low, high = (middle, high) if value(middle) < limit else (low, middle)
    return low


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    return {
        "steps": [
            {**one.step._asdict(), "seconds": one.seconds, "money": one.money, "short": one.short}
            for one in plan.planned
        ],
        "storage a month": plan.storage,
        "limits": [limit._asdict() for limit in plan.limits],
        "unknown encoders": plan.unknown,
    }
