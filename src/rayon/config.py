"""Settings of an experiment: one YAML file, parsed once into frozen dataclasses.

Knows the shape and the bounds of every setting and nothing of what is done with them. A key that does not exist, a
wrong type or a value out of bounds is a `ConfigError` that names the key and, for a misspelt one, the nearest known.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")

BASELINE = "tfidf"
"""The candidate that others are measured against: never followed, never promoted."""

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""What a catalogue may be called."""

Quoting = Literal["standard", "none"]

WINDOW = r"^\s*([0-9]*[1-9][0-9]*)([mhdw])\s*$"
"""A length of time, such as 7d, 12h or 30m."""

_CRON = r"^$|^\S+( \S+){4}$"
_PATH = r"^[^\x00]*$"
_MEANT = {
    NAME: "write lower-case letters, digits, - and _, 63 at most, a letter or digit first",
    WINDOW: "write a number and m, h, d or w, as in 7d or 12h",
    _CRON: "write the five fields of cron, as in '0 6 * * *', or '' for never",
    _PATH: "a path holds no NUL character",
}
Cron = Annotated[str, Field(pattern=_CRON)]
GramRange = tuple[Positive, Positive]
T = TypeVar("T")

_MANY = 100_000
_TOLD_CHARS = 200
"""How much of a wrong value is repeated in a message."""


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, or out of bounds. The message says which and what to write instead."""


@dataclass(frozen=True, config=_STRICT)
class Columns:
    """What the catalogue calls each column. '' says that it has none."""

    product_id: str = "product_id"
    designation: str = "designation"
    description: str = "description"
    category: str = "category"
    image: str = "image"


@dataclass(frozen=True, config=_STRICT)
class Synthetic:
    """A generated catalogue, written to `catalog.products` where that file does not exist yet."""

    rows: Annotated[int, Field(ge=200, le=1_000_000)] = 2400
    categories: Annotated[int, Field(ge=12, le=27)] = 16
    seed: NonNegative = 0


@dataclass(frozen=True, config=_STRICT)
class Catalog:
    """Where the catalogue is and how to read it. Relative paths start at the project's root; `products`, `labels` and
    `images` may be s3:// addresses.

    `labels` names a second file that holds the category, row for row (Rakuten's Y file). `images` is the folder of the
    photos; with None the image column holds absolute paths or, where `allow_urls`, http(s) addresses. `image_name`
    makes a file name of any columns of the file, as in 'image_{imageid}_product_{productid}.jpg'. With `quoting` none
    a quotation mark is part of its value, as in exports that put no value between quotation marks.
    """

    products: str
    labels: str | None = None
    images: str | None = None
    image_name: str | None = None
    columns: Columns = dataclasses.field(default_factory=Columns)
    encoding: str = "utf-8"
    delimiter: str = ","
    quoting: Quoting = "standard"
    allow_urls: bool = False
    synthetic: Synthetic | None = None

    def __post_init__(self) -> None:
        if "\0" in f"{self.products}{self.labels}{self.images}":
            raise ValueError("a path holds a NUL character")
        if self.synthetic is not None and "://" in self.products:
            raise ValueError("a generated catalogue is written to a folder of this machine: make `products` a path")


@dataclass(frozen=True, config=_STRICT)
class Preprocess:
    """How a product is cleaned and stored, and what is refused.

    `image_side` is the stored photo's longest side in pixels; `max_image_megapixels` and `max_image_megabytes` bound a
    photo before it is decoded; `max_text_chars` cuts a longer title or description; `shard_rows` bounds a shard.
    """

    image_side: Annotated[int, Field(ge=32, le=1024)] = 224
    image_quality: Annotated[int, Field(ge=50, le=100)] = 90
    max_image_megapixels: Annotated[float, Field(gt=0, le=500)] = 64.0
    max_image_megabytes: Annotated[float, Field(gt=0, le=500)] = 32.0
    max_text_chars: Annotated[int, Field(ge=100)] = 10_000
    min_products_per_category: Positive = 5
    shard_rows: Annotated[int, Field(ge=50)] = 2000
    workers: NonNegative = 2


@dataclass(frozen=True, config=_STRICT)
class Split:
    """Shares of the catalogue by hash of the normalised title; what is left is trained on."""

    validation: Fraction = 0.1
    test: Fraction = 0.2
    unseen: Fraction = 0.0
    seed: NonNegative = 0

    def __post_init__(self) -> None:
        if self.validation + self.test + self.unseen > 0.9:
            raise ValueError("validation + test + unseen leave less than a tenth of the catalogue to train on")


@dataclass(frozen=True, config=_STRICT)
class NgramBranch:
    """Hashed, tf-idf weighted word and character grams of title and description, if in `min_products` or more."""

    enabled: bool = True
    words: GramRange = (1, 2)
    characters: GramRange = (2, 5)
    log2_buckets: Annotated[int, Field(ge=10, le=24)] = 20
    min_products: Positive = 2


@dataclass(frozen=True, config=_STRICT)
class TextBranch:
    """Text encoders by source: bundled:<name>, hf:<id or folder>. `max_tokens` cuts the text each one reads."""

    encoders: tuple[str, ...] = ("bundled:multilingual-e5-small", "bundled:use-multilingual")
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 64
    trainable: bool = False
    batch_size: Positive = 32


@dataclass(frozen=True, config=_STRICT)
class ImageBranch:
    """Image encoders by source: bundled:<name>, torchvision:<name>, timm:<name>. Photos are `side` pixels wide."""

    encoders: tuple[str, ...] = ("bundled:efficientnet-lite0",)
    side: Annotated[int, Field(ge=32, le=1024)] = 224
    trainable: bool = False
    batch_size: Positive = 32


@dataclass(frozen=True, config=_STRICT)
class NeighbourBranch:
    """The `count` training products that resemble a product most, of up to `products` that a model remembers by their
    frozen features: 768 bytes each with text and photo. Part of decision-level fusion.
    """

    enabled: bool = True
    count: Positive = 100
    products: Positive = 100_000


@dataclass(frozen=True, config=_STRICT)
class Branches:
    """What looks at a product. A branch that is switched off, or has no encoder, is left out."""

    ngram: NgramBranch = dataclasses.field(default_factory=NgramBranch)
    text: TextBranch = dataclasses.field(default_factory=TextBranch)
    image: ImageBranch = dataclasses.field(default_factory=ImageBranch)
    neighbours: NeighbourBranch = dataclasses.field(default_factory=NeighbourBranch)


@dataclass(frozen=True, config=_STRICT)
class Fusion:
    """How branches become one answer.

    'decision' weighs the branches' log-probabilities by presence of text and photo; 'feature' reads all at once.
    `folds` replicas of each head give every training product a prediction by a head that never saw it (0: the
    validation split is used instead, as it is where an encoder is trainable).
    """

    kind: Literal["decision", "feature"] = "decision"
    folds: Annotated[int, Field(ge=0, le=20)] = 5
    modality_dropout: Fraction = 0.2


@dataclass(frozen=True, config=_STRICT)
class Trainer:
    """How Lightning trains. Learning rates are apart for heads on features, n-gram weights and trainable encoders.

    `warm_epochs` is how long a training takes that goes on from the heads of the champion, or of the latest training
    where there is none; 0 has every training begin anew, and keep no heads for a later one.

    `hidden` is the width of a head; `class_balance` weighs the loss from by product (0) to by class (1). The n-gram
    rate is that of plain momentum, the others are Adam's.

    `nodes` is the number of processes, one a GPU, among which `flows/train_nodes_flow.py` shares out each batch of
    `batch_size` products; `backend` is how they talk ('auto': nccl between GPUs, else gloo). A process that hears
    nothing from the others for `wait_minutes` gives up, and the step is tried again.
    """

    seed: NonNegative = 0
    max_epochs: Positive = 20
    warm_epochs: NonNegative = 0
    batch_size: Positive = 128
    hidden: Positive = 128
    learning_rate: Annotated[float, Field(gt=0)] = 2.0e-3
    ngram_learning_rate: Annotated[float, Field(gt=0)] = 10.0
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 2.0e-5
    weight_decay: Annotated[float, Field(ge=0)] = 1.0e-2
    dropout: Fraction = 0.3
    patience: Positive = 4
    class_balance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    workers: NonNegative = 1
    nodes: Annotated[int, Field(ge=1, le=256)] = 1
    backend: Literal["auto", "gloo", "nccl"] = "auto"
    wait_minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0


@dataclass(frozen=True, config=_STRICT)
class Evaluation:
    """How the gold set is read: bootstrap resamples, automation targets, suspects and mistakes kept."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    precision_targets: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.95, 0.99)
    suspects: NonNegative = 100
    mistakes: NonNegative = 48


@dataclass(frozen=True, config=_STRICT)
class Gate:
    """What a candidate must hold to become champion; shares and scores are in [0, 1].

    Against a champion: `margin` is the least mean gain in macro-F1, `lower_bound` what the gain's `confidence` interval
    must stay above, `category_fall` and `modality_fall` how much the F1 of a category (of `category_products` gold
    products or more) and the macro-F1 without photo or without text may fall. Always: `floor` is the least macro-F1,
    `ece` the most calibration error.
    """

    margin: Annotated[float, Field(ge=-1, le=1)] = 0.003
    lower_bound: Annotated[float, Field(ge=-1, le=1)] = -0.002
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    floor: Annotated[float, Field(ge=0, le=1)] = 0.3
    category_fall: Annotated[float, Field(ge=0, le=1)] = 0.2
    category_products: Positive = 10
    modality_fall: Annotated[float, Field(ge=0, le=1)] = 0.03
    ece: Annotated[float, Field(ge=0, le=1)] = 0.1


@dataclass(frozen=True, config=_STRICT)
class Score:
    """How products are scored.

    `precision` is the target, one of `evaluation.precision_targets` of the model's training, whose threshold decides
    between 'accept' and 'review'. Shards of `shard_rows` products are shared out among `tasks` tasks (at most 100, as
    Metaflow allows no wider foreach). `input` is what is scored where the command names nothing, 'unseen' for the
    products that the split keeps aside; of its `files`, 'all' or 'new' ones, which no finished scoring took before.
    `output` is the folder or s3:// address of the Parquet files, '' for one of each run below `shared`, or the cache.
    """

    precision: Annotated[float, Field(gt=0, lt=1)] = 0.95
    shard_rows: Annotated[int, Field(ge=1, le=100_000)] = 2000
    tasks: Annotated[int, Field(ge=1, le=100)] = 2
    input: str = "unseen"
    files: Literal["all", "new"] = "all"
    output: str = ""


@dataclass(frozen=True, config=_STRICT)
class App:
    """How the app serves, and what it keeps.

    `store` is the database of predictions and feedback (sqlite:///path, postgresql+psycopg://...; the variable
    RAYON_STORE goes before it; '' is a file below the cache), `photos` the folder or s3:// address of their photos.
    Predictions that nobody commented on are kept `prediction_days`, feedback `feedback_days`; beyond `max_gigabytes` of
    photos no more are kept. Up to `batch` products are judged at once, after `wait_ms` at most; beyond `queue` waiting
    ones, or after `timeout_seconds`, a request is sent away. `gallery` bounds the training products kept for
    comparison, `lot_rows` the rows of an uploaded file. Photos are fetched from the hosts of `url_hosts` alone (none,
    by default): those of a request within `timeout_seconds`, and `max_upload_megabytes` together.
    """

    store: str = ""
    photos: str = ""
    prediction_days: Positive = 30
    feedback_days: Positive = 730
    max_gigabytes: Annotated[float, Field(gt=0)] = 10.0
    batch: Annotated[int, Field(ge=1, le=1024)] = 32
    wait_ms: Annotated[float, Field(ge=0, le=1000)] = 4.0
    queue: Positive = 512
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    lot_rows: Positive = 10_000
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 3.0
    max_upload_megabytes: Annotated[float, Field(gt=0, le=10_000)] = 64.0
    gallery: NonNegative = 5000
    url_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class FeedbackRules:
    """Which feedback is believed (`rayon.inspection`).

    Of one person, a day's pieces (UTC) wait for an admin where they are more than `per_person`, unless the person is
    `trusted`; a program that passes on what its users say counts as one. Of people who disagree, a majority of
    `agreement` is believed. A correction that a model as sure as when it is right gives less than `unlikely` waits,
    unless two people say so, or `pattern_people` people move `pattern_products` products from that category to the same
    other one. A category is new once `new_category_people` people gave it to `new_category_products` products.
    """

    per_person: Positive = 100
    trusted: tuple[str, ...] = ()
    agreement: Annotated[float, Field(gt=0.5, le=1)] = 0.67
    unlikely: Annotated[float, Field(ge=0, le=1)] = 0.02
    pattern_people: Positive = 3
    pattern_products: Positive = 10
    new_category_people: Positive = 2
    new_category_products: Positive = 10


@dataclass(frozen=True, config=_STRICT)
class Retraining:
    """When the loop trains again: on a verdict of the monitor among `verdicts`, which looks back over `window`, or once
    `corrections` accepted corrections of `categories` categories wait; but not within `cooldown_hours` of the last
    training, nor more often than `per_week`.
    """

    window: Annotated[str, Field(pattern=WINDOW)] = "7d"
    verdicts: tuple[Literal["watch", "retrain"], ...] = ("retrain",)
    corrections: Positive = 200
    categories: Positive = 3
    cooldown_hours: Annotated[float, Field(ge=0)] = 12.0
    per_week: Positive = 5


@dataclass(frozen=True, config=_STRICT)
class StepResources:
    """What one attempt at a step asks for: cores, megabytes of memory, GPUs, and the minutes it may take at most."""

    cpu: Positive = 2
    memory: Annotated[int, Field(ge=256)] = 4096
    gpu: NonNegative = 0
    minutes: Positive = 1440


@dataclass(frozen=True, config=_STRICT)
class Resources:
    """What the steps ask for; `other` are those that plan, add up, draw and say."""

    shard: StepResources = dataclasses.field(default_factory=StepResources)
    encode: StepResources = dataclasses.field(default_factory=StepResources)
    train: StepResources = dataclasses.field(default_factory=StepResources)
    score: StepResources = dataclasses.field(default_factory=StepResources)
    other: StepResources = dataclasses.field(default_factory=StepResources)


@dataclass(frozen=True, config=_STRICT)
class Schedules:
    """When the deployed flows start by themselves: five-field cron expressions in the time zone, '' for never."""

    preprocess: Cron = ""
    score: Cron = ""
    monitor: Cron = ""
    feedback: Cron = ""
    timezone: str = "UTC"


@dataclass(frozen=True, config=_STRICT)
class Pods:
    """What Kubernetes needs to know of the pods, beside `resources`.

    An empty `image`, `service_account` or `secrets` leaves it to Metaflow's own configuration
    (METAFLOW_KUBERNETES_CONTAINER_IMAGE ...). `secrets` are Kubernetes secrets whose entries become environment
    variables. The `gpu_` settings are for the steps that ask for a GPU, an empty `gpu_image` means `image`.
    `shared_memory` is the size of /dev/shm in MB, which loaders of photos use; 0 leaves the cluster's own.
    """

    image: str = ""
    gpu_image: str = ""
    service_account: str = ""
    secrets: tuple[str, ...] = ()
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    gpu_node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    gpu_tolerations: tuple[dict[str, str], ...] = ()
    shared_memory: NonNegative = 0


@dataclass(frozen=True, config=_STRICT)
class Deploy:
    """How the flows run once deployed. `retries` of a failed attempt, `retry_minutes` apart, hold everywhere."""

    retries: Annotated[int, Field(ge=0, le=10)] = 2
    retry_minutes: NonNegative = 0
    schedules: Schedules = dataclasses.field(default_factory=Schedules)
    pods: Pods = dataclasses.field(default_factory=Pods)


@dataclass(frozen=True, config=_STRICT)
class Tracking:
    """Weights & Biases: 'auto' is online where WANDB_API_KEY is set, else offline."""

    project: str = "rayon"
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"


@dataclass(frozen=True, config=_STRICT)
class Config:
    """One experiment. `name` marks the runs of one catalogue.

    `cache` is this machine's folder of what can be made again: encoded products, opened shards, checkpoints of running
    trainings. `shared` is a folder or s3:// address where other machines find encoded products and checkpoints, and
    where predictions and reports go that no other setting places; '' where there is one machine.
    """

    name: Annotated[str, Field(pattern=NAME)]
    catalog: Catalog
    preprocess: Preprocess = dataclasses.field(default_factory=Preprocess)
    split: Split = dataclasses.field(default_factory=Split)
    branches: Branches = dataclasses.field(default_factory=Branches)
    candidates: tuple[Literal["tfidf", "text", "image", "fusion"], ...] = ("tfidf", "text", "image", "fusion")
    fusion: Fusion = dataclasses.field(default_factory=Fusion)
    trainer: Trainer = dataclasses.field(default_factory=Trainer)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    gate: Gate = dataclasses.field(default_factory=Gate)
    score: Score = dataclasses.field(default_factory=Score)
    app: App = dataclasses.field(default_factory=App)
    feedback: FeedbackRules = dataclasses.field(default_factory=FeedbackRules)
    retraining: Retraining = dataclasses.field(default_factory=Retraining)
    resources: Resources = dataclasses.field(default_factory=Resources)
    deploy: Deploy = dataclasses.field(default_factory=Deploy)
    tracking: Tracking = dataclasses.field(default_factory=Tracking)
    cache: Annotated[str, Field(pattern=_PATH)] = ".rayon"
    shared: Annotated[str, Field(pattern=_PATH)] = ""


_ADAPTER: TypeAdapter[Config] = TypeAdapter(Config)


def parse_config(settings: Mapping[str, Any]) -> Config:
    """Turn a mapping (the YAML file as read) into a `Config`.

    Raises:
        ConfigError: every unknown key (with the nearest known one), wrong type and value out of bounds, one a line.

    Example:
        >>> parse_config({"name": "shop", "catalog": {"products": "products.csv"}}).split.test
        0.2
        >>> parse_config({"name": "shop", "catalog": {"products": "products.csv"}, "spilt": {}})
        Traceback (most recent call last):
        rayon.config.ConfigError: the configuration has mistakes:
          - unknown key 'spilt': did you mean 'split'?
    """
    return parse_settings(_ADAPTER, Config, settings)


def parse_settings(adapter: TypeAdapter[T], root: type[T], settings: Mapping[str, Any]) -> T:
    """Turn a mapping into the settings `root` that `adapter` describes.

    Raises:
        ConfigError: as `parse_config`.
    """
    try:
        # a YAML date is no JSON: as text it is judged like any other value
        return adapter.validate_json(json.dumps(_plain(settings, count(1)), default=str), strict=True)
    except RecursionError:
        raise ConfigError("the configuration holds itself (an alias of YAML that is within its anchor).") from None
    except ValidationError as error:
        lines = [_explain(problem, root) for problem in error.errors(include_url=False)]
        raise ConfigError("the configuration has mistakes:\n" + "\n".join(f"  - {line}" for line in lines)) from None


def _plain(value: Any, counter: Iterator[int], key: str = "") -> Any:
    """Return settings as JSON takes them, with every key as text: YAML takes numbers, dates and lists for keys too."""
    if next(counter) > _MANY:  # aliases of aliases
        raise ConfigError(f"the configuration holds more than {_MANY:,} values: does an alias of YAML repeat itself?")
    if isinstance(value, Mapping):
        return {
            _plain(str(name), counter, key): _plain(inner, counter, f"{key}.{name}" if key else str(name))
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(inner, counter, f"{key}.{place}") for place, inner in enumerate(value)]
    if isinstance(value, str) and not _is_text(value):
        raise ConfigError(f"the configuration has a mistake: '{key}' holds half a character (a lone surrogate).")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_config(text: str) -> dict[str, Any]:
    """Parse an experiment's YAML text and return it with every default filled in, as plain data.

    Raises:
        ConfigError: the text is no YAML mapping, or as `parse_config`.
    """
    return to_dict(parse_config(read_mapping(text)))


def read_mapping(text: str) -> dict[str, Any]:
    """Return the mapping that YAML text holds.

    Raises:
        ConfigError: it holds none.
    """
    try:
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError) as error:
        # the others: a value that looks like a date or a number and is none, 2026-13-45 or 0x_; too many brackets
        raise ConfigError(f"the configuration is not valid YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ConfigError("the configuration is empty, or not a mapping of keys to values.")
    return settings


def resolve_paths(config: Config, root: Path) -> Config:
    """Return `config` with the catalogue's relative paths and the cache folder made absolute, starting at `root`."""

    def absolute(path: str | None) -> str | None:
        return path if path is None or "://" in path else str((root / path).resolve())

    catalog = dataclasses.replace(
        config.catalog,
        products=str(absolute(config.catalog.products)),
        labels=absolute(config.catalog.labels),
        images=absolute(config.catalog.images),
    )
    shared = str(absolute(config.shared)) if config.shared else ""
    return dataclasses.replace(config, catalog=catalog, cache=str(absolute(config.cache)), shared=shared)


def durable(config: Config, *names: str) -> str:
    """Return where a run leaves what others read later: a folder of `shared`, or of the cache where that is ''.

    Example:
        >>> config = parse_config({"name": "shop", "catalog": {"products": "products.csv"}})
        >>> durable(config, "scores", "12")
        '.rayon/scores/12'
        >>> durable(changed(config, {"shared": "s3://bucket/rayon"}), "scores", "12")
        's3://bucket/rayon/scores/12'
    """
    return "/".join([(config.shared or config.cache).rstrip("/"), *names])


def to_dict(config: Config) -> dict[str, Any]:
    """Return `config` as plain nested dicts, lists and scalars, ready for JSON; `parse_config` reads it back."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return `config` with some settings changed: {"trainer": {"hidden": 64}} leaves all others as they are.

    Raises:
        ConfigError: as `parse_config`, for a misspelt key too.

    Example:
        >>> config = parse_config({"name": "shop", "catalog": {"products": "products.csv"}})
        >>> changed(config, {"trainer": {"hidden": 64}}).trainer.hidden
        64
    """
    return parse_config(_merged(to_dict(config), changes))


def _merged(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        known = merged.get(name)
        merged[name] = _merged(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
    return merged


def _explain(problem: Any, root: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _known_keys(location[:-1], root)
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        remedy = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown key '{key}': {remedy}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"'{key}' is required and missing"
    message = re.sub(r"^Value error, ", "", str(problem["msg"]))
    message = _MEANT.get(problem.get("ctx", {}).get("pattern"), message)
    hint = ""
    if isinstance(problem["input"], str) and re.fullmatch(r"\d+(\.\d*)?[eE][-+]?\d+", problem["input"]):
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
    return f"'{key}' = {_short(problem['input'])}: {message}{hint}"


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= _TOLD_CHARS else f"{told[:_TOLD_CHARS]}..."


def _known_keys(path: list[str], root: Any) -> list[str]:
    current: Any = root
    for part in path:
        current = get_type_hints(current).get(part, root)
        if get_origin(current) is not None:
            current = next((a for a in get_args(current) if dataclasses.is_dataclass(a)), root)
    return [field.name for field in dataclasses.fields(current)]
