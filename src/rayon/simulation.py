"""Simulated traffic: products arrive in small lots, are predicted as in production, and people correct some.

For watching the whole loop on one machine. Brings together the registry, the demo catalogue's generator and scoring;
what it leaves are Parquet files, a lot each.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rayon.config import Config
from rayon.data.outputs import Outputs
from rayon.data.planning import plan_scoring
from rayon.data.shards import SHARD_SCHEMA
from rayon.data.synthetic import Drift, true_category, write_catalogue
from rayon.inference import Predictor
from rayon.preparing import RayonError
from rayon.score_run import unseen_tables, with_input
from rayon.scoring import PREDICTIONS_SCHEMA, ScoredShard, as_trained, score_part, score_table

TRAFFIC_SCHEMA = pa.schema(
    [*PREDICTIONS_SCHEMA, ("time", pa.timestamp("us", tz="UTC")), ("human_category", pa.string())]
)
"""A prediction, when it was asked for, and what a person said the category is, '' where nobody looked."""

ACCEPTED_LOOKED_AT = 0.1
"""How much rarer than a product sent to review one that was filed is looked at."""


class Traffic(NamedTuple):
    """What arrives: so many lots of so many products, the first at `start`, one every `interval`.

    `drift` is None for the unseen products of the latest dataset version, or of the demo catalogue's generator where
    there are none; `feedback` is the share of products sent to review that a person labels, `mistakes` the share of
    those labels that are wrong.
    """

    lots: int
    size: int
    start: datetime
    interval: timedelta
    drift: Drift | None = None
    feedback: float = 0.0
    mistakes: float = 0.0
    seed: int = 0


class Lot(NamedTuple):
    """A lot that has been predicted: its file, products, how many were refused, accepted and labelled, and the
    share that was right.
    """

    file: str
    time: datetime
    products: int
    refused: int
    accepted: int
    labelled: int
    right: float


def simulate(traffic: Traffic, predictor: Predictor, config: Config, outputs: Outputs) -> Iterator[Lot]:
    """Predict lot by lot and yield what became of each.

    Raises:
        RayonError: there is nothing to take products from.
    """
    rng = np.random.default_rng(traffic.seed)
    for number, (scored, truth) in enumerate(_lots(traffic, predictor, config)):
        frame = pq.read_table(pa.BufferReader(scored.data)).to_pandas()
        time = traffic.start + number * traffic.interval
        true = [truth(row) for row in frame.to_dict("records")]
        frame["time"] = pd.Timestamp(time)
        frame["human_category"] = _people(frame, true, predictor.categories, traffic, rng)
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, TRAFFIC_SCHEMA, preserve_index=False), sink, compression="zstd")
        file = outputs.write(f"{time:%Y%m%dT%H%M%S}-{number:05d}.parquet", sink.getvalue())
        accepted = int((frame["decision"] == "accept").sum())
        labelled = int((frame["human_category"] != "").sum())
        refused = len(scored.rejects)
        right = float((frame["category"] == true).mean()) if len(frame) else float("nan")
        yield Lot(file, time, len(frame), refused, accepted, labelled, right)


def _people(
    frame: pd.DataFrame, true: list[str], categories: tuple[str, ...], traffic: Traffic, rng: np.random.Generator
) -> list[str]:
    """Return what people say of a lot: they look where they were asked to, seldom elsewhere, and are wrong at times."""
    chance = np.where(frame["decision"] == "review", traffic.feedback, traffic.feedback * ACCEPTED_LOOKED_AT)
    looked = rng.random(len(frame)) < chance
    wrong = rng.random(len(frame)) < traffic.mistakes
    others = rng.integers(0, len(categories), len(frame))
    return [
        "" if not seen else categories[other] if slip else name
        for seen, slip, other, name in zip(looked, wrong, others, true, strict=True)
    ]


_Truth = Callable[[Mapping[str, object]], str]


def _lots(traffic: Traffic, predictor: Predictor, config: Config) -> Iterator[tuple[ScoredShard, _Truth]]:
    if traffic.drift is None and config.split.unseen > 0:
        yield from _unseen(traffic, predictor, config)
    elif config.catalog.synthetic is not None:
        yield from _generated(traffic, predictor, config)
    else:
        raise RayonError(
            "there are no products to replay: set split.unseen to 0.1, say, and preprocess again; drifted traffic can "
            "be made for the demo catalogue alone."
        )


def _unseen(traffic: Traffic, predictor: Predictor, config: Config) -> Iterator[tuple[ScoredShard, _Truth]]:
    waiting = SHARD_SCHEMA.empty_table()
    lots = 0
    for table in unseen_tables(config):
        waiting = pa.concat_tables([waiting, table])
        while waiting.num_rows >= traffic.size and lots < traffic.lots:
            yield score_table(waiting.slice(0, traffic.size), predictor, ""), _given
            waiting, lots = waiting.slice(traffic.size), lots + 1
    if waiting.num_rows and lots < traffic.lots:
        yield score_table(waiting, predictor, ""), _given


def _given(row: Mapping[str, object]) -> str:
    return str(row["given_category"])


def _generated(traffic: Traffic, predictor: Predictor, config: Config) -> Iterator[tuple[ScoredShard, _Truth]]:
    """Products after the catalogue's last one, which no training has seen."""
    synthetic = config.catalog.synthetic
    assert synthetic is not None
    drift = f"{traffic.drift.kind}-{traffic.drift.strength:g}" if traffic.drift else "none"
    made = f"{config.name}-{synthetic.seed}-{synthetic.categories}-{synthetic.rows}-{drift}"
    folder = Path(config.cache) / "traffic-source" / made
    rows = dataclasses.replace(synthetic, rows=max(traffic.lots * traffic.size, 200))
    try:
        products = write_catalogue(folder, rows, traffic.drift, start=synthetic.rows)
    except FileExistsError:  # there are more than are asked for
        products = folder / "products.csv"
    settings = as_trained(with_input(config, str(products), str(folder / "images")), predictor.bundle.preprocess)
    settings = dataclasses.replace(settings, score=dataclasses.replace(config.score, shard_rows=traffic.size))

    def truth(row: Mapping[str, object]) -> str:
        place = synthetic.rows + int(str(row["row"])) - 1
        return true_category(synthetic, place, traffic.drift)

    for number, piece in enumerate(plan_scoring(settings)):
        if piece.part is None or number >= traffic.lots:
            return
        yield score_part(piece.part, predictor, settings, ""), truth
