"""The work that is disturbed: each flow and the promotion, how it is begun, and what an undisturbed one leaves.

A `Work` begins with a copy of a furnished home. `result` is plain data that is the same however often the work was
killed on the way; `between` says what readers may see until it is done. Knows nothing of how it is disturbed.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from home import GROWN, NAME, Finished, Home, comment
from metaflow import Run, namespace
from readers import look

from rayon.bundle import read_bundle
from rayon.champions import champion, finished_runs
from rayon.registry import any_dataset, find_model, model_tag


class Work(NamedTuple):
    """`prepare` makes a home ready, `command` begins the work, `resume` says which flow can be resumed ('': none),
    `result` reads what was done, `outputs` is where it leaves files.
    """

    name: str
    prepare: Callable[[Home], None]
    command: Callable[[Home], list[str]]
    resume: str
    result: Callable[[Home], dict[str, Any]]
    outputs: Callable[[Home], Path | None] = lambda home: None


def _nothing(home: Home) -> None:
    pass


def _grow(home: Home) -> None:
    home.change(catalog={"synthetic": {"rows": GROWN, "categories": 12, "seed": 1}})


def _dataset(home: Home) -> dict[str, Any]:
    with home.looked_at():
        version = any_dataset(NAME)
        assert version is not None
        namespace(None)
        rejects = Run(version.run).data.rejects
    counts = {name: version.manifest.counts[name] for name in ("read", "kept", "rejected", "photos_refused")}
    seen = look(home, deep=True)
    return {"fingerprint": version.manifest.fingerprint, **counts, "rejects": len(rejects), "wrong": seen.wrong}


def _forget_features(home: Home) -> None:
    """Let the training encode everything again."""
    import shutil

    shutil.rmtree(Path(home.settings["cache"]) / "features")
    home.change(trainer={"seed": 3})


def _trained(home: Home) -> dict[str, Any]:
    with home.looked_at():
        newest = next(iter(finished_runs("TrainFlow", model_tag(NAME))))
        served, model = champion(NAME), find_model(newest.pathspec, NAME)
        report = newest.data.report["metrics"]["macro_f1"]["value"]
    assert served is not None
    heads = {
        name: round(float(np.abs(tensor.double().numpy()).mean()), 5)
        for name, tensor in read_bundle(model.bundle).served.network.state_dict().items()
    }
    digest = sha256(repr(sorted(heads.items())).encode()).hexdigest()[:12]
    # a run that was killed after its gate had promoted it stays champion: the run that resumes it takes over the gate's
    # task as well, and so has the same model under another number
    champion_is_newest = served.to == newest.pathspec or find_model(served.to, NAME).bundle == model.bundle
    return {"macro_f1": round(report, 6), "weights": digest, "champion is the newest": champion_is_newest}


def _scored(home: Home) -> dict[str, Any]:
    out = home.folder / "scores"
    table = pq.read_table(out / "predictions").to_pandas().sort_values("product_id")
    rejects = pq.read_table(out / "rejects.parquet").num_rows
    said = sha256()
    for row in table.itertuples():
        said.update(f"{row.product_id} {row.category} {row.confidence:.4f}".encode())
    return {
        "rows": len(table) + rejects,
        "products": len(table),
        "twice": int(table["product_id"].duplicated().sum()),
        "said": said.hexdigest()[:12],
    }


def _monitored(home: Home) -> dict[str, Any]:
    from rayon.monitor_run import latest

    with home.looked_at():
        found = latest(NAME)
    assert found is not None
    return {"verdict": found["verdict"], "reasons": list(found["reasons"]), "points": len(found["points"])}


def _say_more(home: Home) -> None:
    comment(home, 30, start=100)


def _taken_in(home: Home) -> dict[str, Any]:
    """Every piece of feedback is accounted for, once: data, waiting, or refused with a reason."""
    seen = look(home)
    return {
        "read up to": seen.cursor,
        "data": sorted(seen.labelled),
        "twice": [number for number, times in seen.labelled.items() if times > 1],
        "waiting": sorted(seen.waiting),
    }


def _serves(home: Home) -> dict[str, Any]:
    seen = look(home)
    return {"champion": seen.champion == home.notes()["second"], "promotions": seen.promotions, "wrong": seen.wrong}


def _back(home: Home) -> None:
    from rayon.champions import promote

    with home.looked_at():
        promote(NAME, home.notes()["second"], "to be taken back")


def _take_back(home: Home) -> list[str]:
    """Name what is taken back: whoever repeats a rollback that may have been done must not go further back."""
    return home.rayon("rollback", home.notes()["second"].split("/")[1], "--reason", "back")


def _returned(home: Home) -> dict[str, Any]:
    seen = look(home)
    return {"champion": seen.champion == home.notes()["first"], "wrong": seen.wrong}


WORKS = {
    work.name: work
    for work in (
        Work("preprocess", _grow, lambda home: home.command("preprocess", "run"), "preprocess", _dataset),
        Work(
            "train",
            _forget_features,
            lambda home: home.command("train", "run", "--promote", "force", "--reason", "newer"),
            "train",
            _trained,
        ),
        Work(
            "score",
            _nothing,
            lambda home: home.command(
                "score", "run", "--input", f"{home.folder}/raw/products.csv", "--output", f"{home.folder}/scores"
            ),
            "score",
            _scored,
            lambda home: home.folder / "scores",
        ),
        Work("monitor", _nothing, lambda home: home.command("monitor", "run"), "monitor", _monitored),
        Work("feedback", _say_more, lambda home: home.command("feedback", "run"), "feedback", _taken_in),
        Work(
            "promote",
            _nothing,
            lambda home: home.rayon(
                "promote", home.notes()["second"].split("/")[1], "--force", "--reason", "a better one"
            ),
            "",
            _serves,
        ),
        Work("rollback", _back, _take_back, "", _returned),
    )
}


def run_work(work: Work, home: Home) -> Finished:
    """Do the work undisturbed."""
    return home.execute(work.command(home))
