"""The notebooks, executed from the first cell to the last on real runs of a small catalogue."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from metaflow import Flow, namespace
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image
from support_flows import ROOT, Shop

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = ["01_explore_catalog", "02_compare_runs", "03_error_analysis", "04_monitoring", "05_model_lab"]
FIGURES = {"01_explore_catalog": 6, "02_compare_runs": 6, "03_error_analysis": 8, "04_monitoring": 7, "05_model_lab": 5}


@pytest.fixture
def execute(tmp_path: Path) -> Callable[[str, Shop], NotebookNode]:
    """Execute a notebook for a shop, as a person does who has set its parameter; what it wrote comes back."""

    def run(name: str, shop: Shop) -> NotebookNode:
        experiment = tmp_path / "shop.yaml"
        experiment.write_text(shop.as_yaml(), encoding="utf-8")
        book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        (parameters,) = (cell for cell in book.cells if "parameters" in cell.metadata.get("tags", []))
        parameters.source = parameters.source.replace("configs/demo.yaml", str(experiment))
        assert str(experiment) in parameters.source
        where = {"metadata": {"path": str(ROOT / "notebooks")}}
        NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
        return book

    return run


def runs_there() -> list[tuple[str, frozenset[str]]]:
    namespace(None)
    return [(run.pathspec, frozenset(run.tags)) for run in Flow("TrainFlow").runs()]


def outputs(book: NotebookNode) -> list[Any]:
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def figures(book: NotebookNode) -> list[Image.Image]:
    pngs = [output.data["image/png"] for output in outputs(book) if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(png))) for png in pngs]


def words(book: NotebookNode) -> str:
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs(book))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end_and_shows_its_figures(name, seen, execute):
    before = runs_there()
    book = execute(name, seen.shop)
    assert runs_there() == before, "a notebook looks, and leaves no run and no champion behind"
    drawn = figures(book)
    assert len(drawn) == FIGURES[name]
    for figure in drawn:
        colours = figure.convert("RGB").getcolors(1_000_000)
        assert colours is None or len(colours) > 20, "a figure is empty"
    assert not [output for output in outputs(book) if output.get("name") == "stderr"], words(book)


def test_where_there_is_no_run_one_sentence_says_what_to_run(execute, tmp_path):
    empty = Shop(tmp_path)
    empty.change(name="nothing-yet")
    with pytest.raises(CellExecutionError) as stopped:
        execute("03_error_analysis", empty)
    told = str(stopped.value)
    assert re.search(r"run `make train EXPERIMENT=\S+shop.yaml`", told), told
    assert "Traceback" not in told and "exploring.py" not in told


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_stored_notebooks_hold_no_outputs_and_nobodys_kernel(file):
    book = nbformat.read(file, as_version=4)
    nbformat.validate(book)
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in book.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 25
            assert not re.search(r"^\s*(def|class|for|while|if|try) ?\b", cell.source, re.M), "logic is the library's"
    assert book.cells[0].cell_type == "markdown" and "`make " in book.cells[0].source


def test_all_notebooks_are_known_here():
    assert [file.stem for file in FILES] == NAMES
