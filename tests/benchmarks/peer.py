"""AutoGluon MultiModal beside us: its environment, its copy of our encoders, its files, its run.

Knows how a split is handed over as a table with photos as files, and how probabilities come back. It does not know how
AutoGluon trains (`peers/autogluon_run.py`, in an environment of its own) nor how predictions are measured.

What is the same for both: the products of train + validation and of the gold set, the text (title, line break,
description, after 'query: '), photos shrunk to 224 pixels, the first 64 tokens, the weights of multilingual-e5-small
(its 4-bit blocks as float32) with mean pooling and of EfficientNet-Lite0. What is not: AutoGluon tunes both encoders
end to end, augments photos and crops their middle, and stops by the validation products; it has neither our second text
encoder (USE, which is no transformers model) nor word and character n-grams, nor neighbours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import numpy as np

from rayon.data.dataset import Dataset
from rayon.gold import GoldPredictions, gold_rows
from rayon.inputs import texts_of
from rayon.models.encoders import load_image_encoder, load_text_encoder

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "peers"
PACKAGES = ("autogluon.multimodal==1.6.3", "torch===2.13.0", "torchvision===0.28.0", "pyarrow")
FLOOR = 1e-9
_SPECIAL = {"cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>", "eos_token": "</s>"}


class PeerError(RuntimeError):
    """AutoGluon could not be installed or run. The message says why."""


class PeerRun(NamedTuple):
    """What came back: predictions on the gold set, and seconds, memory and bytes (`facts.json`)."""

    gold: GoldPredictions
    facts: dict[str, Any]


def environment() -> Path:
    """Return the Python of AutoGluon's environment, made where it is not there (some minutes, 3 GB)."""
    folder = HOME / "autogluon"
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        print(f"installing {' '.join(PACKAGES)} into {folder} (some minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode:
            raise PeerError(f"pip cannot install {' '.join(PACKAGES)}: {found.stderr.strip()[-500:]}")
        (folder / ".installed").touch()
    return python


def encoders() -> Path:
    """Return a folder with our text and image encoder as a transformers and a timm checkpoint: `e5/` and `lite0/`."""
    folder = HOME / "encoders"
    if not (folder / "lite0" / "config.json").exists():
        write_e5(folder / "e5")
        write_lite0(folder / "lite0")
    return folder


def write_e5(folder: Path) -> None:
    """Write the text encoder as a folder that `AutoModel` and `AutoTokenizer` read."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    encoder: Any = load_text_encoder("bundled:multilingual-e5-small", 64)
    body = encoder.network.body
    sizes = {name: value for name, value in body.config._asdict().items() if name != "dropout"}
    theirs = BertModel(BertConfig(**sizes), add_pooling_layer=False)
    theirs.load_state_dict(body.state_dict())
    theirs.save_pretrained(folder)
    tokenizer = encoder.tokenise.tokenizer
    tokenizer.no_truncation()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=512, **_SPECIAL
    )
    fast.save_pretrained(folder)


def write_lite0(folder: Path) -> None:
    """Write the image encoder as the folder that AutoGluon reads: timm's config.json, pytorch_model.bin."""
    import timm
    import torch

    encoder = load_image_encoder("bundled:efficientnet-lite0", 224)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.network.state_dict(), folder / "pytorch_model.bin")
    described = timm.get_pretrained_cfg("tf_efficientnet_lite0").to_dict()
    kept = {name: value for name, value in described.items() if value is not None}
    config = {"architecture": "tf_efficientnet_lite0", "num_features": encoder.dim, "pretrained_cfg": kept}
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def write_split(dataset: Dataset, folder: Path, photos: Path) -> Path:
    """Write a split as the table that AutoGluon reads; photos, which are the same in all splits, once."""
    photos.mkdir(parents=True, exist_ok=True)
    frame = dataset.frame
    known = frame[(frame["label"] >= 0) & frame["split"].isin(["train", "validation", "test"])]
    images = []
    for row in known.index:
        file = photos / f"{row}.jpg"
        photo = dataset.photo(row) if known["has_image"].loc[row] else None
        if photo is not None and not file.exists():
            file.write_bytes(photo)
        images.append("" if photo is None else str(file))
    texts = texts_of(dataset)
    table = known[["category"]].assign(
        row=known.index,
        text=["query: " + texts[row] if texts[row] else "" for row in known.index],
        image=images,
        part=known["split"].astype(str).replace({"test": "gold"}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "split.parquet"
    table.to_parquet(file, index=False)
    return file


def run_autogluon(
    dataset: Dataset,
    folder: Path,
    photos: Path,
    cpu_seconds: int | None,
    epochs: int,
    threads: int = 1,
    gpu: bool = False,
) -> PeerRun:
    """Train and run AutoGluon on a split, in `folder`, which is emptied of its model afterwards.

    On a GPU `threads` processes beside it read photos, and it computes in single precision, as on a CPU: in half
    precision, its own choice there, it learns small catalogues badly.

    Raises:
        PeerError: it cannot be installed, fails or takes far longer than its limit; its log is in the folder.
    """
    python, weights = environment(), encoders()
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        *("nice", "-n", "19", str(python), str(Path(__file__).parent / "peers" / "autogluon_run.py")),
        *("--split", str(write_split(dataset, folder, photos)), "--encoders", str(weights), "--out", str(folder)),
        *("--epochs", str(epochs), "--threads", str(threads)),
        *(("--cpu-seconds", str(cpu_seconds)) if cpu_seconds else ()),
        *(("--gpu", "--workers", str(threads), "--precision", "32") if gpu else ()),
    ]
    apart = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": ""}
    for name in [name for name in apart if name.startswith(("METAFLOW", "OMP_", "MKL_"))]:
        del apart[name]
    limit = 6 * 3600 if cpu_seconds is None else 10 * cpu_seconds + 1800
    with open(folder / "log", "wb") as log:
        try:
            found = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=limit, env=apart)
        except subprocess.TimeoutExpired:
            raise PeerError(f"AutoGluon was ended after {limit:,} s, see {folder / 'log'}") from None
    if found.returncode:
        last = (folder / "log").read_text(errors="replace").strip()[-300:]
        raise PeerError(f"AutoGluon failed, see {folder / 'log'}: {last}")
    facts = json.loads((folder / "facts.json").read_text())
    gold = read_gold(dataset, folder / "probabilities.npz")
    shutil.rmtree(folder / "model")
    return PeerRun(gold, facts)


def read_gold(dataset: Dataset, file: Path) -> GoldPredictions:
    """Read probabilities as predictions on the gold set, in the order of our categories."""
    with np.load(file, allow_pickle=False) as told:
        place = {row: number for number, row in enumerate(told["rows"].tolist())}
        names = {name: number for number, name in enumerate(told["categories"].tolist())}
        rows = gold_rows(dataset)
        order = [place[row] for row in rows.tolist()]
        columns = [names.get(name, -1) for name in dataset.categories]
        log = {}
        for name in ("whole", "without_photo", "without_text"):
            padded = np.pad(told[name], ((0, 0), (0, 1)))[order][:, columns]
            log[name] = np.log(np.clip(padded, FLOOR, None)).astype(np.float32)
    labels = dataset.frame["label"].to_numpy().astype(np.int64)[rows]
    share = np.full(len(rows), np.nan, dtype=np.float32)
    return GoldPredictions(rows, labels, log["whole"], share, log["without_photo"], log["without_text"])
