"""Where the time goes: a stack is told by the innermost file that a rule names, and no second is lost or made up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import profiles_rules as rules
from profiles_picture import draw
from profiles_samples import RUN as RUNNING
from profiles_samples import Note, Sample, Spent, parse, task_of, total

RUN = 'process 10:"python flows/train_flow.py run"'
TASK = 'process 11:"python flows/train_flow.py --quiet step {step} --run-id 7 --task-id {number} --input-paths 7/x/1"'
PACKAGES = "/venv/lib/python3.11/site-packages"
BELOW = (
    "<module> (/home/me/shop/flows/train_flow.py:205);"
    f"main (/venv/lib/python3.11/runpy.py:3);run_step ({PACKAGES}/metaflow/task.py:700)"
)
STEP = f"{BELOW};TrainFlow.train (/home/me/shop/flows/train_flow.py:120)"
IMPORTING = "import_module (<frozen importlib._bootstrap>:1);_find_and_load (<frozen importlib._bootstrap>:1176)"


def sampled(frames: str, count: int = 1, step: str = "train", number: int = 3) -> Sample:
    """A sample of a task as py-spy writes it."""
    line = f"{RUN};{TASK.format(step=step, number=number)};{frames} {count}\n"
    found = parse(line, ("/home/me/shop/src/", "/home/me/shop/"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        (
            f"{STEP};encode (/home/me/shop/src/rayon/models/encoding.py:9);forward ({PACKAGES}/torch/nn/linear.py:1)",
            rules.ENCODING,
        ),
        (
            f"{STEP};fit (/home/me/shop/src/rayon/fitting.py:9);step ({PACKAGES}/torch/optim/sgd.py:1);"
            f"closure ({PACKAGES}/pytorch_lightning/loops/x.py:1);forward (/home/me/shop/src/rayon/models/heads.py:2)",
            rules.TRAINING,
        ),
        (f"{STEP};fit (/home/me/shop/src/rayon/fitting.py:9);step ({PACKAGES}/torch/optim/sgd.py:1)", rules.OPTIMIZER),
        (f"{BELOW};_pack_v1 ({PACKAGES}/metaflow/datastore/content_addressed_store.py:213)", rules.METAFLOW),
        (
            f"{STEP};<module> (/home/me/shop/src/rayon/gold.py:9);{IMPORTING};<module> ({PACKAGES}/sklearn/base.py:1);"
            f"{IMPORTING};<module> ({PACKAGES}/narwhals/x.py:1)",
            rules.IMPORTS["sklearn"],
        ),
        (f"{BELOW};{IMPORTING};<module> ({PACKAGES}/somebody/x.py:1)", rules.IMPORTS["metaflow"]),
        (f"{STEP};{IMPORTING};<module> ({PACKAGES}/somebody/x.py:1)", rules.OTHER_IMPORTS),
        (f"<module> (/home/me/x.py:1);{IMPORTING};<module> ({PACKAGES}/somebody/x.py:1)", rules.OTHER_IMPORTS),
        (f"{STEP};odd (/home/me/shop/src/rayon/nobody_named_this.py:9)", rules.REST),
        ("main (/venv/lib/python3.11/site.py:3)", rules.START),
    ],
)
def test_a_stack_is_told_by_the_innermost_file_that_a_rule_names(frames: str, what: str) -> None:
    sample = sampled(frames)
    assert rules.spent_on(sample.command, sample.frames) == what


def test_a_process_works_for_the_step_that_it_or_the_one_that_started_it_names() -> None:
    assert task_of("python flows/train_flow.py run") == (RUNNING, 0)
    card = (
        sampled(f"x ({PACKAGES}/json/x.py:1)").command + " python flows/train_flow.py card create 7/train/3 --id train"
    )
    assert task_of(card) == ("train", 3)
    assert rules.spent_on(card, sampled(STEP).frames) == rules.CARDS
    assert parse("idle;idle 4", ()) is None


def test_samples_share_the_seconds_that_were_noted_and_the_rest_is_start_and_end() -> None:
    encode = f"{STEP};encode (/home/me/shop/src/rayon/models/encoding.py:9)"
    samples = [
        sampled(encode, 300),
        sampled(f"{STEP};read (/home/me/shop/src/rayon/data/tables.py:9)", 100),
        sampled(encode, 50, number=4)._replace(process=12, command=RUN),  # seen before it was a task
        sampled(encode, 10, step="start", number=1)._replace(process=13),
    ]
    # of the first task more samples than seconds, of the second fewer; the third noted nothing
    flow, task = "python flows/train_flow.py run", TASK.partition('"')[2].rstrip('"')
    third, fourth = task.format(step="train", number=3), task.format(step="train", number=4)
    notes = [Note(10, 1, flow, 0.5, 3.4), Note(11, 10, third, 2.0, 0.0), Note(12, 10, fourth, 1.0, 0.0)]
    found = total(samples, notes, 100)
    assert sum(each.seconds for each in found) == pytest.approx(0.5 + 3.4)
    assert list(dict.fromkeys(each.step for each in found)) == [RUNNING, "start", "train ×2"]
    seconds = {(each.step, each.category): each.seconds for each in found}
    assert seconds["train ×2", rules.ENCODING] == pytest.approx(1.5 + 0.5)
    assert seconds["train ×2", rules.TABLES] == pytest.approx(0.5)
    assert seconds["train ×2", rules.START] == pytest.approx(0.5)
    assert seconds[RUNNING, rules.START] == pytest.approx(0.5 + 0.3)


def test_every_purpose_has_a_colour_and_is_drawn(tmp_path: Path) -> None:
    assert {*rules.IMPORTS.values(), *(what for _, what in rules.RULES)} <= set(rules.COLOURS)
    draw("TrainFlow", 1200, [Spent("start", what, 1.0) for what in rules.COLOURS], tmp_path / "train.svg")
    drawn = (tmp_path / "train.svg").read_text()
    assert "TrainFlow, 1,200 rows: 23.0 CPU seconds" in drawn
    assert all(what.replace("&", "&amp;") in drawn for what in rules.COLOURS)
