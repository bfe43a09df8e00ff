"""The dashboard as W&B stores it: of known keys alone, found by tags, and published once however often asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from wandb_files import FED_BY, chapters, panel_keys
from wandb_server import Server, used_server

from rayon.cli import app
from rayon.dashboard import DashboardError, Scope, publish, specification
from rayon.tracking.keys import KEYS, find_key

ROOT = Path(__file__).resolve().parents[3]
SCOPE = Scope("demo", "rayon", 0.95)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "RAYON_BRANCH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with used_server(monkeypatch) as running:
        yield running


def panels_of_report(scope: Scope) -> dict[str, list[dict[str, Any]]]:
    return {title: grid["panelBankSectionConfig"]["panels"] for title, grid in chapters(scope).items()}


def test_every_panel_shows_keys_that_the_jobs_of_its_chapter_log() -> None:
    found = chapters(SCOPE)
    for title, grid in found.items():
        (shown,) = grid["runSets"]
        (jobs,) = (each["value"] for each in shown["filters"]["filters"] if each["key"]["name"] == "jobType")
        assert grid["panelBankSectionConfig"]["panels"]
        for panel in grid["panelBankSectionConfig"]["panels"]:
            keys, patterns = panel_keys(panel)
            assert keys or patterns or panel["viewType"] == "Run Comparer", f"'{title}' has an empty panel"
            for key in keys:
                assert any(find_key(key.removesuffix("_table"), job) for job in jobs), f"'{title}': {key}, {jobs}"
    assert set(found) == {title for titles in FED_BY.values() for title in titles}, "each is held against real runs"


def test_the_dashboard_leaves_no_measured_key_out() -> None:
    shown = [panel_keys(panel) for panels in panels_of_report(SCOPE).values() for panel in panels]
    names = {key.removesuffix("_table") for keys, _ in shown for key in keys}
    left = {key.name for key in KEYS if key.kind in ("chart", "table", "curve") and key.name not in names}
    assert {name for name in left if not name.startswith("monitor/")} == {"epoch"}


def test_workspace_and_report_have_the_same_panels() -> None:
    def without_places(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
        plain = [{**panel, "__id__": "", "layout": {}} for panel in panels]
        return [{**panel, "config": {**panel["config"], "limit": 0}} for panel in plain]

    bank = specification(SCOPE, "team")["workspace"]["section"]["panelBankConfig"]
    sections = {section["name"]: without_places(section["panels"]) for section in bank["sections"]}
    assert sections == {title: without_places(panels) for title, panels in panels_of_report(SCOPE).items()}


@pytest.mark.parametrize("branch", ["", "prod"])
def test_runs_are_those_of_the_catalogue_and_where_asked_of_a_branch(branch: str) -> None:
    scope = SCOPE._replace(branch=branch)
    wanted = ["catalogue:demo", *(["project_branch:prod"] if branch else [])]
    (shown,) = specification(scope, "team")["workspace"]["section"]["runSets"]
    sets = [shown["filters"], *(grid["runSets"][0]["filters"] for grid in chapters(scope).values())]
    for filters in sets:
        tags = [tag for each in filters["filters"] if each["key"]["name"] == "tags" for tag in each["value"]]
        assert tags[: len(wanted)] == wanted
        assert all(each["op"] == "IN" and each.get("connector", "AND") == "AND" for each in filters["filters"])


def test_the_decisive_precision_is_that_of_the_experiment() -> None:
    keys = [key for panel in panels_of_report(SCOPE._replace(target=0.99))["Gold set"] for key in panel_keys(panel)[0]]
    assert "test/coverage_at_99" in keys and "test/coverage_at_95" not in keys


def test_publishing_again_replaces_what_was_published(server: Server) -> None:
    first, second = publish(SCOPE), publish(SCOPE)
    assert first == second and first[0].startswith(f"{server.url}/team/rayon?nw=")
    assert server.projects == ["rayon"], "a project without a run yet is made"
    views = {view["type"]: view for view in server.views.values()}
    assert len(server.views) == 2 and set(views) == {"runs", "project-view"}
    assert {view["displayName"] for view in server.views.values()} == {"rayon: demo"}
    written = json.loads(views["runs"]["spec"])
    assert [block["type"] for block in written["blocks"]].count("panel-grid") == len(chapters(SCOPE))
    other = publish(SCOPE._replace(branch="prod"))
    assert other != first and len(server.views) == 4


def test_a_server_that_does_not_answer_is_one_sentence(server: Server) -> None:
    server.stop()
    with pytest.raises(DashboardError, match=r"did not take the dashboard: .*--output"):
        publish(SCOPE, "team")


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["dashboard", "-e", str(ROOT / "configs" / "demo.yaml"), *arguments])


def test_without_a_key_the_specification_is_a_file_and_the_command_says_how_to_publish(tmp_path: Path) -> None:
    done = command()
    assert done.exit_code == 0, done.output
    assert "with WANDB_API_KEY set" in done.output and "build/dashboard-demo.json" in done.output
    written = json.loads((tmp_path / "build" / "dashboard-demo.json").read_text(encoding="utf-8"))
    assert {"workspace", "report"} <= set(written) and written["name"] == "rayon: demo"


def test_with_a_key_the_command_publishes_and_prints_the_addresses(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_BRANCH", "prod")
    done = command("--entity", "team")
    assert done.exit_code == 0, done.output
    assert f"workspace  {server.url}/team/rayon?nw=" in done.output and "report     " in done.output
    assert {view["displayName"] for view in server.views.values()} == {"rayon: demo, prod"}
    assert not (tmp_path / "build").exists()
    assert command("--output", "spec.json").exit_code == 0 and (tmp_path / "spec.json").exists()
    assert len(server.views) == 2, "with --output nothing is published"


def test_mistakes_of_the_user_are_sentences(tmp_path: Path) -> None:
    nowhere = CliRunner().invoke(app, ["dashboard", "-e", "nowhere.yaml"])
    assert nowhere.exit_code == 2 and "there is no file nowhere.yaml" in nowhere.output
    (tmp_path / "wrong.yaml").write_text("nam: demo\n")
    wrong = CliRunner().invoke(app, ["dashboard", "-e", "wrong.yaml"])
    assert wrong.exit_code == 1 and "did you mean 'name'?" in wrong.output
