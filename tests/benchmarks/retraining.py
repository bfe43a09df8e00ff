"""What does a training cost after the catalogue has grown, what does Metaflow add, and how long do programs start?

    python tests/benchmarks/retraining.py                                 +0, 1, 5 and 20% of configs/demo.yaml
    python tests/benchmarks/retraining.py --config configs/debug.yaml     the machinery alone, encoders are tiny
    python tests/benchmarks/retraining.py --config configs/demo.yaml configs/books33.yaml --grow 5
    python tests/benchmarks/retraining.py --warm 0 2                      heads that begin anew, and that go on 2 epochs
    python tests/benchmarks/retraining.py --rows 84916 --grow 5 --warm 2 --times 5
                                                                          generated, of Rakuten's size (an hour)

Growing: PreprocessFlow and TrainFlow are run for real on the first rows of a catalogue, a generated one or a CSV file,
then on copies of all they left with so many more rows; features are found again by content, and heads go on from those
of the first training for `trainer.warm_epochs`, or begin anew. Metaflow: a flow with as many steps as TrainFlow that
does nothing, against the same Python started once. Start-up: programs that say their help
and end. Seconds of the processor count all processes, and do not depend on who else is at work; those of the clock do,
and are medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from results import ROOT, Row, save, table
from rayon.config import Synthetic
from rayon.data.synthetic import write_catalogue

STEPS = ("start", "encode", "train", "evaluate", "gate", "end")
"""Of TrainFlow, whose `train` has a task a candidate."""


class Cost(NamedTuple):
    """Seconds of the processor, of all processes together, and of the clock."""

    cpu: float
    wall: float


def spend(command: list[str], folder: Path) -> Cost:
    """Run a command in a folder; return what it cost.

    Raises:
        SystemExit: it failed.
    """
    before, started = os.times(), time.perf_counter()
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    after, ended = os.times(), time.perf_counter()
    if found.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} failed:\n{(found.stdout + found.stderr)[-3000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu, ended - started)


def run_flow(folder: Path, settings: Mapping[str, Any], which: str) -> Cost:
    """Run a flow on the products in a folder, with all that it keeps there."""
    there = yaml.safe_load(yaml.safe_dump(dict(settings)))
    there["catalog"]["products"] = str(folder / "products.csv")
    there["cache"] = str(folder / "cache")
    file = str(ROOT / "flows" / f"{which}_flow.py")
    return spend([sys.executable, file, "--config-value", "experiment", yaml.safe_dump(there), "run"], folder)


def take_catalogue(settings: dict[str, Any], folder: Path, most: float) -> tuple[Path, int]:
    """Return a file of products and how many of them the first training gets; it grows by `most` percent at most.

    A generated catalogue, which is drawn into `folder`, begins as large as its settings say; of one that is there, the
    last rows are what it grows by. The settings then name its photos, and draw nothing.
    """
    synthetic = settings["catalog"].get("synthetic")
    if synthetic:
        rows = synthetic["rows"]
        source = write_catalogue(folder, Synthetic(**{**synthetic, "rows": round(rows * (1 + most / 100))}))
        settings["catalog"] |= {"synthetic": None, "images": str(folder / "images")}
        return source, rows
    source, images = (Path(settings["catalog"][name]) for name in ("products", "images"))
    settings["catalog"]["images"] = str((ROOT / images).resolve())
    with open(ROOT / source, encoding="utf-8", newline="") as lines:
        rows = sum(1 for _ in csv.reader(lines)) - 1
    return (ROOT / source).resolve(), int(rows / (1 + most / 100))


def first_rows(source: Path, rows: int, target: Path) -> None:
    """Write the first products of a catalogue."""
    with open(source, encoding="utf-8", newline="") as lines, open(target, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        for number, row in enumerate(csv.reader(lines)):
            if number <= rows:
                writer.writerow(row)


def growing(config: Path, rows: int | None, percents: list[float], epochs: list[int], times: int) -> list[Row]:
    """Train once, then train again with so many percent more rows, heads going on for so many epochs (0: beginning
    anew), each so many times in turn; return what each cost, medians, against the first. `rows`: those of a generated
    catalogue, if not as the config says.
    """
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    if rows and settings["catalog"].get("synthetic"):
        settings["catalog"]["synthetic"]["rows"] = rows
    settings["tracking"]["mode"] = "disabled"
    settings["trainer"]["warm_epochs"] = max(epochs)
    with tempfile.TemporaryDirectory(prefix="rayon-retraining-") as name:
        home = Path(name)
        source, rows = take_catalogue(settings, home / "raw", max(percents))
        (home / "first").mkdir()
        first_rows(source, rows, home / "first" / "products.csv")
        base = [run_flow(home / "first", settings, which) for which in ("preprocess", "train")]
        found = [_line(rows, None, 0, [base], base)]
        costs: dict[tuple[float, int], list[list[Cost]]] = {}
        for number in range(times):
            for percent, warm in itertools.product(percents, epochs):
                settings["trainer"]["warm_epochs"] = warm
                folder = home / f"grown-{percent}-{warm}-{number}"
                shutil.copytree(home / "first", folder, symlinks=True)
                first_rows(source, round(rows * (1 + percent / 100)), folder / "products.csv")
                spent = [run_flow(folder, settings, which) for which in ("preprocess", "train")]
                shutil.rmtree(folder)
                costs.setdefault((percent, warm), []).append(spent)
                print(_line(rows, percent, warm, [spent], base), file=sys.stderr, flush=True)
        return [*found, *(_line(rows, *which, each, base) for which, each in costs.items())]


def _line(rows: int, percent: float | None, warm: int, costs: list[list[Cost]], base: list[Cost]) -> Row:
    whole = sum(cost.cpu for cost in base)
    parts = sorted(sum(cost.cpu for cost in each) / whole for each in costs)
    spread = "" if len(parts) == 1 else f" ({parts[0]:.1%} to {parts[-1]:.1%})"
    return {
        "training": "the first" if percent is None else f"{percent:g}% more rows",
        "heads": f"go on, {warm} epochs" if warm else "begin anew",
        "rows": round(rows * (1 + (percent or 0) / 100)),
        "times": len(costs),
        "PreprocessFlow CPU s": statistics.median(preprocess.cpu for preprocess, _ in costs),
        "TrainFlow CPU s": statistics.median(train.cpu for _, train in costs),
        "of the first": f"{statistics.median(parts):.1%}{spread}",
        "seconds": statistics.median(preprocess.wall + train.wall for preprocess, train in costs),
    }


def empty_flow(folder: Path) -> Path:
    """Write a flow with TrainFlow's number of steps, none of which does anything."""
    lines = ["import rayon", "from metaflow import FlowSpec, step", "", "class EmptyFlow(FlowSpec):"]
    for name, following in zip(STEPS, (*STEPS[1:], None), strict=True):
        lines += ["    @step", f"    def {name}(self):"]
        lines += [f"        self.next(self.{following})" if following else "        pass"]
    file = folder / "empty_flow.py"
    file.write_text("\n".join([*lines, "", "if __name__ == '__main__':", "    EmptyFlow()", ""]), encoding="utf-8")
    return file


def interleaved(commands: Mapping[str, list[str]], folder: Path, rounds: int) -> dict[str, Cost]:
    """Run commands in turn, so many times; return each one's medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(spend(command, folder))
    return {
        name: Cost(statistics.median(c.cpu for c in each), statistics.median(c.wall for c in each))
        for name, each in costs.items()
    }


def starting(rounds: int) -> list[Row]:
    """What an empty flow and the start of programs cost, each against a Python that does nothing."""
    with tempfile.TemporaryDirectory(prefix="rayon-starting-") as name:
        folder = Path(name)
        python = sys.executable
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "import rayon.inference": [python, "-c", "import rayon.inference"],
            "import torch": [python, "-c", "import torch"],
            "python -m rayon --help": [python, "-m", "rayon", "--help"],
            "flows/train_flow.py show": [python, str(ROOT / "flows" / "train_flow.py"), "show"],
            "app/app.py --help": [python, str(ROOT / "app" / "app.py"), "--help"],
            f"an empty flow of {len(STEPS)} steps": [python, str(empty_flow(folder)), "run"],
        }
        medians = interleaved(commands, folder, rounds)
    return [{"what": name, "CPU s": cost.cpu, "seconds": cost.wall, "rounds": rounds} for name, cost in medians.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[ROOT / "configs" / "demo.yaml"],
        help="catalogues, generated or CSV files",
    )
    parser.add_argument("--rows", type=int, help="of a generated catalogue (as its config says)")
    parser.add_argument("--grow", type=float, nargs="+", default=[0.0, 1.0, 5.0, 20.0], help="percent of rows more")
    parser.add_argument(
        "--warm", type=int, nargs="+", default=[0, 2], help="epochs that heads go on for (0: begin anew)"
    )
    parser.add_argument(
        "--times", type=int, default=1, help="each training after the first, of which medians are told (1)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of what is started (5)")
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    tables = {
        f"Training again, {config.name}": growing(config, options.rows, options.grow, options.warm, options.times)
        for config in options.config
    }
    started = starting(options.rounds)
    empty, train = started[-1]["CPU s"], next(iter(tables.values()))[0]["TrainFlow CPU s"]
    notes = [
        "PreprocessFlow and TrainFlow: all their processes. Products that were there are not encoded again. Heads that "
        "go on (`trainer.warm_epochs`) start from those of the first training, else all are trained anew, as tf-idf "
        "always is.",
        f"Metaflow: an empty flow of {len(STEPS)} steps, as many as TrainFlow has, takes {empty:.1f} CPU s, "
        f"{empty / train:.0%} of the first TrainFlow above.",
    ]
    tables["Starting, medians"] = started
    for title, rows in tables.items():
        print("\n".join(["", title, "", *table(rows)]))
    if options.results:
        save("retraining", "Training again, and what Metaflow and starting cost", tables, notes)


if __name__ == "__main__":
    main()
