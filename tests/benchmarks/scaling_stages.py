"""The stages that `scaling.py` measures: rayon's own functions, on catalogues that are generated once.

Stages on tables alone (planning, combining, opening) get many rows, the generated ones again and again under other ids;
stages that look at photos or train get as many as were drawn. Features are random where a stage only reads them: what
encoders cost is a stage of its own.
"""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rayon.bundle import read_bundle
from rayon.config import Config, Synthetic, parse_config, read_config
from rayon.data.building import BuiltShard, build_shard
from rayon.data.census import take_census
from rayon.data.dataset import Dataset, open_dataset
from rayon.data.images import PhotoError, shrink_photo
from rayon.data.planning import Plan, plan_dataset, plan_scoring, settings_key
from rayon.data.preprocessing import combine
from rayon.data.rejects import Rejects
from rayon.data.shards import KEYS_SCHEMA, Manifest, ShardRef, make_ref, read_table, write_table
from rayon.data.spooling import Spool
from rayon.data.synthetic import iter_products, write_catalogue
from rayon.gold import predict_gold, predict_gold_baseline, report_gold
from rayon.inference import Predictor
from rayon.inputs import Encoded, encode_dataset
from rayon.models.encoders import encoder_key, load_image_encoder, load_text_encoder
from rayon.models.encoding import encode_images, encode_texts
from rayon.models.features import FeatureStore
from rayon.models.shared import SharedFeatures
from rayon.monitor_run import judge_window
from rayon.monitoring_config import Monitoring
from rayon.production import read_window
from rayon.reference import Reference
from rayon.scoring import score_part
from rayon.training import train_candidate

ROOT = Path(__file__).resolve().parents[2]
DIMS = {"bundled:multilingual-e5-small": 384, "bundled:use-multilingual": 512, "bundled:efficientnet-lite0": 1280}
Sizes = dict[str, float]
Stage = Callable[["Bench", int], Sizes]
"""Runs a stage at a size; returns the bytes that it leaves, by name."""


class Bench:
    """The catalogue, and what earlier stages left for later ones, below a folder."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        settings = read_config((ROOT / "configs" / "demo.yaml").read_text())
        settings["catalog"].update(
            products=str(folder / "raw" / "products.csv"), images=str(folder / "raw" / "images"), synthetic=None
        )
        settings["preprocess"]["workers"] = 0
        settings["split"]["unseen"] = 0.0
        settings["trainer"].update(patience=10)
        self.config = parse_config({**settings, "cache": str(folder / "cache")})

    def draw(self, workers: int) -> None:
        write_catalogue(self.folder / "raw", Synthetic(rows=self.rows, categories=16, seed=0), workers=workers)

    def catalogue(self, rows: int) -> Config:
        """The settings with a catalogue of so many rows: the first ones, or all of them again and again."""
        file = self.folder / f"products-{rows}.csv"
        if not file.exists():
            with open(self.folder / "raw" / "products.csv", encoding="utf-8", newline="") as source:
                header, *lines = csv.reader(source)
            place = header.index("product_id")
            with open(file, "w", encoding="utf-8", newline="") as target:
                writer = csv.writer(target)
                writer.writerow(header)
                for number in range(rows):
                    line = list(lines[number % len(lines)])
                    line[place] = f"{line[place]}-{number // len(lines)}"
                    writer.writerow(line)
        return dataclasses.replace(self.config, catalog=dataclasses.replace(self.config.catalog, products=str(file)))

    def shard(self, rows: int) -> bytes:
        return (self.folder / f"shard-{rows}").read_bytes()

    def open(self, rows: int) -> Dataset:
        data = self.shard(rows)
        keys = read_table((self.folder / f"keys-{rows}").read_bytes())
        categories = tuple(sorted(set(keys["category"].to_pylist()) - {""}))
        ref = make_ref(data, keys.num_rows)
        manifest = Manifest("bench", ref.fingerprint, "", categories, (ref,), {}, "")
        return open_dataset(
            manifest, lambda _: data, self.folder / "shards", self.config.split, self.config.fusion.folds
        )

    def random_features(self, dataset: Dataset) -> Encoded:
        rng = np.random.default_rng(0)
        features = {source: rng.normal(size=(len(dataset), dim)).astype(np.float32) for source, dim in DIMS.items()}
        return Encoded(features, dict.fromkeys(DIMS, 0))

    def cached(self, rows: int) -> Config:
        """The settings with a cache for the catalogue of so many rows alone."""
        return dataclasses.replace(self.config, cache=f"{self.config.cache}-{rows}")

    def shard_keys(self, rows: int) -> list[Path]:
        """The files of keys of shards of `shard_rows` products each, so many in all."""
        return sorted((self.folder / f"keys-of-{rows}").iterdir())


def rows_of(keys: Path) -> int:
    return read_table(keys.read_bytes()).num_rows


def prepare(bench: Bench, rows: int) -> Sizes:
    """Write what the stages on tables read: the catalogue, the keys of its shards, a shard of texts alone."""
    bench.catalogue(rows)
    some, size = read_table((bench.folder / f"keys-{bench.rows}").read_bytes()), bench.config.preprocess.shard_rows
    home = bench.folder / f"keys-of-{rows}"
    home.mkdir()
    for start in range(0, rows, size):
        numbers = np.arange(start, min(start + size, rows))
        table = some.take(pa.array(numbers % some.num_rows))
        unlike = [int(number).to_bytes(16, "little") for number in numbers]
        for name in ("row_key", "content_key"):
            column = pa.array(unlike, KEYS_SCHEMA.field(name).type)
            table = table.set_column(table.column_names.index(name), name, column)
        (home / f"{start:09d}").write_bytes(write_table(table, "zstd"))
    texts = read_table(bench.shard(bench.rows)).drop_columns(["image"])
    picked = texts.take(pa.array(np.arange(rows) % texts.num_rows))
    ids = pa.array([f"p{number}" for number in range(rows)])
    picked = picked.set_column(picked.column_names.index("product_id"), "product_id", ids)
    (bench.folder / "opened").mkdir(exist_ok=True)
    (bench.folder / "opened" / f"{rows}.arrow").write_bytes(write_table(picked))
    return {}


def fill(bench: Bench, rows: int) -> Sizes:
    """Put random features of all products into a store, so that nothing is encoded."""
    config, dataset = bench.cached(rows), bench.open(rows)
    store = FeatureStore(Path(config.cache) / "features")
    for source, features in bench.random_features(dataset).features.items():
        image = "efficientnet" in source
        size = config.branches.image.side if image else config.branches.text.max_tokens
        keys = dataset.frame["image_key" if image else "text_key"].tolist()
        chosen = [row for row, key in enumerate(keys) if key]
        for start in range(0, len(chosen), 2048):
            part = chosen[start : start + 2048]
            store.add(encoder_key(source, size), [keys[row] for row in part], features[part])
    return {}


def plan(bench: Bench, rows: int) -> Sizes:
    spool = Spool(bench.folder)
    made = plan_dataset(bench.catalogue(rows), None, lambda _: b"", keep=spool.keep)
    return {"parts": sum(len(part.read()) for part in made.parts)}


def replan(bench: Bench, rows: int) -> Sizes:
    """Planning so many rows where the last version holds as many, in shards of `shard_rows`."""
    config, written = bench.catalogue(rows), bench.shard_keys(rows)
    refs = tuple(ShardRef(f"{n}", rows_of(keys), 1, f"{n}") for n, keys in enumerate(written))
    last = Manifest("bench", "", settings_key(config), (), refs, {}, "")
    plan_dataset(config, last, lambda ref: written[int(ref.locator)].read_bytes(), keep=Spool(bench.folder).keep)
    return {}


def build(bench: Bench, rows: int) -> Sizes:
    """One shard of so many rows; kept for later stages."""
    config = bench.catalogue(rows)
    config = dataclasses.replace(config, preprocess=dataclasses.replace(config.preprocess, shard_rows=rows))
    (part,) = plan_dataset(config, None, lambda _: b"").parts
    (bench.folder / f"part-{rows}").write_bytes(part)
    started = time.process_time()
    built = build_shard(part, config)
    elapsed = time.process_time() - started
    (bench.folder / f"shard-{rows}").write_bytes(built.data)
    (bench.folder / f"keys-{rows}").write_bytes(built.keys)
    return {"cpu": elapsed, "shard": len(built.data), "keys": len(built.keys)}


def put_together(bench: Bench, rows: int) -> Sizes:
    """Combining shards of `shard_rows` rows each: their keys, and the manifest that lists them."""
    none = pd.DataFrame(columns=["source", "row", "product_id", "scope", "reason", "detail", "record"])

    def built() -> Iterator[BuiltShard]:
        for number, keys in enumerate(bench.shard_keys(rows)):
            place = f"PreprocessFlow/1790000000000000/build/{number}#{number:05d}"
            yield BuiltShard(b"", ShardRef("f" * 64, rows_of(keys), 10_000_000, place), keys.read_bytes(), none, {})

    counts = {"read": rows, "unchanged": 0, "new": rows, "removed": 0}
    manifest, _ = combine(bench.config, Plan((), (), Rejects(), counts), built(), lambda _: b"")
    return {"manifest": len(manifest.to_json())}


def count(bench: Bench, rows: int) -> Sizes:
    """Counting what a version holds, for its card."""
    written = bench.shard_keys(rows)
    refs = tuple(ShardRef(f"{n}", rows_of(keys), 1, f"{n}") for n, keys in enumerate(written))
    manifest = Manifest("bench", "", "", (), refs, {}, "")
    take_census(manifest, lambda ref: written[int(ref.locator)].read_bytes(), bench.config.split)
    return {}


def reopen(bench: Bench, rows: int) -> Sizes:
    """Opening a dataset version whose texts are so many rows; photos stay on disk."""
    file = bench.folder / "opened" / f"{rows}.arrow"
    ref = ShardRef(f"{rows}", rows, file.stat().st_size)
    manifest = Manifest("bench", "", "", ("a", "b"), (ref,), {}, "")
    config = bench.config
    opened = open_dataset(manifest, lambda _: b"", file.parent, config.split, config.fusion.folds)
    assert len(opened) == rows
    return {}


def features(bench: Bench, rows: int) -> Sizes:
    """Reading the features of so many products, which are all there."""
    dataset, config = bench.open(rows), bench.cached(rows)
    started, base = time.process_time(), forget_peak()
    found = encode_dataset(dataset, config)
    assert not any(found.encoded.values())
    stored = sum(f.stat().st_size for f in (Path(config.cache) / "features").rglob("*") if f.is_file())
    return {"cpu": time.process_time() - started, "memory": peak() - base, "stored": stored}


def fit_heads(bench: Bench, rows: int) -> Sizes:
    """Training the fusion for an epoch, and for three: what an epoch costs, and what comes before and after."""
    dataset = bench.open(rows)
    encoded = bench.random_features(dataset)
    base, seconds = forget_peak(), {}
    for epochs in (1, 3):
        trainer = dataclasses.replace(bench.config.trainer, max_epochs=epochs)
        config = dataclasses.replace(bench.config, trainer=trainer)
        started = time.process_time()
        trained = train_candidate("fusion", dataset, encoded, config, bench.folder / "checkpoints" / f"{rows}-{epochs}")
        seconds[epochs] = time.process_time() - started
    (bench.folder / f"bundle-{rows}").write_bytes(trained.bundle)
    epoch = max(seconds[3] - seconds[1], 1e-3) / 2
    sizes = {"bundle": len(trained.bundle), "held_out": trained.probabilities.nbytes}
    return {"cpu": max(seconds[1] - epoch, 1e-3), "epoch": epoch, "memory": peak() - base, **sizes}


def baseline(bench: Bench, rows: int) -> Sizes:
    """The tf-idf candidate."""
    predict_gold_baseline(bench.open(rows))
    return {}


def evaluate(bench: Bench, rows: int) -> Sizes:
    """A bundle on the gold set, a fifth of so many rows, and the report on it."""
    dataset = bench.open(rows)
    encoded, bundle = bench.random_features(dataset), read_bundle((bench.folder / f"bundle-{rows}").read_bytes())
    started, base = time.process_time(), forget_peak()
    report_gold(predict_gold(bundle, dataset, encoded), dataset, bench.config)
    return {"cpu": time.process_time() - started, "memory": peak() - base}


def score_plan(bench: Bench, rows: int) -> Sizes:
    """Planning a scoring, all parts in memory, as the flow's first step has them."""
    parts = [piece.part for piece in plan_scoring(bench.catalogue(rows)) if piece.part is not None]
    return {"parts": sum(map(len, parts))}


def score(bench: Bench, rows: int) -> Sizes:
    """One shard of so many rows, from its part to Parquet, with features that are there."""
    store = FeatureStore(Path(bench.cached(rows).cache) / "features")
    predictor = Predictor(read_bundle((bench.folder / f"bundle-{bench.rows}").read_bytes()), "T/1", None, store)
    part = (bench.folder / f"part-{rows}").read_bytes()
    started, base = time.process_time(), forget_peak()
    scored = score_part(part, predictor, bench.config, "")
    elapsed, used = time.process_time() - started, peak() - base
    (bench.folder / f"scored-{rows}.parquet").write_bytes(scored.data)
    return {"cpu": elapsed, "memory": used, "predictions": len(scored.data)}


def monitor(bench: Bench, rows: int) -> Sizes:
    """Reading a file of so many predictions and judging them against a reference of 2,000."""
    table = pq.read_table(bench.folder / f"scored-{bench.rows}.parquet")
    categories = tuple(sorted(set(table["category"].to_pylist())))
    reference = Reference(table.slice(0, 2000), "T/1", categories)
    many = table.take(pa.array(np.random.default_rng(0).integers(0, len(table), rows)))
    ids = pa.array([f"p{number}" for number in range(rows)])
    file = bench.folder / f"window-{rows}.parquet"
    pq.write_table(many.set_column(many.column_names.index("product_id"), "product_id", ids), file)
    del many, ids
    started, base = time.process_time(), forget_peak()
    judge_window(reference, read_window([str(file)], "T/1"), Monitoring(), [])
    return {"cpu": time.process_time() - started, "memory": peak() - base}


def shared_keys(bench: Bench, rows: int) -> Sizes:
    """What a machine keeps in memory of so many products whose features others hold, a block of 2,048 at a time."""
    base = forget_peak()
    rng = np.random.default_rng(0)
    shared = SharedFeatures(FeatureStore(bench.folder / "none"), None)  # type: ignore[arg-type]
    for start in range(0, rows, 2048):
        shared._keys[str(start)] = frozenset(row.tobytes() for row in rng.integers(0, 255, (2048, 16), dtype=np.uint8))
    return {"memory": peak() - base}


def photos_listed(bench: Bench, rows: int) -> Sizes:
    """What planning keeps of so many photos of a folder on S3 (`rayon.data.planning._PhotoStatus`)."""
    base, now = forget_peak(), datetime.now(UTC)
    listed = {f"image_{n}_product_{n}.jpg": f"{20_000 + n} {now}".encode() for n in range(rows)}
    assert len(listed) == rows
    return {"memory": peak() - base}


def encode(bench: Bench, source: str, count: int) -> Sizes:
    """CPU seconds that an encoder takes a product, one thread a core, warm, the best of three rounds; memory with its
    weights.
    """
    base, settings = forget_peak(), bench.config.preprocess
    products = list(iter_products(Synthetic(rows=max(count, 200)), stop=count))
    if "efficientnet" in source:
        encoder: Any = load_image_encoder(source, bench.config.branches.image.side)
        items: list[Any] = []
        for product in products:
            try:
                items.append(shrink_photo(product.image or b"", settings))
            except PhotoError:  # some are missing or cut short
                continue
        run: Callable[..., Any] = encode_images
    else:
        encoder = load_text_encoder(source, bench.config.branches.text.max_tokens)
        items = [f"{product.designation} {product.description}" for product in products]
        run = encode_texts
    run(encoder, items[:32])
    rounds = []
    for _ in range(3):
        started = time.process_time()
        run(encoder, items)
        rounds.append((time.process_time() - started) / len(items))
    return {"cpu": min(rounds), "memory": peak() - base}


TABLES: dict[str, Stage] = {"prepare": prepare, "plan": plan, "replan": replan, "combine": put_together}
TABLES |= {"census": count, "open": reopen}
TABLES |= {"score_plan": score_plan, "monitor": monitor, "shared_keys": shared_keys}
TABLES |= {"photos_listed": photos_listed}
PRODUCTS: dict[str, Stage] = {
    "build": build,
    "fill": fill,
    "features": features,
    "fit": fit_heads,
    "baseline": baseline,
}
UNTOLD = ("prepare", "fill")
"""Stages that only prepare others."""

PRODUCTS |= {"evaluate": evaluate, "score": score}


def forget_peak() -> float:
    """Forget how much memory this process ever held; return the bytes it holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """Return the most bytes that this process held since they were forgotten."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(field))


__all__: list[str] = ["DIMS", "PRODUCTS", "TABLES", "UNTOLD", "Bench", "encode", "forget_peak", "peak"]
