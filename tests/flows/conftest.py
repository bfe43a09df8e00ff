"""Shops for the tests of the flows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_flows import Shop


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shop]:
    """A factory of shops, each with a catalogue name of its own."""

    def make(name: str) -> Shop:
        shop = Shop(tmp_path_factory.mktemp(name))
        shop.change(name=name)
        return shop

    return make
