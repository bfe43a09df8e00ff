"""What benchmarks keep: the table says what was measured, and what measured it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from results import make_result, markdown, read_result, write_result

ROWS = {"speed": [{"what": "ours | theirs", "ratio": 1.5}, {"what": "bare", "ratio": float("nan")}]}


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    result = make_result("speed", "How fast?", ROWS, ["one note"], seeds=3)
    file, page = write_result(result, tmp_path)
    assert read_result(file) == result
    assert page.read_text() == markdown(result)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md"]


def test_a_result_says_what_made_it(tmp_path: Path) -> None:
    about = make_result("speed", "How fast?", ROWS, seeds=3).about
    assert about["seeds"] == 3
    assert about["machine"]["cores"] == os.cpu_count()
    assert about["versions"]["python"] == sys.version.split()[0]
    assert about["versions"]["torch"].split(".")[0].isdigit()
    assert about["command"].startswith("python ")


def test_a_table_has_a_row_each_and_empty_cells_for_what_is_not_known() -> None:
    lines = markdown(make_result("speed", "How fast?", ROWS)).splitlines()
    start = lines.index("| what | ratio |")
    assert lines[start + 1 : start + 4] == ["| --- | ---: |", "| ours \\| theirs | 1.500 |", "| bare |  |"]


def test_numbers_of_numpy_and_nan_become_plain_json(tmp_path: Path) -> None:
    rows = {"": [{"a": np.float32(0.5), "b": np.int64(2), "c": np.nan}]}
    file, _ = write_result(make_result("plain", "Plain", rows), tmp_path)
    assert json.loads(file.read_text())["tables"] == {"": [{"a": 0.5, "b": 2, "c": None}]}


def test_rows_with_other_columns_are_an_error() -> None:
    with pytest.raises(ValueError, match="'speed' of mixed has a row with the columns"):
        make_result("mixed", "Mixed", {"speed": [{"a": 1}, {"b": 1}]})
