"""The table of keys: complete, without doubt, and what the documentation shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayon.tracking.keys import JOBS, KEYS, as_markdown, coverage_key, find_key, gate_key, tags_of

ROOT = Path(__file__).resolve().parents[3]


def test_every_key_is_listed_once_with_a_unit_and_known_jobs() -> None:
    names = [key.name for key in KEYS]
    assert len(names) == len(set(names))
    assert all(key.unit and key.jobs and set(key.jobs) <= set(JOBS) for key in KEYS)
    assert {job for key in KEYS if key.kind != "setting" for job in key.jobs} == set(JOBS), "every job logs something"


@pytest.mark.parametrize(
    ("name", "job", "line"),
    [
        ("val_nll", "train", "val_nll"),
        ("val_nll", "score", None),
        ("test/coverage_at_99_5", "evaluate", "test/coverage_at_<percent>"),
        ("gate/worst_category", "gate", "gate/<line>"),
        ("gate/verdict", "gate", "gate/verdict"),
        ("monitor/drift/unknown_words", "monitor", "monitor/drift/<comparison>"),
        ("monitor/drift/a/b", "monitor", None),
        ("nothing", "train", None),
    ],
)
def test_a_logged_key_is_found_by_its_most_exact_line(name: str, job: str, line: str | None) -> None:
    found = find_key(name, job)
    assert (found and found.name) == line


def test_keys_hold_nothing_that_wandb_takes_for_structure() -> None:
    assert coverage_key(0.95) == "test/coverage_at_95" and coverage_key(0.995) == "test/coverage_at_99_5"
    assert gate_key("gain's interval") == "gate/gain_s_interval" and gate_key("beats tf-idf") == "gate/beats_tf_idf"
    assert not any("." in key.name or " " in key.name for key in KEYS)


def test_tags_name_project_branch_and_catalogue_and_fit_wandb() -> None:
    assert tags_of("demo", "prod") == ["project:rayon", "project_branch:prod", "catalogue:demo"]
    assert all(len(tag) <= 64 for tag in tags_of("c" * 80, "b" * 80))


def test_the_documentation_has_the_table() -> None:
    page = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
    assert as_markdown() in page, "docs/wandb.md: put the output of `python -m rayon dashboard --keys` there"
