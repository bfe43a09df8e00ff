"""How close `encode_texts` and `encode_images` come to a bare loop that does nothing else.

    python tests/benchmarks/encoding.py [--photos 192] [--texts 256] [--rounds 5]

Bare loops with several settings and rayon take turns in one process; printed are medians and each one's speed relative
to the best bare loop of the same round (above 1: rayon is faster). Photos and texts come from shared catalogues beside
the repository where there are any, else they are made up.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from results import Row, save
from rayon.data.images import decode_square, normalise_photo
from rayon.models.encoders import ImageEncoder, TextEncoder, load_image_encoder, load_text_encoder
from rayon.models.encoding import encode_images, encode_texts

CATALOGS = Path(__file__).resolve().parents[2].parent / "shared" / "catalogs"


def photos(count: int) -> list[bytes]:
    files = sorted(CATALOGS.glob("bestbuy15/images/*.jpg"))[:count]
    if files:
        return [normalise_photo(file.read_bytes(), 224, 90, 64.0, 32.0) for file in files]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((224, 180), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        drawn.append(buffer.getvalue())
    return drawn


def texts(count: int) -> list[str]:
    file = CATALOGS / "bestbuy15" / "products.csv"
    if file.is_file():
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))[:count]
        return [f"{row['designation']} {row['description']}" for row in rows]
    rng = np.random.default_rng(0)
    return [
        " ".join(rng.choice(["lampe", "bleue", "piscine", "roman", "jouet"], rng.integers(3, 60))) for _ in range(count)
    ]


def bare_images(encoder: ImageEncoder, images: list[bytes], batch: int, threads: int) -> np.ndarray:
    torch.set_num_threads(threads)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            square = np.stack([decode_square(image, encoder.side) for image in images[start : start + batch]])
            parts.append(encoder(torch.from_numpy(square).permute(0, 3, 1, 2)).numpy())
    return np.concatenate(parts)


def bare_texts(encoder: TextEncoder, lines: list[str], batch: int, threads: int) -> np.ndarray:
    torch.set_num_threads(threads)
    ordered = sorted(lines, key=len, reverse=True)
    with torch.inference_mode():
        return np.concatenate(
            [
                encoder(encoder.tokenize(ordered[start : start + batch])).numpy()
                for start in range(0, len(ordered), batch)
            ]
        )


def compare(title: str, items: int, runs: dict[str, Callable[[], object]], rounds: int) -> list[Row]:
    """Let runs take turns; print and return how fast each was, medians, and how it stands to the best bare loop."""
    for run in runs.values():  # warm up
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        names = list(runs)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - start)
    best = min((name for name in runs if name != "rayon"), key=lambda name: statistics.median(seconds[name]))
    print(f"\n{title}")
    rows: list[Row] = []
    for name, times in seconds.items():
        ratio = statistics.median(b / t for b, t in zip(seconds[best], times, strict=True))
        speed = items / statistics.median(times)
        print(f"  {name:24} {speed:8.1f}/s   {ratio:5.2f} of the best bare loop")
        rows.append({"loop": name, "a second": speed, "of the best bare loop": ratio, "rounds": rounds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=192)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    cores = torch.get_num_threads()
    settings = sorted({(32, cores), (32, 1), (4, 1), (4, cores)}, reverse=True)

    def with_all_cores(run: Callable[[], np.ndarray]) -> np.ndarray:
        torch.set_num_threads(cores)
        return run()

    image_encoder = load_image_encoder("bundled:efficientnet-lite0", 224)
    images = photos(options.photos)
    runs: dict[str, Callable[[], np.ndarray]] = {
        f"bare, batch {batch}, {threads} threads": lambda b=batch, t=threads: bare_images(image_encoder, images, b, t)
        for batch, threads in settings
    }
    runs["rayon"] = lambda: with_all_cores(lambda: encode_images(image_encoder, images, device="cpu"))
    title = f"{len(images)} photos, {image_encoder.source}"
    tables = {title: compare(title, len(images), runs, options.rounds)}

    lines = texts(options.texts)
    for source in ("bundled:multilingual-e5-small", "bundled:use-multilingual"):
        text_encoder = load_text_encoder(source, 64)
        text_runs: dict[str, Callable[[], np.ndarray]] = {
            f"bare, batch {batch}, {threads} threads": lambda e=text_encoder, b=batch, t=threads: bare_texts(
                e, lines, b, t
            )
            for batch, threads in settings
        }
        text_runs["rayon"] = lambda e=text_encoder: with_all_cores(lambda: encode_texts(e, lines, device="cpu"))
        title = f"{len(lines)} texts, {source}"
        tables[title] = compare(title, len(lines), text_runs, options.rounds)
    if options.results:
        save("encoding", "Encoding, against bare loops in the same process", tables)


if __name__ == "__main__":
    main()
