"""Disks that are full, or can only be read: those of the runs, of the cache, of the app's store."""

from __future__ import annotations

from pathlib import Path

from readers import look
from spoiling import Bench, Outcome, failed, fill, small_disk
from work import WORKS, run_work


def full_datastore(bench: Bench) -> Outcome:
    """The runs lie on a disk (tmpfs) with 150 KB left: preprocess; then it is given room."""
    home = bench.home("full-datastore")
    work = WORKS["preprocess"]
    work.prepare(home)
    before = look(home)
    with small_disk(home.datastore, 2000) as remount:
        fill(home.datastore, leave=150)
        told = failed(run_work(work, home), "no space left", "disk is full")
        after = look(home)
        remount("size=200m")
        later = bench.recover("preprocess", home)
    changed = ["readers see another dataset"] if after.fingerprint != before.fingerprint else []
    return Outcome([*told.wrong, *after.wrong, *changed, *later], told.said)


def full_cache(bench: Bench) -> Outcome:
    """The cache lies on a disk (tmpfs) with 120 KB left: encoding; then it is given room."""
    home = bench.home("full-cache")
    work = WORKS["train"]
    work.prepare(home)
    home.change(deploy={"retries": 0})
    with small_disk(Path(home.settings["cache"]), 2000) as remount:
        fill(Path(home.settings["cache"]), leave=120)
        told = failed(run_work(work, home), "disk is full")
        after = look(home)
        remount("size=300m")
        later = bench.recover("train", home)
    return Outcome([*told.wrong, *after.wrong, *later], told.said)


def full_store(bench: Bench) -> Outcome:
    """The store of the app and its photos lie on a full disk (tmpfs): feedback is refused in words and not lost."""
    from rayon.feedback import StoreError, open_store

    home = bench.home("full-store")
    wrong: list[str] = []
    said = ""
    with home.looked_at(), small_disk(Path(home.settings["cache"]) / "feedback", 64):
        store = open_store(home.config)
        one = store.feedback_after(0, 1)[0]
        before = store.counts()
        fill(Path(home.settings["cache"]) / "feedback")
        kept = 0
        for turn in range(500):
            try:
                store.add_feedback(one.prediction, "Livres", f"person {turn}", "x" * 2000)
                kept += 1
            except StoreError as error:
                said = str(error)
                break
        (Path(home.settings["cache"]) / "feedback" / "filler").unlink()
        store.add_feedback(one.prediction, "Livres", "person later")
        counted = store.counts()["feedback"] - before["feedback"]
        if counted != kept + 1:
            wrong.append(f"{kept + 1} pieces of feedback were acknowledged and {counted} are there")
        store.close()
    if "has room" not in said:
        wrong.append(f"no sentence: {said}")
    return Outcome([*wrong, *look(home).wrong], said)


def read_only_datastore(bench: Bench) -> Outcome:
    """The runs lie on a disk (tmpfs) that can only be read: preprocess, and a promotion; then it can be written to."""
    home = bench.home("read-only")
    WORKS["preprocess"].prepare(home)
    before = look(home)
    with small_disk(home.datastore, 100_000) as remount:
        remount("ro")
        flow = failed(run_work(WORKS["preprocess"], home), "read-only", "only be read")
        promotion = failed(run_work(WORKS["promote"], home), "only be read")
        after = look(home)
        remount("rw")
        later = bench.recover("preprocess", home)
        done = run_work(WORKS["promote"], home)
        served = look(home).champion
    wrong = [*flow.wrong, *promotion.wrong, *after.wrong, *later]
    if after.champion != before.champion:
        wrong.append("the champion changed")
    if done.code or served != home.notes()["second"]:
        wrong.append(f"the promotion does not work afterwards: {done.output[-400:]}")
    return Outcome(wrong, f"{flow.said} / {promotion.said}")


FAULTS = {
    "disk full: runs": full_datastore,
    "disk full: cache": full_cache,
    "disk full: store of the app": full_store,
    "read-only: runs": read_only_datastore,
}
