"""The steps of every flow for a catalogue of N products: tasks, time, memory, bytes, requests.

Each step is a formula over what was measured (`rayon.scaling.measured`) and the experiment's settings; docs/scaling.md
has them in words. Time is processor time, divided by the cores where a step uses them all. Knows settings and numbers;
it runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import NamedTuple

from rayon.config import BASELINE, Config
from rayon.scaling.measured import Measured

SPLITS = 100
"""The widest foreach that Metaflow runs where nobody says otherwise (`--max-num-splits`)."""

_BLOCK = 2048  # rows of a block of features
_ADDING_UP = 1.0
_HASHED = 125.0  # bytes a prediction while repetitions are looked for; hidden by the tests below a million of them
_SHOWN = 24  # photos on the card of a dataset version


class Step(NamedTuple):
    """A step: how many tasks of how many products each; what a task needs: seconds of one core, bytes of memory and of
    disk, and whether it uses all its cores; and what all tasks together leave: bytes in the datastore (`stored`) and of
    features, requests that write and that read.
    """

    flow: str
    step: str
    tasks: int
    rows: float
    cpu: float
    memory: float
    disk: float = 0.0
    spread: bool = False
    stored: float = 0.0
    features: float = 0.0
    puts: float = 0.0
    gets: float = 0.0


class Sizes(NamedTuple):
    """What a plan is for: products in the catalogue, how many of them are trained on, how many a monitor looks at."""

    products: int
    trained: int
    watched: int


def steps(sizes: Sizes, config: Config, measured: Measured) -> list[Step]:
    """Return the steps of all flows, in order. What takes no time worth telling is left out."""
    made = _Formulas(config, measured)
    return [
        *made.preprocess(sizes.trained),
        *made.train(sizes.trained),
        *made.score(sizes.products),
        made.monitor(sizes.watched),
    ]


class _Formulas:
    def __init__(self, config: Config, measured: Measured) -> None:
        self._config, self._at, self._each = config, measured.at, measured.each
        self._base = float(measured.about["process"])
        encoders: Mapping[str, Mapping[str, float]] = measured.about["encoders"]
        known = [*config.branches.text.encoders, *config.branches.image.encoders]
        self._encoding = sum(encoders[source]["cpu"] for source in known if source in encoders)
        self._weights = sum(encoders[source]["memory"] for source in known if source in encoders)
        self._encoders = len(known)
        tasks = float(measured.about["tasks of requests"])
        self._puts, self._gets = (self._at("requests", kind, 0) / tasks for kind in ("puts", "gets"))
        self._put, self._get = self._each("requests", "puts"), self._each("requests", "gets")

    def preprocess(self, n: int) -> Iterator[Step]:
        rows = min(n, self._config.preprocess.shard_rows)
        shards = ceil(n / rows)
        at, base, flow = self._at, self._base, "PreprocessFlow"
        shard = at("build", "shard", rows)
        # a later version also holds the keys of the last one
        planning = base + max(at("plan", "memory", n), at("replan", "memory", n))
        parts = at("plan", "parts", n)
        yield self._step(flow, "start", 1, n, at("plan", "cpu", n), planning, stored=parts, artifacts=shards)
        left = shard + at("build", "keys", rows) + at("tasks", "note", shards)
        cpu = at("build", "cpu", rows) + at("tasks", "cpu", shards)
        building, reads = base + at("build", "memory", rows), n + shards  # its photos, and its part
        yield self._step(
            flow,
            "build",
            shards,
            rows,
            cpu,
            building,
            spread=True,
            stored=shards * left,
            artifacts=3 * shards,
            reads=reads,
        )
        listed, joined = at("combine", "manifest", n), base + at("combine", "memory", n)
        yield self._step(flow, "combine", 1, n, at("combine", "cpu", n), joined, stored=listed, reads=2 * shards)
        # of the card's photos one shard is in memory at a time; each may come from another
        counted, shown = base + at("census", "memory", n) + 2 * shard, min(shards, _SHOWN)
        yield self._step(flow, "end", 1, n, at("census", "cpu", n), counted, shown * shard, reads=shards + shown)

    def train(self, n: int) -> Iterator[Step]:
        at, flow, trainer = self._at, "TrainFlow", self._config.trainer
        read = ceil(n / self._config.preprocess.shard_rows)
        shards, features = n * self._each("build", "shard"), at("features", "stored", n)
        opened, disk = self._base + at("open", "memory", n), shards + features
        held, cpu = opened + at("features", "memory", n), n * self._encoding + at("features", "cpu", n)
        blocks = 3 * self._encoders * ceil(n / _BLOCK)
        yield self._step(
            flow,
            "encode",
            1,
            n,
            cpu,
            held + self._weights,
            disk,
            spread=True,
            features=features,
            writes=blocks,
            reads=read,
        )
        heads = len([name for name in self._config.candidates if name != BASELINE])
        cpu = at("fit", "cpu", n) + trainer.max_epochs * at("fit", "epoch", n)
        left, used = at("fit", "bundle", n) + at("fit", "held_out", n), held + at("fit", "memory", n)
        yield self._step(
            flow, "train", heads, n, cpu, used, disk, stored=heads * left, artifacts=8 * heads, reads=read * heads
        )
        if BASELINE in self._config.candidates:
            used = opened + at("baseline", "memory", n)
            yield self._step(flow, "train: tf-idf", 1, n, at("baseline", "cpu", n), used, shards, reads=read)
        gold = ceil(n * self._config.split.test)
        # the gold set, photos included, is one table in memory, and is scored in one go; the gate does that twice
        used = opened + gold * self._each("build", "shard") + at("score", "memory", gold)
        cpu = at("evaluate", "cpu", n) + at("open", "cpu", n) + at("score", "cpu", gold)
        left = gold * self._each("score", "predictions")
        yield self._step(flow, "evaluate", 1, n, cpu, used, disk, stored=left, artifacts=12, reads=read)
        yield self._step(flow, "gate", 1, n, cpu + at("score", "cpu", gold), used, disk, reads=read)

    def score(self, n: int) -> Iterator[Step]:
        at, flow, settings = self._at, "ScoreFlow", self._config.score
        rows = min(n, settings.shard_rows)
        jobs = ceil(n / rows)
        tasks = min(settings.tasks, jobs)
        each, said, features = n / tasks, n * self._each("score", "predictions"), at("features", "stored", n)
        planning, parts = self._base + at("score_plan", "memory", n), at("score_plan", "parts", n)
        yield self._step(flow, "start", 1, n, at("score_plan", "cpu", n), planning, stored=parts, artifacts=jobs)
        cpu = each * (self._each("score", "cpu") + self._encoding) + jobs / tasks * at("score", "cpu", 0)
        used = self._base + self._weights + at("score", "memory", rows) + said / tasks
        yield self._step(
            flow,
            "score",
            tasks,
            each,
            cpu,
            used,
            features / tasks,
            spread=True,
            stored=2 * said + tasks * at("tasks", "note", jobs),  # as files, and as artifacts of the run
            features=features,
            artifacts=jobs,
            writes=(2 + 3 * self._encoders) * jobs,
            reads=n + 2 * jobs,
        )
        yield self._step(flow, "combine", 1, n, _ADDING_UP, self._base, reads=3 * tasks)

    def monitor(self, n: int) -> Step:
        shards = ceil(n / self._config.score.shard_rows)
        cpu, used = self._at("monitor", "cpu", n), self._base + self._at("monitor", "memory", n) + n * _HASHED
        return self._step("MonitorFlow", "judge", 1, n, cpu, used, artifacts=9, reads=shards)

    def _step(
        self,
        flow: str,
        step: str,
        tasks: int,
        rows: float,
        cpu: float,
        memory: float,
        disk: float = 0.0,
        *,
        spread: bool = False,
        stored: float = 0.0,
        features: float = 0.0,
        artifacts: float = 3.0,
        writes: float = 0.0,
        reads: float = 0.0,
    ) -> Step:
        """Fill in the requests: of tasks that store so many new artifacts in all, and what else they write and read."""
        puts = tasks * self._puts + artifacts * self._put + writes
        gets = tasks * self._gets + artifacts * self._get + reads
        return Step(flow, step, tasks, rows, cpu, memory, disk, spread, stored, features, puts, gets)
