"""How fast are products scored, against a bare loop, and what happens when there are ten times as many?

    python tests/benchmarks/scoring.py                       against a bare loop, one process, median of five rounds
    python tests/benchmarks/scoring.py --scale 10000 100000  ScoreFlow on catalogues of these sizes: rows/s, peak memory

The bare loop does what has to be done and nothing else: decode each photo, run the encoders and the network over
batches that are sorted by length. rayon's time is that of a whole shard, from the planned part to the Parquet bytes:
photos are checked and shrunk as training did it, texts are cleaned, features are kept, predictions are written.

`--scale` uses the settings of configs/debug.yaml, whose encoders are small, so that the machinery shows; peak memory is
that of all processes together (proportional set size, sampled).
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np
import torch
import yaml
from PIL import Image

from encoding import compare
from in_memory import train
from results import Row, save
from rayon.bundle import read_bundle
from rayon.config import Config, Synthetic, parse_config, read_config
from rayon.data.batches import BranchInputs
from rayon.data.planning import plan_scoring
from rayon.data.synthetic import iter_products, write_catalogue
from rayon.data.text import product_text
from rayon.inference import Predictor
from rayon.models.encoders import load_image_encoder, load_text_encoder
from rayon.models.features import FeatureStore
from rayon.models.served import predict
from rayon.scoring import score_part

ROOT = Path(__file__).resolve().parents[2]


def demo(folder: Path, rows: int) -> Config:
    """The settings of the demo, with a catalogue of so many rows below `folder`."""
    settings = read_config((ROOT / "configs" / "demo.yaml").read_text())
    settings["catalog"].update(
        products=str(folder / "raw" / "products.csv"),
        images=str(folder / "raw" / "images"),
        synthetic={"rows": rows, "categories": 16, "seed": 0},
    )
    settings["score"]["shard_rows"] = rows
    settings["trainer"]["max_epochs"] = 2
    config = parse_config({**settings, "cache": str(folder / "cache")})
    write_catalogue(folder / "raw", Synthetic(rows=rows, categories=16, seed=0))
    return config


def bare(predictor: Predictor, config: Config, rows: int, batch: int, threads: int) -> Callable[[], np.ndarray]:
    """The loop that anybody would write: everything is known, nothing is checked or kept."""
    bundle, served = predictor.bundle, predictor.bundle.served
    products = list(iter_products(config.catalog.synthetic or Synthetic(), stop=rows))
    text_encoders = {s: load_text_encoder(s, bundle.text.max_tokens) for s in bundle.text.encoders}
    image_encoders = {s: load_image_encoder(s, bundle.image.side) for s in bundle.image.encoders}

    def square(photo: bytes) -> np.ndarray | None:
        try:
            return np.asarray(Image.open(BytesIO(photo)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
        except OSError:
            return None

    @torch.inference_mode()
    def run() -> np.ndarray:
        torch.set_num_threads(threads)
        texts = [product_text(product.designation, product.description) for product in products]
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        features = {s: np.zeros((len(texts), e.dim), dtype=np.float32) for s, e in text_encoders.items()}
        for source, encoder in text_encoders.items():
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                features[source][part] = encoder(encoder.tokenize([texts[row] for row in part])).numpy()
        has_image = np.zeros(len(texts), dtype=bool)
        for source, encoder in image_encoders.items():
            features[source] = np.zeros((len(texts), encoder.dim), dtype=np.float32)
            for start in range(0, len(texts), batch):
                squares = {
                    row: pixels
                    for row in range(start, min(start + batch, len(texts)))
                    if (photo := products[row].image) is not None and (pixels := square(photo)) is not None
                }
                stacked = torch.from_numpy(np.stack(list(squares.values()))).permute(0, 3, 1, 2)
                features[source][list(squares)] = encoder(stacked).numpy()
                has_image[list(squares)] = True
        grams = {b.name: served.vectorizer.transform(texts) for b in served.network.branches if b.kind == "ngram"}
        inputs = BranchInputs(grams=grams, features=features, texts=texts)
        return predict(served, inputs, np.array([bool(text) for text in texts]), has_image).log_probabilities

    return run


def against_bare_loop(rows: int, rounds: int) -> dict[str, list[Row]]:
    cores = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = demo(folder, rows)
        predictor = Predictor(read_bundle(train(config, folder)[0]), "benchmark", config.score.precision)
        part = next(piece.part for piece in plan_scoring(config) if piece.part is not None)
        turn = iter(range(1_000_000))

        def ours() -> object:
            torch.set_num_threads(cores)
            predictor._store = FeatureStore(folder / "features" / str(next(turn)))  # nothing is found
            return score_part(part, predictor, config, "")

        runs: dict[str, Callable[[], object]] = {
            f"bare, batch {batch}, {threads} threads": bare(predictor, config, rows, batch, threads)
            for batch, threads in sorted({(32, cores), (8, cores), (32, 1)})
        }
        runs["rayon"] = ours
        title = f"{rows} products of the demo catalogue, {cores} threads"
        return {title: compare(title, rows, runs, rounds)}


def scale(sizes: list[int]) -> list[Row]:
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="rayon-scale-") as name:
        folder = Path(name)
        settings = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text())
        settings["catalog"].update(products=str(folder / "raw" / "products.csv"), images=str(folder / "raw" / "images"))
        settings["score"].update(shard_rows=2000, tasks=2)
        settings["tracking"]["mode"] = "disabled"
        settings["candidates"] = ["fusion"]
        print(f"training: {flow(folder, settings, 'train')[0]:.0f} s", flush=True)
        before = (0.0, 0.0)
        for rows in sizes:
            catalogue = folder / f"catalogue-{rows}"
            source = Synthetic(rows=rows, categories=12, seed=7)
            products = write_catalogue(catalogue, source, workers=os.cpu_count() or 1)
            settings["cache"] = str(folder / f"cache-{rows}")
            arguments = ["--input", str(products), "--images", str(catalogue / "images")]
            elapsed, megabytes, output = flow(folder, settings, "score", *arguments)
            told = re.findall(r"([\d,]+) rows read: ([\d,]+) scored, ([\d,]+) rejected", output)
            speed = rows / elapsed
            compared = f", {megabytes / before[0]:.2f} x memory, {speed / before[1]:.2f} x rows/s" if before[0] else ""
            print(
                f"{rows:>9,} rows: {elapsed:.0f} s, {speed:.0f} rows/s, peak {megabytes:.0f} MB{compared} {told}",
                flush=True,
            )
            before = (megabytes, speed)
            found.append({"rows": rows, "seconds": elapsed, "rows a second": speed, "peak MB": megabytes})
    return found


def flow(folder: Path, settings: dict, which: str, *arguments: str) -> tuple[float, float, str]:
    """Run a flow; return its seconds, the most memory its processes held together (MB) and what it printed."""
    file = str(ROOT / "flows" / f"{which}_flow.py")
    command = [sys.executable, file, "--config-value", "experiment", yaml.safe_dump(settings), "run", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = [0.0]

    def watch() -> None:
        while process.poll() is None:
            peak[0] = max(peak[0], tree_megabytes(process.pid))
            time.sleep(0.25)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    elapsed = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(output)
    return elapsed, peak[0], output


def tree_megabytes(root: int) -> float:
    """The proportional set size of a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    total, todo = 0.0, [root]
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(found.group(1)) / 1024 if found else 0.0
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300, help="products against the bare loop (300)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    parser.add_argument("--scale", type=int, nargs="+", help="run ScoreFlow on catalogues of these sizes instead")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if options.scale:
        name, title = "scoring-scale", "ScoreFlow on catalogues of several sizes"
        tables = {"configs/debug.yaml": scale(options.scale)}
    else:
        name, title = "scoring", "Scoring a shard, against bare loops in the same process"
        tables = against_bare_loop(options.rows, options.rounds)
    if options.results:
        save(name, title, tables)


if __name__ == "__main__":
    main()
