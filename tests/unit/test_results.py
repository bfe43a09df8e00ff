"""What benchmarks keep: the table says what was measured, and what measured it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import bench
from quality_tables import gain
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


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results, and two benchmarks: one whose file is missing, one that ends well."""
    missing, fine = (
        bench.Benchmark("about", file, file, "1 s", "1 s") for file in ("no_such_benchmark.py", "results.py")
    )
    monkeypatch.setattr(bench, "BENCHMARKS", {"missing": missing, "fine": fine})
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    return tmp_path


def test_a_benchmark_that_fails_is_told_in_the_end_and_stops_no_other(few, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py", "--quick"])
    with pytest.raises(SystemExit, match="failed:\nmissing ended with code 2: ") as ended:
        bench.main()
    assert ended.value.code != 0
    assert "=== fine" in capfd.readouterr().out
    assert (few / "README.md").exists()


def test_the_index_links_each_result(few, monkeypatch) -> None:
    write_result(make_result("speed", "How fast?", ROWS), few)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "fine"])
    bench.main()
    page = (few / "README.md").read_text()
    assert "[How fast?](speed.md)" in page and bench.index(few) == page


def test_every_benchmark_names_a_file_that_is_there() -> None:
    for benchmark in bench.BENCHMARKS.values():
        for command in (benchmark.command, benchmark.quick):
            assert (Path(bench.__file__).parent / command.split()[0]).is_file(), command


def test_a_gain_is_taken_over_the_splits_that_both_have() -> None:
    found = {
        "fusion": {0: {"macro_f1": 0.9}, 1: {"macro_f1": 0.8}, 2: {"macro_f1": 0.1}},
        "tfidf": {0: {"macro_f1": 0.8}, 1: {"macro_f1": 0.8}, 5: {"macro_f1": 1.0}},
    }
    assert gain(found, "tfidf") == "+0.050 ± 0.050 (2)"
    assert gain(found, "fusion") == ""
