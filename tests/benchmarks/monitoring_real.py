"""Monitoring across real catalogues, and what it costs on many products.

    python tests/benchmarks/monitoring_real.py                   the real catalogues' models on each other's products
    python tests/benchmarks/monitoring_real.py --scale 100000    MonitorFlow on so many products: seconds, memory

Across: models are trained on both real catalogues, 3,000 products of books33 and all of bestbuy15, with the encoders
that `monitoring.py` uses; each is then given 100 products of the other, of which nobody says what they are. `--scale`
runs the flow on a small catalogue's predictions, repeated; memory is that of all processes together (proportional set
size, sampled).
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from in_memory import train
from monitoring import ROOT, monitoring, opened, score_file
from results import Row, save, table
from scoring import flow
from rayon.config import Config, parse_config, read_config, resolve_paths
from rayon.monitoring import RETRAIN, judge
from rayon.monitoring_config import Monitoring
from rayon.reference import make_reference, read_reference
from rayon.window import open_window

ACROSS = {"books33": 3000, "bestbuy15": 2000}
"""The real catalogues, and how many of their products are used at most."""


def across(windows: int, settings: Monitoring) -> list[Row]:
    """Each real catalogue's model, against products of the other."""
    rows_found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="rayon-across-") as name:
        folder = Path(name)
        sources = {catalogue: real(folder / catalogue, catalogue, rows) for catalogue, rows in ACROSS.items()}
        for ours, config in sources.items():
            bundle, dataset = train(config, folder / ours)
            predictor = opened(bundle, config)
            reference = open_window(
                read_reference(make_reference(bundle, "TrainFlow/1", dataset, config)[0]).table, predictor.categories
            )
            for theirs, other in sources.items():
                if theirs == ours:
                    continue
                table = score_file(predictor, config, Path(other.catalog.products), Path(str(other.catalog.images)))
                everything = open_window(table, predictor.categories)
                everything.frame["given_category"] = ""  # nobody says what they are
                found, told = 0, Counter[str]()
                for number in range(windows):
                    rows = np.random.default_rng(number).permutation(len(everything.frame))[:100]
                    judged = judge(reference, everything.take(rows), predictor.categories, settings, seed=number)
                    found += judged.verdict == RETRAIN
                    told.update(record.name for record in judged.records if record.severity in ("retrain", "strong"))
                names = ", ".join(name for name, _ in told.most_common(4))
                told_of = {"reference": ours, "current": theirs, "rows": 100, "retrain": f"{found} of {windows}"}
                rows_found.append({**told_of, "what told": names})
    return rows_found


def real(folder: Path, name: str, rows: int) -> Config:
    """The settings of a real catalogue, with its first products alone, in random order."""
    file = ROOT / "configs" / f"{name}.yaml"
    settings = read_config(file.read_text())
    config = resolve_paths(parse_config(settings), ROOT)
    products = Path(config.catalog.products)
    if not products.exists():
        raise FileNotFoundError(f"{products} is not here: the real catalogues are not part of the project")
    folder.mkdir(parents=True)
    frame = pd.read_csv(products, dtype=str, keep_default_na=False).sample(frac=1.0, random_state=0)[:rows]
    frame.to_csv(folder / "products.csv", index=False)
    settings["catalog"].update(products=str(folder / "products.csv"), images=config.catalog.images)
    settings["branches"]["text"]["encoders"] = ["bundled:use-multilingual"]
    settings["cache"] = str(folder.parent / "cache")  # one for both: each product is encoded once
    return parse_config(settings)


def scale(sizes: list[int]) -> list[Row]:
    """MonitorFlow on so many products: its seconds, the memory of all its processes, the size of its report."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="rayon-monitor-scale-") as name:
        folder = Path(name)
        settings = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text())
        settings["catalog"].update(products=str(folder / "raw" / "products.csv"), images=str(folder / "raw" / "images"))
        settings["catalog"]["synthetic"]["rows"] = 1200
        settings["tracking"]["mode"] = "disabled"
        settings["candidates"] = ["fusion"]
        settings["cache"] = str(folder / "cache")
        flow(folder, settings, "train")
        arguments = ["--input", str(folder / "raw" / "products.csv"), "--output", str(folder / "out")]
        flow(folder, settings, "score", *arguments)
        table = pq.read_table(folder / "out" / "predictions")
        for rows in sizes:
            picked = np.random.default_rng(0).integers(0, len(table), rows)
            many = table.take(pa.array(picked))
            ids = pa.array([f"p{number}" for number in range(rows)])
            pq.write_table(many.set_column(0, "product_id", ids), folder / f"{rows}.parquet")
            file = str(folder / f"{rows}.parquet")
            elapsed, megabytes, _ = flow(folder, settings, "monitor", "--file", file)
            newest = max((folder / "cache" / "monitoring").glob("*.html"), key=lambda path: path.stat().st_mtime)
            size = newest.stat().st_size / 1e6
            found.append({"rows": rows, "seconds": elapsed, "peak MB": megabytes, "report MB": size})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--scale", type=int, nargs="+", help="run MonitorFlow on so many products instead")
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if options.scale:
        name, title, rows = "monitoring-scale", "MonitorFlow on many products", scale(options.scale)
    else:
        name, title = "monitoring-real", "A model of one real catalogue, given products of the other"
        try:
            rows = across(options.windows, monitoring())
        except FileNotFoundError as error:
            print(f"skipped: {error}")
            return
    print("\n".join(["", *table(rows)]))
    if options.results:
        save(name, title, {"": rows})


if __name__ == "__main__":
    main()
