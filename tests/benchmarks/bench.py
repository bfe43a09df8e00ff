"""Runs the project's benchmarks one after another; each keeps its table in `tests/benchmarks/results/`.

    make bench                                     all but the longest (some hours)
    python tests/benchmarks/bench.py --quick       smaller: seconds to minutes each
    python tests/benchmarks/bench.py --only encoding serving
    python tests/benchmarks/bench.py --only peers  AutoGluon as well; goes on where it was ended

One that fails is told in the end, with a code other than 0; the others run all the same. The index of what is there is
`results/README.md`. It knows commands, not what they measure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from results import FOLDER, ROOT, read_result, table


class Benchmark(NamedTuple):
    """A benchmark: what it is about, its command, the command of its quick form, and how long both take on two cores.

    One that is `asked` for runs only if `--only` names it.
    """

    about: str
    command: str
    quick: str
    takes: str
    quick_takes: str
    asked: bool = False


BENCHMARKS = {
    "encoding": Benchmark(
        "encoders against bare loops",
        "encoding.py --results",
        "encoding.py --results --photos 64 --texts 64",
        *("4 min", "2 min"),
    ),
    "scoring": Benchmark(
        "a shard scored, against bare loops",
        "scoring.py --results",
        "scoring.py --results --rows 100",
        *("6 min", "3 min"),
    ),
    "scoring-scale": Benchmark(
        "ScoreFlow: rows a second and memory as a catalogue grows",
        "scoring.py --results --scale 10000 100000",
        "scoring.py --results --scale 1000 3000",
        *("12 min", "3 min"),
    ),
    "serving": Benchmark(
        "the app under load (needs the demo's champion: make train)",
        "serving.py --results",
        "serving.py --results --seconds 10",
        *("5 min", "2 min"),
    ),
    "quality": Benchmark(
        "candidates beside scikit-learn, on two real catalogues and the demo's",
        "quality.py",
        "quality.py configs/bestbuy15.yaml --seeds 1",
        *("2 h", "5 min"),
    ),
    "monitoring": Benchmark(
        "false alarms and power",
        "monitoring.py --results",
        "monitoring.py --results --windows 20",
        *("30 min", "15 min"),
    ),
    "monitoring-real": Benchmark(
        "a model of one real catalogue, given products of the other",
        "monitoring_real.py --results",
        "monitoring_real.py --results --windows 5",
        *("10 min", "6 min"),
    ),
    "scaling": Benchmark(
        "time, memory and bytes of each stage",
        "scaling.py --results",
        "scaling.py --results --sizes 300 1000 --table-sizes 3000 10000 --skip metaflow",
        *("30 min", "4 min"),
    ),
    "growth": Benchmark(
        "time, memory and files of the flows, to 1,000,000 rows",
        "growth.py --results",
        "growth.py --results --sizes 1000 3000 --score 1000 3000",
        *("30 min", "4 min"),
    ),
    "retraining": Benchmark(
        "a training after the catalogue has grown, Metaflow's own time, start-up",
        "retraining.py --results",
        "retraining.py --results --grow 5 --rounds 1",
        *("15 min", "5 min"),
    ),
    "profiles": Benchmark(
        "where each flow's time goes, as pictures",
        "profiles.py --results",
        "profiles.py --results --rows 300 --new 200",
        *("6 min", "3 min"),
    ),
    "newcomer": Benchmark(
        "an import, the first command, the first prediction (needs a model: make train)",
        "newcomer.py --results",
        "newcomer.py --results",
        *("2 min", "2 min"),
    ),
    "peers": Benchmark(
        "quality beside AutoGluon, in an environment of its own (6 GB)",
        "quality.py --peers tenfold first converged",
        "quality.py configs/bestbuy15.yaml --seeds 1 --peers tenfold",
        *("days", "30 min"),
        asked=True,
    ),
}


def run(name: str, quick: bool, more: list[str]) -> str:
    """Run a benchmark; return '' or what went wrong."""
    benchmark = BENCHMARKS[name]
    script, *arguments = (benchmark.quick if quick else benchmark.command).split()
    command = [sys.executable, str(Path(__file__).parent / script), *arguments, *more]
    print(f"\n=== {name}: {benchmark.quick_takes if quick else benchmark.takes}\n", flush=True)
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT).returncode
    print(f"\n=== {name}: {time.monotonic() - started:.0f} s", flush=True)
    return f"{name} ended with code {code}: {' '.join(command[1:])}" if code else ""


def index(folder: Path) -> str:
    """Return the page that lists the results of a folder."""
    rows, pictures = [], []
    for file in sorted(folder.glob("*.json")):
        result = read_result(file)
        drawn = sorted((folder / file.stem).glob("*.svg"))
        pictures += ["", f"{result.title}:", ""] * bool(drawn)
        pictures += [f"![{picture.stem}]({file.stem}/{picture.name})" for picture in drawn]
        about = result.about
        rows.append(
            {
                "result": f"[{result.title}]({file.stem}.md)",
                "made by": f"`{about['command']}`",
                "commit": about["commit"],
                "date": about["date"][:10],
                "machine": f"{about['machine']['cores']} cores, {about['machine']['processor']}",
            }
        )
    head = [
        "# Results of the benchmarks",
        "",
        "Written by `make bench` (`python tests/benchmarks/bench.py --help`); each page says what made it. Numbers of",
        "one table were measured side by side; those of different tables need not have been on equally busy machines.",
        "",
    ]
    return "\n".join([*head, *table(rows), *pictures]) + "\n"


def main() -> None:
    """Run what was asked for, and write the index."""
    lines = [f"  {name:16} {b.takes:>7} ({b.quick_takes:>6} quick)  {b.about}" for name, b in BENCHMARKS.items()]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="benchmarks, and how long they take on two cores:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smaller")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help="these alone")
    parser.add_argument("--index", action="store_true", help="only write the index of the results that are there")
    parser.add_argument("--catalogs", help="where the real catalogues are, for those that compare quality")
    options = parser.parse_args()
    failed: list[str] = []
    if not options.index:
        for name in options.only or [name for name, benchmark in BENCHMARKS.items() if not benchmark.asked]:
            more = ["--catalogs", options.catalogs] if options.catalogs and name in ("quality", "peers") else []
            failed += filter(None, [run(name, options.quick, more)])
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "README.md").write_text(index(FOLDER), encoding="utf-8")
    if failed:
        raise SystemExit("\n".join(["", "failed:", *failed]))


if __name__ == "__main__":
    main()
