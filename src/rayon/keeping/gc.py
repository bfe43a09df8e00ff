"""One gc from end to end: look at runs, cache and photos, say what is kept and why, and delete the rest if told to.

Brings together the rules, the stores and the experiment's settings. It prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rayon.champions import branch_here, champion
from rayon.config import Config
from rayon.data.shards import Manifest
from rayon.feedback import STORE_VARIABLE, find_store
from rayon.keeping.cache import Cached, Uses, delete_cached, list_cache
from rayon.keeping.datastore import FLOWS, Datastore
from rayon.keeping.facts import NO_CARDS, Collected, collect, needs_of
from rayon.keeping.known import Stores
from rayon.keeping.places import open_place
from rayon.keeping.policy import Facts, Policy, Verdict, decide
from rayon.keeping.sweep import Sweeper, Swept, Tell, hidden_runs, put_back
from rayon.registry import DATASET_FLOWS


class Line(NamedTuple):
    """A line of the table: what it is, its name, when it began or was last written (UTC, ISO, '' if unknown), its bytes
    (a blob that several runs share counts for the newest kept one, else for the newest), whether it is kept, and why.
    """

    what: str
    name: str
    since: str
    size: int
    keep: bool
    why: str


class Garbage(NamedTuple):
    """What a gc found and did. `swept` is empty where it only looked; `others` counts runs of other branches and
    catalogues, all kept; `elsewhere` runs whose data are not in this datastore; `unfinished` those that a killed gc
    had hidden.
    """

    lines: list[Line]
    swept: list[Swept]
    others: int
    elsewhere: int
    unfinished: int

    @property
    def droppable(self) -> int:
        """The bytes that go, or went."""
        return sum(line.size for line in self.lines if not line.keep)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        kept = sum(line.size for line in self.lines if line.keep)
        return {
            "lines": [line._asdict() for line in self.lines],
            "swept": [swept._asdict() for swept in self.swept],
            "bytes": {"kept": kept, "dropped": self.droppable},
            "runs": {"others": self.others, "elsewhere": self.elsewhere, "unfinished": self.unfinished},
        }


def collect_garbage(
    config: Config,
    stores: Stores,
    policy: Policy,
    delete: bool = False,
    everything: bool = False,
    grace: float = 10.0,
    tell: Tell = lambda _: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Garbage:
    """Look at what the experiment's catalogue has in this project branch, and delete what nothing needs.

    Args:
        config: the experiment, whose cache and store of feedback are looked at too.
        stores: where runs are.
        policy: what is kept whatever it is needed for.
        delete: whether to delete; otherwise nothing is touched.
        everything: look at the runs of all catalogues and branches.
        grace, tell, clock: see `Sweeper`.

    Raises:
        KeepError: another gc is at work, or something cannot be deleted.
        StoreError: the store of feedback cannot be read.
    """
    with ExitStack() as held:
        if delete:
            held.enter_context(stores.data.place.lock())
            put_back(stores)
        hidden = hidden_runs(stores)
        found = collect(stores.data, stores.cards, hidden)
        branch = branch_here()

        def in_scope(run: Facts) -> bool:
            return everything or (run.branch == branch and run.catalogue == config.name)

        facts = {run.path: run for run in _crowned(found.facts, config.name)}
        now = clock()
        verdicts = decide(list(facts.values()), policy, now, in_scope)
        shown = [run for run in facts.values() if in_scope(run)]
        lines = _run_lines(shown, verdicts, found)
        uses = Uses(
            facts,
            verdicts,
            _fingerprints(stores.data, found, verdicts),
            lambda: _encoder_keys(stores.data, config, found, verdicts),
        )
        shared = open_place(config.shared) if config.shared else None
        cached = list_cache(Path(config.cache), shared, uses, policy, now)
        swept: list[Swept] = []
        if delete:
            drop = {
                flow: [run.run for run in shown if run.flow == flow and not verdicts[run.path].keep] for flow in FLOWS
            }
            sweeper = Sweeper(stores, policy, lambda run: needs_of(stores.data, run), grace, tell, clock)
            swept = sweeper.sweep(drop, found.scans)
            for one in cached:
                if not one.keep:
                    delete_cached(one, Path(config.cache), shared)
        lines += [_cache_line(one) for one in cached]
        lines += _photo_lines(config, now, delete)
    unfinished = sum(map(len, hidden.values()))
    return Garbage(lines, swept, len(facts) - len(shown), found.elsewhere, unfinished)


def _crowned(facts: list[Facts], name: str) -> list[Facts]:
    """Say which run is champion today: it is in the history anyway."""
    event = champion(name)
    reign = f"champion of {name}"
    return [run._replace(reign=reign) if event is not None and run.path == event.to else run for run in facts]


def _run_lines(runs: list[Facts], verdicts: Mapping[str, Verdict], found: Collected) -> list[Line]:
    """Tell of runs, newest first of each flow. Each blob is counted once, and what is kept comes first."""
    shown = {run.path for run in runs}
    seen = {  # what runs that are not shown refer to stays
        (flow, blob)
        for flow, scan in found.scans.items()
        for one in scan.runs.values()
        if one.path not in shown
        for blob in one.blobs
    }
    lines = {}
    newest = sorted(runs, key=lambda run: run.started, reverse=True)
    for run in sorted(newest, key=lambda run: not verdicts[run.path].keep):
        stored, sizes = found.scans[run.flow].runs[run.run], found.scans[run.flow].blobs
        own = {(run.flow, blob) for blob in stored.blobs} - seen
        seen |= own
        size = stored.size + found.cards.get(run.path, NO_CARDS).size + sum(sizes.get(blob, 0) for _, blob in own)
        lines[run.path] = Line("run", run.path, run.started.isoformat(timespec="seconds"), size, *verdicts[run.path])
    return [lines[run.path] for flow in FLOWS for run in newest if run.flow == flow]


def _fingerprints(data: Datastore, found: Collected, verdicts: Mapping[str, Verdict]) -> set[str]:
    """Return the fingerprints of the shards of all kept dataset versions."""
    held: set[str] = set()
    for flow, step in DATASET_FLOWS.items():
        for run in found.scans[flow].runs.values():
            sha = run.artifacts.get((step, "manifest"))
            text = data.artifact(flow, sha) if sha and _kept(run.path, verdicts) else None
            if text:
                held |= {ref.fingerprint for ref in Manifest.from_json(text).shards}
    return held


def _encoder_keys(
    data: Datastore, config: Config, found: Collected, verdicts: Mapping[str, Verdict]
) -> Collection[str] | None:
    """Return the keys of the encoders of the experiment and of all kept bundles; None where one cannot be had here."""
    from rayon.bundle_document import BundleError, describe_bundle  # here: they take torch along
    from rayon.models.encoders import EncoderError, encoder_key

    text, image = config.branches.text, config.branches.image
    try:
        keys = {encoder_key(source, text.max_tokens) for source in text.encoders}
        keys |= {encoder_key(source, image.side) for source in image.encoders}
    except EncoderError:
        return None
    for run in found.scans["TrainFlow"].runs.values():
        sha = run.artifacts.get(("evaluate", "bundle"))
        bundle = data.artifact("TrainFlow", sha) if sha and _kept(run.path, verdicts) else None
        if bundle:
            try:
                keys |= set(describe_bundle(bundle)["encoder_keys"].values())
            except BundleError:  # of a newer rayon, or damaged: it is not served from here
                continue
    return keys


def _kept(run: str, verdicts: Mapping[str, Verdict]) -> bool:
    return run not in verdicts or verdicts[run].keep


def _cache_line(cached: Cached) -> Line:
    return Line(f"shared {cached.what}" if cached.shared else cached.what, cached.name, "", *cached[2:5])


def _photo_lines(config: Config, now: datetime, delete: bool) -> list[Line]:
    """Tell of the photos of the app's store, and delete those that no row names."""
    store = find_store(config)
    if store is None:
        return []
    try:
        photos = store.weigh_photos(now)
        known = photos.known  # else it is more likely that they are another database's
        if delete and known and photos.unnamed:
            photos = store.weigh_photos(now, delete=True)
    finally:
        store.close()
    why = "no prediction names them" if known else f"no prediction names one: is this the app's {STORE_VARIABLE}?"
    kept = (f"{photos.named:,} of the app's store", "", photos.named_bytes, True, "predictions name them")
    gone = (f"{photos.unnamed:,} of the app's store", "", photos.unnamed_bytes, not known, why)
    return [Line("photos", *line) for line, count in ((kept, photos.named), (gone, photos.unnamed)) if count]
