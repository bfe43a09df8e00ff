"""What the app was asked, in the shape of ScoreFlow's predictions: written when it answers, read back for monitoring.

Knows the store and the columns of predictions; no Metaflow, no model.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rayon.data.shards import input_key
from rayon.data.text import product_text
from rayon.feedback import Logged, Store, new_id
from rayon.observing import OBSERVED, observe
from rayon.scoring import PREDICTIONS_SCHEMA
from rayon.window import HUMAN

if TYPE_CHECKING:
    from rayon.inference import Answers, Predictor, Prepared, Ready

_DIGITS = 5
_COLUMNS = (
    "product_id",
    "category",
    "confidence",
    "top_k",
    "text_contribution",
    "decision",
    "model_version",
    "photo_problem",
)


def observations(predictor: Predictor, prepared: Prepared, answers: Answers) -> list[bytes]:
    """Return what is to be kept beside each prediction so that it can be compared later: JSON, a product each.

    Keys of the contents are among it: a photo may be gone before it is compared.
    """
    rows = observe(predictor, prepared, answers).to_pylist()
    contents = zip(prepared.designations, prepared.descriptions, prepared.photos, strict=True)
    return [
        json.dumps(
            {
                "entropy": _short(float(entropy)),
                "text_key": input_key(product_text(title, description).encode()).hex(),
                "image_key": input_key(photo or b"").hex(),
                **{name: _short(value) for name, value in row.items()},
            }
        ).encode()
        for entropy, (title, description, photo), row in zip(answers.entropy, contents, rows, strict=True)
    ]


def judge_to_log(predictor: Predictor, ready: Sequence[Ready], sources: Sequence[str]) -> list[Logged]:
    """Judge products and return each prediction as the store keeps it; `sources` says who asked, a product each."""
    from rayon.inference import together  # torch, which who reads requests does not need

    columns = together(ready)
    answers = predictor.judge(columns)
    judged = zip(ready, predictor.tell(ready, answers), sources, observations(predictor, columns, answers), strict=True)
    return [
        Logged(new_id(), one.designation, one.description, one.photo, said, source, seen)
        for one, said, source, seen in judged
    ]


def iter_requests(store: Store, start: datetime, end: datetime, without: Collection[int] = ()) -> Iterator[pa.Table]:
    """Yield what the app predicted in a span of time, some rows at a time and none at first, with the columns of
    `PREDICTIONS_SCHEMA` that it knows and what people said of it (the last word), '' where nobody did; the pieces of
    feedback `without`, by number, do not count.
    """
    schema = pa.schema(
        [field for field in PREDICTIONS_SCHEMA if field.name not in ("source", "row")] + [pa.field(HUMAN, pa.string())]
    )
    said = store.labels(start, end, without)
    yield schema.empty_table()
    for rows in store.predictions_between(start, end):
        yield pa.Table.from_pylist([_row(row, said.get(row["id"], "")) for row in rows], schema)


def _row(row: dict[str, Any], said: str) -> dict[str, Any]:
    seen = json.loads(row["observation"]) if row["observation"] else {}
    return {
        **{name: row[name] for name in _COLUMNS},
        "top_k": [{"category": name, "probability": probability} for name, probability in row["top_k"]],
        "image_contribution": 1.0 - row["text_contribution"],
        "given_category": "",
        "title_length": len(row["designation"]),
        "description_length": len(row["description"]),
        "has_image": bool(row["photo"]) or seen.get("brightness") is not None,
        "entropy": seen.get("entropy"),
        **{name: bytes.fromhex(seen[name]) if name in seen else None for name in ("text_key", "image_key")},
        **{name: seen.get(name) for name in OBSERVED.names},
        HUMAN: said,
    }


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return [_short(each) for each in value] if isinstance(value, list) else value
