"""The harness itself: a kill of preprocess is noticed, recovered from and compared; readers see what is damaged."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from home import NAME, Home
from kills import disturb, processes
from metaflow import Run, Task, namespace
from readers import _features, _store
from results import make_result, markdown
from spoiling import spoil
from table import by_flow, tables

from rayon.champions import RegistryError, keep_order
from rayon.registry import any_dataset, read_shard


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Home, int]:
    """A home whose preprocess was killed as soon as `combine` had finished, and then resumed; and the kill's code."""
    home = Home(tmp_path_factory.mktemp("killed"))
    home.change(catalog={"synthetic": {"rows": 200, "categories": 12, "seed": 1}})
    run, end = home.datastore / ".metaflow" / "PreprocessFlow", "*/end/*/_meta/_self.json"
    with subprocess.Popen(
        home.command("preprocess", "run"), cwd=home.folder, env=home.variables(), stdout=subprocess.DEVNULL
    ) as process:
        while not list(run.glob(end)) and process.poll() is None:
            time.sleep(0.01)
        for pid in [process.pid, *processes(home.folder)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return home, process.returncode


def test_a_resumed_run_is_found_though_the_step_that_tagged_it_was_taken_over(killed):
    home, code = killed
    assert code == -9
    with home.looked_at():
        assert any_dataset(NAME) is None
    done = home.execute([*home.command("preprocess")[:2], "resume"])
    assert done.code == 0, done.output
    with home.looked_at():
        version = any_dataset(NAME)
    assert version is not None and version.run == f"PreprocessFlow/{done.run_id}"


def test_a_run_that_begins_before_others_comes_after_them(killed):
    """Its clock was set back: the older of two runs says that it began last."""
    home, _ = killed
    with home.looked_at():
        version = any_dataset(NAME)
        namespace(None)
        first = min(run.id for run in Run(version.run).parent)
        assert version.run != f"PreprocessFlow/{first}"
        keep_order("PreprocessFlow", first, f"dataset:{NAME}")
        assert any(tag.startswith("rayon.order:") for tag in Run(f"PreprocessFlow/{first}").user_tags)


def test_a_damaged_shard_is_a_sentence(killed):
    home, _ = killed
    with home.looked_at():
        version = any_dataset(NAME)
        pathspec, number = version.manifest.shards[0].locator.split("#")
        (file,) = home.datastore.rglob(f"data/*/{Task(pathspec)[f'shard_{number}'].sha}")
        whole = file.read_bytes()
        spoil(file)
        with pytest.raises(RegistryError, match=r"damaged.*delete that file"):
            read_shard(version.manifest.shards[0])
        file.write_bytes(whole)


def test_readers_notice_what_is_damaged(tmp_path):
    (tmp_path / "features" / "encoder" / "block").mkdir(parents=True)
    assert _features(tmp_path / "features")
    home = Home(tmp_path / "home")
    store = Path(home.settings["cache"]) / "feedback" / "store.sqlite"
    store.parent.mkdir(parents=True)
    with sqlite3.connect(store) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 50)
    connection.close()
    assert not _store(home)
    data = bytearray(store.read_bytes())
    data[4096:12288] = bytes(8192)
    store.write_bytes(bytes(data))
    assert _store(home)


def test_a_command_that_is_faster_than_its_kill_is_no_kill(tmp_path):
    home = Home(tmp_path)
    assert disturb(None, home, "all", 20.0, random.Random(0), ["true"]) is None


def test_the_table_counts_what_was_not_survived():
    kill = {
        "flow": "train",
        "target": "all",
        "seed": 0,
        "resumed": True,
        "recovered": "new run",
        "wrong": [],
        "end": [],
    }
    other = {**kill, "target": "runner", "end": ["the dataset is another"]}
    rows = by_flow([kill, other])
    assert rows == [{"flow": "train", "kills": 2, "all": 1, "runner": 1, "process": 0, "resumed": 2, "not_survived": 1}]
    fault = {"fault": "disk", "how": "full", "wrong": ["x | y"], "said": "no room"}
    told = markdown(make_result("faults", "Faults survived", tables([kill, other], [fault], [])))
    assert "| train | 2 | 1 | 1 | 0 | 2 | 1 |" in told and "NO: x / y" in told
