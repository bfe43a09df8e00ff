"""The tables of predictions and feedback, and the database that holds them: SQLite or PostgreSQL."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

WRITES = "rayon_writes"
"""The execution option of an engine whose transactions write."""
_BUSY_SECONDS = 30.0
_SILENCE = {"connect_timeout": "5", "tcp_user_timeout": "10000", "keepalives_idle": "10", "keepalives_interval": "5"}
"""libpq's bounds on a PostgreSQL that does not answer, where the URL has none: seconds, tcp_user_timeout in ms."""

METADATA = MetaData()
PREDICTIONS = Table(
    "rayon_predictions",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("catalogue", String(64), nullable=False),
    Column("time", String(27), nullable=False),
    Column("source", String, nullable=False),
    Column("product_id", String, nullable=False),
    Column("designation", String, nullable=False),
    Column("description", String, nullable=False),
    Column("photo", String(64), nullable=False),
    Column("category", String, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("top_k", String, nullable=False),
    Column("text_contribution", Float, nullable=False),
    Column("decision", String(8), nullable=False),
    Column("model_version", String, nullable=False),
    Column("photo_problem", String, nullable=False),
    Column("observation", LargeBinary, nullable=True),
    Index("rayon_predictions_time", "catalogue", "time"),
)
FEEDBACK = Table(
    "rayon_feedback",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("prediction", String(32), nullable=False, index=True),
    Column("time", String(27), nullable=False),
    Column("category", String, nullable=False),
    Column("right", Boolean, nullable=False),
    Column("who", String, nullable=False),
    Column("comment", String, nullable=False),
    UniqueConstraint("who", "key", "prediction"),
    sqlite_autoincrement=True,  # a number is never given twice, not even after its row was deleted
)

SETTLED = Table(
    "rayon_settled",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("feedback", Integer, nullable=False, index=True),
    Column("accepted", Boolean, nullable=False),
    Column("who", String, nullable=False),
    Column("time", String(27), nullable=False),
    sqlite_autoincrement=True,
)

STORE = Table(
    "rayon_store",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1: there is one row
    Column("identity", String(32), nullable=False),
)


def open_engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_driver_name() in ("psycopg", "psycopg2"):
        address = address.set(query={**_SILENCE, **address.query})
    # the parameters of a statement are people's words: they stay out of messages and logs
    engine = create_engine(address, hide_parameters=True, pool_pre_ping=True)
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a power cut
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # a transaction that will write takes its turn at once: two that both read first could not both go on
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def create_tables(engine: Engine) -> None:
    """Create the tables that are missing; several processes may do so at once. The engine is one that writes.

    A store of before lacks `rayon_store` alone. It is opened as it is where that cannot be made: whoever reads it, or
    only adds to it, needs no right to make tables.
    """
    missing = METADATA.tables.keys() - set(inspect(engine.execution_options(**{WRITES: False})).get_table_names())
    if not missing:
        return  # who only opens a store does not wait for those who write
    for attempt in range(3):
        try:
            METADATA.create_all(engine)
            return
        except (OperationalError, ProgrammingError, IntegrityError):  # another process makes the tables just now
            if attempt == 2 and missing != {STORE.name}:
                raise


def store_identity(engine: Engine) -> str:
    """Return what tells this database from others, 32 random hexadecimal digits; the first who asks draws them.

    A copy of the database, and what is restored from its backup, keep it. '' where it has none and none can be written
    here. The engine is one that writes.
    """
    try:
        return _identity(engine)
    except (OperationalError, ProgrammingError):  # a store of before that may not be changed
        return ""


def _identity(engine: Engine) -> str:
    query = select(STORE.c.identity)
    with engine.execution_options(**{WRITES: False}).connect() as connection:
        found = connection.execute(query).scalar_one_or_none()
    if found is None:
        try:
            with engine.begin() as connection:
                connection.execute(insert(STORE).values(one=1, identity=uuid.uuid4().hex))
        except IntegrityError:  # another process drew it meanwhile
            pass
        with engine.connect() as connection:
            found = connection.execute(query).scalar_one()
    return str(found)
