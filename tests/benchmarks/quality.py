"""How good are the candidates, beside scikit-learn and AutoGluon, over several title-grouped splits?

    python tests/benchmarks/quality.py                                  all catalogues, five splits, without AutoGluon
    python tests/benchmarks/quality.py configs/bestbuy15.yaml --seeds 20
    python tests/benchmarks/quality.py --peers tenfold                  also AutoGluon, ten times our CPU time (hours)
    python tests/benchmarks/quality.py --peers first converged          ten times our first training's; to its own end
    python tests/benchmarks/quality.py --peers gpu --tuned --only       AutoGluon and our encoders, tuned on a GPU
    python tests/benchmarks/quality.py --show                           measures nothing, writes the tables anew

What was measured is kept, a file for each catalogue, candidate and split in `results/quality/`, and not measured again
unless `--again` asks for it: a run that is ended goes on where it was. A catalogue that is not there is skipped. Each
candidate is trained in a process of its own, on one thread. `held_out` is macro-F1 on all products outside the gold
set, each judged by a model that never saw it. `peer.py` says what AutoGluon has in common with us, and what not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import rayon  # noqa: F401 - sets the threads' environment before torch is imported

from quality_candidates import BASELINES, OURS
from quality_measure import Measured, apart, measure, measure_peer, measure_tuned, prepare, read_experiment
from quality_tables import PEERS as LIMITS
from quality_tables import TUNED, write_tables
from results import FOLDER
from rayon.config import Config

CATALOGUES = ("configs/bestbuy15.yaml", "configs/books33.yaml", "configs/demo.yaml")
MEASURED = tuple(name for name in (*BASELINES, *OURS) if name != "plain average")
PEERS = {flag: name for name, flag in LIMITS.items()}
KEPT = FOLDER / "quality"
EPOCH = 0.34
"""CPU seconds that AutoGluon takes for a training product and epoch: says for how many its learning rate is planned."""


def kept(catalogue: str, candidate: str, seed: int) -> Path:
    """Return the file of a measurement."""
    return KEPT / catalogue / candidate.replace(",", "").replace(" ", "-") / f"{seed}.json"


def keep(catalogue: str, seed: int, found: dict[str, Measured]) -> None:
    """Write measurements, and say the most important number."""
    for candidate, measured in found.items():
        file = kept(catalogue, candidate, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"catalogue": catalogue, "candidate": candidate, "seed": seed, **measured}
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        spent = f"{measured['train_cpu']:.0f} CPU s" if "train_cpu" in measured else f"{measured['train_wall']:.0f} s"
        told = f"macro-F1 {measured['macro_f1']:.3f}, {spent}"
        print(f"{catalogue} split {seed}: {candidate}: {told}", flush=True)


def budget(config: Config, encoding: bool) -> tuple[int, int]:
    """Return ten times the mean CPU seconds of our fusion's training on the splits measured so far, with or without
    those of encoding its products, and the epochs that AutoGluon has time for within them.

    Raises:
        RuntimeError: fusion was not measured yet on this catalogue.
    """
    files = sorted((KEPT / config.name / "fusion").glob("*.json"))
    if not files:
        raise RuntimeError(f"the fusion of {config.name} was not measured yet, so AutoGluon's limit is not known")
    told = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    spent = [one["train_cpu"] + encoding * one["encode_cpu"] for one in told]
    limit = 10 * sum(spent) / len(spent)
    return round(limit), max(1, int(limit / (EPOCH * told[0]["learnt"])))


def peer(config: Config, seed: int, which: str, most_epochs: int, threads: int) -> dict[str, Measured]:
    """Measure AutoGluon; where it is limited, its learning rate falls over the epochs that it has time for."""
    if which in ("converged", "gpu"):
        return apart(measure_peer, config, seed, PEERS[which], None, most_epochs, threads, which == "gpu")
    return apart(measure_peer, config, seed, PEERS[which], *budget(config, encoding=which == "first"), threads)


def run(config: Config, seeds: Sequence[int], candidates: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Measure what is missing on a catalogue; return what failed, in words."""
    failed: list[str] = []
    todo = [(seed, name, "") for seed in seeds for name in candidates]
    todo += [(seed, PEERS[which], which) for which in options.peers for seed in seeds]
    todo += [(seed, TUNED, "") for seed in seeds if options.tuned]
    todo = [job for job in todo if options.again or not kept(config.name, job[1], job[0]).exists()]
    if todo:
        apart(prepare, config, any(name in MEASURED for _, name, _ in todo))
    for seed, name, which in todo:
        try:
            if which:
                found = peer(config, seed, which, options.most_epochs, options.threads)
            else:
                found = apart(measure_tuned if name == TUNED else measure, config, seed, name)
            keep(config.name, seed, found)
        except RuntimeError as error:
            failed.append(f"{config.name} split {seed}: {name}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
    return failed


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=CATALOGUES)
    parser.add_argument("--seeds", type=int, default=5, help="how many splits (5)")
    parser.add_argument("--first", type=int, default=0, help="the first split's seed (0)")
    parser.add_argument("--only", nargs="*", choices=MEASURED, default=MEASURED, metavar="CANDIDATE", help="of these")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[], help="AutoGluon as well")
    parser.add_argument("--tuned", action="store_true", help="also our own encoders, tuned end to end on a GPU")
    parser.add_argument("--most-epochs", type=int, default=20, help="of AutoGluon, converged (20, its own default)")
    parser.add_argument("--threads", type=int, default=1, help="of AutoGluon (1): on a GPU, photos' readers")
    parser.add_argument("--again", action="store_true", help="measure what was measured before, too")
    parser.add_argument("--show", action="store_true", help="only write the tables of what is kept")
    parser.add_argument("--catalogs", type=Path, help="where the real catalogues are (../shared/catalogs)")
    options = parser.parse_args()
    failed: list[str] = []
    for path in [] if options.show else options.configs:
        config = read_experiment(path, options.catalogs)
        if not config.catalog.synthetic and not Path(config.catalog.products).exists():
            print(f"{path}: skipped, {config.catalog.products} is not there")
            continue
        seeds = range(options.first, options.first + options.seeds)
        failed += run(config, seeds, options.only, options)
        write_tables(KEPT)
    write_tables(KEPT)
    if failed:
        raise SystemExit("\n".join(["failed:", *failed]))


if __name__ == "__main__":
    main()
