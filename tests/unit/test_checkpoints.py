"""Checkpoints that another machine goes on from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from pytorch_lightning.callbacks import Callback

from rayon.bundle import read_bundle
from rayon.checkpoints import Checkpoints, remove_checkpoints
from rayon.config import Config
from rayon.data.outputs import OutputError, Outputs


class KilledError(Exception):
    """As if the machine were gone."""


class KillAfter(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch > self.epoch:
            raise KilledError


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path) -> str:
    return f"{request.getfixturevalue('bucket')}/shared" if request.param == "s3" else str(tmp_path / "shared")


@pytest.fixture
def on(make_config, place, tmp_path) -> Callable[[str], Config]:
    """The settings on a machine, of which each has a cache of its own."""
    return lambda machine: dataclasses.replace(make_config(), cache=str(tmp_path / machine), shared=place)


@pytest.fixture
def checkpoints(on, monkeypatch):
    """A factory of the checkpoints of one training on several machines."""
    monkeypatch.setattr("rayon.checkpoints.EVERY_SECONDS", 0.0)

    def make(machine: str, run: str = "12", origin: str | None = None) -> Checkpoints:
        return Checkpoints(on(machine), "TrainFlow", run, origin, "text")

    return make


def test_a_training_goes_on_on_another_machine(checkpoints, on, make_config, load, place):
    from rayon.training import train_candidate

    config = make_config(trainer={"max_epochs": 8, "patience": 8})
    dataset, encoded = load(config)
    one = checkpoints("one")
    with pytest.raises(KilledError):
        train_candidate("text", dataset, encoded, config, one.folder, [one.sending(), KillAfter(4)])
    two = checkpoints("two")
    continued = train_candidate("text", dataset, encoded, config, two.folder, [two.sending()])
    assert continued.resumed_from_epoch >= 4
    assert [row["epoch"] for row in continued.history] == list(range(8))
    assert read_bundle(continued.bundle).categories == dataset.categories
    remove_checkpoints(on("two"), "TrainFlow", "12", None)
    assert not list(Outputs(place).listing("checkpoints")) and not two.folder.exists()


def test_a_resumed_run_removes_those_that_it_went_on_from(checkpoints, on, tmp_path):
    one, other = checkpoints("one"), checkpoints("one", run="13")
    for each in (one, other):
        each.folder.mkdir(parents=True)
        (each.folder / "last.ckpt").write_bytes(b"epoch 3")
    assert checkpoints("one", run="14", origin="12").folder == one.folder
    assert checkpoints("one", run="15", origin="14").folder == one.folder
    remove_checkpoints(on("one"), "TrainFlow", "15", "14")
    assert not one.folder.exists() and (other.folder / "last.ckpt").exists()
    left = {path.name for path in (tmp_path / "one" / "checkpoints").iterdir()}
    assert left == {"TrainFlow-12", "TrainFlow-13"}


def test_a_resumed_run_goes_on_on_another_machine(checkpoints):
    from types import SimpleNamespace

    one = checkpoints("one")
    one.folder.mkdir(parents=True)
    (one.folder / "last.ckpt").write_bytes(b"epoch 3")
    one.sending().on_train_epoch_start(SimpleNamespace(is_global_zero=True), None)
    assert not checkpoints("two", run="13").folder.exists()
    two = checkpoints("two", run="14", origin="12")
    assert (two.folder / "last.ckpt").read_bytes() == b"epoch 3" and two.folder.parent.name == "TrainFlow-14"


def test_the_first_epoch_is_sent_at_once_and_then_not_too_often(make_config, load, checkpoints, place, monkeypatch):
    from rayon.training import train_candidate

    monkeypatch.setattr("rayon.checkpoints.EVERY_SECONDS", 3600.0)
    config = make_config(trainer={"max_epochs": 8, "patience": 8})
    dataset, encoded = load(config)
    one = checkpoints("one")
    with pytest.raises(KilledError):
        train_candidate("text", dataset, encoded, config, one.folder, [one.sending(), KillAfter(4)])
    two = checkpoints("two")
    assert train_candidate("text", dataset, encoded, config, two.folder, [two.sending()]).resumed_from_epoch == 1


def test_another_run_begins_anew_and_a_resumed_one_goes_on(checkpoints):
    one = checkpoints("one")
    one.folder.mkdir(parents=True)
    (one.folder / "last.ckpt").write_bytes(b"epoch 3")
    assert not checkpoints("one", run="13").folder.exists()
    assert checkpoints("one", run="14", origin="12").folder == one.folder


def test_a_place_that_does_not_answer_costs_a_warning(make_config, tmp_path):
    (tmp_path / "file").write_text("no folder")
    config = dataclasses.replace(make_config(), cache=str(tmp_path / "cache"), shared=str(tmp_path / "file" / "x"))
    kept = Checkpoints(config, "TrainFlow", "12", None, "text")
    kept.folder.mkdir(parents=True)
    (kept.folder / "last.ckpt").write_bytes(b"epoch 3")

    class Trainer:
        is_global_zero = True

    with pytest.warns(UserWarning, match="not shared"):
        kept.sending().on_train_epoch_start(Trainer(), None)
    assert (kept.folder / "last.ckpt").exists()


@pytest.mark.filterwarnings("ignore:checkpoints are not shared")
def test_a_place_that_cannot_even_be_opened_costs_no_run(make_config, tmp_path, monkeypatch):
    def away(location: str) -> Outputs:
        raise OutputError(f"'{location}' does not answer")

    monkeypatch.setattr("rayon.checkpoints.Outputs", away)
    config = dataclasses.replace(make_config(), cache=str(tmp_path / "cache"), shared="s3://shop/shared")
    kept = Checkpoints(config, "TrainFlow", "12", None, "text")
    kept.folder.mkdir(parents=True)
    remove_checkpoints(config, "TrainFlow", "12", None)
    assert not kept.folder.exists()
