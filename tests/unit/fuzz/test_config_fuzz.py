"""Whatever YAML says, it is a configuration or a `ConfigError` that names what is wrong, in a few lines."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mutations import LEAVES, examples, places, put, trees

from rayon.config import Config, ConfigError, parse_config, read_config, resolve_paths
from rayon.monitoring_config import read_monitoring

ROOT = Path(__file__).resolve().parents[3]
FULL = read_config((ROOT / "configs" / "debug.yaml").read_text(encoding="utf-8"))
PLACES = [place for place in places(FULL) if place]


@examples(250)
@given(place=st.sampled_from(PLACES), value=LEAVES | trees(list(FULL), leaves=3))
def test_a_value_that_is_wrong_is_told_by_its_key(place, value):
    settings = copy.deepcopy(FULL)
    put(settings, place, value)
    try:
        config = parse_config(settings)
    except ConfigError as error:
        assert str(place[0]) in str(error) and len(str(error)) < 4000
    else:
        assert isinstance(resolve_paths(config, Path("/somewhere")), Config)


@examples(150)
@given(tree=trees(list(FULL)))
def test_any_tree_is_a_configuration_or_a_sentence(tree):
    text = yaml.safe_dump(tree, allow_unicode=True)
    for read in (read_config, read_monitoring):
        try:
            read(text)
        except ConfigError as error:
            assert "configuration" in str(error)


@examples(200)
@given(
    text=st.text(max_size=40)
    | st.text(alphabet=":-[]{}&*!|>%@`'\"#? \n\t_0x.eE~ab", max_size=40)
    | st.text(alphabet="name: 0123456789-_.:xeTZ\n", max_size=40)
)
def test_any_text_is_a_configuration_or_a_sentence(text):
    for read in (read_config, read_monitoring):
        try:
            read(text)
        except ConfigError as error:
            assert str(error)


@pytest.mark.parametrize(
    "text",
    [
        "a: 2026-13-45",  # looks like a date
        "a: 0x_",
        "a: !!float x",
        "a: 1970-01-01T99:00:00Z",
        "a: " + "9" * 5000,
        "[" * 20_000,
        "a: &a [*a]",
        "&a {x: *a}",
        "2026-01-02: x",
        "!!binary aGk=: x",
        "? [a, b]\n: x",
        "a: &a0 [x,x]\n" + "".join(f"b{i}: &a{i + 1} [{','.join([f'*a{i}'] * 9)}]\n" for i in range(9)),
        'name: "a\\0b"',
        "\0",
    ],
)
def test_what_yaml_itself_stumbles_over_is_a_sentence(text):
    with pytest.raises(ConfigError, match="configuration"):
        read_config(text)


def test_a_long_value_is_not_repeated_at_length():
    with pytest.raises(ConfigError) as raised:
        parse_config({**FULL, "name": "x" * 100_000})
    assert "'name'" in str(raised.value) and len(str(raised.value)) < 600


def test_a_path_with_a_nul_is_a_mistake():
    for changed in ({"cache": "a\0b"}, {"shared": "a\0b"}, {"catalog": {"products": "a\0b"}}):
        with pytest.raises(ConfigError, match=next(iter(changed))):
            parse_config({**FULL, **changed})
