"""Shops for the tests of the flows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_flows import Shop, Story, run_and_kill
from support_trained import MakeTrained, trained_factory

CHECKPOINTS = "cache/checkpoints/*/fusion/last.ckpt"


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shop]:
    """A factory of shops, each with a catalogue name of its own."""

    def make(name: str) -> Shop:
        shop = Shop(tmp_path_factory.mktemp(name))
        shop.change(name=name)
        return shop

    return make


@pytest.fixture(scope="session")
def make_trained(tmp_path_factory: pytest.TempPathFactory) -> MakeTrained:
    """A factory of shops that were trained, each with a catalogue name of its own."""
    return trained_factory(tmp_path_factory)


@pytest.fixture(scope="session")
def story(make_trained: MakeTrained) -> Story:
    shop, (alone,) = make_trained("shop", 1)
    preprocessed = shop.run("preprocess")
    shop.change(trainer={"max_epochs": 60, "patience": 60, "nodes": 2})
    killed, kills = run_and_kill(shop, "train_nodes", "train", CHECKPOINTS, 1, "--promote", "never", only="_node_1")
    shop.change(candidates=["fusion"], trainer={"seed": 1, "nodes": 1, "warm_epochs": 1})
    failed, _ = run_and_kill(shop, "train", "train", CHECKPOINTS, 3, "--promote", "never")
    resumed = shop.resume("train", failed)
    shop.change(catalog={"synthetic": {"rows": 252, "categories": 12, "seed": 1}}, trainer={"max_epochs": 2})
    grown = shop.run("preprocess")
    retrained = shop.run("train", "--promote", "force", "--reason", "more products")
    return Story(shop, alone, preprocessed, killed, kills, failed, resumed, grown, retrained)
