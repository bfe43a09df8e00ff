"""Where the time goes: each flow run for real under a sampling profiler, and a picture of what its steps spent it on.

    python tests/benchmarks/profiles.py                        all five flows on 1,200 products of configs/demo.yaml
    python tests/benchmarks/profiles.py --rows 300 --new 200 --only preprocess

py-spy looks a hundred times a second at every process of a flow and counts those threads that run; rules
(`profiles_rules.py`) tell from a stack what it is for. Seconds are the processor's: each process notes how many it
used, and its samples share them, so that who else is at work moves them little. Every process computes in one thread,
so that a sample is as long wherever it falls. W&B is followed offline; its service, a program of its own that outlives
the task, is not in the sums. Pictures go to `results/profiles` with `--results`, and to `build/profiles` without.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rayon  # noqa: F401 - sets what libraries read when they are imported
import yaml

from profiles_picture import draw
from profiles_rules import REST
from profiles_samples import Note, Sample, Spent, parse, total
from results import FOLDER, ROOT, Row, save, table
from rayon.config import Synthetic
from rayon.data.synthetic import write_catalogue

FLOWS = {
    "preprocess": "PreprocessFlow",
    "train": "TrainFlow",
    "score": "ScoreFlow",
    "monitor": "MonitorFlow",
    "feedback": "FeedbackFlow",
}
RATE = 100
ASKED = 200
"""Products that are asked for as in the app, and labelled as people do, before monitoring."""
MOST_REST = 0.15
"""Of a flow's seconds, what the rules may leave unexplained."""

NOTE = """
import atexit, json, os, sys

def note():
    used = os.times()
    seconds = used.user + used.system, used.children_user + used.children_system
    line = json.dumps([os.getpid(), os.getppid(), " ".join(sys.orig_argv), *seconds])
    with open(os.environ["RAYON_PROFILED"], "a") as file:
        file.write(line + "\\n")

if "RAYON_PROFILED" in os.environ:
    atexit.register(note)
"""


class Profile(NamedTuple):
    """Of a flow: how many rows it had, and what it spent its seconds on, step by step."""

    flow: str
    rows: int
    spent: list[Spent]


class Place:
    """A folder with a catalogue, settings and all that flows leave; `environment` is that of the flows."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        self.settings: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
        catalog = self.settings["catalog"]
        catalog.update(products=str(folder / "raw" / "products.csv"), images=str(folder / "raw" / "images"))
        catalog["synthetic"]["rows"] = rows
        self.settings["cache"], self.settings["tracking"]["mode"] = str(folder / "cache"), "offline"
        (folder / "demo.yaml").write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        (folder / "noting").mkdir()
        (folder / "noting" / "sitecustomize.py").write_text(NOTE, encoding="utf-8")
        paths = [str(folder / "noting"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("RAYON_STORE", "WANDB_API_KEY")},
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
            "METAFLOW_PYLINT": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }

    def profile(self, name: str, *arguments: str) -> list[Spent]:
        """Run a flow to its end and return what it spent its seconds on."""
        raw, noted = self.folder / f"{name}.raw", self.folder / f"{name}.jsonl"
        flow = [sys.executable, str(ROOT / "flows" / f"{name}_flow.py"), "--config", "experiment", "demo.yaml", "run"]
        spy = [profiler(), "record", "--subprocesses", "--nonblocking", "--full-filenames", "--format", "raw"]
        command = [*spy, "--rate", str(RATE), "--output", str(raw), "--", *flow, *arguments]
        environment = {**self.environment, "RAYON_PROFILED": str(noted)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode or not noted.exists():
            raise SystemExit(f"{name}_flow.py failed under py-spy:\n{(done.stdout + done.stderr)[-3000:]}")
        roots = (f"{ROOT}/src/", f"{ROOT}/")
        lines = raw.read_text(encoding="utf-8").splitlines()
        samples: list[Sample] = [sample for line in lines if (sample := parse(line, roots)) is not None]
        notes = [Note(*json.loads(line)) for line in noted.read_text(encoding="utf-8").splitlines()]
        return total(samples, notes, RATE)

    def write_products(self, name: str, count: int, start: int = 0) -> Path:
        """Write a catalogue of the demo's products from `start` on, with photos; return its file."""
        source = self.settings["catalog"]["synthetic"]
        rows = Synthetic(rows=count, categories=source["categories"], seed=source["seed"])
        return write_catalogue(self.folder / name, rows, start=start)

    def ask(self) -> int:
        """Ask the model as the app does, and have people label some of it; return how many pieces of feedback."""
        os.environ.update(self.environment)  # read by Metaflow when it is imported, here and not before
        from rayon.feedback import open_store
        from rayon.preparing import load_config
        from rayon.registry import find_model
        from rayon.replay import Crowd, replay
        from rayon.score_run import open_predictor

        config = load_config(self.settings, ROOT)
        assert config.catalog.synthetic is not None
        store = open_store(config)
        first = self.rows * 100
        try:
            predictor = open_predictor(find_model("", config.name), config)
            rows = range(first, first + ASKED)
            return replay(rows, config.catalog.synthetic, None, predictor, store, Crowd()).labelled
        finally:
            store.close()


def profiler() -> str:
    """Return py-spy's command.

    Raises:
        SystemExit: it is not installed.
    """
    found = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        raise SystemExit("py-spy is not installed: pip install -r requirements.txt")
    return found


def profile_flows(folder: Path, rows: int, new: int, names: Sequence[str]) -> list[Profile]:
    """Run the flows one after the other, each on what the earlier ones left; return the profiles of those named."""
    place, found, asked = Place(folder, rows), [], 0
    place.write_products("raw", rows)
    fresh = place.write_products("new", new, start=rows)
    last = max(list(FLOWS).index(name) for name in names)
    for name in list(FLOWS)[: last + 1]:
        if name == "monitor":
            asked = place.ask()
        arguments = ("--input", str(fresh), "--images", str(fresh.parent / "images")) if name == "score" else ()
        count = {"score": new, "monitor": new + ASKED, "feedback": asked}.get(name, rows)
        profile = Profile(name, count, place.profile(name, *arguments))
        seconds = sum(each.seconds for each in profile.spent)
        print(f"{FLOWS[name]:15} {count:>6,} rows: {seconds:.1f} s of the processor", flush=True)
        found += [profile] if name in names else []
    return found


def by_step(profile: Profile) -> list[Row]:
    """Return a line a purpose, the largest first, with the seconds of each step and of all."""
    steps = list(dict.fromkeys(each.step for each in profile.spent))
    seconds = {(each.category, each.step): each.seconds for each in profile.spent}
    sums = _sums(profile)
    rows = [
        {"what": what, "all": value, **{step: seconds.get((what, step)) for step in steps}}
        for what, value in sorted(sums.items(), key=lambda item: -item[1])
    ]
    return [*rows, {"what": "all", "all": sum(sums.values()), **{s: _of_step(profile, s) for s in steps}}]


def together(profiles: Sequence[Profile]) -> list[Row]:
    """Return a line a purpose with the seconds of each flow."""
    sums = {profile.flow: _sums(profile) for profile in profiles}
    names = list(dict.fromkeys(what for each in sums.values() for what in each))
    order = sorted(names, key=lambda what: -sum(each.get(what, 0.0) for each in sums.values()))
    rows = [{"what": what, **{FLOWS[flow]: each.get(what) for flow, each in sums.items()}} for what in order]
    return [*rows, {"what": "all", **{FLOWS[flow]: sum(each.values()) for flow, each in sums.items()}}]


def unexplained(profiles: Sequence[Profile]) -> list[str]:
    """Return a sentence for each flow of which the rules leave too much unexplained."""
    shares = {profile.flow: _sums(profile).get(REST, 0.0) / sum(_sums(profile).values()) for profile in profiles}
    return [
        f"{FLOWS[flow]}: {share:.0%} of its seconds are '{REST}': add rules to profiles_rules.py"
        for flow, share in shares.items()
        if share > MOST_REST
    ]


def _sums(profile: Profile) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for each in profile.spent:
        found[each.category] = found.get(each.category, 0.0) + each.seconds
    return found


def _of_step(profile: Profile, step: str) -> float:
    return sum(each.seconds for each in profile.spent if each.step == step)


def main() -> None:
    """Profile, draw and print; tables and pictures are kept where `--results` is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1200, help="products of the catalogue (1200)")
    parser.add_argument("--new", type=int, default=400, help="products that ScoreFlow gets (400)")
    parser.add_argument("--only", nargs="+", choices=FLOWS, default=list(FLOWS), help="those flows' pictures alone")
    parser.add_argument("--results", action="store_true", help="keep tables and pictures in tests/benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rayon-profiles-") as name:
        profiles = profile_flows(Path(name), options.rows, options.new, options.only)
    folder = (FOLDER if options.results else ROOT / "build") / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    for profile in profiles:
        draw(FLOWS[profile.flow], profile.rows, profile.spent, folder / f"{profile.flow}.svg")
    tables = {"All flows": together(profiles)}
    tables |= {f"{FLOWS[profile.flow]}, {profile.rows:,} rows": by_step(profile) for profile in profiles}
    for title, rows in tables.items():
        print("\n".join(["", title, "", *table(rows)]))
    notes = [
        "Seconds of the processor, all processes of a flow together, each computing in one thread. `run` is the "
        "process that starts and watches those of the steps.",
        *(f"![{FLOWS[profile.flow]}](profiles/{profile.flow}.svg)" for profile in profiles),
    ]
    if options.results:
        save("profiles", "Where the time goes", tables, notes)
    else:
        print(f"pictures: {folder.relative_to(ROOT)}")
    if told := unexplained(profiles):
        raise SystemExit("\n".join(told))


if __name__ == "__main__":
    main()
