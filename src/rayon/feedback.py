"""The store of what was predicted and what people said of it: two append-only tables and a folder of photos.

SQLite by default, PostgreSQL by its URL; several processes may write one store. A row is there once `add_...` has
returned, whatever becomes of the process. Photos are files named by their content. Knows records and SQL, through
SQLAlchemy; neither models nor who asks.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, insert, select, text
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from rayon.config import Config
from rayon.data.outputs import Outputs
from rayon.feedback_tables import FEEDBACK, PREDICTIONS, SETTLED, WRITES, create_tables, open_engine, store_identity
from rayon.schema import Prediction

STORE_VARIABLE = "RAYON_STORE"
_LOCK = 7_241_966  # any number: PostgreSQL's advisory lock under which feedback is numbered
_VALUES = 5000
_PHOTOS_AT_ONCE = 8
_GRACE = timedelta(hours=1)  # a photo is written before the row that names it


class StoreError(RuntimeError):
    """The store cannot be opened, read or written. The message says which and what to do."""


class UnknownPredictionError(LookupError):
    """Feedback names a prediction that is not in the store."""


class Logged(NamedTuple):
    """A prediction to keep: an id (32 hexadecimal digits), the product as it was judged (cleaned texts, normalised JPEG
    or None), what was said of it, who asked ('api', 'app', a key's name), and whatever monitoring wants to see again.
    """

    id: str
    designation: str
    description: str
    photo: bytes | None
    prediction: Prediction
    source: str
    observation: bytes | None = None


class Feedback(NamedTuple):
    """What a person said of one prediction, with that prediction. `number` grows in the order in which feedback became
    visible: whoever has read up to one number misses nothing by asking for those after it. `top_k` holds (category,
    probability) pairs; `photo` names the photo, '' for none. Times are UTC, ISO.
    """

    number: int
    time: str
    category: str
    right: bool
    who: str
    comment: str
    prediction: str
    predicted_at: str
    source: str
    product_id: str
    designation: str
    description: str
    photo: str
    predicted: str
    confidence: float
    top_k: tuple[tuple[str, float], ...]
    decision: str
    model_version: str


class Day(NamedTuple):
    """A day (UTC, ISO): predictions made, how many of them were accepted, how many people commented on, and how many of
    those were right.
    """

    day: str
    predictions: int
    accepted: int
    commented: int
    right: int


class Purged(NamedTuple):
    """What a purge deleted, and the photos left: how many, and their megabytes."""

    predictions: int
    feedback: int
    photos: int
    photos_left: int
    megabytes_left: float


class Photos(NamedTuple):
    """The photos that a prediction names, or that were written lately, and the others: how many, and their bytes;
    `known` says whether any is named.
    """

    named: int
    named_bytes: int
    unnamed: int
    unnamed_bytes: int
    known: bool


class Store:
    """Predictions and feedback of one catalogue.

    Args:
        url: of the database, as SQLAlchemy writes it.
        photos: the folder or s3:// address of the photos.
        catalogue: whose predictions these are; several catalogues may share a database.

    Attributes:
        identity: what tells the database from others, '' where that is not known; its copies and backups have the same.

    Raises:
        StoreError: the database cannot be opened.
    """

    def __init__(self, url: str, photos: str, catalogue: str) -> None:
        self.catalogue = catalogue
        self._photos = Outputs(photos)
        self._accept_photos = True
        try:
            self._engine = open_engine(url)
            self._writing = self._engine.execution_options(**{WRITES: True})
            create_tables(self._writing)
            self.identity = store_identity(self._writing)
        except (SQLAlchemyError, ArgumentError, ImportError, OSError) as error:
            raise StoreError(
                f"the store of predictions and feedback cannot be opened ({type(error).__name__}): check "
                f"{STORE_VARIABLE} or app.store, and that the database is there and may be written to."
            ) from error

    def add_predictions(self, logged: Sequence[Logged]) -> None:
        """Keep predictions, all or none, photos first.

        Raises:
            StoreError: the database cannot be written to.
            OutputError: a photo cannot be written.
        """
        rows = []
        photos = list({entry.photo for entry in logged if entry.photo is not None})
        with ThreadPoolExecutor(_PHOTOS_AT_ONCE) as pool:
            names = dict(zip(photos, pool.map(self._keep_photo, photos), strict=True))
        now = _iso(datetime.now(UTC))
        for entry in logged:
            said = entry.prediction
            rows.append(
                {
                    "id": entry.id,
                    "catalogue": self.catalogue,
                    "time": now,
                    "source": entry.source,
                    "product_id": said.product_id,
                    "designation": entry.designation,
                    "description": entry.description,
                    "photo": names[entry.photo] if entry.photo is not None else "",
                    "category": said.category,
                    "confidence": said.confidence,
                    "top_k": json.dumps(said.top_k, ensure_ascii=False),
                    "text_contribution": said.text_contribution,
                    "decision": said.decision,
                    "model_version": said.model_version,
                    "photo_problem": said.photo_problem,
                    "observation": entry.observation,
                }
            )
        if rows:
            with _told("written to"), self._writing.begin() as connection:
                connection.execute(insert(PREDICTIONS), rows)

    def add_feedback(self, prediction: str, category: str, who: str, comment: str = "", key: str = "") -> int:
        """Keep what a person said of a prediction and return its number.

        `key` is the sender's name for this feedback: one that was sent before, by the same person on the same
        prediction, is not kept twice.

        Raises:
            UnknownPredictionError: there is no such prediction, or no longer.
            StoreError: the database cannot be written to.
        """
        known = select(PREDICTIONS.c.category).where(
            PREDICTIONS.c.id == prediction, PREDICTIONS.c.catalogue == self.catalogue
        )
        values = {
            "key": key or uuid.uuid4().hex,
            "prediction": prediction,
            "category": category,
            "who": who,
            "comment": comment,
        }
        before = select(FEEDBACK.c.number).where(
            FEEDBACK.c.who == who, FEEDBACK.c.key == values["key"], FEEDBACK.c.prediction == prediction
        )
        with _told("written to"):
            try:
                with self._writing.begin() as connection:
                    if connection.dialect.name == "postgresql":
                        # Numbers are handed out before a transaction ends: one at a time, so that none appears late.
                        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                    said = connection.execute(known).scalar_one_or_none()
                    if said is None:
                        raise UnknownPredictionError(
                            f"there is no prediction '{prediction[:64]}': send the id that came with the prediction"
                        )
                    done = connection.execute(before).scalar_one_or_none()
                    if done is not None:
                        return int(done)
                    row = {**values, "right": said == category, "time": _iso(datetime.now(UTC))}
                    added = connection.execute(insert(FEEDBACK).values(**row))
                    return int((added.inserted_primary_key or (0,))[0])
            except IntegrityError:  # the same feedback, at the same moment, by another process
                with self._engine.connect() as connection:
                    return int(connection.execute(before).scalar_one())

    def feedback_after(self, number: int = 0, limit: int = 10_000) -> list[Feedback]:
        """Return up to `limit` pieces of feedback with a higher number than `number`, in order."""
        chosen = FEEDBACK.c.number > number
        return self._feedback(chosen, limit)

    def feedback_of(self, numbers: Collection[int]) -> list[Feedback]:
        """Return the pieces of feedback of those numbers that are still there, in order."""
        found: list[Feedback] = []
        for part in _parts(numbers):
            found += self._feedback(FEEDBACK.c.number.in_(part), None)
        return found

    def follows(self, number: int, prediction: str = "") -> bool:
        """Say whether all is here that was when feedback `number` was the last, on `prediction` ('' where that is
        not known), and what came in since. It is not in a store whose numbers are handed out anew: in another database,
        or in one that was restored from a backup of before.
        """
        query = select(FEEDBACK.c.number, FEEDBACK.c.prediction).where(FEEDBACK.c.number >= number)
        with _told("read"), self._engine.connect() as connection:
            found = connection.execute(query.order_by(FEEDBACK.c.number).limit(1)).one_or_none()
        if not number or found is None:
            return not number
        return found[0] != number or prediction in ("", found[1])

    def settle(self, feedback: int, accepted: bool, who: str) -> None:
        """Keep what an admin decided of a piece of feedback that waits; the last word counts.

        Raises:
            StoreError: the database cannot be written to.
        """
        values = {"feedback": feedback, "accepted": accepted, "who": who, "time": _iso(datetime.now(UTC))}
        with _told("written to"), self._writing.begin() as connection:
            connection.execute(insert(SETTLED).values(**values))

    def settled(self, numbers: Collection[int]) -> dict[int, bool]:
        """Return what was decided of pieces of feedback, by number; those nobody decided on are left out."""
        found: dict[int, bool] = {}
        with _told("read"), self._engine.connect() as connection:
            for part in _parts(numbers):
                query = select(SETTLED.c.feedback, SETTLED.c.accepted).where(SETTLED.c.feedback.in_(part))
                rows = connection.execute(query.order_by(SETTLED.c.number))
                found |= {int(number): bool(accepted) for number, accepted in rows}
        return found

    def said_daily(self, since: str) -> dict[tuple[str, str], int]:
        """Return how many pieces of feedback each person gave on each day (UTC, ISO), from the day `since` on."""
        day = func.substr(FEEDBACK.c.time, 1, 10)
        query = (
            select(FEEDBACK.c.who, day, func.count())
            .join(PREDICTIONS, PREDICTIONS.c.id == FEEDBACK.c.prediction)
            .where(PREDICTIONS.c.catalogue == self.catalogue, FEEDBACK.c.time >= since)
            .group_by(FEEDBACK.c.who, day)
        )
        with _told("read"), self._engine.connect() as connection:
            return {(str(who), str(on)): int(count) for who, on, count in connection.execute(query)}

    def _feedback(self, chosen: ColumnElement[bool], limit: int | None) -> list[Feedback]:
        query = (
            select(
                FEEDBACK.c.number,
                FEEDBACK.c.time,
                FEEDBACK.c.category,
                FEEDBACK.c.right,
                FEEDBACK.c.who,
                FEEDBACK.c.comment,
                PREDICTIONS.c.id,
                PREDICTIONS.c.time,
                PREDICTIONS.c.source,
                PREDICTIONS.c.product_id,
                PREDICTIONS.c.designation,
                PREDICTIONS.c.description,
                PREDICTIONS.c.photo,
                PREDICTIONS.c.category,
                PREDICTIONS.c.confidence,
                PREDICTIONS.c.top_k,
                PREDICTIONS.c.decision,
                PREDICTIONS.c.model_version,
            )
            .join(PREDICTIONS, PREDICTIONS.c.id == FEEDBACK.c.prediction)
            .where(chosen, PREDICTIONS.c.catalogue == self.catalogue)
            .order_by(FEEDBACK.c.number)
            .limit(limit)
        )
        with _told("read"), self._engine.connect() as connection:
            return [_feedback(row) for row in connection.execute(query)]

    def predictions_between(self, start: datetime, end: datetime, batch: int = 5000) -> Iterator[list[dict[str, Any]]]:
        """Yield the predictions of a span of time, oldest first, in lists of dicts by column name."""
        query = select(PREDICTIONS).where(self._during(start, end)).order_by(PREDICTIONS.c.time, PREDICTIONS.c.id)
        with _told("read"), self._engine.connect().execution_options(yield_per=batch) as connection:
            for rows in connection.execute(query).mappings().partitions():
                yield [{**row, "top_k": _pairs(row["top_k"])} for row in rows]

    def predicted_between(self, start: datetime, end: datetime) -> bool:
        """Say whether anything was predicted in a span of time."""
        with _told("read"), self._engine.connect() as connection:
            return bool(connection.execute(select(exists().where(self._during(start, end)))).scalar_one())

    def days(self, since: datetime) -> list[Day]:
        """Return the days since then on which something was predicted, oldest first; the last word on each counts."""
        day = func.substr(PREDICTIONS.c.time, 1, 10)
        last = select(func.max(FEEDBACK.c.number)).group_by(FEEDBACK.c.prediction)
        said = select(FEEDBACK.c.prediction, FEEDBACK.c.right).where(FEEDBACK.c.number.in_(last)).subquery()
        query = (
            select(
                day,
                func.count(),
                func.sum(case((PREDICTIONS.c.decision == "accept", 1), else_=0)),
                func.count(said.c.prediction),
                func.sum(case((said.c.right, 1), else_=0)),
            )
            .select_from(PREDICTIONS.outerjoin(said, said.c.prediction == PREDICTIONS.c.id))
            .where(self._during(since))
            .group_by(day)
            .order_by(day)
        )
        with _told("read"), self._engine.connect() as connection:
            return [Day(str(row[0]), *(int(value or 0) for value in row[1:])) for row in connection.execute(query)]

    def mix(self, since: datetime) -> dict[str, int]:
        """Return how often each category was predicted since then, most frequent first."""
        count = func.count()
        query = (
            select(PREDICTIONS.c.category, count)
            .where(self._during(since))
            .group_by(PREDICTIONS.c.category)
            .order_by(count.desc(), PREDICTIONS.c.category)
        )
        with _told("read"), self._engine.connect() as connection:
            return {str(category): int(number) for category, number in connection.execute(query)}

    def labels(self, start: datetime, end: datetime, without: Collection[int] = ()) -> dict[str, str]:
        """Return the last word of people on the predictions of a span of time: category by prediction; what an admin
        refused and the pieces of feedback `without`, by number, are left out.
        """
        query = (
            select(FEEDBACK.c.number, FEEDBACK.c.prediction, FEEDBACK.c.category)
            .join(PREDICTIONS, PREDICTIONS.c.id == FEEDBACK.c.prediction)
            .where(self._during(start, end))
            .order_by(FEEDBACK.c.number)
        )
        with _told("read"), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        settled = self.settled([number for number, _, _ in rows])
        return {
            str(name): str(category)
            for number, name, category in rows
            if number not in without and settled.get(number, True)
        }

    def photo(self, name: str) -> bytes | None:
        """Return the JPEG of that name, None where it is gone."""
        return self._photos.read(_photo_file(name)) if name else None

    def counts(self) -> dict[str, int]:
        """Return how many predictions and pieces of feedback there are."""
        mine = PREDICTIONS.c.catalogue == self.catalogue
        with _told("read"), self._engine.connect() as connection:
            predictions = connection.execute(select(func.count(PREDICTIONS.c.id)).where(mine)).scalar_one()
            joined = FEEDBACK.join(PREDICTIONS, PREDICTIONS.c.id == FEEDBACK.c.prediction)
            feedback = connection.execute(
                select(func.count(FEEDBACK.c.number)).select_from(joined).where(mine)
            ).scalar_one()
        return {"predictions": int(predictions), "feedback": int(feedback)}

    def check(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StoreError: it gives none.
        """
        with _told("read"), self._engine.connect() as connection:
            connection.execute(select(1))

    def purge(self, config: Config, now: datetime | None = None) -> Purged:
        """Delete what is older than `app.prediction_days` and `app.feedback_days` say, and photos that nobody names.

        A prediction with feedback stays as long as the feedback does. While the photos left weigh more than
        `app.max_gigabytes`, new ones are not kept.
        """
        moment = now or datetime.now(UTC)
        old_feedback = _iso(moment - timedelta(days=config.app.feedback_days))
        old = _iso(moment - timedelta(days=config.app.prediction_days))
        mine = select(PREDICTIONS.c.id).where(PREDICTIONS.c.catalogue == self.catalogue)
        commented = exists().where(FEEDBACK.c.prediction == PREDICTIONS.c.id)
        with _told("purged"), self._writing.begin() as connection:
            if connection.dialect.name == "postgresql":  # no feedback on what is being deleted
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            feedback = connection.execute(
                delete(FEEDBACK).where(FEEDBACK.c.time < old_feedback, FEEDBACK.c.prediction.in_(mine))
            ).rowcount
            predictions = connection.execute(
                delete(PREDICTIONS).where(
                    PREDICTIONS.c.catalogue == self.catalogue, PREDICTIONS.c.time < old, ~commented
                )
            ).rowcount
        photos = self.weigh_photos(moment, delete=True)
        self._accept_photos = photos.named_bytes <= config.app.max_gigabytes * 1e9
        return Purged(predictions, feedback, photos.unnamed, photos.named, photos.named_bytes / 1e6)

    def weigh_photos(self, now: datetime, delete: bool = False) -> Photos:
        """Count the photos that a prediction of any catalogue names, and the others; `delete` these.

        One that was written within the last hour counts as named: the row that names it comes after it.
        """
        with _told("read"), self._engine.connect() as connection:
            wanted = set(connection.execute(select(PREDICTIONS.c.photo).distinct()).scalars())
        named = named_bytes = unnamed = unnamed_bytes = 0
        known = False
        for file in self._photos.listing():
            spoken_of = Path(file.name).stem in wanted
            known = known or spoken_of
            keep = spoken_of or file.written >= now - _GRACE
            if delete and not keep:
                again = self._photos.look(file.name)  # one that was sent again since it was listed is young by now
                keep = again is not None and again.written >= now - _GRACE
                if not keep:
                    self._photos.delete(file.name)
            if keep:
                named, named_bytes = named + 1, named_bytes + file.size
            else:
                unnamed, unnamed_bytes = unnamed + 1, unnamed_bytes + file.size
        return Photos(named, named_bytes, unnamed, unnamed_bytes, known)

    @property
    def full(self) -> bool:
        """Whether photos are no longer kept, because those there weigh more than the settings allow."""
        return not self._accept_photos

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _during(self, start: datetime, end: datetime | None = None) -> ColumnElement[bool]:
        """This catalogue's predictions from `start` on, and before `end` where one is given."""
        bounds = [PREDICTIONS.c.catalogue == self.catalogue, PREDICTIONS.c.time >= _iso(start)]
        return and_(*bounds, PREDICTIONS.c.time < _iso(end)) if end is not None else and_(*bounds)

    def _keep_photo(self, photo: bytes) -> str:
        if not self._accept_photos:
            return ""
        name = sha256(photo).hexdigest()
        self._photos.write(_photo_file(name), photo)  # anew where it is there already: its age decides when it may go
        return name


def find_store(config: Config) -> Store | None:
    """Return the store of an experiment, as `open_store`, but None where it would be files that nobody made yet."""
    elsewhere = os.environ.get(STORE_VARIABLE) or config.app.store
    return open_store(config) if elsewhere or _folder(config).is_dir() else None


def open_store(config: Config) -> Store:
    """Return the store of an experiment: what the environment names, else its settings, else files below its cache.

    Raises:
        StoreError: it cannot be opened.
    """
    folder = _folder(config)
    url = os.environ.get(STORE_VARIABLE) or config.app.store
    if not url:
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{folder / 'store.sqlite'}"
        photos = folder / "photos"
    else:  # photos belong to the database that names them: another one would delete them as nobody's
        photos = folder / f"photos-{sha256(url.encode()).hexdigest()[:8]}"
    return Store(url, config.app.photos or str(photos), config.name)


def _folder(config: Config) -> Path:
    return Path(config.cache) / "feedback" / config.name


def _parts(numbers: Collection[int]) -> Iterator[list[int]]:
    """Databases bound the values of a statement."""
    every = list(numbers)
    for start in range(0, len(every), _VALUES):
        yield every[start : start + _VALUES]


def new_id() -> str:
    """Return an id for a prediction."""
    return uuid.uuid4().hex


def _photo_file(name: str) -> str:
    return f"{name[:2]}/{name}.jpg"


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(
            f"the store of predictions and feedback cannot be {what} ({type(error).__name__}): see that the database "
            "is up and has room."
        ) from error


def _feedback(row: Iterable[Any]) -> Feedback:
    values = list(row)
    values[Feedback._fields.index("top_k")] = _pairs(values[Feedback._fields.index("top_k")])
    return Feedback(*values)


def _pairs(top_k: str) -> tuple[tuple[str, float], ...]:
    return tuple((str(category), float(probability)) for category, probability in json.loads(top_k))


def _iso(moment: datetime) -> str:
    """Times as text that sorts: always with microseconds, always UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
