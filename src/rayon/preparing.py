"""What the flows share before any training: the settings, the catalogue, an opened dataset version.

Knows the registry and the data package; it holds no rule of its own.
"""

from __future__ import annotations

import dataclasses
import errno
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaflow.exception import MetaflowException

import rayon
from rayon.champions import RegistryError, branch_here, project_here
from rayon.commands import flow_command
from rayon.config import Config, durable, parse_config, resolve_paths
from rayon.data.census import Place
from rayon.data.dataset import Dataset, DatasetError, open_dataset, overruled, read_photos
from rayon.data.fetching import fetch_catalog
from rayon.data.outputs import OutputError, Outputs
from rayon.data.shards import Manifest
from rayon.data.tables import CatalogError
from rayon.registry import (
    DatasetVersion,
    any_dataset,
    artifact_names,
    dataset_of,
    dataset_tag,
    feedback_state,
    latest_dataset,
    make_locator,
    read_keys,
    read_shard,
)
from rayon.schema import TooLittleError
from rayon.tracking import Identity, TrackedRun
from rayon.tracking import start as start_tracking
from rayon.tracking.keys import tags_of
from rayon.window import WindowError

if TYPE_CHECKING:
    from rayon.data.preprocessing import BuiltShard


_DISK = {
    errno.ENOSPC: "a disk is full",
    errno.EDQUOT: "the quota of a disk is used up",
    errno.EROFS: "a disk can only be read",
    errno.EACCES: "a folder may not be written to",
}
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "transformers", "tokenizers", "scikit-learn", "pillow")
"""Those that a result may depend on."""
_ROOM = (
    "Free space (`python -m rayon gc` lists what nothing needs), or name another place: `cache:` and `shared:` of the "
    "experiment, METAFLOW_DATASTORE_SYSROOT_LOCAL for runs. Then run it again: nothing that finished is lost."
)


class RayonError(MetaflowException):
    """Something the user can mend: Metaflow prints its sentence as the reason why the step failed."""

    headline = "rayon cannot go on"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)  # type: ignore[no-untyped-call]


def load_config(experiment: Any, root: Path) -> Config:
    """Return the settings of a flow's `Config`, with relative paths starting at `root`."""
    # Metaflow silences every warning, ours too: that features were damaged, say, or are not shared
    warnings.filterwarnings("default", category=UserWarning, module=r"rayon\.")
    settings = experiment.to_dict() if hasattr(experiment, "to_dict") else dict(experiment)
    return resolve_paths(parse_config(settings), root)


@contextmanager
def stopping() -> Iterator[None]:
    """Turn the mistakes of a catalogue, a dataset or a setting into the one sentence that the user needs to read."""
    try:
        yield
    except _mistakes() as error:
        raise RayonError(str(error)) from None
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise RayonError(f"{_DISK[error.errno]}{f': {error.filename}' if error.filename else ''}. {_ROOM}") from None


def _mistakes() -> tuple[type[Exception], ...]:
    """Return the errors whose message is for the user."""
    # imported once something went wrong, or they are used
    from rayon.feedback import StoreError
    from rayon.models.bundled import EncoderError

    return (
        *(CatalogError, DatasetError, EncoderError, OutputError, RegistryError, StoreError, TooLittleError),
        WindowError,
    )


def provide_catalog(config: Config, tell: Callable[[str], None]) -> Config:
    """Return the settings with the catalogue's tables on this machine.

    A generated catalogue is written where the settings ask for one and it is not there yet; one on S3 is copied here.
    """
    settings = config.catalog.synthetic
    if settings is not None:
        from rayon.data.synthetic import write_catalogue

        folder = Path(config.catalog.products).parent
        tell(f"demo catalogue: {settings.rows:,} products in {folder}")
        write_catalogue(folder, settings)
    return dataclasses.replace(config, catalog=fetch_catalog(config.catalog, Path(config.cache) / "catalogs"))


def choose_dataset(config: Config, run_id: str, current: Any, store: Callable[[str, bytes], None]) -> DatasetVersion:
    """Return the dataset version to train on: that of `run_id`, else the latest, else one prepared here and now.

    What is prepared here is stored shard by shard through `store(artifact name, bytes)` of the task `current`, and
    starts from the last version prepared this way, so that only new rows are read again.
    """
    if run_id:
        given = dataset_of(run_id)
        if given.manifest.name != config.name:
            raise RegistryError(
                f"{given.run} is a dataset of '{given.manifest.name}', and this experiment is '{config.name}': choose "
                "a run of its own, or the other experiment by --config experiment FILE."
            )
        return given
    found = latest_dataset(config.name)
    if found is not None:
        print(f"dataset: {found.run}, {found.manifest.counts['kept']:,} products, made {found.manifest.created}")
        return found
    from rayon.data.preprocessing import prepare  # pandera, which is not needed where there is a dataset version

    print(f"dataset: no finished PreprocessFlow run of '{config.name}', so it is prepared here, by the same steps")
    config = provide_catalog(config, tell=print)
    last = latest_dataset(config.name, flow="TrainFlow")

    def keep(number: int, shard: BuiltShard) -> str:
        data, keys = artifact_names(number)
        store(data, shard.data)
        store(keys, shard.keys)
        return make_locator(current.pathspec, number)

    manifest, rejects = prepare(
        config,
        last.manifest if last else None,
        read_keys,
        keep,
        progress_line("shards"),
        feedback_state(config.name).shards,
    )
    print(
        f"dataset: {manifest.counts['kept']:,} products in {len(manifest.categories)} categories, "
        f"{len(rejects):,} rejects"
    )
    current.run.add_tags([dataset_tag(config.name)])
    return DatasetVersion(manifest, f"{current.flow_name}/{current.run_id}")


def load_dataset(manifest: str, config: Config) -> Dataset:
    """Open the dataset version of a manifest's JSON text."""
    return open_version(Manifest.from_json(manifest), config)


def encode_and_tell(manifest: str, config: Config) -> dict[str, int]:
    """Let the frozen encoders read what the feature store lacks of a dataset version; return how many each one read."""
    from rayon.inputs import encode_dataset

    dataset = load_dataset(manifest, config)
    with stopping():
        encoded = encode_dataset(dataset, config, progress_line()).encoded
    for source, count in encoded.items():
        print(f"{source}: {count:,} of {len(dataset):,} products encoded, the others were found")
    replaced = int(overruled(dataset.frame).sum())
    if replaced:
        print(f"{replaced:,} products of the catalogue go by the category that people gave them in the app")
    return encoded


def open_version(manifest: Manifest, config: Config) -> Dataset:
    """Open a dataset version under the settings' split and folds; its shards are kept as files in the cache folder."""
    with stopping():
        return open_dataset(manifest, read_shard, _shards(config), config.split, config.fusion.folds)


def open_latest(config: Config) -> Dataset:
    """Open the newest dataset version of the experiment's catalogue.

    Raises:
        RegistryError: there is none.
    """
    version = any_dataset(config.name)
    if version is None:
        raise RegistryError(f"there is no dataset version of '{config.name}': `{flow_command('preprocess')}`.")
    return open_version(version.manifest, config)


def sample_photos(manifest: Manifest, places: Sequence[Place], config: Config) -> list[tuple[str, bytes]]:
    """Return (category, JPEG) of products of a dataset version, as `rayon.data.census.take_census` chooses them."""
    where = [(place.shard, place.position) for place in places]
    with stopping():
        photos = read_photos(manifest, where, read_shard, _shards(config))
    pairs = zip(places, photos, strict=True)
    return [(place.category, photo) for place, photo in pairs if photo is not None]


def _shards(config: Config) -> Path:
    return Path(config.cache) / "shards"


def progress_line(what: str = "", seconds: float = 5.0) -> Callable[..., None]:
    """Return a function that prints how far long work is, every few seconds at most: it never floods a log.

    It takes (done, total), or (what, done, total).
    """
    started: dict[str, float] = {}
    told: dict[str, float] = {}

    def tell(*args: Any) -> None:
        label, done, total = args if len(args) == 3 else (what, *args)
        now = time.monotonic()
        begun = started.setdefault(label, now)
        if now - told.setdefault(label, now) < seconds:
            return
        told[label] = now
        rate = done / max(now - begun, 1e-9)
        print(f"{label}: {done:,} of {total:,} ({rate:,.0f} a second)", flush=True)

    return tell


def track(
    config: Config, current: Any, job: str, tags: list[str], title: str = "", axis: str = "", **facts: str
) -> TrackedRun:
    """Start following the running task, `current`, in Weights & Biases, as the settings say.

    `job` is one of `rayon.tracking.keys.JOBS`; `facts` are added to the run's config, keys of kind 'setting'.
    """
    identity = Identity(current.flow_name, current.run_id, current.step_name, current.task_id, current.retry_count)
    return follow(config, identity, job, tags, title, axis, **facts)


def follow(
    config: Config, identity: Identity, job: str, tags: list[str], title: str = "", axis: str = "", **facts: str
) -> TrackedRun:
    """Start following in Weights & Biases what `identity` names; as `track`, and where there is no task."""
    branch, project = branch_here(), project_here()
    keep = SharedFolder(Outputs(durable(config, "wandb"))) if config.shared else None
    # rayon's own from the source: a pod has no package of that name installed
    versions = {"rayon": rayon.__version__, **{name: version(name) for name in _PACKAGES}}
    settings = {**asdict(config), "flow_run": identity.group, "project_branch": branch, "versions": versions, **facts}
    tags = [*tags_of(config.name, branch, project), *tags]
    return start_tracking(
        config.tracking, identity, job, settings, Path(config.cache), tags, title=title, axis=axis, keep=keep
    )


def dataset_values(manifest: Manifest, new: int) -> dict[str, float]:
    """Return the counts of a dataset version, `new` of whose products were built just now, under their keys in W&B."""
    names = ("read", "kept", "rejected", "photos_refused", "without_photo", "feedback")
    counts = {f"dataset/{name}": manifest.counts[name] for name in names}
    return {**counts, "dataset/new": new, "dataset/categories": len(manifest.categories)}


class SharedFolder(NamedTuple):
    """Where folders of this machine are kept for others (`rayon.tracking.run.Keep`)."""

    outputs: Outputs

    def location(self, name: str) -> str:
        """Return where the folder of that name will be."""
        return f"{self.outputs.location}/{name}"

    def send(self, folder: Path) -> None:
        """Copy a folder there, file by file."""
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                self.outputs.write(f"{folder.name}/{file.relative_to(folder).as_posix()}", file.read_bytes())
