"""Files that are damaged: artifacts of runs, features in the cache, bundles, shards that were opened before."""

from __future__ import annotations

import gzip
from pathlib import Path

from home import NAME, Home
from metaflow import Run, Task, namespace
from readers import look
from spoiling import Bench, Outcome, failed, spoil
from work import WORKS, run_work

from rayon.bundle import dump_bundle, read_bundle
from rayon.registry import any_dataset, find_model


def _blob(home: Home, sha: str) -> Path:
    (file,) = home.datastore.rglob(f"data/{sha[:2]}/{sha}")
    return file


def damaged_shard(bench: Bench) -> Outcome:
    """Bytes of a shard's file in the datastore are changed before a training that has to open it; then the file is
    deleted and the dataset built anew, as the sentence says.
    """
    home = bench.home("damaged-shard")
    done = home.run("preprocess", "--fresh", "true")
    wrong = [done.output[-400:]] if done.code else []
    with home.looked_at():
        version = any_dataset(NAME)
        assert version is not None
        pathspec, number = version.manifest.shards[0].locator.split("#")
        namespace(None)
        file = _blob(home, Task(pathspec)[f"shard_{number}"].sha)
        whole = Task(pathspec)[f"shard_{number}"].data
    for opened in (Path(home.settings["cache"]) / "shards").glob("*.arrow"):
        opened.unlink()
    spoil(file)
    home.change(deploy={"retries": 0})
    told = failed(home.run("train", "--promote", "never"), "is damaged")
    file.unlink()
    again = home.run("preprocess", "--fresh", "true")
    # the blob is gzip of a pickle, and gzip tells the time: the content counts
    if again.code or whole not in gzip.decompress(file.read_bytes()):
        wrong.append(f"building it anew does not mend it: {again.output[-300:]}")
    return Outcome([*wrong, *told.wrong, *look(home, deep=True).wrong], told.said)


def damaged_bundle(bench: Bench) -> Outcome:
    """Bytes of the champion's bundle in the datastore are changed: scoring says so, a rollback helps."""
    home = bench.home("damaged-bundle")
    trained = home.run("train", "--promote", "force", "--reason", "to be damaged")
    wrong = [trained.output[-400:]] if trained.code else []
    with home.looked_at():
        namespace(None)
        file = _blob(home, Run(f"TrainFlow/{trained.run_id}")["evaluate"].task["bundle"].sha)
    spoil(file)
    home.change(deploy={"retries": 0})
    told = failed(run_work(WORKS["score"], home), "is damaged")
    back = home.execute(home.rayon("rollback", "--reason", "its file is damaged"))
    if back.code:
        wrong.append(f"the rollback fails: {back.output[-400:]}")
    return Outcome([*wrong, *told.wrong, *bench.recover("score", home)], told.said)


def damaged_features(bench: Bench) -> Outcome:
    """Bytes of every feature file of the cache are changed, and one is cut: the training encodes those anew and comes
    to the same model.
    """
    home = bench.home("damaged-features")
    home.change(trainer={"seed": 3})
    files = sorted((Path(home.settings["cache"]) / "features").rglob("features.npy"))
    for file in files[1:]:
        spoil(file)
    files[0].write_bytes(files[0].read_bytes()[:-100])
    done = run_work(WORKS["train"], home)
    wrong = [done.output[-400:]] if done.code else bench.differences("train", home)
    told = [line for line in done.output.splitlines() if "is damaged" in line]
    if not told:
        wrong.append("nothing is said of it")
    return Outcome(wrong, told[0][-300:] if told else "")


def damaged_opened_shards(bench: Bench) -> Outcome:
    """Shards that were opened into the cache are cut short, or changed without another size: they are opened again."""
    home = bench.home("damaged-opened")
    WORKS["train"].prepare(home)
    files = sorted((Path(home.settings["cache"]) / "shards").glob("*.arrow"))
    files[0].write_bytes(files[0].read_bytes()[:1000])
    for file in files[1:]:
        spoil(file)
    return Outcome(bench.recover("train", home), "")


def truncated_bundle(bench: Bench) -> Outcome:
    """A bundle's file is cut short, and another has one bit changed: `--model FILE` is refused in words."""
    home = bench.home("truncated-bundle")
    with home.looked_at():
        bundle = dump_bundle(read_bundle(find_model("champion", NAME).bundle))  # with a checksum, whoever wrote it
    home.change(deploy={"retries": 0})
    said, wrong = "", []
    flipped = bytearray(bundle)
    flipped[-1000] ^= 1
    for name, data in (("cut", bundle[: len(bundle) // 2]), ("flipped", bytes(flipped)), ("empty", b"")):
        file = home.root / f"{name}.safetensors"
        file.write_bytes(data)
        done = home.execute([*WORKS["score"].command(home), "--model", str(file)])
        told = failed(done, "take it again", "take the artifact again")
        wrong += told.wrong
        said = told.said or said
    return Outcome([*wrong, *bench.recover("score", home)], said)


FAULTS = {
    "damaged: shard in the datastore": damaged_shard,
    "damaged: champion's bundle in the datastore": damaged_bundle,
    "damaged: features in the cache": damaged_features,
    "damaged: opened shards in the cache": damaged_opened_shards,
    "damaged: bundle given as a file": truncated_bundle,
}
