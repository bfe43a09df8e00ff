"""Reads W&B's offline runs back, as its own terminal viewer does, and holds them against the table of keys and the
dashboard.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rayon.dashboard import Scope, specification
from rayon.tracking.keys import find_key

FED_BY = {
    "tests/flows/test_flows.py": (
        "Trainings",
        "Gold set",
        "Reliability",
        "Confusion",
        "Wrong products",
        "Gate",
        "Data",
    ),
    "tests/flows/test_score_flow.py": ("Production",),
    "tests/flows/test_monitor_flow.py": ("Monitoring",),
    "tests/flows/test_registry.py": ("Champions",),
    "tests/flows/test_loop.py": ("Feedback",),
}
"""The chapters of the dashboard, by the file whose runs of flows feed them."""


class Kept(NamedTuple):
    """An offline run: what it is, its final values, its points, the columns of its tables, its artifacts' names."""

    id: str
    name: str
    group: str
    job: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    tables: dict[str, list[str]]
    artifacts: tuple[str, ...]
    finished: bool

    def logged(self) -> set[str]:
        """Return all keys under which something was logged."""
        return {key for point in (self.summary, *self.history) for key in point} | set(self.tables)


def _records(folder: Path) -> list[dict[str, Any]]:
    from wandb.util import get_core_path

    (file,) = folder.glob("run-*.wandb")
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", str(file)]
    told = subprocess.run([*command, str(folder.parent)], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in told.splitlines()]


def read_run(folder: Path) -> Kept:
    """Read the run in one of W&B's folders. It calls what `wandb leet inspect --json` calls."""
    return _kept(folder, _records(folder))


def _kept(folder: Path, records: list[dict[str, Any]]) -> Kept:
    def all_of(kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in records if record["type"] == kind]

    summary: dict[str, Any] = {}
    for update in all_of("summary"):
        summary |= update.get("update", {})
    points = [record["item"] for record in all_of("history")]
    tables = {
        key.removesuffix(".path"): json.loads((folder / "files" / place).read_text(encoding="utf-8"))["columns"]
        for key, place in summary.items()
        if key.endswith(".path")
    }
    (run,) = all_of("run")[:1]
    return Kept(
        id=run["run_id"],
        name=run["display_name"],
        group=run["run_group"],
        job=run["job_type"],
        tags=tuple(run.get("tags", ())),
        config={name: value for name, value in run["config"]["update"].items() if name != "_wandb"},
        summary=_plain(summary),
        history=[_plain(point) for point in points],
        tables=tables,
        artifacts=tuple(record["name"] for record in all_of("artifact")),
        finished=any(record["exit_code"] == 0 for record in all_of("exit")),
    )


def _plain(point: dict[str, Any]) -> dict[str, Any]:
    """Leave out W&B's own keys, and what it says of tables."""
    return {
        key: value for key, value in point.items() if not key.startswith("_") and "._" not in key and "." not in key
    }


def read_runs(cache: Path) -> list[Kept]:
    """Read the offline runs below a cache folder that have ended; that of a killed task may have no beginning."""
    found = [(folder, _records(folder)) for folder in sorted((cache / "wandb").glob("offline-run-*"))]
    runs = [_kept(folder, records) for folder, records in found if any(one["type"] == "exit" for one in records)]
    return [run for run in runs if run.finished]


def unknown_keys(run: Kept) -> set[str]:
    """Return the keys that a run logged and the table does not list for its job."""
    return {key for key in run.logged() if find_key(key.removesuffix("_table"), run.job) is None}


def chapters(scope: Scope) -> dict[str, dict[str, Any]]:
    """Return the panel grids of the report by the heading before them, as they would be published."""
    found, title = {}, ""
    for block in specification(scope, "team")["report"]["blocks"]:
        if block["type"] == "heading":
            title = block["children"][0]["text"]
        elif block["type"] == "panel-grid":
            found[title] = block["metadata"]
    return found


def panel_keys(panel: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the keys that a panel shows, and the regular expressions of further ones."""
    settings = panel["config"]
    kind = panel["viewType"]
    if kind == "Run History Line Plot":
        regex = [settings["metricRegex"]] if settings.get("useMetricRegex") else []
        return [settings["xAxis"], *settings["metrics"]], regex
    if kind == "Bar Chart":
        return settings["metrics"], []
    if kind == "Scatter Plot":
        axes = [settings["xAxis"].split(":", 1), settings["yAxis"].split(":", 1)]
        return [name for section, name in axes if section == "summary"], []
    if kind in ("Vega2", "Weave"):
        named = r'"tableKey", "value": "(\w+)"' if kind == "Vega2" else r'"key": {"nodeType": "const", .*"val": "(\w+)"'
        return re.findall(named, json.dumps(settings)), []
    assert kind == "Run Comparer", f"a panel of another kind: {kind}"
    return [], []


def check_fed(file: str, settings: dict[str, Any]) -> list[Kept]:
    """Hold the offline runs under an experiment's settings against the table of keys, and against the chapters of the
    dashboard that the runs of a test's file feed. Returns the runs.
    """
    runs = read_runs(Path(settings["cache"]))
    scope = Scope(settings["name"], settings["tracking"]["project"], settings["score"]["precision"], "user.tests")
    (titles,) = (told for name, told in FED_BY.items() if file.endswith(name))
    for run in runs:
        # a shop may be a copy of another, with what that one logged
        assert {"project:rayon", "project_branch:user.tests", f"catalogue:{run.config['name']}"} <= set(run.tags)
        assert (run.config["flow_run"], run.config["project_branch"]) == (run.group, "user.tests")
        assert run.config["versions"]["torch"] == version("torch")
        assert not unknown_keys(run), f"{run.name} logs what rayon.tracking.keys does not list: {unknown_keys(run)}"
    grids = chapters(scope)
    for title in titles:
        grid = grids[title]
        (shown,) = grid["runSets"]
        matching = [run for run in runs if _matches(run, shown["filters"]["filters"])]
        assert matching, f"no run matches the filters of '{title}'"
        logged = set().union(*(run.logged() for run in matching))
        for panel in grid["panelBankSectionConfig"]["panels"]:
            keys, patterns = panel_keys(panel)
            assert set(keys) <= logged, f"'{title}' shows {sorted(set(keys) - logged)}, which no run logs"
            assert all(any(re.search(each, key) for key in logged) for each in patterns), f"'{title}': {patterns}"
            for key in keys if panel["viewType"] == "Vega2" else ():
                columns = next(run.tables[key] for run in matching if key in run.tables)
                assert set(panel["config"]["fieldSettings"].values()) <= set(columns), f"'{title}', {key}: {columns}"
        listed = [column.split(":", 1) for column in shown["runFeed"]["columnOrder"]]
        summaries = {name for section, name in listed if section == "summary"}
        assert summaries <= logged, f"'{title}' lists {sorted(summaries - logged)}, which no run logs"
        facts = {name.removesuffix(".value") for section, name in listed if section == "config"}
        assert facts <= set().union(*(run.config for run in matching)), f"'{title}' lists {sorted(facts)}"
    return runs


def _matches(run: Kept, filters: Sequence[dict[str, Any]]) -> bool:
    values = {"tags": set(run.tags), "jobType": {run.job}}
    return all(each["op"] == "IN" and values[each["key"]["name"]] & set(each["value"]) for each in filters)
