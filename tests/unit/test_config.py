"""Settings: what is refused and how it is said, what comes back unchanged, where paths start."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rayon.config import Config, ConfigError, changed, parse_config, read_config, resolve_paths, to_dict

SMALLEST: dict[str, Any] = {"name": "shop", "catalog": {"products": "data/raw/products.csv"}}


def mistakes(settings: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


def test_a_name_and_a_catalogue_are_enough():
    config = parse_config(SMALLEST)
    assert config.catalog.products == "data/raw/products.csv"
    assert config.candidates == ("tfidf", "text", "image", "fusion")
    assert config == Config(name="shop", catalog=config.catalog)


@pytest.mark.parametrize(
    ("section", "wrong", "right"),
    [
        ({"trainer": {"learning_rat": 0.1}}, "trainer.learning_rat", "learning_rate"),
        ({"traner": {}}, "traner", "trainer"),
        ({"branches": {"ngram": {"log2_bucket": 12}}}, "branches.ngram.log2_bucket", "log2_buckets"),
        ({"resources": {"train": {"gpus": 1}}}, "resources.train.gpus", "gpu"),
        ({"catalog": {"products": "p.csv", "synthetic": {"row": 300}}}, "catalog.synthetic.row", "rows"),
        (
            {"catalog": {"products": "p.csv", "columns": {"titel": "t", "descripton": "d"}}},
            "catalog.columns.descripton",
            "description",
        ),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known(section, wrong, right):
    assert f"unknown key '{wrong}': did you mean '{right}'?" in mistakes({**SMALLEST, **section})


def test_a_key_like_no_other_is_answered_with_all_that_are_known_there():
    assert mistakes({**SMALLEST, "tracking": {"zzz": 1}}) == ["unknown key 'tracking.zzz': known here: project, mode"]


def test_every_mistake_is_told_at_once():
    found = mistakes(
        {
            "name": "Shop!",
            "catalog": {},
            "trainer": {"max_epochs": 0, "batch_sise": 8},
            "split": {"test": "0.2"},
            "evaluation": {"precision_targets": [0.9, 1.5]},
            "candidates": ["tfidf", "txt"],
        }
    )
    keys = (
        "'name'",
        "catalog.products",
        "trainer.max_epochs",
        "trainer.batch_sise",
        "split.test",
        "precision_targets",
        "candidates",
    )
    assert len(found) == len(keys)
    for key in keys:
        assert sum(key in line for line in found) == 1, key


def test_a_number_that_yaml_reads_as_text_is_explained():
    settings = yaml.safe_load("learning_rate: 1e-3")
    (line,) = mistakes({**SMALLEST, "trainer": settings})
    assert "trainer.learning_rate" in line and "'1e-3'" in line and "write 1.0e-3" in line
    (other,) = mistakes({**SMALLEST, "trainer": {"learning_rate": "fast"}})
    assert "1.0e-3" not in other


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"retraining": {"window": "a week"}}, "7d or 12h"),
        ({"retraining": {"window": "0d"}}, "7d or 12h"),
        ({"deploy": {"schedules": {"monitor": "daily"}}}, "'0 6 * * *'"),
        ({"name": "My shop"}, "lower-case letters"),
    ],
)
def test_text_of_another_form_is_answered_with_the_form(wrong, remedy):
    (line,) = mistakes({**SMALLEST, **wrong})
    assert remedy in line and "pattern" not in line


@pytest.mark.parametrize("value", [True, 2.5, "3", None])
def test_nothing_is_bent_into_a_number(value):
    assert len(mistakes({**SMALLEST, "trainer": {"max_epochs": value}})) == 1


def test_shares_that_leave_nothing_to_train_on_are_refused():
    (line,) = mistakes({**SMALLEST, "split": {"validation": 0.4, "test": 0.4, "unseen": 0.2}})
    assert "less than a tenth" in line and not line.startswith("Value error")


def test_a_date_in_the_yaml_is_a_mistake_like_any_other():
    with pytest.raises(ConfigError, match=r"trainer\.seed.*2026-01-01"):
        read_config("name: shop\ncatalog: {products: p.csv}\ntrainer: {seed: 2026-01-01}")


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words", "name: [unclosed"])
def test_text_that_is_no_mapping_is_refused(text):
    with pytest.raises(ConfigError, match="the configuration is"):
        read_config(text)


def test_reading_fills_in_every_default():
    plain = read_config(yaml.safe_dump({**SMALLEST, "trainer": {"hidden": 32}}))
    assert plain["trainer"]["hidden"] == 32 and plain["trainer"]["patience"] == 4
    assert json.loads(json.dumps(plain)) == plain
    assert parse_config(plain) == parse_config({**SMALLEST, "trainer": {"hidden": 32}})


fractions = st.floats(0.0, 0.3)
PATH = st.text(st.characters(exclude_characters="\0:", exclude_categories=["Cs"]), min_size=1)
configurations = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,62}\Z"),
        "catalog": st.fixed_dictionaries(
            {"products": PATH},
            optional={
                "labels": st.none() | PATH,
                "columns": st.fixed_dictionaries({}, optional={"image": st.text(), "category": st.text()}),
                "synthetic": st.none() | st.fixed_dictionaries({"rows": st.integers(200, 1_000_000)}),
            },
        ),
    },
    optional={
        "split": st.fixed_dictionaries({"validation": fractions, "test": fractions, "unseen": fractions}),
        "branches": st.fixed_dictionaries(
            {
                "ngram": st.fixed_dictionaries({"words": st.tuples(st.integers(1, 9), st.integers(1, 9)).map(list)}),
                "text": st.fixed_dictionaries({"encoders": st.lists(st.text())}),
            }
        ),
        "trainer": st.fixed_dictionaries(
            {"learning_rate": st.floats(1e-9, 1e3), "precision": st.sampled_from(["32-true", "bf16-mixed"])}
        ),
        "evaluation": st.fixed_dictionaries({"precision_targets": st.lists(st.floats(0.01, 0.99), max_size=4)}),
        "candidates": st.lists(st.sampled_from(["tfidf", "text", "image", "fusion"]), max_size=4),
    },
)


@given(configurations)
def test_settings_survive_the_way_through_plain_data(settings):
    config = parse_config(settings)
    plain = to_dict(config)
    assert parse_config(json.loads(json.dumps(plain))) == config
    assert to_dict(parse_config(plain)) == plain


def test_relative_paths_start_at_the_root_and_absolute_ones_stay(tmp_path):
    config = parse_config(
        {"name": "shop", "catalog": {"products": "raw/p.csv", "images": str(tmp_path / "photos"), "labels": "../y.csv"}}
    )
    resolved = resolve_paths(config, tmp_path / "project")
    assert resolved.catalog.products == str(tmp_path / "project" / "raw" / "p.csv")
    assert resolved.catalog.labels == str(tmp_path / "y.csv")
    assert resolved.catalog.images == str(tmp_path / "photos")
    assert resolved.cache == str(tmp_path / "project" / ".rayon")
    assert resolve_paths(resolved, Path("/elsewhere")) == resolved
    assert resolve_paths(parse_config(SMALLEST), tmp_path).catalog.images is None


def test_a_misspelt_change_is_answered_with_the_nearest_known():
    config = parse_config({"name": "shop", "catalog": {"products": "a.csv"}})
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        changed(config, {"trainer": {"hiden": 64}})
    with pytest.raises(ConfigError, match=r"'trainer.hidden'"):
        changed(config, {"trainer": {"hidden": 0}})


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_config(SMALLEST).trainer.seed = 3


def test_the_experiments_in_configs_are_valid():
    folder = Path(__file__).parents[2] / "configs"
    files = sorted(set(folder.glob("*.yaml")) - {folder / "monitoring.yaml"})  # no experiment: tested on its own
    assert files
    names = [read_config(file.read_text(encoding="utf-8"))["name"] for file in files]
    assert len(set(names)) == len(names)
