"""A scoring run: what is to be scored, by how many tasks, and what came of it.

Brings together the registry, planning and scoring; the flow stores what comes back. Shards are jobs, plain data: a job
is done by whatever task gets it, and one whose file is there already is not done again.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rayon.bundle_document import BundleError, describe_bundle
from rayon.config import Config, Preprocess
from rayon.data.catalog import changed_columns
from rayon.data.fetching import fetch_catalog
from rayon.data.outputs import Outputs, is_remote
from rayon.data.planning import plan_scoring
from rayon.data.shards import ShardRef, read_table, write_table
from rayon.data.splits import assign_splits
from rayon.data.validation import join_rejects
from rayon.preparing import RayonError
from rayon.registry import Model, any_dataset, read_keys, read_shard
from rayon.schema import REJECT_COLUMNS
from rayon.scoring import add_up, as_trained, finished, score_part, score_table, shard_key, summarise

if TYPE_CHECKING:  # torch, which who plans, adds up or tells does not need
    from rayon.inference import Predictor

UNSEEN = "unseen"
"""The input that stands for the products which the split keeps aside."""

Job = dict[str, Any]
"""A shard to score: `number`, `rows`, and for one of a dataset version `ref` and `positions`; otherwise a part."""


class Done(NamedTuple):
    """A job's Parquet bytes, its rejects and its summary, and whether it had been done before."""

    number: int
    data: bytes
    rejects: pd.DataFrame
    summary: dict[str, Any]
    found: bool


def with_input(config: Config, source: str, images: str) -> Config:
    """Return the settings with another catalogue: the file or folder `source`, its photos in the folder `images`.

    Both are paths or s3:// addresses.
    """
    catalog = dataclasses.replace(
        config.catalog,
        products=_place(source),
        labels=None,
        images=_place(images) if images else config.catalog.images,
        synthetic=None,
    )
    return dataclasses.replace(config, catalog=catalog)


def _place(location: str) -> str:
    return location if is_remote(location) else str(Path(location).resolve())


def open_predictor(model: Model, config: Config) -> Predictor:
    """Return a predictor that finds features in the experiment's cache and decides by its `score.precision`.

    Raises:
        RayonError: the model cannot be served here; the sentence says what to do.
    """
    from rayon.bundle import read_bundle
    from rayon.inference import Predictor, PredictorError
    from rayon.models.encoders import EncoderError
    from rayon.models.shared import feature_store

    try:
        store = feature_store(config)
        return Predictor(read_bundle(model.bundle), model.version, config.score.precision, store)
    except (BundleError, EncoderError, PredictorError) as error:
        raise RayonError(f"the model {model.version} cannot be served: {error}") from None


class Planned(NamedTuple):
    """The shards to score, the rows refused so far, and how the input's columns differ (`input_columns`)."""

    jobs: list[Job]
    refused: pd.DataFrame
    columns: dict[str, list[str]]


def plan_input(
    config: Config, source: str, bundle: bytes, keep: Callable[[int, bytes], None], names: Collection[str] | None = None
) -> Planned:
    """Plan the scoring of the settings' catalogue, which is copied here where it lies on S3, or of the unseen products.

    Args:
        keep: stores the parts of a file, `keep(number, part)`.
        names: the files to score (`rayon.score_files`), which may be none; all of the input's if not given.

    Raises:
        RayonError, CatalogError: as `plan_jobs` and `input_columns`.
    """
    if names is not None and not names:
        return Planned([], join_rejects([]), {"new": [], "gone": []})
    if source != UNSEEN:
        here = fetch_catalog(config.catalog, Path(config.cache) / "catalogs", names)
        config = dataclasses.replace(config, catalog=here)
    columns = input_columns(config, source, bundle)
    config = as_trained(config, Preprocess(**describe_bundle(bundle).get("preprocess", {})))
    return Planned(*plan_jobs(config, source, keep), columns)


def plan_jobs(
    config: Config, source: str, keep: Callable[[int, bytes], None], count: Callable[[int], None] = lambda _: None
) -> tuple[list[Job], pd.DataFrame]:
    """Return the shards to score and the rows refused so far; `keep(number, part)` stores the parts of a file, and
    `count` is told of its rows as `plan_scoring` does.

    Raises:
        RayonError: no product is set apart, where `source` is 'unseen'.
        CatalogError: the file cannot be read.
    """
    if source == UNSEEN:
        return list(_unseen_jobs(config)), join_rejects([])
    jobs: list[Job] = []
    rejects: list[pd.DataFrame] = []
    for piece in plan_scoring(config, count):
        rejects.append(piece.rejects)
        if piece.part is not None:
            keep(len(jobs), piece.part)
            jobs.append({"number": len(jobs), "rows": read_table(piece.part).num_rows})
    return jobs, join_rejects(rejects)


def input_columns(config: Config, source: str, bundle: bytes) -> dict[str, list[str]]:
    """Return how the input's columns differ from those that the model was trained from: `new` and `gone` ones.

    A model that was trained before columns were kept knows of none: then what is gone is told alone.

    Raises:
        CatalogError: the file cannot be read.
    """
    if source == UNSEEN:
        return {"new": [], "gone": []}
    return changed_columns(config.catalog, describe_bundle(bundle)["reference"].get("columns", []))


def share_out(jobs: Sequence[Job], tasks: int) -> list[list[Job]]:
    """Return the jobs of each task, neighbours together; one task with nothing to do where there are no jobs."""
    parts = np.array_split(np.arange(len(jobs)), max(1, min(tasks, len(jobs))))
    return [[jobs[i] for i in part] for part in parts]


def run_jobs(
    jobs: Sequence[Job],
    load_part: Callable[[int], bytes],
    predictor: Predictor,
    bundle: bytes,
    config: Config,
    outputs: Outputs,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> Iterator[Done]:
    """Score jobs one after the other; each is yielded once its files are written.

    A job whose file is there already, for these rows and this model, is read and not done again; its samples for the
    card are not told then.
    """
    total, rows, model = sum(job["rows"] for job in jobs), 0, sha256(bundle).hexdigest()
    for job in jobs:
        number = job["number"]
        shard = _rows_of(job) if "ref" in job else load_part(number)
        key = shard_key(predictor, shard, model)
        there = outputs.read(_predictions_file(number))
        if there is not None and finished(there, key):
            # the rejects are written first: they are there where the predictions are
            rejects = pq.read_table(pa.BufferReader(outputs.read(_rejects_file(number)))).to_pandas()
            summary = {**summarise(pq.read_table(pa.BufferReader(there))), "samples": [], "strangest": []}
            yield Done(number, there, rejects, summary, found=True)
        else:
            if "ref" in job:
                scored = score_table(read_table(shard), predictor, key)
            else:
                scored = score_part(shard, predictor, config, key)
            outputs.write(_rejects_file(number), as_parquet(scored.rejects))
            outputs.write(_predictions_file(number), scored.data)
            yield Done(number, scored.data, scored.rejects, scored.summary, found=False)
        rows += job["rows"]
        tell("products scored", rows, total)


def conclude(
    jobs: Sequence[Job],
    refused: pd.DataFrame,
    summaries: Sequence[Mapping[str, Any]],
    rejects: Sequence[pd.DataFrame],
    model: str,
    outputs: Outputs,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the run's summary and all its rejects, and leave both as files; `columns` is what `input_columns` told.

    Raises:
        RayonError: a row was lost on the way, which would be a mistake of rayon's.
    """
    every = join_rejects([refused, *rejects])
    summary = add_up(summaries)
    summary = {
        "model": model,
        "read": sum(job["rows"] for job in jobs) + len(refused),
        "rejected": len(every),
        "columns": {which: list(names) for which, names in (columns or {}).items()},
        **summary,
    }
    if summary["read"] != summary["products"] + summary["rejected"]:
        raise RayonError(
            f"{summary['read']} rows were read, {summary['products']} scored and {summary['rejected']} rejected: "
            "please report this."
        )
    _drop_older(outputs, len(jobs))
    outputs.write("rejects.parquet", as_parquet(every))
    told = {name: value for name, value in summary.items() if name not in ("samples", "strangest")}
    outputs.write("summary.json", json.dumps(told, ensure_ascii=False, indent=1).encode())
    return summary, every


def tracked_values(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return a run's summary under the keys that every W&B run of a scoring uses."""
    products = max(summary["products"], 1)
    return {
        "score/products": summary["products"],
        "score/rejected": summary["rejected"],
        "score/accepted_share": summary["accepted"] / products,
        "score/mean_confidence": summary["confidence_sum"] / products,
        "score/without_photo_share": summary["without_photo"] / products,
    }


def trained_mix(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of each category in what the model of a bundle's document predicted when it was judged."""
    counts = document["reference"].get("predicted_mix", [])
    return {name: count / max(sum(counts), 1) for name, count in zip(document["categories"], counts, strict=False)}


def as_parquet(rejects: pd.DataFrame) -> bytes:
    """Return rejects as a Parquet file."""
    sink = io.BytesIO()
    table = pa.Table.from_pandas(rejects.reindex(columns=list(REJECT_COLUMNS)), _REJECTS_SCHEMA, preserve_index=False)
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


_REJECTS_SCHEMA = pa.schema({name: pa.int64() if name == "row" else pa.string() for name in REJECT_COLUMNS})


_PART = re.compile(r"(predictions|rejects)/part-\d{5,}\.parquet")


def _drop_older(outputs: Outputs, jobs: int) -> None:
    """Delete what an earlier run with more shards left in the same folder: its files are no part of this one."""
    written = {name(number) for number in range(jobs) for name in (_predictions_file, _rejects_file)}
    for file in [*outputs.listing("predictions"), *outputs.listing("rejects")]:
        if file.name not in written and _PART.fullmatch(file.name):
            outputs.delete(file.name)


def _predictions_file(number: int) -> str:
    return f"predictions/part-{number:05d}.parquet"


def _rejects_file(number: int) -> str:
    return f"rejects/part-{number:05d}.parquet"


def _unseen_jobs(config: Config) -> Iterator[Job]:
    version = any_dataset(config.name)
    if version is None:
        raise RayonError(
            f"there is no dataset version of '{config.name}' to take the unseen products from: run "
            "`python flows/preprocess_flow.py run` with the same --config, or name a file with --input."
        )
    number = 0
    for ref in version.manifest.shards:
        groups = read_table(read_keys(ref))["group"].to_numpy()
        apart = np.asarray(assign_splits(groups, config.split) == UNSEEN)
        apart[list(ref.removed)] = False
        positions = np.flatnonzero(apart).tolist()
        if positions:
            yield {"number": number, "rows": len(positions), "ref": ref._asdict(), "positions": positions}
            number += 1
    if not number:
        raise RayonError(
            f"no product of '{config.name}' is set apart: split.unseen is {config.split.unseen:g}. Set it to 0.1, say "
            "(the gold set does not move), or name a file with --input."
        )


def unseen_tables(config: Config) -> Iterator[pa.Table]:
    """Yield the products that the split keeps aside, with the columns of a shard, a shard at a time.

    Raises:
        RayonError: none is set apart.
    """
    for job in _unseen_jobs(config):
        yield read_table(_rows_of(job))


def _rows_of(job: Job) -> bytes:
    """Return a job's rows of a dataset version's shard, as a shard of their own."""
    table = read_table(read_shard(ShardRef(**{**job["ref"], "removed": tuple(job["ref"]["removed"])})))
    return write_table(table.take(pa.array(job["positions"])))
