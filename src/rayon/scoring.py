"""Scores one shard of products: from a planned part, or from rows of a dataset version, to a Parquet file.

Knows shards and a `Predictor`, and nothing of the catalogue around a shard: shards are scored anywhere, in any order.
The same shard and model give the same bytes.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rayon.config import Config, Preprocess
from rayon.data.building import build_shard
from rayon.data.shards import read_table
from rayon.observing import OBSERVED, observe

if TYPE_CHECKING:
    from rayon.inference import Answers, Predictor

PREDICTIONS_SCHEMA = pa.schema(
    {
        "product_id": pa.string(),
        "category": pa.string(),
        "confidence": pa.float64(),
        "top_k": pa.list_(pa.struct({"category": pa.string(), "probability": pa.float64()})),
        "text_contribution": pa.float64(),
        "image_contribution": pa.float64(),
        "decision": pa.string(),
        "model_version": pa.string(),
        "photo_problem": pa.string(),
        "entropy": pa.float64(),
        "given_category": pa.string(),
        "title_length": pa.int32(),
        "description_length": pa.int32(),
        "has_image": pa.bool_(),
        "text_key": pa.binary(),
        "image_key": pa.binary(),
        "source": pa.string(),
        "row": pa.int64(),
        **{field.name: field.type for field in OBSERVED},
    }
)
"""A scored product, with what is observed of it (`rayon.observing.OBSERVED`). `given_category` is what the input said,
'' where it said nothing; `entropy` is in nats; lengths are characters of the cleaned texts; `text_key` and `image_key`
find the features again; `source` and `row` (1-based) say where the product was read."""

CONFIDENCE_BINS = 20
_SAMPLES = 10
_KEY = b"rayon.shard"


class ScoredShard(NamedTuple):
    """A shard's Parquet bytes, the rows that could not be judged (`REJECT_COLUMNS`), and what to say of it in sum."""

    data: bytes
    rejects: pd.DataFrame
    summary: dict[str, Any]


def shard_key(predictor: Predictor, shard: bytes, model: str) -> str:
    """Return what a shard's predictions depend on, as a hash (hex): its rows, the threshold, the schema, the model.

    The rows of a planned part tell size and time of their photos; an address is taken at its word. `model` is the
    SHA-256 of the bundle (hex).
    """
    facts = [predictor.version, predictor.threshold, str(PREDICTIONS_SCHEMA), model]
    return sha256(json.dumps(facts).encode() + shard).hexdigest()


def finished(data: bytes | None, key: str) -> bool:
    """Say whether `data` is a complete Parquet file of predictions with that key."""
    if data is None:
        return False
    try:
        metadata = pq.read_schema(pa.BufferReader(data)).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata.get(_KEY) == key.encode())


def as_trained(config: Config, preprocess: Preprocess) -> Config:
    """Return the settings with a model's `preprocess`: how products were cleaned when it was trained."""
    return dataclasses.replace(config, preprocess=dataclasses.replace(preprocess, workers=config.preprocess.workers))


def score_part(part: bytes, predictor: Predictor, config: Config, key: str) -> ScoredShard:
    """Score a planned part: read and shrink its photos as training did, then judge.

    A product whose photo cannot be used is judged on its text and says so in `photo_problem`; one without text is a
    reject.
    """
    built = build_shard(part, as_trained(config, predictor.bundle.preprocess))
    refused = built.rejects[built.rejects["scope"] == "photo"]
    problems = {
        (source, row): f"{reason}: {detail}"
        for source, row, reason, detail in zip(
            *(refused[column] for column in ("source", "row", "reason", "detail")), strict=True
        )
    }
    rejects = built.rejects[built.rejects["scope"] == "product"].reset_index(drop=True)
    return score_table(read_table(built.data), predictor, key, problems, rejects)


def score_table(
    table: pa.Table,
    predictor: Predictor,
    key: str,
    problems: Mapping[tuple[str, int], str] | None = None,
    rejects: pd.DataFrame | None = None,
    answers: Answers | None = None,
) -> ScoredShard:
    """Score the products of a table with the columns of a shard.

    Args:
        problems: why a product's photo was refused, by (source, row).
        rejects: what was refused on the way here, handed through.
        answers: what the predictor says of them, where it was asked already.
    """
    from rayon.inference import Prepared  # torch, which who reads or adds up predictions does not need

    titles, descriptions = table["designation"].to_pylist(), table["description"].to_pylist()
    photos = table["image"].to_pylist()
    prepared = Prepared(titles, descriptions, photos)
    answers = answers or predictor.judge(prepared)
    observed = observe(predictor, prepared, answers)
    names = np.array(predictor.categories, dtype=object)
    confidence = answers.probabilities[:, 0]
    origin = list(zip(table["source"].to_pylist(), table["row"].to_pylist(), strict=True))
    noted = problems or {}
    top = [
        [{"category": name, "probability": float(p)} for name, p in zip(names[labels], each, strict=True)]
        for labels, each in zip(answers.labels, answers.probabilities, strict=True)
    ]
    decisions = ["accept" if predictor.accepts(value) else "review" for value in confidence]
    columns: dict[str, Any] = {
        "product_id": table["product_id"],
        "category": [first[0]["category"] for first in top],
        "confidence": confidence,
        "top_k": top,
        "text_contribution": answers.text_share,
        "image_contribution": 1.0 - answers.text_share,
        "decision": decisions,
        "model_version": [predictor.version] * len(table),
        "photo_problem": [noted.get(place, "") for place in origin],
        "entropy": answers.entropy,
        "given_category": table["category"],
        "title_length": [len(title) for title in titles],
        "description_length": [len(description) for description in descriptions],
        "has_image": [photo is not None for photo in photos],
        "text_key": table["text_key"],
        "image_key": table["image_key"],
        "source": table["source"],
        "row": table["row"],
        **{name: observed[name] for name in OBSERVED.names},
    }
    scored = pa.table(
        {name: _array(values, PREDICTIONS_SCHEMA.field(name).type) for name, values in columns.items()},
        schema=PREDICTIONS_SCHEMA.with_metadata({_KEY: key.encode()}),
    )
    sink = io.BytesIO()
    pq.write_table(scored, sink, compression="zstd")
    lost = rejects if rejects is not None else pd.DataFrame()
    told = {"samples": _samples(columns, titles, photos), "strangest": _strangest(columns, titles, photos)}
    return ScoredShard(sink.getvalue(), lost, {**summarise(scored), **told})


def summarise(scored: pa.Table) -> dict[str, Any]:
    """Return a table of predictions in sum, as plain data that `add_up` adds."""
    confidence = scored["confidence"].to_numpy()
    return {
        "products": scored.num_rows,
        "accepted": pc.sum(pc.equal(scored["decision"], "accept")).as_py() or 0,
        "without_photo": pc.sum(pc.invert(scored["has_image"])).as_py() or 0,
        "photo_problems": pc.sum(pc.not_equal(scored["photo_problem"], "")).as_py() or 0,
        "confidence_sum": float(confidence.sum()),
        "confidence_histogram": np.histogram(confidence, bins=CONFIDENCE_BINS, range=(0.0, 1.0))[0].tolist(),
        "mix": dict(Counter(scored["category"].to_pylist())),
    }


def add_up(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the summaries of several shards as one; of their samples the surest, the least sure and those that look
    least like the training are kept.
    """
    total: dict[str, Any] = summarise(PREDICTIONS_SCHEMA.empty_table())
    mix: Counter[str] = Counter()
    samples: list[dict[str, Any]] = []
    strangest: list[dict[str, Any]] = []
    for summary in summaries:
        for name in ("products", "accepted", "without_photo", "photo_problems", "confidence_sum"):
            total[name] += summary[name]
        both = zip(total["confidence_histogram"], summary["confidence_histogram"], strict=True)
        total["confidence_histogram"] = [a + b for a, b in both]
        mix.update(summary["mix"])
        samples = _extremes([*samples, *summary["samples"]])
        strangest = most_unlike([*strangest, *summary.get("strangest", [])])
    return {**total, "mix": dict(mix.most_common()), "samples": samples, "strangest": strangest}


def most_unlike(samples: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the samples of summaries whose photos look least like the training's, the strangest first."""
    ordered = sorted(samples, key=lambda sample: -float(sample["photo_novelty"]))
    return [dict(sample) for sample in ordered[:_SAMPLES]]


def _samples(columns: Mapping[str, Any], titles: list[str], photos: list[bytes | None]) -> list[dict[str, Any]]:
    """The surest products and the least sure ones: what a person would look at, with photos (JPEG)."""
    order = np.argsort(-columns["confidence"], kind="stable")
    chosen = dict.fromkeys([*order[:_SAMPLES].tolist(), *order[-_SAMPLES:].tolist()])
    return [_sample(columns, titles, photos, row) for row in chosen]


def _strangest(columns: Mapping[str, Any], titles: list[str], photos: list[bytes | None]) -> list[dict[str, Any]]:
    """The products whose photos look least like those of the training, with how unlike they are."""
    novelty = columns["photo_novelty"].to_numpy()
    order = np.argsort(-np.nan_to_num(novelty, nan=-1.0), kind="stable")[:_SAMPLES].tolist()
    return [
        {**_sample(columns, titles, photos, row), "photo_novelty": float(novelty[row])}
        for row in order
        if np.isfinite(novelty[row])
    ]


def _sample(columns: Mapping[str, Any], titles: list[str], photos: list[bytes | None], row: int) -> dict[str, Any]:
    return {
        "product_id": columns["product_id"][row].as_py(),
        "title": titles[row][:200],
        "category": columns["category"][row],
        "confidence": float(columns["confidence"][row]),
        "decision": columns["decision"][row],
        "photo": photos[row],
    }


def _extremes(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ordered = sorted(samples, key=lambda sample: -float(sample["confidence"]))
    return ordered if len(ordered) <= 2 * _SAMPLES else [*ordered[:_SAMPLES], *ordered[-_SAMPLES:]]


def _array(values: Any, kind: pa.DataType) -> Any:
    return values if isinstance(values, pa.ChunkedArray) else pa.array(values, kind)
