"""How often does monitoring cry wolf, and what does it find?

    python tests/benchmarks/monitoring.py                          false alarms, power, estimates (half an hour)
    python tests/benchmarks/monitoring.py --only false-alarms --folder /tmp/monitoring

A generated catalogue of 10,000 products in 16 departments; a model learns from 2,500 of them (features of USE and
EfficientNet-Lite0, n-grams). Of the 7,500 others, the gold and unseen splits, each window draws a reference of 500
products and disjoint current ones, without replacement: nothing has drifted, nothing overlaps, and the model has seen
none of them. Drifted products come after the catalogue, as its generator drifts them; people label half of what is sent
to review and a twentieth of what is filed, in all windows alike. Each window is judged alone, by
configs/monitoring.yaml.

What was scored is kept in `--folder`; a second run with the same folder only judges.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from in_memory import train
from results import Row, save, table
from rayon.bundle import read_bundle
from rayon.config import Config, Synthetic, parse_config, read_config
from rayon.data.dataset import Dataset
from rayon.data.planning import plan_scoring
from rayon.data.synthetic import Drift, true_category, write_catalogue
from rayon.inference import Predictor
from rayon.models.features import FeatureStore
from rayon.monitoring import RETRAIN, judge
from rayon.monitoring_config import Monitoring, parse_monitoring, read_monitoring
from rayon.score_run import with_input
from rayon.scoring import score_part, score_table
from rayon.evaluation import macro_f1
from rayon.window import HUMAN, Window, open_window

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("vocabulary", "mix", "photo_style", "broken_photos", "new_category", "concept")
STRENGTHS = (0.25, 0.5, 1.0)
CATALOGUE = Synthetic(rows=10_000, categories=16, seed=0)
REFERENCE = 500
DRIFTED = 1300
FIRST_DRIFTED = 20_000


def monitoring() -> Monitoring:
    return parse_monitoring(read_monitoring((ROOT / "configs" / "monitoring.yaml").read_text()))


def generated(folder: Path) -> Config:
    """The demo's settings, with 75% of a larger catalogue kept apart and without the slowest encoder."""
    settings = read_config((ROOT / "configs" / "demo.yaml").read_text())
    settings["catalog"].update(
        products=str(folder / "raw" / "products.csv"),
        images=str(folder / "raw" / "images"),
        synthetic=dataclasses.asdict(CATALOGUE),
    )
    settings["split"] = {"validation": 0.05, "test": 0.2, "unseen": 0.55, "seed": 0}
    settings["branches"]["text"]["encoders"] = ["bundled:use-multilingual"]
    settings["cache"] = str(folder / "cache")
    write_catalogue(folder / "raw", CATALOGUE, workers=2)
    return parse_config(settings)


def opened(bundle: bytes, config: Config) -> Predictor:
    return Predictor(read_bundle(bundle), "TrainFlow/1", 0.95, FeatureStore(Path(config.cache) / "features"))


def score_apart(predictor: Predictor, dataset: Dataset) -> pa.Table:
    """What the model says of the products that it never learnt from, with the label that the catalogue gives."""
    rows = np.flatnonzero(dataset.frame["split"].isin(["test", "unseen"]) & (dataset.frame["label"] >= 0))
    columns = ["product_id", "designation", "description", "category", "text_key", "image_key", "source", "row"]
    table = pa.Table.from_pandas(dataset.frame.iloc[rows][columns], preserve_index=False)
    table = table.append_column("image", pa.array(dataset.photos(rows.tolist()), pa.large_binary()))
    return pq.read_table(pa.BufferReader(score_table(table, predictor, "").data))


def score_file(predictor: Predictor, config: Config, source: Path, images: Path) -> pa.Table:
    settings = with_input(config, str(source), str(images))
    parts = [piece.part for piece in plan_scoring(settings) if piece.part is not None]
    tables = [pq.read_table(pa.BufferReader(score_part(part, predictor, settings, "").data)) for part in parts]
    return pa.concat_tables(tables)


def score_drifted(predictor: Predictor, config: Config, folder: Path, drift: Drift) -> pa.Table:
    """Drifted products, with their true category in `human_category` and nothing in `given_category`."""
    there = folder / f"drift-{drift.kind}-{drift.strength:g}"
    source = write_catalogue(there, dataclasses.replace(CATALOGUE, rows=DRIFTED), drift, FIRST_DRIFTED, workers=2)
    table = score_file(predictor, config, source, there / "images")
    truth = [true_category(CATALOGUE, FIRST_DRIFTED + row - 1, drift) for row in table["row"].to_pylist()]
    nothing = pa.array([""] * len(truth))
    table = table.set_column(table.column_names.index("given_category"), "given_category", nothing)
    return table.append_column(HUMAN, pa.array(truth))


def scored(folder: Path, drifted: bool) -> tuple[tuple[str, ...], dict[str, pa.Table]]:
    """The categories and the tables of predictions, made where they are not there yet; the drifted ones if asked."""
    kinds = KINDS if drifted else ()
    names = {f"{kind}-{strength:g}": Drift(kind, strength) for kind in kinds for strength in STRENGTHS}
    made = folder / "scored"
    made.mkdir(parents=True, exist_ok=True)
    missing = [name for name in ("apart", *names) if not (made / f"{name}.parquet").exists()]
    if missing:
        config = generated(folder)
        bundle = folder / "bundle"
        if not bundle.exists() or "apart" in missing:
            data, dataset = train(config, folder)
            bundle.write_bytes(data)
            predictor = opened(data, config)
            (made / "categories").write_text("\n".join(predictor.categories))
            pq.write_table(score_apart(predictor, dataset), made / "apart.parquet")
        predictor = opened(bundle.read_bytes(), config)
        for name in missing:
            if name != "apart":
                table = score_drifted(predictor, config, folder, names[name])
                pq.write_table(table, made / f"{name}.parquet")
                print(f"scored {name}: {table.num_rows:,}", flush=True)
    categories = tuple((made / "categories").read_text().split("\n"))
    return categories, {name: pq.read_table(made / f"{name}.parquet") for name in ("apart", *names)}


def looked_at(window: Window, truth: np.ndarray, rng: np.random.Generator) -> Window:
    """The window with the labels of people who look at half of what is sent to review, a twentieth of the rest."""
    chance = np.where(window.frame["decision"] == "review", 0.5, 0.05)
    frame = window.frame.assign(**{HUMAN: np.where(rng.random(len(chance)) < chance, truth, "")})
    return window._replace(frame=frame)


def false_alarms(apart: Window, categories: tuple[str, ...], windows: int, settings: Monitoring) -> list[Row]:
    """Windows in which nothing drifted, a row a size."""
    found: list[Row] = []
    truth = apart.frame["given_category"].to_numpy()
    for size in (200, 1000, 5000):
        verdicts: Counter[str] = Counter()
        blamed: Counter[str] = Counter()
        errors = []
        for number in range(windows):
            rng = np.random.default_rng([size, number])
            rows = rng.permutation(len(apart.frame))[: REFERENCE + size]
            reference, current = apart.take(rows[:REFERENCE]), apart.take(rows[REFERENCE:])
            now = looked_at(current, truth[rows[REFERENCE:]], rng)
            judged = judge(reference, now, categories, settings, seed=number)
            verdicts[judged.alone] += 1
            blamed.update(record.name for record in judged.records if record.severity != "ok")
            names = {name: place for place, name in enumerate(categories)}
            labels = np.array([names[name] for name in current.frame["given_category"]])
            real = macro_f1(labels, current.top_labels[:, 0], len(categories))
            errors.append(judged.estimated["macro_f1"].value - real if judged.estimated else np.nan)
        other = 1 - verdicts["ok"] / windows
        found.append(
            {
                "rows": size,
                "windows": windows,
                "other than ok": f"{other:.0%}",
                "watch": verdicts["watch"],
                "retrain": verdicts[RETRAIN],
                "estimated macro-F1 off by": f"{np.mean(errors):+.3f}",
                "within .03": f"{np.mean(np.abs(errors) <= 0.03):.0%}",
            }
        )
        print(f"{found[-1]}, blamed: {dict(blamed)}", file=sys.stderr, flush=True)
    return found


def power(
    apart: Window, tables: dict[str, pa.Table], categories: tuple[str, ...], windows: int, settings: Monitoring
) -> list[Row]:
    """Windows that drifted, a row a kind, strength and size: found other than ok, of which retrain. The strongest at
    1,000 rows gets all windows, the others a fifth.
    """
    rows_found: list[Row] = []
    for kind in KINDS:
        for strength in STRENGTHS:
            table = tables[f"{kind}-{strength:g}"]
            truth = np.array(table[HUMAN].to_pylist(), dtype=object)
            everything = open_window(table, categories)
            for size in (200, 1000):
                count = windows if (strength, size) == (1.0, 1000) else max(20, windows // 5)
                found, retrain, told = 0, 0, Counter[str]()
                errors = []
                for number in range(count):
                    rng = np.random.default_rng([number, size, int(100 * strength), KINDS.index(kind)])
                    reference = apart.take(rng.permutation(len(apart.frame))[:REFERENCE])
                    rows = rng.permutation(len(everything.frame))[:size]
                    current = looked_at(everything.take(rows), truth[rows], rng)
                    judged = judge(reference, current, categories, settings, seed=number)
                    found += judged.alone != "ok"
                    retrain += judged.alone == RETRAIN
                    told.update(record.name for record in judged.records if record.severity != "ok")
                    right = (current.frame["category"].to_numpy() == truth[rows]).mean()
                    errors.append(judged.estimated["accuracy"].value - right if judged.estimated else np.nan)
                names = ", ".join(name for name, _ in told.most_common(3))
                rows_found.append(
                    {
                        "drift": kind,
                        "strength": strength,
                        "rows": size,
                        "windows": count,
                        "found": f"{found / count:.0%}",
                        "retrain": f"{retrain / count:.0%}",
                        "estimated accuracy less real": f"{np.mean(errors):+.2f}",
                        "what told": names,
                    }
                )
                print(rows_found[-1], file=sys.stderr, flush=True)
    return rows_found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where what was scored is kept")
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--only", choices=["prepare", "false-alarms", "power"])
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="rayon-monitoring-") as name:
        folder = Path(options.folder or name)
        categories, tables = scored(folder, drifted=options.only != "false-alarms")
        if options.only == "prepare":
            return
        apart = open_window(tables["apart"], categories)
        found: dict[str, list[Row]] = {}
        if options.only != "power":
            found["False alarms: nothing drifted"] = false_alarms(apart, categories, options.windows, monitoring())
        if options.only != "false-alarms":
            found["Power: what drifted is found"] = power(apart, tables, categories, options.windows, monitoring())
        for title, rows in found.items():
            print("\n".join(["", title, "", *table(rows)]))
        if options.results:
            save("monitoring", "Monitoring: false alarms and power", found)


if __name__ == "__main__":
    main()
