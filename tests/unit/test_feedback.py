"""The store: nothing acknowledged is lost, whatever becomes of the process; several may write; it stays bounded."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from postgres import postgres
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from rayon.data.outputs import OutputError
from rayon.feedback import Logged, Store, StoreError, UnknownPredictionError, new_id, open_store
from rayon.feedback_tables import _SILENCE, FEEDBACK, PREDICTIONS, open_engine
from rayon.schema import Prediction

SAID = Prediction("p1", "livres", 0.9, (("livres", 0.9), ("jouets", 0.1)), 0.7, 0.3, "accept", "TrainFlow/1")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    for running in postgres():
        yield running.url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    return request.getfixturevalue("server")


@pytest.fixture
def store(url, tmp_path, request) -> Iterator[Store]:
    """A store of a catalogue that no other test writes to."""
    opened = Store(url, str(tmp_path / "photos"), f"shop{abs(hash(request.node.nodeid)) % 10**8}")
    yield opened
    opened.close()


def log(store: Store, photo: bytes | None = None, said: Prediction = SAID) -> str:
    entry = Logged(new_id(), "Un titre <b>", "", photo, said, "api")
    store.add_predictions([entry])
    return entry.id


def test_feedback_comes_back_with_its_prediction(store):
    one = log(store, b"jpeg")
    number = store.add_feedback(one, "jouets", "anna", "c'est un jouet")
    (kept,) = store.feedback_after(number - 1)
    assert (kept.category, kept.right, kept.who, kept.comment) == ("jouets", False, "anna", "c'est un jouet")
    assert (kept.prediction, kept.predicted, kept.confidence) == (one, "livres", 0.9)
    assert kept.top_k == SAID.top_k and kept.designation == "Un titre <b>" and kept.product_id == "p1"
    assert store.photo(kept.photo) == b"jpeg"
    assert kept.predicted_at <= kept.time <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_key_is_kept_once_for_each_person(store):
    one = log(store)
    first = store.add_feedback(one, "jouets", "anna", key="k")
    assert store.add_feedback(one, "jouets", "anna", key="k") == first
    assert store.add_feedback(one, "jouets", "ben", key="k") != first
    assert store.counts() == {"predictions": 1, "feedback": 2}


def test_feedback_on_nothing_is_an_error(store, url, tmp_path):
    with pytest.raises(UnknownPredictionError, match="no prediction"):
        store.add_feedback("0" * 32, "jouets", "anna")
    other = Store(url, str(tmp_path / "photos"), "another-shop")
    with pytest.raises(UnknownPredictionError):
        other.add_feedback(log(store), "jouets", "anna")
    other.close()


def test_texts_are_data(store):
    nasty = "'; DROP TABLE rayon_feedback; -- \U0001f4a5 é"
    number = store.add_feedback(log(store), nasty, nasty, nasty)
    assert store.feedback_after(number - 1)[0].category == nasty


def test_a_cursor_reads_everything_once(store):
    numbers = [store.add_feedback(log(store), "jouets", "anna") for _ in range(25)]
    read, cursor = [], 0
    while page := store.feedback_after(cursor, limit=7):
        read += [entry.number for entry in page]
        cursor = page[-1].number
    assert read == numbers


def test_a_database_has_one_identity_whoever_opens_it_and_a_copy_keeps_it(tmp_path):
    url, copy = f"sqlite:///{tmp_path}/store.sqlite", f"sqlite:///{tmp_path}/copy.sqlite"
    with ThreadPoolExecutor(8) as pool:  # eight at once make the tables of a new one
        stores = list(pool.map(lambda _: Store(url, str(tmp_path / "photos"), "shop"), range(8)))
    assert len({opened.identity for opened in stores}) == 1
    stores[0].add_feedback(log(stores[0]), "jouets", "anna")
    for opened in stores:
        opened.close()
    (tmp_path / "copy.sqlite").write_bytes((tmp_path / "store.sqlite").read_bytes())
    copied = Store(copy, str(tmp_path / "photos"), "shop")
    empty = Store("sqlite://", str(tmp_path / "photos"), "shop")
    assert copied.identity == stores[0].identity != empty.identity and len(empty.identity) == 32
    copied.close()


def test_a_database_of_before_that_may_not_be_changed_is_read(tmp_path):
    file = tmp_path / "store.sqlite"
    made = Store(f"sqlite:///{file}", str(tmp_path / "photos"), "shop")
    number = made.add_feedback(log(made), "jouets", "anna")
    with made._writing.begin() as connection:
        connection.exec_driver_sql("DROP TABLE rayon_store")
    made.close()
    opened = Store(f"sqlite:///file:{file}?mode=ro&uri=true", str(tmp_path / "photos"), "shop")
    assert opened.identity == "" and [one.number for one in opened.feedback_after(0)] == [number]
    opened.close()


def test_a_database_of_before_gets_an_identity_that_stays(store, url, tmp_path):
    with store._writing.begin() as connection:
        connection.exec_driver_sql("DROP TABLE rayon_store")
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Store(url, str(tmp_path / "photos"), "shop"), range(4)))
    assert {one.identity for one in opened} == {opened[0].identity} != {store.identity}
    for one in opened:
        one.close()


def test_a_store_follows_on_what_was_read_of_it(store):
    first, second = log(store), log(store)
    numbers = [store.add_feedback(name, "jouets", "anna") for name in (first, second)]
    assert store.follows(0) and store.follows(numbers[1]) and store.follows(numbers[1], second)
    assert not store.follows(numbers[1], first) and not store.follows(numbers[1] + 1000)
    with store._writing.begin() as connection:
        connection.execute(delete(FEEDBACK).where(FEEDBACK.c.number == numbers[0]))
    assert store.follows(numbers[0], first)  # it was purged, and later ones are here


def test_days_and_mix_tell_what_happened(store):
    since = datetime.now(UTC) - timedelta(hours=1)
    review = SAID._replace(decision="review", category="jouets")
    first, second = log(store), log(store, said=review)
    log(store)
    store.add_feedback(first, "jouets", "anna")
    store.add_feedback(first, "livres", "anna")  # the last word counts
    store.add_feedback(second, "livres", "anna")
    (day,) = store.days(since)
    assert (day.predictions, day.accepted, day.commented, day.right) == (3, 2, 2, 1)
    assert store.mix(since) == {"livres": 2, "jouets": 1}
    assert store.days(datetime.now(UTC) + timedelta(days=1)) == []


def test_predictions_of_a_span_come_in_batches(store):
    start = datetime.now(UTC)
    ids = [log(store) for _ in range(12)]
    batches = list(store.predictions_between(start, datetime.now(UTC) + timedelta(seconds=1), batch=5))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert [row["id"] for batch in batches for row in batch] == ids
    assert not list(store.predictions_between(start - timedelta(days=1), start))


def test_purging_keeps_what_people_commented_on(store, app_settings):
    commented, forgotten = log(store, b"kept"), log(store, b"gone")
    number = store.add_feedback(commented, "jouets", "anna")
    later = datetime.now(UTC) + timedelta(days=31)
    purged = store.purge(app_settings(), later)
    assert (purged.predictions, purged.feedback, purged.photos, purged.photos_left) == (1, 0, 1, 1)
    assert store.photo(store.feedback_after(number - 1)[0].photo) == b"kept"
    with pytest.raises(UnknownPredictionError):
        store.add_feedback(forgotten, "jouets", "anna")
    purged = store.purge(app_settings(), later + timedelta(days=730))
    assert (purged.predictions, purged.feedback, purged.photos_left) == (1, 1, 0)
    assert store.add_feedback(log(store), "jouets", "anna") > number  # a cursor stays ahead of nothing new


def test_a_full_store_keeps_rows_and_no_more_photos(store, app_settings):
    log(store, bytes(2_000_000))
    purged = store.purge(app_settings(max_gigabytes=0.001))
    assert purged.megabytes_left == pytest.approx(2.0) and store.full
    number = store.add_feedback(log(store, b"new"), "jouets", "anna")
    assert store.feedback_after(number - 1)[0].photo == ""


def test_a_young_photo_without_a_row_is_left_to_its_writer(store, app_settings, tmp_path):
    (tmp_path / "photos" / "ab").mkdir(parents=True)
    young, old = tmp_path / "photos" / "ab" / "abcd.jpg", tmp_path / "photos" / "ab" / "abce.jpg"
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    store.purge(app_settings())
    assert young.exists() and not old.exists()


def test_a_photo_that_is_sent_again_during_a_purge_stays(store, app_settings, tmp_path, monkeypatch):
    log(store, b"twice")
    (file,) = (tmp_path / "photos").rglob("*.jpg")
    os.utime(file, (time.time() - 7200,) * 2)
    listing = store._photos.listing
    with store._writing.begin() as connection:
        connection.execute(delete(PREDICTIONS).where(PREDICTIONS.c.catalogue == store.catalogue))

    def listed_then_sent():
        files = list(listing())
        log(store, b"twice")
        yield from files

    monkeypatch.setattr(store._photos, "listing", listed_then_sent)
    assert store.purge(app_settings()).photos == 0 and file.read_bytes() == b"twice"


def test_labels_leave_out_what_an_admin_refused(store):
    one, two = log(store), log(store)
    store.add_feedback(one, "jouets", "anna")
    refused, taken_back = store.add_feedback(one, "vases", "mallory"), store.add_feedback(two, "vases", "mallory")
    for number, accepted in ((refused, True), (refused, False), (taken_back, False), (taken_back, True)):
        store.settle(number, accepted, "admin")  # the last word counts
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    assert store.labels(start, end) == {one: "jouets", two: "vases"}
    assert store.labels(start, end, {taken_back}) == {one: "jouets"}


WRITER = """
import sys
from rayon.feedback import Logged, Store, new_id
from rayon.schema import Prediction
url, photos, name, who = sys.argv[1:]
store = Store(url, photos, name)
said = Prediction("p", "livres", 0.9, (("livres", 0.9),), 1.0, 0.0, "accept", "TrainFlow/1")
for number in range(int(1e9)):
    entry = Logged(new_id(), "t", "", b"photo %d" % number, said, who)
    store.add_predictions([entry])
    print(store.add_feedback(entry.id, "jouets", who), flush=True)
"""


def test_what_was_acknowledged_survives_kill_9_of_several_writers(store, url, tmp_path):
    command = [sys.executable, "-c", WRITER, url, str(tmp_path / "photos"), store.catalogue]
    writers = [subprocess.Popen([*command, f"w{n}"], stdout=subprocess.PIPE, text=True) for n in range(3)]
    for writer in writers:  # each is at work before any is killed
        assert writer.stdout is not None and writer.stdout.readline()
    read: list[int] = []
    end = time.monotonic() + 0.7
    while time.monotonic() < end:  # a reader with a cursor, meanwhile
        read += [entry.number for entry in store.feedback_after(read[-1] if read else 0)]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
    acknowledged = {int(line) for writer in writers for line in writer.communicate()[0].split()}
    assert len(acknowledged) > 20
    reopened = Store(url, str(tmp_path / "photos"), store.catalogue)
    kept = reopened.feedback_after(0, limit=1_000_000)
    assert acknowledged <= {entry.number for entry in kept}
    assert all(reopened.photo(entry.photo) for entry in kept)
    numbers = [entry.number for entry in kept]
    assert numbers == sorted(set(numbers))
    assert len(read) > 20 and numbers[: len(read)] == read  # the cursor missed nothing
    reopened.close()


def test_another_database_does_not_delete_the_photos_of_the_first(app_settings, tmp_path, monkeypatch):
    config = dataclasses.replace(app_settings(), cache=str(tmp_path / "cache"))
    monkeypatch.delenv("RAYON_STORE", raising=False)
    first = open_store(config)
    number = first.add_feedback(log(first, b"photo"), "jouets", "anna")
    monkeypatch.setenv("RAYON_STORE", f"sqlite:///{tmp_path}/other.sqlite")
    other = open_store(config)
    other.purge(config, datetime.now(UTC) + timedelta(days=1))
    assert first.photo(first.feedback_after(number - 1)[0].photo) == b"photo"
    first.close()
    other.close()


def test_many_numbers_are_asked_for_in_parts(store):
    one = log(store)
    number = store.add_feedback(one, "jouets", "anna")
    store.settle(number, True, "admin")
    numbers = range(number, number + 40_000)
    assert [entry.number for entry in store.feedback_of(numbers)] == [number] and store.settled(numbers) == {
        number: True
    }
    (kept,) = store.feedback_of([number])
    today, tomorrow = kept.time[:10], (datetime.fromisoformat(kept.time) + timedelta(days=1)).strftime("%Y-%m-%d")
    assert store.said_daily(today) == {("anna", today): 1} and store.said_daily(tomorrow) == {}


def test_a_store_that_cannot_be_opened_is_a_sentence_without_secrets(tmp_path):
    for url in ("postgresql+psycopg://anna:hunter22@127.0.0.1:1/x", "nonsense://x", f"sqlite:///{tmp_path}/no/where/x"):
        with pytest.raises(StoreError, match="RAYON_STORE") as caught:
            Store(url, str(tmp_path), "shop")
        assert "hunter22" not in str(caught.value)


def test_a_database_that_goes_away_is_a_sentence(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/s.sqlite", str(tmp_path / "photos"), "shop")
    one = log(store)
    store.close()
    for file in Path(tmp_path).glob("s.sqlite*"):
        file.unlink()
    (tmp_path / "s.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot be written to"):
        store.add_feedback(one, "jouets", "anna")


def test_photos_are_written_side_by_side_and_each_once(store, monkeypatch):
    both, write, written = threading.Barrier(2), store._photos.write, []

    def slow(name, content):
        both.wait(5)
        written.append(content)
        write(name, content)

    monkeypatch.setattr(store._photos, "write", slow)
    logged = [Logged(new_id(), "t", "", photo, SAID, "api") for photo in (b"a", b"b", b"a", None)]
    store.add_predictions(logged)
    numbers = [store.add_feedback(entry.id, "livres", "anna") for entry in logged]
    kept = store.feedback_of(numbers)
    assert [store.photo(entry.photo) for entry in kept] == [b"a", b"b", b"a", None] and sorted(written) == [b"a", b"b"]


def test_of_predictions_all_are_kept_or_none(store, monkeypatch):
    def full(name, content):
        raise OutputError("no room")

    monkeypatch.setattr(store._photos, "write", full)
    with pytest.raises(OutputError):
        store.add_predictions([Logged(new_id(), "t", "", photo, SAID, "api") for photo in (None, b"a", b"b")])
    assert store.counts()["predictions"] == 0


def test_a_database_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setitem(_SILENCE, "connect_timeout", "2")  # the least that libpq takes
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://anna@127.0.0.1:{silent.getsockname()[1]}/x"
        started = time.monotonic()
        with pytest.raises(OperationalError, match="timeout"):
            open_engine(url).connect()
        assert time.monotonic() - started < 10
        assert open_engine(f"{url}?connect_timeout=77").url.query["connect_timeout"] == "77"


@pytest.fixture
def app_settings(make_config):
    """A factory of settings; keywords are those of `app`."""

    def make(**app):
        config = make_config()
        return dataclasses.replace(config, app=dataclasses.replace(config.app, **app))

    return make
