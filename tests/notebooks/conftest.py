"""A shop that has what the notebooks look at."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from support_flows import Finished, Shop
from support_trained import trained_factory

from rayon.champions import promote

FEW = "minimum_rows: 20\nreport_rows: 100\n"


class Seen(NamedTuple):
    """A shop with two trainings, oldest first; the first one is champion, scored all products and was looked at."""

    shop: Shop
    trainings: list[str]
    scored: Finished
    monitored: Finished


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    shop, runs = trained_factory(tmp_path_factory)("books", 2)
    trainings = [f"TrainFlow/{run.run_id}" for run in runs]
    promote("books", trainings[0], "the first")
    scored = shop.run("score", "--input", str(shop.folder / "raw" / "products.csv"))
    command = shop.command("monitor", "--config-value", "monitoring", FEW, "run", "--run", scored.run_id)
    monitored = shop.execute(command)
    for done in (scored, monitored):
        assert done.code == 0, done.output
    return Seen(shop, trainings, scored, monitored)
