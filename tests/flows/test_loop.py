"""The loop for real: feedback becomes data exactly once, whatever is killed on the way, and poison changes nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from metaflow import Run, namespace
from support_flows import ROOT, Shop, artifacts
from wandb_files import check_fed

from rayon.bundle import read_bundle
from rayon.champions import champion, promote, runs_tagged, started
from rayon.config import Config, parse_config
from rayon.data.shards import read_table
from rayon.feedback import Logged, Store, new_id, open_store
from rayon.inference import Predictor
from rayon.monitor_run import monitor_tag
from rayon.registry import any_dataset, feedback_state, find_model, model_tag, read_shard
from rayon.replay import Crowd, replay
from rayon.schema import Prediction

KILLS = {"feedback": 2.0, "preprocess": 2.0, "monitor": 3.0, "train": 5.0}
"""A pass of the loop is killed for each flow that it runs, at most so many seconds after that began: by then it is not
over on any machine.
"""


class Looped(NamedTuple):
    """A shop whose people labelled some products, and whose loop was killed several times and then let finish."""

    shop: Shop
    config: Config
    experiment: Path
    numbers: list[int]
    killed: int
    output: str


def open_shop_store(looped: Looped) -> Store:
    return open_store(looped.config)


def run_loop(experiment: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rayon", "loop", "-e", str(experiment)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def kill_loop(experiment: Path, flow: str, seconds: float) -> bool:
    """Start a pass of the loop and kill it, and all that it started, so long after a flow began; False if it ended."""
    command = [sys.executable, "-m", "rayon", "loop", "-e", str(experiment)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout as said:
        if any(f"{flow}_flow.py: running" in line for line in said):
            time.sleep(seconds)
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return alive


@pytest.fixture(scope="module")
def looped(make_trained) -> Looped:
    shop, (first,) = make_trained("looped", 1)
    shop.change(
        candidates=["fusion"],
        retraining={"window": "3d", "corrections": 5, "categories": 2, "cooldown_hours": 0.0},
        feedback={"unlikely": 0.0},
    )
    experiment = shop.folder / "shop.yaml"
    experiment.write_text(shop.as_yaml(), encoding="utf-8")
    config = parse_config(shop.settings)
    promote(config.name, f"TrainFlow/{first.run_id}", "the first", "forced")
    model = find_model("", config.name)
    predictor = Predictor(read_bundle(model.bundle), model.version, config.score.precision)
    store = open_store(config)
    assert config.catalog.synthetic is not None
    replay(range(5000, 5060), config.catalog.synthetic, None, predictor, store, Crowd(review=1.0, accepted=1.0))
    numbers = [entry.number for entry in store.feedback_after(0)]
    store.close()
    dice = random.Random(7)
    killed = sum(kill_loop(experiment, flow, dice.uniform(0.3, most)) for flow, most in KILLS.items())
    done = run_loop(experiment)
    assert done.returncode == 0, done.stdout + done.stderr
    return Looped(shop, config, experiment, numbers, killed, done.stdout)


def labelled_rows(looped: Looped) -> Counter[int]:
    """How often each piece of feedback is in the newest dataset version."""
    version = any_dataset(looped.config.name)
    assert version is not None
    found: Counter[int] = Counter()
    for ref in version.manifest.shards:
        if ref.origin == "feedback":
            rows = read_table(read_shard(ref))["row"].to_pylist()
            found.update(row for place, row in enumerate(rows) if place not in ref.removed)
    return found


def test_every_piece_of_feedback_is_data_exactly_once_however_often_it_was_killed(looped):
    assert looped.killed == len(KILLS) and len(looped.numbers) == 60
    run = feedback_state(looped.config.name)
    found = labelled_rows(looped)
    waiting = set(run.waiting)
    gold = {entry for entry in looped.numbers if entry not in found and entry not in waiting}
    assert set(found.values()) == {1} and set(found) | waiting | gold == set(looped.numbers)
    namespace(None)
    decisions = Run(run.run).data.decisions
    reasons = dict(zip(decisions["number"], decisions["reason"], strict=True))
    assert all(reasons[number] in ("gold", "superseded") for number in gold) and len(found) > 30
    assert run.cursor == max(looped.numbers)


def test_what_people_said_was_learnt_from(looped):
    name = looped.config.name
    newest = next(run for run in runs_tagged("TrainFlow", model_tag(name)) if run.successful)
    version = any_dataset(name)
    assert newest.data.dataset_run == version.run and version.manifest.counts["feedback"] == len(labelled_rows(looped))
    trainings = [run for run in runs_tagged("TrainFlow", model_tag(name)) if run.successful]
    assert len(trainings) == 2  # one at first, one that was asked for, however often the loop was started


def test_the_dashboard_is_fed_by_what_was_logged(looped):
    runs = [run for run in check_fed(__file__, looped.shop.settings) if run.job == "feedback"]
    state, read = feedback_state(looped.config.name), sum(run.summary["feedback/read"] for run in runs)
    (newest,) = (run for run in runs if run.group == state.run)
    assert newest.summary["feedback/waiting"] == len(state.waiting) and read >= len(looped.numbers)
    assert sum(run.summary["feedback/retraining"] for run in runs) >= 1


def test_the_monitor_keeps_the_window_that_it_looked_at(looped):
    run = next(iter(runs_tagged("MonitorFlow", monitor_tag(looped.config.name))))
    begin, end = (datetime.fromisoformat(moment) for moment in run["judge"].task["point"].data["span"])
    assert end - begin == timedelta(days=3) and timedelta(0) <= end - started(run) < timedelta(minutes=5)


def test_old_products_were_not_encoded_again(looped):
    newest = next(run for run in runs_tagged("TrainFlow", model_tag(looped.config.name)) if run.successful)
    assert all(count <= 60 for count in newest.data.encoded.values())


def test_a_pass_with_nothing_new_runs_nothing(looped):
    before = {flow: len(list(runs_tagged(flow))) for flow in ("FeedbackFlow", "PreprocessFlow", "TrainFlow")}
    done = run_loop(looped.experiment)
    assert done.returncode == 0 and "no training" in done.stdout
    assert before == {flow: len(list(runs_tagged(flow))) for flow in before}


def test_three_hundred_false_corrections_of_one_person_change_nothing(looped):
    """Runs after the tests above: it adds to the shop's store."""
    store, name = open_shop_store(looped), looped.config.name
    served = champion(name)
    counted = labelled_rows(looped)
    for number in range(300):
        said = Prediction(f"p{number}", "Livres", 0.97, (("Livres", 0.97), ("Jouets", 0.01)), 1.0, 0.0, "accept", "T/1")
        entry = Logged(new_id(), f"roman policier {number}", "", None, said, "api")
        store.add_predictions([entry])
        store.add_feedback(entry.id, "Jouets", "mallory")
    done = run_loop(looped.experiment)
    assert done.returncode == 0, done.stdout + done.stderr
    state = feedback_state(name)
    assert sum(reason == "flood" for reason, _ in state.waiting.values()) >= 280
    assert labelled_rows(looped) == counted and champion(name) == served
    number = next(number for number, (reason, _) in state.waiting.items() if reason == "flood")
    store.settle(number, True, "admin")
    flow = looped.shop.run("feedback")
    assert flow.code == 0 and artifacts("FeedbackFlow", flow).tally["accepted"] == 1
    assert number not in feedback_state(name).waiting
    store.close()


def test_without_a_dataset_feedback_is_told_what_to_run(make_shop):
    shop = make_shop("never-prepared")
    done = shop.run("feedback")
    assert done.code == 1 and "python flows/preprocess_flow.py run" in done.output and "Traceback" not in done.output


def test_the_table_of_contents(looped):
    shown = looped.shop.execute([sys.executable, str(ROOT / "flows" / "feedback_flow.py"), "show"])
    assert "Turn new feedback into data" in shown.output and "Read and inspect new feedback" in shown.output
