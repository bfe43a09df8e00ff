"""A small catalogue on disk, its settings, and what it takes to train on it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from catalogues import KINDS, NET, WORDS
from PIL import Image

from rayon.config import Config, parse_config

if TYPE_CHECKING:
    from rayon.data.dataset import Dataset
    from rayon.inputs import Encoded
    from rayon.training import Trained

_TRAINED: dict[tuple[str, str], tuple[Trained, Dataset, Encoded]] = {}


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> str:
    """The source of a tiny BERT with random weights that knows the catalogue's words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(word for words in WORDS.values() for word in words), "neuf", "bleu"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder = tmp_path_factory.mktemp("bert")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    )
    fast.save_pretrained(folder)
    BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    ).save_pretrained(folder)
    return f"hf:{folder}@random"


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> Path:
    """240 products of four categories, each with its words and its colour; one in six has no photo, one in ten no
    text, and one in eight a title that says nothing.
    """
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = [("product_id", "designation", "description", "category", "image")]
    for n in range(240):
        category = list(KINDS)[n % 4]
        words = [] if n % 8 == 3 else rng.choice(WORDS[category], 2, replace=False).tolist()
        title = "" if n % 10 == 7 else " ".join([*words, "neuf", f"ref{n}"])
        photo = "" if n % 6 == 1 and title else f"{n}.png"
        if photo:
            noise = rng.normal(0, 25, (32, 32, 3))
            Image.fromarray(np.clip(noise + KINDS[category], 0, 255).astype(np.uint8)).save(folder / "images" / photo)
        rows.append((str(n), title, "" if n % 3 or not title else "bleu", category, photo))
    with open(folder / "products.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture
def make_config(catalogue, bert, tmp_path) -> Callable[..., Config]:
    """A factory of settings; sections given by name replace single keys of the small ones used here."""

    def make(**sections: dict[str, Any]) -> Config:
        small: dict[str, dict[str, Any]] = {
            "preprocess": {"min_products_per_category": 1, "image_side": 32, "shard_rows": 100, "workers": 0},
            "split": {"validation": 0.15, "test": 0.2},
            "fusion": {"folds": 3},
            "evaluation": {"precision_targets": [0.99, 0.9]},
            "trainer": {"max_epochs": 6, "batch_size": 32, "hidden": 16, "workers": 0, "learning_rate": 1e-2},
        }
        branches: dict[str, dict[str, Any]] = {
            "ngram": {"log2_buckets": 12},
            "text": {"encoders": [bert], "max_tokens": 16},
            "image": {"encoders": [NET], "side": 32},
            "neighbours": {},
        }
        for name, changes in sections.pop("branches", {}).items():
            branches[name] = {**branches[name], **changes}
        settings = {name: {**small[name], **sections.pop(name, {})} for name in small}
        return parse_config(
            {
                "name": "shop",
                "catalog": {"products": str(catalogue / "products.csv"), "images": str(catalogue / "images")},
                "cache": str(catalogue / "cache"),
                "branches": branches,
                **settings,
                **sections,
            }
        )

    return make


@pytest.fixture
def load(catalogue) -> Callable[[Config], tuple[Dataset, Encoded]]:
    """Open the catalogue as a dataset, with its features; shards and features are made once a test session."""

    from rayon.data.dataset import open_dataset
    from rayon.data.preprocessing import build_shard, combine, plan_dataset
    from rayon.inputs import encode_dataset

    def run(config: Config) -> tuple[Dataset, Encoded]:
        built = [build_shard(part, config) for part in plan_dataset(config, None, None).parts]
        data = {shard.ref.fingerprint: shard.data for shard in built}
        manifest, _ = combine(config, plan_dataset(config, None, None), built, None)
        dataset = open_dataset(
            manifest, lambda ref: data[ref.fingerprint], catalogue / "shards", config.split, config.fusion.folds
        )
        return dataset, encode_dataset(dataset, config)

    return run


@pytest.fixture
def train(load, tmp_path) -> Callable[..., tuple[Trained, Dataset, Encoded]]:
    from rayon.training import train_candidate

    def run(kind: str, config: Config, folder: str = "run", **more: Any) -> tuple[Trained, Dataset, Encoded]:
        dataset, encoded = load(config)
        return train_candidate(kind, dataset, encoded, config, tmp_path / folder, **more), dataset, encoded

    return run


@pytest.fixture
def bucket(monkeypatch) -> Iterator[str]:
    """An empty bucket of a server that speaks S3, on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "METAFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3
    import httpx

    httpx.post(f"http://{host}:{port}/moto-api/reset")  # it keeps its objects in the process
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="rayon-tests")
    yield "s3://rayon-tests"
    server.stop()


@pytest.fixture
def trained_once(train) -> Callable[..., tuple[Trained, Dataset, Encoded]]:
    """As `train`, of run 7, for tests that need a model and do not look at how it comes about: the same settings are
    trained on once a test session. What comes back is shared: read a bundle of your own from it.
    """

    def run(kind: str, config: Config) -> tuple[Trained, Dataset, Encoded]:
        key = (kind, repr(config))
        if key not in _TRAINED:
            _TRAINED[key] = train(kind, config, about={"run": "7"})
        return _TRAINED[key]

    return run
