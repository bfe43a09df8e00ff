"""A run of FeedbackFlow: what is new in the store, what of it is believed, and the shard that it becomes.

Brings together the store, the registry and inspection; the flow stores what comes back. A run that does not finish has
read nothing: the next one starts from where the last finished one stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from rayon.config import Config
from rayon.data.building import BuiltShard, pack_shard
from rayon.data.dataset import Dataset
from rayon.data.images import PhotoError, shrink_photo
from rayon.data.shards import FEEDBACK, content_hash, input_key, read_table
from rayon.data.splits import group_hash
from rayon.data.text import product_text
from rayon.feedback import STORE_VARIABLE, Feedback, Store, open_store
from rayon.inspection import ACCEPT, COLUMNS, REVIEW, WRONG, Standing, inspect, principal, stand
from rayon.preparing import stopping
from rayon.registry import FeedbackState, read_keys, read_shard

_PAGE = 5000


class Inspected(NamedTuple):
    """All feedback that was looked at with its verdicts, a row a piece, in the order of `entries`; how far was read and
    the prediction which that piece is about; what waits now (reason and detail by number); the numbers of all that was
    found wrong so far.
    """

    decisions: pd.DataFrame
    entries: list[Feedback]
    cursor: int
    last: str
    waiting: dict[int, tuple[str, str]]
    wrong: tuple[int, ...]


def open_feedback(config: Config) -> Store:
    """Open the store of an experiment's feedback.

    Raises:
        RayonError: it cannot be opened; the sentence says what to do.
    """
    with stopping():
        return open_store(config)


def sample_accepted(
    config: Config, decisions: pd.DataFrame, count: int = 12
) -> list[tuple[str, str, str, bytes | None]]:
    """Return the title, the predicted and the given category and the photo of the last accepted corrections."""
    accepted = decisions[(decisions["verdict"] == ACCEPT) & (decisions["category"] != decisions["predicted"])]
    store = open_feedback(config)
    chosen = store.feedback_of(accepted["number"].tail(count).tolist())
    return [(one.designation, one.predicted, one.category, store.photo(one.photo)) for one in chosen]


def resume(store: Store, state: FeedbackState) -> FeedbackState:
    """Return where the last run left a store; say so where the store is not the one that it read."""
    now = state.in_store(store)
    moved = state.store not in ("", now.store)
    if not moved and now.cursor == state.cursor:
        return now
    told = "another than" if moved else "no longer what"
    begun = f"goes on after no. {now.cursor}" if now.cursor else "is read from its beginning"
    print(f"note: the store is {told} the last run read; it {begun}. Is it the app's ({STORE_VARIABLE}, or app.store)?")
    if state.waiting:
        fate = "are kept until that one is back" if moved else "are looked at anew, where they are still there"
        print(f"note: {len(state.waiting):,} pieces that waited for an admin {fate}")
    return now


def read_new(store: Store, state: FeedbackState) -> list[Feedback]:
    """Return what came in since the last run, and what waited then, in order."""
    entries, cursor = store.feedback_of(list(state.waiting)), state.cursor
    while page := store.feedback_after(cursor, _PAGE):
        entries += page
        cursor = page[-1].number
    return entries


def inspect_new(
    entries: Sequence[Feedback], store: Store, state: FeedbackState, dataset: Dataset, config: Config
) -> Inspected:
    """Inspect feedback against the newest dataset version."""
    ordered = sorted(entries, key=lambda entry: entry.number)
    gold, photos = _gold(dataset)
    frame = _frame(ordered)
    # of a product without any text the photo alone tells whether the gold set holds it
    alone = [not (one.designation or one.description) and _photo_key(one, store) in photos for one in ordered]
    frame.loc[alone, "group"] = next(iter(gold), 0)
    settled = store.settled([entry.number for entry in ordered])
    daily: Counter[tuple[str, str]] = Counter()
    if ordered:
        for (who, day), count in store.said_daily(min(frame["day"])).items():
            daily[principal(who), day] += count
    earlier = _accepted_before(frame, state, store)
    decisions = inspect(frame, dataset.categories, gold, settled, config.feedback, daily, earlier, state.waiting.keys())
    waiting = decisions[decisions["verdict"] == REVIEW]
    told: list[list[Any]] = waiting[["number", "reason", "detail"]].to_numpy().tolist()
    cursor, last = max([(state.cursor, state.last), *((entry.number, entry.prediction) for entry in ordered)])
    return Inspected(
        decisions,
        ordered,
        cursor,
        last,
        {int(number): (reason, detail) for number, reason, detail in told},
        (*state.wrong, *decisions.loc[decisions["reason"].isin(WRONG), "number"].tolist()),
    )


def _gold(dataset: Dataset) -> tuple[set[int], set[bytes]]:
    """Return the title groups and the photos' keys of the gold products that come from the catalogue."""
    frame = dataset.frame[(dataset.frame["split"] == "test") & (dataset.frame["source"] != FEEDBACK)]
    return set(frame["group"].tolist()), set(frame["image_key"]) - {b""}


def _accepted_before(frame: pd.DataFrame, state: FeedbackState, store: Store) -> Standing:
    """Return what earlier runs accepted of products that are spoken of again; who said it, a store knows of its own."""
    keys = {_row_key(key): key for key in frame["product_key"]}
    found: list[tuple[bytes, str, int]] = []
    for ref, origin in zip(state.shards, state.origins, strict=True):
        if keys.keys().isdisjoint(read_table(read_keys(ref))["row_key"].to_pylist()):
            continue
        rows = read_table(read_shard(ref)).select(["row_key", "category", "row"]).to_pylist()
        own = origin == state.store
        found += [
            (keys[row["row_key"]], row["category"], row["row"] if own else 0) for row in rows if row["row_key"] in keys
        ]
    people = {entry.number: entry.who for entry in store.feedback_of([number for _, _, number in found])}
    return stand((product, category, people.get(number, "")) for product, category, number in found)


def build_accepted(inspected: Inspected, store: Store, config: Config) -> BuiltShard | None:
    """Return the shard of what was accepted, None where nothing was.

    A product is named by its own id, or by its feedback's number. `row` is that number: by it the store tells who said
    it, when and of which prediction. A photo that is gone costs the product its photo.
    """
    accepted = set(inspected.decisions.loc[inspected.decisions["verdict"] == ACCEPT, "number"])
    chosen = [entry for entry in inspected.entries if entry.number in accepted]
    if not chosen:
        return None
    photos = [_photo(entry, store.photo(entry.photo), config) for entry in chosen]
    shard = pack_shard([_row(entry) for entry in chosen], photos)
    return shard if shard.ref.rows else None


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


def tracked_values(counted: Mapping[str, Any], waiting: int, retraining: bool) -> dict[str, float]:
    """Return a run's tally under the keys that every W&B run of FeedbackFlow uses."""
    names = ("read", "accepted", "corrections", "people")
    values = {f"feedback/{name}": counted[name] for name in names}
    return {**values, "feedback/waiting": waiting, "feedback/retraining": int(retraining)}


def _frame(entries: Sequence[Feedback]) -> pd.DataFrame:
    groups = group_hash(
        [entry.designation for entry in entries],
        [entry.description for entry in entries],
        [_name(entry) for entry in entries],
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
            entry.time[:10],
        )
        for entry, group in zip(entries, groups.tolist(), strict=True)
    ]
    types: dict[str, Any] = {
        "number": "int64",
        "confidence": "float64",
        "given_probability": "float64",
        "group": "uint64",  # half of the hashes are beyond int64, and a frame may hold the other half alone
    }
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
        "product_id": _name(entry),
        "designation": entry.designation,
        "description": entry.description,
        "category": entry.category,
        "image": entry.photo,
        "row_key": _row_key(_product_key(entry)),
        "source": FEEDBACK,
        "row": entry.number,
        "record": json.dumps(record, ensure_ascii=False),
    }


def _row_key(product_key: bytes) -> bytes:
    return content_hash(FEEDBACK.encode(), product_key)


def _photo_key(entry: Feedback, store: Store) -> bytes:
    return input_key(store.photo(entry.photo) or b"")


def _name(entry: Feedback) -> str:
    return entry.product_id or f"feedback-{entry.number}"


def _photo(entry: Feedback, photo: bytes | None, config: Config) -> bytes | PhotoError | None:
    if photo is None:
        return PhotoError("photo_missing", "the store has it no longer") if entry.photo else None
    try:
        return shrink_photo(photo, config.preprocess)
    except PhotoError as error:
        return error
