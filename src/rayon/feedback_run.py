"""A run of FeedbackFlow: what is new in the store, what of it is believed, and the shard that it becomes.

Brings together the store, the registry and inspection; the flow stores what comes back. A run that does not finish has
read nothing: the next one starts from where the last finished one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rayon.champions import RegistryError
from rayon.config import Config
from rayon.data.building import BuiltShard, pack_shard
from rayon.data.images import PhotoError, shrink_photo
from rayon.data.shards import FEEDBACK, Manifest, content_hash, read_table
from rayon.data.splits import assign_splits, group_hash
from rayon.data.text import product_text
from rayon.feedback import Feedback, Store, StoreError, open_store
from rayon.inspection import ACCEPT, COLUMNS, REVIEW, inspect
from rayon.preparing import RayonError
from rayon.registry import FeedbackState, any_dataset, read_keys

_PAGE = 5000


class Inspected(NamedTuple):
    """All feedback that was looked at with its verdicts, a row a piece, in the order of `entries`; how far was read;
    what waits now (reason and detail by number).
    """

    decisions: pd.DataFrame
    entries: list[Feedback]
    cursor: int
    waiting: dict[int, tuple[str, str]]


def open_feedback(config: Config) -> Store:
    """Open the store of an experiment's feedback.

    Raises:
        RayonError: it cannot be opened; the sentence says what to do.
    """
    try:
        return open_store(config)
    except StoreError as error:
        raise RayonError(str(error)) from None


def newest_manifest(config: Config) -> Manifest:
    """Return the manifest of the newest dataset version, which feedback is inspected against.

    Raises:
        RegistryError: there is none.
    """
    version = any_dataset(config.name)
    if version is None:
        raise RegistryError(f"there is no dataset version of '{config.name}': `python flows/preprocess_flow.py run`.")
    return version.manifest


def sample_accepted(
    config: Config, decisions: pd.DataFrame, count: int = 12
) -> list[tuple[str, str, str, bytes | None]]:
    """Return the title, the predicted and the given category and the photo of the last accepted corrections."""
    accepted = decisions[(decisions["verdict"] == ACCEPT) & (decisions["category"] != decisions["predicted"])]
    store = open_feedback(config)
    chosen = store.feedback_of(accepted["number"].tail(count).tolist())
    return [(one.designation, one.predicted, one.category, store.photo(one.photo)) for one in chosen]


def read_new(store: Store, state: FeedbackState) -> list[Feedback]:
    """Return what came in since the last run, and what waited then, in order."""
    entries, cursor = store.feedback_of(list(state.waiting)), state.cursor
    while page := store.feedback_after(cursor, _PAGE):
        entries += page
        cursor = page[-1].number
    return entries


def inspect_new(
    entries: Sequence[Feedback], store: Store, state: FeedbackState, manifest: Manifest, config: Config
) -> Inspected:
    """Inspect feedback against the newest dataset version."""
    ordered = sorted(entries, key=lambda entry: entry.number)
    frame = _frame(ordered)
    settled = store.settled([entry.number for entry in ordered])
    decisions = inspect(frame, manifest.categories, gold_groups(manifest, config), settled, config.feedback)
    waiting = decisions[decisions["verdict"] == REVIEW]
    told: list[list[Any]] = waiting[["number", "reason", "detail"]].to_numpy().tolist()
    return Inspected(
        decisions,
        ordered,
        max([state.cursor, *(entry.number for entry in ordered)]),
        {int(number): (reason, detail) for number, reason, detail in told},
    )


def gold_groups(manifest: Manifest, config: Config) -> set[int]:
    """Return the title groups of the gold set's products that come from the catalogue."""
    found: set[int] = set()
    for ref in manifest.shards:
        if ref.origin != FEEDBACK:
            groups = read_table(read_keys(ref))["group"].to_numpy()
            gold = np.asarray(assign_splits(groups, config.split) == "test")
            gold[list(ref.removed)] = False
            found.update(groups[gold].tolist())
    return found


def build_accepted(inspected: Inspected, store: Store, config: Config) -> BuiltShard | None:
    """Return the shard of what was accepted, None where nothing was.

    A product is named by its own id, or by its feedback's number; `record` tells who said it when, and of which
    prediction. A photo that is gone costs the product its photo.
    """
    accepted = set(inspected.decisions.loc[inspected.decisions["verdict"] == ACCEPT, "number"])
    chosen = [entry for entry in inspected.entries if entry.number in accepted]
    if not chosen:
        return None
    return pack_shard([_row(entry) for entry in chosen], [_photo(store.photo(entry.photo), config) for entry in chosen])


def tally(decisions: pd.DataFrame) -> dict[str, Any]:
    """Return the counts of a run as plain data: by verdict, by reason, of corrections by category."""
    accepted = decisions[decisions["verdict"] == ACCEPT]
    corrections = accepted[accepted["category"] != accepted["predicted"]]
    reasons = decisions.loc[decisions["reason"] != "", "reason"].value_counts()
    return {
        "read": len(decisions),
        "accepted": len(accepted),
        "corrections": len(corrections),
        "categories": {str(name): int(count) for name, count in corrections["category"].value_counts().items()},
        "reasons": {str(name): int(count) for name, count in reasons.items()},
        "people": int(decisions["who"].nunique()),
    }


def _frame(entries: Sequence[Feedback]) -> pd.DataFrame:
    groups = group_hash(
        [entry.designation for entry in entries],
        [entry.description for entry in entries],
        [entry.product_id for entry in entries],
    )
    rows = [
        (
            entry.number,
            entry.who,
            entry.category,
            entry.predicted,
            entry.confidence,
            entry.decision == "accept",
            dict(entry.top_k).get(entry.category, 0.0),
            _product_key(entry),
            int(group),
            bool(entry.designation or entry.description),
            bool(entry.photo),
        )
        for entry, group in zip(entries, groups.tolist(), strict=True)
    ]
    types: dict[str, Any] = {"number": "int64", "confidence": "float64", "given_probability": "float64"}
    flags: dict[str, Any] = dict.fromkeys(("sure", "has_text", "has_photo"), bool)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**types, **flags})


def _product_key(entry: Feedback) -> bytes:
    return content_hash(product_text(entry.designation, entry.description).encode(), entry.photo.encode())


def _row(entry: Feedback) -> dict[str, Any]:
    record = {
        name: getattr(entry, name)
        for name in ("number", "time", "who", "comment", "prediction", "predicted", "confidence", "model_version")
    }
    return {
        "product_id": entry.product_id or f"feedback-{entry.number}",
        "designation": entry.designation,
        "description": entry.description,
        "category": entry.category,
        "image": entry.photo,
        "row_key": content_hash(FEEDBACK.encode(), _product_key(entry)),
        "source": FEEDBACK,
        "row": entry.number,
        "record": json.dumps(record, ensure_ascii=False),
    }


def _photo(photo: bytes | None, config: Config) -> bytes | PhotoError | None:
    if photo is None:
        return None
    try:
        return shrink_photo(photo, config.preprocess)
    except PhotoError as error:
        return error
