"""How does the app hold under load? Latency, throughput, memory, and whether any feedback is lost.

    python tests/benchmarks/serving.py                                      the demo's champion, a minute a phase
    python tests/benchmarks/serving.py --experiment configs/debug.yaml --seconds 20

Each request is a product that was never asked about before: title, description and photo. Phases, on loopback:

    single    one client, one request after the other
    paced     16 clients, each asking once every `--pause` seconds, as people and shops do
    full      16 clients, each asking again as soon as it has its answer; every second answer gets feedback
    unbatched the same as full, by an app that judges one product at a time

In `full` latency says nothing of its own: 16 clients that never pause wait for each other, at 16 / throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import rayon  # noqa: F401 - sets the threads' environment
import httpx
import yaml

from results import Row, save, table
from rayon.config import Synthetic
from rayon.data.synthetic import iter_products
from rayon.feedback import Store

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 16
_POOL = 300


class Load(NamedTuple):
    """What a phase saw: seconds of each answer, statuses other than success, feedback numbers, and its length."""

    seconds: list[float]
    failures: list[str]
    numbers: list[int]
    length: float

    def row(self, name: str) -> Row:
        """A row of the table."""
        ordered = sorted(self.seconds)
        p95 = ordered[int(0.95 * (len(ordered) - 1))]
        return {
            "phase": name,
            "requests": len(ordered),
            "a second": round(len(ordered) / self.length, 1),
            "median ms": round(1000 * statistics.median(ordered)),
            "p95 ms": round(1000 * p95),
            "failures": len(self.failures),
        }


class App:
    """The app in a process of its own, on settings whose `app` section is changed, with an empty store."""

    def __init__(self, experiment: Path, folder: Path, **changes: Any) -> None:
        settings = yaml.safe_load(experiment.read_text(encoding="utf-8"))
        self.store = f"sqlite:///{folder}/store.sqlite"
        settings["app"] = {**settings["app"], "photos": str(folder / "photos"), **changes}
        folder.mkdir()
        file = folder / "experiment.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.name, self.photos = settings["name"], str(folder / "photos")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, str(ROOT / "app" / "app.py"), "-e", str(file), "--port", str(port)]
        environment = {**os.environ, "RAYON_STORE": self.store}
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.3)
        self.close()
        raise SystemExit(f"the app is not ready: train a model first ({(folder / 'log').read_text()[-500:]})")

    def megabytes(self) -> float:
        """The process's resident memory."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found.group(1)) / 1024 if found else 0.0

    def close(self) -> None:
        """Stop the app."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Products:
    """Products without end, each asked about once: of a pool, with another title, and a comment in the photo's file."""

    def __init__(self) -> None:
        found = iter_products(Synthetic(), start=2_000_000, stop=2_000_000 + 2 * _POOL)
        self.pool = [product for product in found if product.image and product.designation][:_POOL]
        self.number = count()

    def next(self) -> dict[str, str]:
        """A request's body."""
        number = next(self.number)
        product = self.pool[number % len(self.pool)]
        assert product.image is not None
        comment = f"{number:016d}".encode()
        photo = product.image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + product.image[2:]
        return {
            "product_id": str(number),
            "designation": f"{product.designation} {number}",
            "description": product.description,
            "image": base64.b64encode(photo).decode(),
        }


async def load(app: App, products: Products, clients: int, seconds: float, pause: float, feedback: bool) -> Load:
    """Let clients ask for so many seconds."""
    took: list[float] = []
    failures: list[str] = []
    numbers: list[int] = []
    end = time.monotonic() + seconds

    async def client(place: int) -> None:
        async with httpx.AsyncClient(base_url=app.url, timeout=60) as calls:
            await asyncio.sleep(pause * place / clients)
            while time.monotonic() < end:
                body = products.next()
                started = time.perf_counter()
                answer = await calls.post("/api/v1/predict", json=body)
                spent = time.perf_counter() - started
                if answer.status_code != 200:
                    failures.append(f"{answer.status_code} {answer.text[:100]}")
                    continue
                took.append(spent)
                told = answer.json()["predictions"][0]
                if feedback and len(took) % 2 == 0:
                    sent = {"prediction_id": told["prediction_id"], "category": told["category"], "user": f"c{place}"}
                    kept = await calls.post("/api/v1/feedback", json=sent)
                    if kept.status_code == 201:
                        numbers.append(kept.json()["number"])
                    else:
                        failures.append(f"feedback {kept.status_code}")
                await asyncio.sleep(max(0.0, pause - spent) if pause else 0.0)

    began = time.monotonic()
    await asyncio.gather(*(client(place) for place in range(clients)))
    return Load(took, failures, numbers, time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=Path, default=ROOT / "configs" / "demo.yaml")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between the requests of a paced client")
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    products = Products()
    with tempfile.TemporaryDirectory() as folder:
        app = App(options.experiment, Path(folder) / "batched")
        try:
            asyncio.run(load(app, products, 4, 5.0, 0.0, False))  # warm
            single = asyncio.run(load(app, products, 1, options.seconds / 2, 0.0, False))
            paced = asyncio.run(load(app, products, CLIENTS, options.seconds, options.pause, True))
            before = app.megabytes()
            full = asyncio.run(load(app, products, CLIENTS, options.seconds, 0.0, True))
            after = app.megabytes()
        finally:
            app.close()
        store = Store(app.store, app.photos, app.name)
        kept = {entry.number for entry in store.feedback_after(0, limit=10_000_000)}
        store.close()
        alone = App(options.experiment, Path(folder) / "unbatched", batch=1, wait_ms=0.0)
        try:
            asyncio.run(load(alone, products, 4, 5.0, 0.0, False))
            unbatched = asyncio.run(load(alone, products, CLIENTS, options.seconds, 0.0, True))
        finally:
            alone.close()
    phases = {"single": single, "paced": paced, "full": full, "unbatched": unbatched}
    rows = [phase.row(name) for name, phase in phases.items()]
    acknowledged = {*paced.numbers, *full.numbers}
    ratio = (len(full.seconds) / full.length) / (len(unbatched.seconds) / unbatched.length)
    p95 = sorted(paced.seconds)[int(0.95 * (len(paced.seconds) - 1))]
    notes = (
        f"feedback acknowledged {len(acknowledged)}, lost {len(acknowledged - kept)}",
        f"throughput, batched over unbatched: {ratio:.2f}",
        f"p95 of paced clients over the single client's median: {p95 / statistics.median(single.seconds):.2f}",
        f"memory before and after the full minute: {before:.0f} MB, {after:.0f} MB",
    )
    print("\n".join([*table(rows), *notes]))
    if options.results:
        save("serving", "The app under load, over loopback", {options.experiment.name: rows}, notes)
    for failure in sorted({*single.failures, *paced.failures, *full.failures, *unbatched.failures}):
        print("failure:", failure)


if __name__ == "__main__":
    main()
