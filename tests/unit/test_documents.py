"""What documents promise: links lead somewhere, commands and targets exist, the diagram shows what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from documents import DOCUMENTS, ROOT, anchors, command_lines, links, shell_blocks

from rayon.cli import app


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists() and target.is_relative_to(ROOT), f"{document.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{document.name}: {link} names no heading"


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        left += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link]
    assert set((ROOT / "docs").glob("*.md")) <= seen


def test_commands_and_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets, f"{document.name}: make {target}"
        for command in re.findall(r"python -m rayon(?: --branch \S+)? ([a-z][a-z-]+)", text):
            assert command in commands, f"{document.name}: python -m rayon {command}"
        for file in re.findall(r"python ((?:flows|app|tests)/[\w/]+\.py)", text):
            assert (ROOT / file).is_file(), f"{document.name}: {file}"


def test_the_french_page_has_no_command_that_the_readme_lacks() -> None:
    assert set(command_lines(ROOT / "README.fr.md")) <= set(command_lines(ROOT / "README.md"))


def test_the_walk_through_runs_most_of_the_readme() -> None:
    blocks = shell_blocks(ROOT / "README.md")
    run = [block for block in blocks if not block.left_out]
    assert len(run) >= 3 and any("make train" in block.commands for block in run)
    assert all(len(block.left_out) > 10 for block in blocks if block not in run)


def test_the_diagram_shows_the_flows_that_are_there_and_what_starts_them() -> None:
    diagram = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert diagram
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "flows").glob("*_flow.py")}
    flows = {name for text in sources.values() for name in re.findall(r"^class (\w+)\(", text, re.MULTILINE)}
    assert set(re.findall(r"\b[A-Z]\w+Flow\b", diagram[1])) == flows
    steps = re.findall(r"    def (\w+)\(self", sources["train_flow.py"])
    assert re.search(r"TrainFlow: ([\w, ]+)", diagram[1])[1].split(", ") == steps[1:-1]  # type: ignore[index]
    asking = re.findall(r"^  (\w+) -\. \"asks for a retraining\" \.-> (\w+)$", diagram[1], re.MULTILINE)
    assert {name for name, text in sources.items() if "request_retraining(" in text} == {
        f"{a}_flow.py" for a, _ in asking
    }
    assert {name for name, text in sources.items() if 'event_name("retraining")' in text} == {
        f"{b}_flow.py" for _, b in asking
    }
