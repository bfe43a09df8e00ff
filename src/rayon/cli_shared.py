"""What the commands of `python -m rayon` share: the experiment they are about, mistakes as sentences, tables.

Knows the terminal; no command.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rayon.config import Config

Experiment = Annotated[Path, typer.Option("--experiment", "-e", help="the experiment's YAML file")]
DEMO = Path("configs/demo.yaml")


def told_by(command: Callable[..., None]) -> str:
    """Return a command's docstring as its help: paragraphs without line breaks, for any width of terminal."""
    text = inspect.getdoc(command) or ""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def count(number: int, what: str) -> str:
    """Return '1 run', '2 runs'."""
    return f"{number:,} {what}{'s'[: number != 1]}"


def print_table(table: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; what comes last may be as long as it likes."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def write_json(content: Any, file: str) -> None:
    """Write plain data as JSON to a file, or to the screen where it is called '-'."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    if file == "-":
        typer.echo(text)
    else:
        Path(file).write_text(text + "\n", encoding="utf-8")


def read_settings(experiment: Path) -> Config:
    """Return an experiment's settings; as in the flows, their relative paths start at the project's root."""
    from rayon.config import parse_config, read_config, resolve_paths

    if not experiment.is_file():
        raise typer.BadParameter(
            f"there is no file {experiment}: name one of configs/*.yaml", param_hint="--experiment"
        )
    return resolve_paths(parse_config(read_config(experiment.read_text(encoding="utf-8"))), Path.cwd())


@contextmanager
def sentences(*mistakes: type[Exception]) -> Iterator[None]:
    """Print a mistake of the user as one sentence; anything else is a mistake of ours and keeps its traceback.

    `mistakes` are a command's own kinds.
    """
    from rayon.config import ConfigError
    from rayon.preparing import RayonError, stopping

    known: tuple[type[Exception], ...] = (ConfigError, RayonError, *mistakes)
    try:
        with stopping():
            yield
    except known as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
