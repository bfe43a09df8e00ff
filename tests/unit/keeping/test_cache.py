"""What goes of the cache folder: what no kept run uses, and only once it is old."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rayon.data.outputs import Outputs
from rayon.keeping.cache import Uses, delete_cached, list_cache
from rayon.keeping.datastore import FAILED, FINISHED
from rayon.keeping.places import open_place
from rayon.keeping.policy import Facts, Policy, Verdict

NOW = datetime.now(UTC)
DAYS = {"features/used": 90, "features/unused": 90, "features/fresh": 3, "shards/held.arrow": 90}
DAYS |= {"shards/nobodys.arrow": 3, "shards/new.arrow": 0, "shards/tmp1": 3, "wandb/offline-run": 90}
DAYS |= {"catalogs/old": 90, "catalogs/new": 3}
DAYS |= {f"checkpoints/TrainFlow-{run}/fusion": 9 for run in ("finished", "failing", "dropped", "origin", "unknown")}


def fill(cache: Path) -> None:
    for name, days in DAYS.items():
        path = cache / name
        file = path if "shards" in name else path / "block" / "data.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 100)
        for each in (file, *(p for p in file.parents if p.is_relative_to(cache))):
            age(each, days)
    link = cache / "checkpoints" / "TrainFlow-resumed" / "fusion"
    link.parent.mkdir()
    link.symlink_to(cache / "checkpoints" / "TrainFlow-origin" / "fusion", target_is_directory=True)
    age(link.parent, 9)
    os.utime(link, (0, 0), follow_symlinks=False)


def age(path: Path, days: float) -> None:
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))


def run(number: str, state: str) -> Facts:
    return Facts("TrainFlow", number, "user.anna", "shop", NOW, NOW, state)


def test_what_is_used_or_new_stays(tmp_path):
    fill(tmp_path)
    states = {"finished": FINISHED, "failing": FAILED, "dropped": FAILED, "resumed": FAILED, "origin": FAILED}
    runs = {f"TrainFlow/{number}": run(number, state) for number, state in states.items()}
    verdicts = {path: Verdict(path not in ("TrainFlow/dropped", "TrainFlow/origin"), "") for path in runs}
    found = list_cache(tmp_path, None, Uses(runs, verdicts, {"held"}, lambda: {"used"}), Policy(), NOW)
    gone = {one.name for one in found if not one.keep}
    assert gone == {
        "features/unused",
        "catalogs/old",
        "shards/nobodys.arrow",
        "shards/tmp1",
        *(f"checkpoints/TrainFlow-{number}" for number in ("finished", "dropped", "unknown")),
    }
    assert {one.size for one in found if not one.keep} == {100}
    for one in found:
        if not one.keep:
            delete_cached(one, tmp_path, None)
    assert (tmp_path / "wandb/offline-run/block/data.npy").exists()
    assert (tmp_path / "checkpoints/TrainFlow-resumed/fusion/block/data.npy").exists()
    assert not any((tmp_path / name).exists() for name in gone)


def test_features_stay_where_nobody_knows_whose_they_are(tmp_path):
    fill(tmp_path)
    found = list_cache(tmp_path, None, Uses({}, {}, set(), lambda: None), Policy(), NOW)
    assert all(one.keep for one in found if one.what == "features")


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path):
    fill(tmp_path)
    found = list_cache(tmp_path, None, Uses({}, {}, set(), lambda: set()), Policy(), NOW + timedelta(days=2))
    resumed = next(one for one in found if one.name == "checkpoints/TrainFlow-resumed")
    delete_cached(resumed, tmp_path, None)
    assert not (tmp_path / resumed.name).exists()
    assert (tmp_path / "checkpoints/TrainFlow-origin/fusion/block/data.npy").exists()


def test_what_machines_share_goes_by_the_same_rules(bucket, tmp_path):
    shared = open_place(f"{bucket}/shared")
    outputs = Outputs(f"{bucket}/shared")
    for name in ("features/used/b/keys.npy", "features/unused/b/keys.npy", "predictions/shop-1/part.parquet"):
        outputs.write(name, b"x" * 10)
    for number in ("failing", "dropped"):
        outputs.write(f"checkpoints/TrainFlow-{number}/fusion/last.ckpt", b"x")
    runs = {f"TrainFlow/{number}": run(number, FAILED) for number in ("failing", "dropped")}
    uses = Uses(runs, {path: Verdict("failing" in path, "") for path in runs}, set(), lambda: {"used"})
    assert all(one.keep for one in list_cache(tmp_path, shared, uses, Policy(), NOW))
    found = list_cache(tmp_path, shared, uses, Policy(), NOW + timedelta(days=40))
    gone = [one for one in found if not one.keep]
    assert {one.name for one in gone} == {"features/unused", "checkpoints/TrainFlow-dropped"}
    for one in gone:
        delete_cached(one, tmp_path, shared)
    left = {file.name for file in outputs.listing()}
    assert left == {
        "features/used/b/keys.npy",
        "predictions/shop-1/part.parquet",
        "checkpoints/TrainFlow-failing/fusion/last.ckpt",
    }


def test_what_goes_while_it_is_weighed_is_not_there(tmp_path, monkeypatch):
    for name in ("gone", "here"):
        (tmp_path / "shards").mkdir(exist_ok=True)
        (tmp_path / "shards" / f"{name}.arrow").write_bytes(b"x" * 100)
    entries = Path.iterdir

    def listed_then_removed(folder):
        found = list(entries(folder))
        (tmp_path / "shards" / "gone.arrow").unlink(missing_ok=True)  # as the flow beside does
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", listed_then_removed)
    found = list_cache(tmp_path, None, Uses({}, {}, {"here"}, lambda: set()), Policy(), NOW)
    assert [(one.name, one.size) for one in found] == [("shards/here.arrow", 100)]
