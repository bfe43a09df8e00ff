"""Deletes runs, and the blobs that they alone refer to, so that whatever happens on the way nothing kept is harmed.

1. Hide the runs: each at once and whole. Who looks for one from now on does not find it.
2. Wait a little, and look at everything anew. A run that was made champion meanwhile, or that a run which began
   meanwhile needs, is shown again; what other runs refer to now stays, whatever was seen before.
3. Of each flow, set the blobs aside that only hidden runs refer to, by moving them. Whoever stores the same content
   from now on finds no blob and writes one.
4. Look once more: a task that began before the blobs were moved may have found one there and not written its own.
   While any run of the flow may be going on, all of them are put back and the rest is left to a later gc.
5. Delete what is set aside, then what remains of the runs.

A gc that is killed leaves hidden runs, and blobs set aside. The next one puts these back and goes on: the hidden runs
are the list of what remains to be done. Step 3 is there because Metaflow asks first whether a blob is there, and writes
down last that it needs it; a task announces itself before it asks (`attempt.json`), which step 4 sees.

Knows stores and names; which runs may go is told.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rayon.keeping.datastore import FINISHED, FLOWS, Scan, StoredRun, aside_name, blob_name
from rayon.keeping.known import Stores
from rayon.keeping.places import WORK
from rayon.keeping.policy import Need, Policy, is_kept_by_tags, may_run

Tell = Callable[[str], None]
NeedsOf = Callable[[StoredRun], Iterable[Need]]
Runs = dict[str, StoredRun]
_ASIDE = f"{WORK}/blobs"


class Swept(NamedTuple):
    """What became of the runs of a flow that were to go: which are gone, the bytes of blobs deleted, and why the others
    are left, '' if none is.
    """

    flow: str
    runs: tuple[str, ...]
    freed: int
    left: str


class Sweeper:
    """One gc at work on the stores, which it holds the lock of.

    Args:
        stores: what is swept.
        policy: says until when a run that has not finished is taken for running.
        needs_of: the runs that a run refers to.
        grace: seconds between hiding and the second look, for whoever was reading just then.
        tell: told before each step, in words.
        clock: the time, UTC.
    """

    def __init__(
        self,
        stores: Stores,
        policy: Policy,
        needs_of: NeedsOf,
        grace: float = 10.0,
        tell: Tell = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores, self._policy, self._needs_of = stores, policy, needs_of
        self._grace, self._tell, self._clock = grace, tell, clock

    def sweep(self, drop: Mapping[str, Sequence[str]], scans: Mapping[str, Scan]) -> list[Swept]:
        """Delete the runs `drop`, by flow, and those that an earlier gc hid; `scans` are what all flows held."""
        left: dict[str, str] = {}
        for flow in FLOWS:
            seen = {run: one for run, one in scans[flow].runs.items() if run not in drop.get(flow, ())}
            if drop.get(flow) and (busy := self._busy(seen)):
                left[flow] = f"{busy} is running, as far as can be seen: the flow's runs go once it is done"
        hide = [(flow, run) for flow in FLOWS if flow not in left for run in drop.get(flow, ())]
        if hide:
            self._tell(f"hiding {len(hide)} runs")
            for flow, run in hide:
                self._stores.metadata.hide(flow, run)
            time.sleep(self._grace)
        self._tell("looking at what is needed now")
        hidden = hidden_runs(self._stores)
        live = {flow: self._stores.data.look_again(flow, scans[flow].runs, hidden[flow]) for flow in FLOWS}
        self._show_again(hidden, live, scans)
        done = []
        for flow in FLOWS:
            if hidden[flow] and flow not in left:
                done.append(self._finish(flow, hidden[flow], live[flow], scans[flow].blobs))
            elif flow in left:
                done.append(Swept(flow, (), 0, left[flow]))
        return done

    def _show_again(self, hidden: dict[str, dict[str, str]], live: dict[str, Runs], scans: Mapping[str, Scan]) -> None:
        """Show the hidden runs that somebody needs by now; they move from `hidden` to `live`."""
        todo = deque(
            one
            for flow, runs in live.items()
            for run, one in runs.items()
            if one.state != FINISHED or run not in scans[flow].runs
        )

        def show(path: str, whole: bool) -> None:
            flow, _, run = path.partition("/")
            if hidden.get(flow, {}).pop(run, None) is not None:
                self._tell(f"{path} is needed again")
                self._stores.metadata.show(flow, run)
                live[flow][run] = self._stores.data.read_run(flow, run)
                if whole:
                    todo.append(live[flow][run])

        for flow, runs in hidden.items():
            for run in list(runs):
                if is_kept_by_tags(self._stores.metadata.tags(flow, run)):
                    show(f"{flow}/{run}", True)
        while todo:
            for need in list(self._needs_of(todo.popleft())):
                show(need.run, need.whole)

    def _finish(self, flow: str, homes: Mapping[str, str], live: Runs, sizes: Mapping[bytes, int]) -> Swept:
        data, place = self._stores.data, self._stores.data.place
        if busy := self._busy(live):
            return Swept(flow, (), 0, f"{busy} began meanwhile: gc again once it is done")
        going = {run: data.read_run(flow, run, home=home) for run, home in homes.items()}
        aside = [blob for blob in _blobs(going) - _blobs(live) if blob in sizes]
        self._tell(f"{flow}: setting {len(aside)} blobs aside")
        place.move([pair for blob in aside for pair in _pairs(flow, blob, place.companions)])
        self._tell(f"{flow}: looking once more")
        live = data.look_again(flow, live, homes)
        busy, needed = self._busy(live), _blobs(live)
        back = [blob for blob in aside if busy or blob in needed]
        place.move([(to, name) for blob in back for name, to in _pairs(flow, blob, place.companions)])
        if busy:
            return Swept(flow, (), 0, f"{busy} began meanwhile: all was put back, gc again once it is done")
        self._tell(f"{flow}: deleting {len(homes)} runs")
        place.delete_tree(f"{_ASIDE}/{flow}")
        for run, home in homes.items():
            self._stores.cards.delete_tree(f"{flow}/runs/{run}")
            place.delete_tree(home)
            self._stores.metadata.forget(flow, run)
        freed = sum(sizes[blob] for blob in set(aside) - set(back))
        return Swept(flow, tuple(sorted(homes)), freed, "")

    def _busy(self, runs: Mapping[str, StoredRun]) -> str:
        """Return a run that may be going on, '' where there is none."""
        now = self._clock()
        return next((one.path for one in runs.values() if may_run(one.state, one.sign, now, self._policy)), "")


def hidden_runs(stores: Stores) -> dict[str, dict[str, str]]:
    """Return the runs that are hidden and not gone yet, by flow and number, each with the folder of its data."""
    return {flow: stores.metadata.hidden(flow) for flow in FLOWS}


def put_back(stores: Stores) -> None:
    """Put back the blobs that a killed gc had set aside."""
    place = stores.data.place
    names = [entry.name for entry in place.entries(_ASIDE)]
    names.sort(key=lambda name: not name.endswith(place.companions))  # how a blob is packed goes before it
    place.move([(name, name.removeprefix(f"{_ASIDE}/")) for name in names])


def _blobs(runs: Mapping[str, StoredRun]) -> frozenset[bytes]:
    return frozenset[bytes]().union(*(one.blobs for one in runs.values()))


def _pairs(flow: str, blob: bytes, endings: Sequence[str]) -> list[tuple[str, str]]:
    """Return what to move of a blob, from and to; what says how it is packed goes before it, either way."""
    name, to = blob_name(flow, blob), aside_name(flow, blob)
    return [*((name + ending, to + ending) for ending in endings), (name, to)]
