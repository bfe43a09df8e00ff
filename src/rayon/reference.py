"""The reference: what a model saw and said of its gold set when it was trained, in the frame shape of scored products.

One Parquet file, a row a gold product with its label in `given_category`; what production is compared with. Knows how
it is made and read; it compares nothing, and reading it needs neither catalogue nor encoders.
"""

from __future__ import annotations

import io
import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.gate import Said
from rayon.scoring import score_table

_KEY = b"rayon.reference"


class Reference(NamedTuple):
    """The gold products as scored (`rayon.scoring.PREDICTIONS_SCHEMA`, label in `given_category`), the model that
    scored them ('TrainFlow/12'), and its categories.
    """

    table: pa.Table
    model: str
    categories: tuple[str, ...]


def make_reference(bundle: bytes, model: str, dataset: Dataset, config: Config) -> tuple[bytes, Said]:
    """Run a bundle on the gold set by the path that serves, once for both: return the reference as a Parquet file, and
    what the gate judges.

    Features are found in the experiment's cache, so that nothing is encoded again.
    """
    from rayon.bundle import read_bundle
    from rayon.gold import gold_rows
    from rayon.inference import Predictor, Prepared, answers_of
    from rayon.models.shared import feature_store

    store = feature_store(config)
    opened = read_bundle(bundle)
    measured = [threshold.precision for threshold in opened.thresholds]
    precision = config.score.precision if config.score.precision in measured else None
    predictor = Predictor(opened, model, precision, store)
    rows = gold_rows(dataset)
    columns = ["product_id", "designation", "description", "category", "text_key", "image_key", "source", "row"]
    table = pa.Table.from_pandas(dataset.frame.iloc[rows][columns], preserve_index=False)
    photos = dataset.photos(rows.tolist())
    table = table.append_column("image", pa.array(photos, pa.large_binary()))
    titles, descriptions = (table[name].to_pylist() for name in ("designation", "description"))
    whole, *without = predictor.ablated(Prepared(titles, descriptions, photos))
    scored = pq.read_table(pa.BufferReader(score_table(table, predictor, "", answers=answers_of(whole)).data))
    facts = {"model": model, "categories": list(opened.categories)}
    sink = io.BytesIO()
    noted = scored.replace_schema_metadata({_KEY: json.dumps(facts, ensure_ascii=False).encode()})
    pq.write_table(noted, sink, compression="zstd")
    told = (each.log_probabilities.astype(np.float32) if each else None for each in without)
    return sink.getvalue(), Said(whole.log_probabilities.astype(np.float32), *told)


def read_reference(data: bytes) -> Reference:
    """Read the bytes that `make_reference` returned.

    Raises:
        ValueError: they are no reference.
    """
    try:
        table = pq.read_table(pa.BufferReader(data))
        facts = json.loads((table.schema.metadata or {})[_KEY])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError("these bytes are no reference of a model: take the artifact again, or train anew.") from error
    return Reference(table, facts["model"], tuple(facts["categories"]))
