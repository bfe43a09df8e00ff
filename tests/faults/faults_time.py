"""Clocks that go back, and two that do the same at once."""

from __future__ import annotations

import subprocess
from contextlib import suppress

from home import NAME, Home, comment
from readers import look
from spoiling import Bench, Outcome
from work import WORKS, run_work

HOUR = 3600


_SHIFT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *s = getenv("RAYON_SHIFT"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(clock, now);
  if (!done && clock == CLOCK_REALTIME) now->tv_sec += shift();
  return done;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  now->tv_sec = t.tv_sec; now->tv_usec = t.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (at) *at = t.tv_sec;
  return t.tv_sec;
}
"""
"""What libfaketime does, for the time of day alone: under libfaketime 0.9.10 Python's timed waits end with EINVAL."""


def _shifted(home: Home, seconds: int) -> None:
    """Let what runs here see another time of day."""
    library = home.root / "shift.so"
    if not library.exists():
        source = home.root / "shift.c"
        source.write_text(_SHIFT)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    home.environment = {"LD_PRELOAD": str(library), "RAYON_SHIFT": str(seconds)} if seconds else {}


def clock_back_dataset(bench: Bench) -> Outcome:
    """The clock goes back an hour before preprocess: what it makes is the newest dataset all the same."""
    home = bench.home("clock-dataset")
    WORKS["preprocess"].prepare(home)
    _shifted(home, -HOUR)
    return Outcome(bench.recover("preprocess", home), "")


def clock_back_feedback(bench: Bench) -> Outcome:
    """The clock goes back an hour, then another, between runs of FeedbackFlow; then it is right again: every piece of
    feedback is data once, and after each run.
    """
    home = bench.home("clock-feedback")
    wrong: list[str] = []
    numbers = set(home.notes()["numbers"])
    for turn, seconds in enumerate((0, -HOUR, -2 * HOUR, -2 * HOUR, 0)):
        numbers |= set(comment(home, 10, start=1000 + 10 * turn))
        _shifted(home, seconds)
        done = run_work(WORKS["feedback"], home)
        seen = look(home)
        if done.code:
            wrong.append(f"run {turn} fails: {done.output[-400:]}")
        if seen.cursor != max(numbers):
            wrong.append(f"run {turn}: read up to {seen.cursor} of {max(numbers)}")
        if any(times > 1 for times in seen.labelled.values()):
            wrong.append(f"run {turn}: feedback is data twice")
        wrong += seen.wrong
    missing = numbers - set(seen.labelled) - seen.waiting
    if missing:
        wrong.append(f"{len(missing)} pieces are nowhere")
    return Outcome(wrong, "")


def clock_back_champion(bench: Bench) -> Outcome:
    """The clock goes back an hour before a promotion and before the rollback after it: the last word counts."""
    home = bench.home("clock-champion")
    _shifted(home, -HOUR)
    wrong = bench.recover("promote", home)
    _shifted(home, -2 * HOUR)
    done = run_work(WORKS["rollback"], home)
    seen = look(home)
    if done.code or seen.champion != home.notes()["first"] or seen.promotions != 3:
        wrong.append(f"after the rollback {seen.champion} is champion, {seen.promotions} events: {done.output[-300:]}")
    return Outcome(wrong, "")


def _both(home: Home, first: list[str], second: list[str]) -> list[str]:
    running = [
        subprocess.Popen(
            command, cwd=home.folder, env=home.variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for command in (first, second)
    ]
    wrong = []
    for process in running:
        said, _ = process.communicate(timeout=900)
        if process.returncode:
            wrong.append(f"one of the two fails: {said[-800:]}")
    return wrong


def _twice(bench: Bench, name: str) -> Outcome:
    """Prepare a work, do it in two processes at once, and compare with what it leaves undisturbed."""
    home, work = bench.home(f"two-{name}"), WORKS[name]
    work.prepare(home)
    wrong = _both(home, work.command(home), work.command(home))
    return Outcome([*wrong, *bench.differences(name, home)], "")


def two_preprocess(bench: Bench) -> Outcome:
    """Two runs of preprocess at once on one catalogue that has grown."""
    return _twice(bench, "preprocess")


def two_train(bench: Bench) -> Outcome:
    """Two trainings at once on one dataset version, with nothing encoded yet; both promote."""
    home = bench.home("two-train")
    work = WORKS["train"]
    work.prepare(home)
    wrong = _both(home, work.command(home), work.command(home))
    found = [line for line in bench.differences("train", home) if "champion is the newest" not in line]
    seen = look(home)
    if seen.promotions != 3:
        wrong.append(f"the history has {seen.promotions} events, not 3")
    return Outcome([*wrong, *found], "")


def two_scorings(bench: Bench) -> Outcome:
    """Two runs of score at once into one output folder."""
    return _twice(bench, "score")


def two_feedback(bench: Bench) -> Outcome:
    """Two runs of feedback at once on one store."""
    return _twice(bench, "feedback")


def two_promotions(bench: Bench) -> Outcome:
    """A promotion and a rollback at once: two entries, and one of the two models is champion."""
    home = bench.home("two-promotions")
    WORKS["rollback"].prepare(home)
    again = home.rayon("promote", home.notes()["first"].split("/")[1], "--force", "--reason", "at once")
    wrong = _both(home, again, WORKS["rollback"].command(home))
    seen = look(home)
    if seen.champion not in (home.notes()["first"], home.notes()["second"]):
        wrong.append(f"the champion of '{NAME}' is {seen.champion}")
    with suppress(IndexError):
        wrong += seen.wrong
    return Outcome(wrong, "")


FAULTS = {
    "clock back: dataset": clock_back_dataset,
    "clock back: feedback": clock_back_feedback,
    "clock back: champions": clock_back_champion,
    "two at once: preprocess": two_preprocess,
    "two at once: train": two_train,
    "two at once: score": two_scorings,
    "two at once: feedback": two_feedback,
    "two at once: promotion and rollback": two_promotions,
}
