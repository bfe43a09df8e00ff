"""What production said lately: the predictions of a window of time, a run or a file, counted and put together.

One of the few modules that know Metaflow. Every source of predictions comes in through `read_window`, a lot of products
at a time. Judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from metaflow import Run, namespace
from metaflow.exception import MetaflowNotFound

from rayon.champions import RegistryError, ended, run_path, runs_tagged, started
from rayon.config import WINDOW, Config
from rayon.data.text import clean_label
from rayon.feedback import open_store
from rayon.monitoring_config import Monitoring
from rayon.reading import Key, in_lots, read_file, row_keys
from rayon.registry import feedback_state, iter_predictions, scores_tag
from rayon.requests import iter_requests
from rayon.sampling import Sample
from rayon.tally import Tally
from rayon.window import HUMAN, WindowError, open_frame

_APP = "app:"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_UNUSED = ("source", "row")

_LONGEST_WINDOW = timedelta(days=36_500)
_UNKNOWN = "unknown"

LONGEST_SCORING = timedelta(days=2)
"""No run of ScoreFlow takes longer: runs that began before are not asked when they finished."""

SAMPLE_ROWS = Monitoring().sample_rows


class Production(NamedTuple):
    """What was predicted.

    `table` holds the predictions of one model (`rayon.scoring.PREDICTIONS_SCHEMA`, with `human_category` where people
    labelled some), a sample where there are very many, and `whole` what is counted of all of them. `others` is how
    many there were by each other model, 'unknown' for none. `rejected` counts rows that could not be scored, and those
    of `model` that name no likeliest categories; `strangest` are samples whose photos look least like the training's,
    with photos. `key` is the same for the same predictions. `columns` are those
    by which inputs differed from what the model was trained from, `new` and `gone`.
    """

    table: pa.Table
    others: dict[str, int]
    rejected: int
    strangest: list[dict[str, Any]]
    key: str
    columns: dict[str, list[str]]
    whole: Tally | None = None


def parse_window(text: str) -> timedelta:
    """Return the length of a window such as '7d', '12h' or '30m'.

    Raises:
        WindowError: it is nothing of the kind, or longer than a hundred years.
    """
    found = re.match(WINDOW, text)
    if found is None:
        raise WindowError(f"'{text}' is no length of time: write a number and m, h, d or w, as in 7d or 12h.")
    number, unit = int(found.group(1)), timedelta(**{_UNITS[found.group(2)]: 1})
    if number > _LONGEST_WINDOW // unit:
        raise WindowError(f"'{text}' is more than a hundred years: write a shorter length of time, as in 7d or 12h.")
    return number * unit


def span_of(window: str, now: datetime) -> list[str]:
    """Return begin and end of the window of this length that ends `now`, ISO.

    Raises:
        WindowError: the window's length cannot be read.
    """
    return [(now - parse_window(window)).isoformat(), now.isoformat()]


def sources_since(name: str, since: datetime) -> list[str]:
    """Return the runs that finished scoring products for catalogue `name` in this project branch since then, however
    long before they began, up to `LONGEST_SCORING`.

    The oldest comes first. One that was killed may have left nothing to read; where it was resumed, the run that went
    on says all that it said.
    """
    found = []
    for run in runs_tagged("ScoreFlow", scores_tag(name)):
        if started(run) < since - LONGEST_SCORING:
            break
        if run.successful and ended(run) >= since:
            found.append(run.pathspec)
    return found[::-1]


def app_source(config: Config, window: str, now: datetime | None = None) -> list[str]:
    """Return what the app was asked in a window, as plain text, 'app:start/end'; none where it was asked nothing.

    Raises:
        WindowError: the window's length cannot be read.
        StoreError: the store cannot be opened.
    """
    end = now or datetime.now(UTC)
    start = end - parse_window(window)
    store = open_store(config)
    try:
        some = store.predicted_between(start, end)
    finally:
        store.close()
    return [f"{_APP}{start.isoformat()}/{end.isoformat()}"] if some else []


def choose_sources(name: str, window: str, run: str, file: str, now: datetime | None = None) -> list[str]:
    """Return what is to be looked at, as plain text: runs as 'ScoreFlow/12', a file or folder as its absolute path.

    A file goes before a run, a run before a window.

    Raises:
        WindowError: the window's length cannot be read, or there is no such file.
    """
    if file:
        path = Path(file).resolve()
        if not path.exists():
            raise WindowError(f"there is no file {path}: give a Parquet file of predictions, or a folder of them.")
        return [str(path)]
    if run:
        return [run_path("ScoreFlow", run)]
    return sources_since(name, (now or datetime.now(UTC)) - parse_window(window))


def read_window(
    sources: Sequence[str],
    model: str,
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    sample_rows: int = SAMPLE_ROWS,
) -> Production:
    """Read the predictions of `model` ('TrainFlow/12') from all sources, in their order, a lot at a time.

    Args:
        config: the experiment whose app is a source; needed where one is.
        labels: what people said of products, by product id; it goes before what a source says itself.
        sample_rows: how many products the table has at most. Of more, those are drawn whose hashes say so (of id,
            content and confidence), whatever order they come in.

    Raises:
        WindowError: a file is no Parquet file of predictions.
        RegistryError: a run is not here or has not finished.
    """
    others: dict[str, int] = {}
    rejected, strangest = 0, []
    columns: dict[str, list[str]] = {"new": [], "gone": []}
    for source in sources:
        if not source.startswith((_APP, "/")):
            summary = _summary(source)
            rejected += int(summary.get("rejected", 0))
            if summary.get("model") == model:
                strangest += summary.get("strangest", [])
                for which, names in summary.get("columns", {}).items():
                    columns[which] += [name for name in names if name not in columns[which]]
    whole, sample, key = Tally(), Sample(sample_rows), Key()
    for lot in in_lots(_ours(source, part, model, others) for source in sources for part in _parts(source, config)):
        key.add(lot)
        answered = _answered(lot)
        rejected += lot.num_rows - answered.num_rows
        told = _labelled(answered, labels or {}) if answered.num_rows else answered
        if told.num_rows:
            frame = open_frame(told)
            whole.add(frame)
            sample.add(told, row_keys(frame))
    strangest.sort(key=lambda sample: -float(sample["photo_novelty"]))
    return Production(sample.table(), others, rejected, strangest[:10], key.digest(), columns, whole)


def _parts(source: str, config: Config | None) -> Iterator[pa.Table]:
    if source.startswith(_APP) and config is not None:
        return _read_app(source, config)
    return read_file(source) if source.startswith("/") else iter_predictions(source)


def _ours(source: str, part: pa.Table, model: str, others: dict[str, int]) -> pa.Table:
    """Return the predictions of one model in some, without what is not needed; those of others are counted."""
    versions = pc.value_counts(part["model_version"])
    for version, count in zip(versions.field(0).to_pylist(), versions.field(1).to_pylist(), strict=True):
        if version != model:
            others[version or _UNKNOWN] = others.get(version or _UNKNOWN, 0) + count
    return part.filter(pc.equal(part["model_version"], model)).drop_columns(_unused(part))


def _answered(table: pa.Table) -> pa.Table:
    """Return the predictions that name likeliest categories; where there is no such column, all."""
    if "top_k" not in table.column_names:
        return table
    column = table["top_k"]
    if pa.types.is_null(column.type):
        return table.slice(0, 0)
    return table.filter(pc.greater(pc.list_value_length(column), 0))


def read_labels(file: str) -> dict[str, str]:
    """Return what people said of products, by id, from a CSV or Parquet file with the columns product_id and label,
    both cleaned as a catalogue's are.

    Raises:
        WindowError: the file cannot be read, or has not these columns.
    """
    try:
        if file.endswith(".parquet"):
            frame = pd.read_parquet(file)
        else:  # in which 'NA' and 'None' are ids and categories like others
            frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise WindowError(f"the feedback {file} cannot be read: {error}") from None
    missing = [name for name in ("product_id", "label") if name not in frame]
    if missing:
        raise WindowError(f"{file}: there is no column {', '.join(missing)}; feedback has product_id and label.")
    frame = frame.dropna(subset=["product_id", "label"])
    columns = [map(clean_label, frame[name].astype(str)) for name in ("product_id", "label")]
    return {product: label for product, label in zip(*columns, strict=True) if product and label}


def _unused(table: pa.Table) -> list[str]:
    return [name for name in _UNUSED if name in table.column_names]


def _read_app(source: str, config: Config) -> Iterator[pa.Table]:
    start, _, end = source.removeprefix(_APP).partition("/")
    store = open_store(config)
    try:
        state = feedback_state(config.name).in_store(store)
        doubtful = {*state.waiting, *state.wrong}  # one person's flood is no loss of accuracy
        yield from iter_requests(store, datetime.fromisoformat(start), datetime.fromisoformat(end), doubtful)
    finally:
        store.close()


def _summary(run: str) -> dict[str, Any]:
    namespace(None)
    try:
        summary: dict[str, Any] = Run(run)["combine"].task["summary"].data  # type: ignore[index]
    except (MetaflowNotFound, KeyError, TypeError) as error:
        raise RegistryError(f"the run {run} is not here or has not finished: it left no summary.") from error
    return summary


def _labelled(table: pa.Table, labels: Mapping[str, str]) -> pa.Table:
    """Return predictions with what people said, cleaned, where they said something of any."""
    if "product_id" not in table.column_names or not (labels or HUMAN in table.column_names):
        return table
    said = [labels.get(product, "") for product in table["product_id"].to_pylist()]
    if HUMAN in table.column_names:  # a column that anybody may have written
        said = [new or old or "" for new, old in zip(said, table[HUMAN].to_pylist(), strict=True)]
        table = table.drop_columns([HUMAN])
    cleaned = {name: clean_label(str(name)) for name in set(said)}
    return table.append_column(HUMAN, pa.array([cleaned[name] for name in said], pa.string()))
