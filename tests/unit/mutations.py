"""Bytes and trees that nobody meant: what the property tests of tests/unit/fuzz draw.

RAYON_EXAMPLES=5000 in the environment has each property try so many instead of the few that CI has time for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

VARIABLE = "RAYON_EXAMPLES"


def examples(few: int) -> Any:
    """Settings of a property: `few` examples, always the same, or as many new ones as the environment asks for."""
    many = int(os.environ.get(VARIABLE, "0"))
    return settings(
        max_examples=many or few,
        derandomize=not many,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def damaged(draw: st.DrawFn, originals: Sequence[bytes], head: int = 0) -> bytes:
    """One of the originals after up to eight accidents: a bit flipped, a byte changed, a piece lost, doubled or put in,
    the end cut off. With `head` half of the accidents happen among the first so many bytes.
    """
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 8))):
        if not data:
            break
        end = min(head, len(data)) if head and draw(st.booleans()) else len(data)
        place = draw(st.integers(0, end - 1))
        accident = draw(st.sampled_from(("bit", "byte", "lost", "doubled", "put in", "cut")))
        if accident == "bit":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif accident == "byte":
            data[place] = draw(st.integers(0, 255))
        elif accident == "lost":
            del data[place : place + draw(st.integers(1, 40))]
        elif accident == "doubled":
            data[place:place] = data[place : place + draw(st.integers(1, 40))]
        elif accident == "put in":
            data[place:place] = draw(st.sampled_from(AWKWARD) | st.binary(max_size=12))
        elif draw(st.integers(0, 3)) == 0:  # rarely: little is left to go wrong
            del data[place:]
    return bytes(data)


AWKWARD = [
    text.encode("utf-8", "surrogatepass")
    for text in (
        "\0",
        '"',
        "\n",
        "\r",
        "\r\n",
        ";",
        "\t",
        "\u2028",
        "\ufeff",
        "\x1a",
        "\x85",
        "\ud83d",
        "é",
        ",,,,",
        '""',
    )
]

_KEYS = st.one_of(st.text(max_size=6), st.integers(), st.booleans(), st.none(), st.dates(), st.binary(max_size=3))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**20, 10**30),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(["", "x\0y", "\ud800", "1e-3", "s3://", "../..", "x" * 5000, "~", "0x_", "2026-13-45"]),
    st.dates(),
    st.binary(max_size=4),
)


def trees(keys: Sequence[str], leaves: int = 8) -> st.SearchStrategy[Any]:
    """Nested lists and mappings of anything, some of whose keys are known ones."""
    named = st.sampled_from(list(keys)) | _KEYS
    return st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(named, inner, max_size=3),
        max_leaves=leaves,
    )


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within nested mappings and lists."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(tree: Any, path: Sequence[Any], value: Any) -> None:
    """Replace one value within nested mappings and lists."""
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value
