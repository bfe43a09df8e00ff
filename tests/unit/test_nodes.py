"""Several processes that train one model, for real, over gloo: what one learns, on every rank, after a kill too."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import processes
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st

from rayon.nodes import ALONE, Nodes, NodesError, joined, part_of, whole_of
from rayon.training import train_candidate

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]


class Ended(NamedTuple):
    """What a process returned, or the error it ended with, and its exit code."""

    value: Any
    error: BaseException | None
    code: int


Together = Callable[..., list[Ended]]


@pytest.fixture
def together(tmp_path) -> Together:
    """Call a function in so many processes at once, each with its `Nodes`."""

    def run(function: Callable[[Nodes], Any], size: int = 2, **more: Any) -> list[Ended]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def of_rank(rank: int) -> Callable[[], None]:
            def call() -> None:
                value, error = None, None
                try:
                    value = function(Nodes(rank, size, port=port, **more))
                except Exception as caught:
                    error = type(caught)(str(caught))
                (tmp_path / f"{rank}.pickle").write_bytes(pickle.dumps((value, error)))

            return call

        for old in tmp_path.glob("*.pickle"):
            old.unlink()
        ended = []
        for rank, code in enumerate(processes.run([of_rank(rank) for rank in range(size)])):
            left = tmp_path / f"{rank}.pickle"
            value, error = pickle.loads(left.read_bytes()) if left.exists() else (None, None)
            ended.append(Ended(value, error, code))
        return ended

    return run


class Weights(pl.Callback):
    """Keeps the weights that a training ends with, and its seed, on each process."""

    def on_fit_end(self, trainer, pl_module):
        self.seed = torch.initial_seed()
        self.state = {name: value.detach().clone().numpy() for name, value in pl_module.state_dict().items()}


@pytest.fixture
def calm_bert(bert, tmp_path) -> str:
    """The tiny BERT without dropout, which every process would throw for itself."""
    folder = tmp_path / "calm"
    shutil.copytree(bert.removeprefix("hf:").removesuffix("@random"), folder)
    file = folder / "config.json"
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    file.write_text(json.dumps({**json.loads(file.read_text()), **calm}))
    return f"hf:{folder}@random"


def train_one(kind, config, load, folder: Path) -> Callable[[Nodes], tuple[Any, dict[str, np.ndarray], int]]:
    load(config)

    def call(nodes: Nodes = ALONE) -> tuple[Any, dict[str, np.ndarray], int]:
        dataset, encoded = load(config)
        assert not any(encoded.encoded.values())  # what frozen encoders saw is found by every process
        weights = Weights()
        trained = train_candidate(kind, dataset, encoded, config, folder, [weights], nodes=nodes)
        return trained, weights.state, weights.seed

    return call


@pytest.mark.parametrize("case", ["decision", "feature", "encoder"])
def test_processes_learn_what_one_learns(case, make_config, load, together, tmp_path, calm_bert):
    """Batches of 33 products, the last one of fewer, do not come out even."""
    config = make_config(
        fusion={"kind": "feature" if case == "feature" else "decision", "modality_dropout": 0.0},
        trainer={"dropout": 0.0, "batch_size": 33, "max_epochs": 2, "encoder_learning_rate": 1e-3},
        branches={"text": {"encoders": [calm_bert], "trainable": case == "encoder"}},
    )
    kind = "text" if case == "encoder" else "fusion"
    first, other = together(train_one(kind, config, load, tmp_path / "many"))
    assert first.error is None, first.error
    many, weights, _ = first.value
    assert other.value[0] is None
    assert all(np.array_equal(other.value[1][name], value) for name, value in weights.items())
    one, alone, _ = train_one(kind, config, load, tmp_path / "one")()
    for name, value in alone.items():
        np.testing.assert_allclose(weights[name], value, atol=1e-4, err_msg=name)  # of some tenths, or some tens
    assert np.array_equal(many.rows, one.rows) and np.array_equal(many.labels, one.labels)
    np.testing.assert_allclose(many.probabilities, one.probabilities, atol=1e-6)
    for left, right in zip(many.history, one.history, strict=True):
        assert left == pytest.approx(right, rel=1e-2)


def test_everything_is_trained_together(make_config, load, together, tmp_path):
    """Both encoders, with dropout and batch normalisation, in mixed precision, with clipped gradients."""
    config = make_config(
        branches={"text": {"trainable": True}, "image": {"trainable": True}},
        trainer={"max_epochs": 2, "encoder_learning_rate": 5e-3, "precision": "bf16-mixed"},
    )
    first, other = together(train_one("fusion", config, load, tmp_path / "many"))
    assert first.error is None and other.error is None, (first.error, other.error)
    trained, weights, seed = first.value
    assert seed != other.value[2]  # each drops out other units
    learnt = {name for name, _ in weights.items() if "running" not in name and "batches" not in name}
    assert any("encoders" in name for name in learnt)
    assert all(np.array_equal(other.value[1][name], weights[name]) for name in learnt)
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]
    assert np.isfinite(trained.probabilities).all()


def test_a_killed_process_ends_the_others_and_all_go_on(make_config, load, together, tmp_path):
    config = make_config(trainer={"dropout": 0.0, "max_epochs": 4, "patience": 20})
    dataset, encoded = load(config)

    class Die(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.current_epoch == 2 and trainer.is_global_zero:
                os.kill(os.getpid(), signal.SIGKILL)

    def call(folder: str, *callbacks: pl.Callback) -> Callable[[Nodes], Any]:
        return lambda nodes=ALONE: train_candidate(
            "text", dataset, encoded, config, tmp_path / folder, callbacks, nodes=nodes
        )

    first, other = together(call("killed", Die()))
    assert first.code == -signal.SIGKILL
    assert isinstance(other.error, NodesError) and "lost the others" in str(other.error)
    first, other = together(call("killed"))
    assert other.error is None and other.value is None
    continued, whole = first.value, call("whole")()
    assert continued.resumed_from_epoch == 2
    assert [row["epoch"] for row in continued.history] == [0, 1, 2, 3]
    np.testing.assert_allclose(continued.probabilities, whole.probabilities, atol=1e-5)
    again, _ = together(call("killed"))
    assert again.value.resumed_from_epoch == 4 and again.value.history == continued.history


def test_a_process_that_never_comes_is_not_waited_for_forever(together):
    def call(nodes: Nodes) -> None:
        if nodes.first:
            with joined(nodes):
                pass

    first, _ = together(call, wait_minutes=0.02)
    assert isinstance(first.error, NodesError) and "trainer.wait_minutes" in str(first.error)


def test_an_error_of_one_process_is_its_own(together):
    def call(nodes: Nodes) -> None:
        with joined(nodes):
            if not nodes.first:
                raise ValueError("no photo there")

    first, other = together(call)
    assert isinstance(first.error, NodesError)
    assert isinstance(other.error, ValueError) and str(other.error) == "no photo there"


def test_processes_that_miss_the_checkpoint_of_the_first_stop(make_config, load, together, tmp_path):
    config = make_config(trainer={"max_epochs": 2})
    dataset, encoded = load(config)

    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer, *_):
            if trainer.current_epoch == 1:
                raise KeyError("stopped")

    with pytest.raises(KeyError):
        train_candidate("image", dataset, encoded, config, tmp_path / "0", [Stop()])

    def call(*folders: str) -> Callable[[Nodes], Any]:
        return lambda nodes: train_candidate(
            "image", dataset, encoded, config, tmp_path / folders[nodes.rank], nodes=nodes
        )

    for ended in together(call("0", "1")):
        assert isinstance(ended.error, NodesError) and "[1, 0], by rank" in str(ended.error)
    # where the first has none, all begin anew
    first, other = together(call("1", "0"))
    assert other.error is None and first.value.resumed_from_epoch == 0


def test_more_processes_than_products_in_a_batch_are_refused(make_config, load, tmp_path):
    config = make_config(trainer={"batch_size": 4})
    dataset, encoded = load(config)
    with pytest.raises(ValueError, match=r"trainer\.nodes = 5 processes cannot share"):
        train_candidate("image", dataset, encoded, config, tmp_path, nodes=Nodes(1, 5))


@given(st.integers(1, 40), st.integers(1, 6))
def test_parts_are_even_and_make_up_the_whole(total, size):
    rows = np.random.default_rng(0).permutation(100)[:total]
    parts = [part_of(rows, Nodes(rank, size)) for rank in range(size)]
    assert len({len(part) for part in parts}) == 1
    np.testing.assert_array_equal(whole_of(parts, total), rows)
    together = np.concatenate(parts)
    assert sorted(together[together >= 0]) == sorted(rows)
    logits = np.arange(total * 3).reshape(total, 3)
    where = np.argsort(rows)
    known = [logits[where][np.searchsorted(rows[where], np.where(part < 0, ~part, part))] for part in parts]
    np.testing.assert_array_equal(whole_of(known, total), logits)
