"""How the flows' time, memory and files grow with the catalogue, each run for real, two tasks at a time.

    python tests/benchmarks/growth.py                                    three flows to 1,000,000 rows (20 minutes)
    python tests/benchmarks/growth.py --sizes 1000 3000 --score 1000 3000

Products are the demo's, texts alone: photos are read one by one, and cost time and disk but no memory that grows.
Scoring uses the small encoders of configs/debug.yaml, to `--score` rows. Memory is that of all processes together
(proportional set size, sampled). An exponent is the slope between the logarithms of the first size and the last: 0 is
flat, 1 is in proportion.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from pathlib import Path
from typing import Any

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from results import ROOT, Row, save, table
from scoring import flow
from rayon.config import Synthetic
from rayon.data.synthetic_rows import make_product

SHARD_ROWS = 20_000
"""Of a dataset version: a foreach takes 100 shards at most."""
COLUMNS = ("product_id", "designation", "description", "category")


def settings_of(folder: Path, rows: int) -> dict[str, Any]:
    """Return the settings of a catalogue of so many rows without photos, below `folder`."""
    settings = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text(encoding="utf-8"))
    settings["catalog"] = {
        "products": str(folder / f"products-{rows}.csv"),
        "columns": {**{name: name for name in COLUMNS}, "image": ""},
    }
    settings["name"], settings["cache"] = f"grown{rows}", str(folder / f"cache-{rows}")
    settings["preprocess"]["shard_rows"] = SHARD_ROWS
    settings["score"]["shard_rows"] = 2000  # as shipped: a shard with its features is what a task holds
    settings["tracking"]["mode"] = "disabled"
    settings["candidates"] = ["fusion"]
    settings["branches"]["image"]["encoders"] = []
    return settings


def write_products(path: Path, rows: int) -> None:
    """Write a catalogue of texts, a row at a time."""
    source = Synthetic(rows=max(rows, 200), categories=12, seed=7)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in range(rows):
            product = make_product(source, row, photos=False)
            writer.writerow([product.product_id, product.designation, product.description, product.category])


def measure(name: str, rows: int, place: Path, *run: Any) -> Row:
    """Run a flow and return a line of the table; `place` holds the files that it leaves."""
    before = _bytes(place)
    seconds, megabytes, _ = flow(*run, "--max-workers", "2")
    found = {"flow": name, "rows": rows, "seconds": seconds, "rows a second": rows / seconds, "peak MB": megabytes}
    found["left MB"] = (_bytes(place) - before) / 1e6
    print(f"{name:12} {rows:>9,} rows: {seconds:.0f} s, peak {megabytes:.0f} MB", flush=True)
    return found


def exponents(rows: list[Row]) -> list[Row]:
    """Return a line a flow: how its columns grow from its first size to its last."""
    found: list[Row] = []
    for name in dict.fromkeys(row["flow"] for row in rows):
        first, last = (mine := [row for row in rows if row["flow"] == name])[0], mine[-1]
        ratio = math.log(last["rows"] / first["rows"])
        grown = {
            column: math.log(last[column] / first[column]) / ratio
            if ratio and first[column] > 0 < last[column]
            else None
            for column in ("seconds", "peak MB", "left MB")
        }
        found.append({"flow": name, "from": first["rows"], "to": last["rows"], **grown})
    return found


def main() -> None:
    """Measure and print; the table is kept where `--results` is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--score", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="rows of ScoreFlow")
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="rayon-growth-") as name:
        folder = Path(name)
        for rows in options.sizes:
            settings = settings_of(folder, rows)
            write_products(Path(settings["catalog"]["products"]), rows)
            found.append(measure("preprocess", rows, folder / ".metaflow", folder, settings, "preprocess"))
        small = settings_of(folder, 1200)
        write_products(Path(small["catalog"]["products"]), 1200)
        flow(folder, small, "train")
        for rows in options.score:
            source = folder / f"new-{rows}.csv"
            write_products(source, rows)
            fresh = {**small, "cache": str(folder / f"cache-score-{rows}")}
            arguments = ("--input", str(source), "--output", str(folder / f"scored-{rows}"))
            found.append(measure("score", rows, folder / f"scored-{rows}", folder, fresh, "score", *arguments))
        known = ("--input", small["catalog"]["products"], "--output", str(folder / "scored"))
        flow(folder, small, "score", *known)
        predictions = pq.read_table(folder / "scored" / "predictions")
        for rows in options.sizes:
            picked = np.random.default_rng(0).integers(0, len(predictions), rows)
            ids = pa.array([f"p{number}" for number in range(rows)])
            file = folder / f"predictions-{rows}.parquet"
            pq.write_table(predictions.take(pa.array(picked)).set_column(0, "product_id", ids), file)
            found.append(measure("monitor", rows, folder / ".metaflow", folder, small, "monitor", "--file", str(file)))
    growth = exponents(found)
    print("\n".join(table(growth)))
    if options.results:
        save("growth", "How flows grow with the catalogue", {"measured": found, "exponents": growth})


def _bytes(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) if place.exists() else 0


if __name__ == "__main__":
    main()
