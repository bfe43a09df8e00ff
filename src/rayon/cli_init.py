"""`python -m rayon init`: an experiment for a catalogue that nobody has described yet.

Looks at the file, writes configs/NAME.yaml and says what was taken for what. Knows the terminal and the shipped
configs/catalog.yaml, whose settings and comments it keeps.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayon.cli_shared import print_table, sentences
from rayon.commands import flow_command

if TYPE_CHECKING:
    from rayon.config import Catalog
    from rayon.data.guessing import Guess

TEMPLATE = Path("configs/catalog.yaml")
PHOTOS = 200
"""Photos that are looked for, to say whether they are where the settings say."""


def init(
    products: Annotated[Path, typer.Argument(help="the catalogue: CSV, TSV, Parquet, or a folder of Parquet files")],
    images: Annotated[Path | None, typer.Option(help="the folder of the photos", show_default="none")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="a second file that holds the category, row for row", show_default="none")
    ] = None,
    name: Annotated[str, typer.Option(help="of the catalogue", show_default="the file's")] = "",
    output: Annotated[Path | None, typer.Option(help="where to write", show_default="configs/NAME.yaml")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over a file that is there")] = False,
) -> None:
    """Look at a catalogue and write its experiment: columns, separator, encoding, names of photos.

    What was taken for what is printed, with an example each; what is wrong is edited at the top of the file.
    """
    from rayon.config import NAME
    from rayon.data.guessing import guess_catalog

    if name and not re.fullmatch(NAME, name):
        raise typer.BadParameter(
            f"'{name}' cannot name a catalogue: small letters, digits, - and _, 63 at most, such as "
            f"'{plain_name(name)}'",
            param_hint="--name",
        )
    name = name or plain_name(products.name.partition(".")[0])
    target = output or TEMPLATE.parent / f"{name}.yaml"
    if not TEMPLATE.is_file():
        raise typer.BadParameter(f"there is no {TEMPLATE} here: run this from the project's folder")
    if target.exists() and not force:
        raise typer.BadParameter(f"{target} is there already: --name another, or --force writes over it")
    if images is not None and not images.is_dir():
        raise typer.BadParameter(f"{images} is no folder", param_hint="--images")
    with sentences():
        guess = guess_catalog(_short(products), images and _short(images), labels and _short(labels))
    target.write_text(write_experiment(TEMPLATE.read_text(encoding="utf-8"), name, guess.catalog), encoding="utf-8")
    _tell(guess)
    typer.echo(f"\nwritten to {target}; look at its top, then:")
    for flow in ("preprocess", "train"):
        typer.echo(f"  {flow_command(flow, file=str(target))}")
    if guess.missing:
        typer.echo(f"\nnot found: {', '.join(guess.missing)}. Name these columns in {target} first.", err=True)
        raise typer.Exit(1)


def plain_name(text: str) -> str:
    """Return a name that an experiment may have, made of a text: 'Été 2024' becomes 'ete-2024'."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]+", "-", plain).lstrip("-_")[:63].rstrip("-") or "shop"


def write_experiment(template: str, name: str, catalog: Catalog) -> str:
    """Return an experiment's YAML: the template, its head, name and `catalog:` replaced."""
    from rayon.config import Catalog

    plain = Catalog(products="")
    lines = [
        f"name: {_quoted(name)}                # one name a catalogue: runs and dataset versions are found by it",
        "catalog:",
    ]
    for key in ("products", "labels", "images", "image_name"):
        value = getattr(catalog, key)
        if value != getattr(plain, key):
            lines.append(f"  {key}: {_quoted(value)}")
    lines.append("  columns:                   # what the file calls them; '' where it has none")
    for key in ("product_id", "designation", "description", "category", "image"):
        lines.append(f"    {key}: {_quoted(getattr(catalog.columns, key))}")
    for key in ("encoding", "delimiter", "quoting", "allow_urls"):
        lines.append(f"  {key}: {_quoted(getattr(catalog, key))}")
    head = f"# The catalogue {catalog.products}, as `python -m rayon init` found it; all settings: {TEMPLATE}\n"
    rest = template[template.index("\nsplit:") :]
    return head + "\n".join(lines) + "\n" + rest


def _quoted(value: object) -> str:
    """Return a value as YAML; JSON is part of it, and quotes what would be read as something else."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_/.][\w/.-]*", value):
        return (
            value
            if value.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
            else f'"{value}"'
        )
    return json.dumps(value, ensure_ascii=False)


def _short(path: Path) -> Path:
    """Return a path relative to this folder where it is below it, else absolute: flows may be run from elsewhere."""
    whole = Path(os.path.abspath(path))
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def _tell(guess: Guess) -> None:
    catalog = guess.catalog
    table = [("", "column", "filled", "for example")]
    for field in ("product_id", "designation", "description", "category", "image"):
        column = guess.columns.get(field)
        if column is not None:
            table.append((field, column.name, f"{column.filled:.0%}", column.example[:60]))
        else:
            table.append((field, catalog.image_name or "-" if field == "image" else "-", "", ""))
    print_table(table)
    marks = ", quotation marks being part of the values" if catalog.quoting == "none" else ""
    typer.echo(f"read as {catalog.encoding}, separated by {catalog.delimiter!r}{marks}")
    there, looked = _photos_there(catalog)
    if looked:
        typer.echo(f"photos: {there} of the first {looked} are there")
    if looked and not there:
        typer.echo("  name their folder with --images, or say in the file how they are called", err=True)


def _photos_there(catalog: Catalog) -> tuple[int, int]:
    """Return how many of the first photos are where the settings say, and how many were looked for."""
    from rayon.data.catalog import read_catalog
    from rayon.data.images import PhotoError, is_url, photo_path

    if not catalog.columns.product_id or not (catalog.image_name or catalog.columns.image):
        return 0, 0
    frame = next(read_catalog(catalog, rows_per_chunk=PHOTOS, require_category=False))
    locations = [each for each in frame["image"] if each and not is_url(each)]
    there = 0
    for location in locations:
        try:
            there += os.path.isfile(photo_path(location, catalog.images))
        except PhotoError:
            continue
    return there, len(locations)
