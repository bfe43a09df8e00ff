"""The running app is killed, again and again, while people ask it and correct what it says.

Knows HTTP and the store behind the app; nothing of flows but the one that takes the feedback in.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple

import httpx
from home import ROOT, Home
from PIL import Image
from readers import look
from servers import free_port
from spoiling import Bench, Outcome
from work import WORKS, run_work

KILLS, PEOPLE = 15, 4
CATEGORIES = ("Livres", "Jeux vidéo", "Figurines", "Piscine et spa")


class Said(NamedTuple):
    """A piece of feedback as its sender knows it: the sender's key for it, what the app answered, what was meant."""

    key: str
    number: int
    prediction: str
    category: str


class Person(threading.Thread):
    """Asks about products and corrects the answers; whatever is not answered is sent again, as a good client does."""

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name=name, daemon=True)
        self.url = url
        self.enough = threading.Event()
        self.said: list[Said] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        dice = random.Random(self.name)
        while not (self.enough.is_set() or self.wrong):
            photo = ("photo.png", _photo(dice))
            product = {"product_id": uuid.uuid4().hex[:8], "designation": f"article {dice.random():.6f}"}
            asked = self._until(200, "predict", data=product, files={"image": photo})
            prediction, key = asked["predictions"][0]["prediction_id"], uuid.uuid4().hex
            meant = {"prediction_id": prediction, "category": dice.choice(CATEGORIES), "key": key, "user": self.name}
            answered = self._until(201, "feedback", json=meant)
            self.said.append(Said(key, answered["number"], prediction, meant["category"]))

    def _until(self, status: int, what: str, **sent: Any) -> Any:
        """Send until it is answered. An answer that is no success and does not ask to come again is wrong."""
        while True:
            with suppress(httpx.TransportError):
                answer = httpx.post(f"{self.url}/api/v1/{what}", timeout=30, **sent)
                if answer.status_code == status:
                    return answer.json()
                if answer.status_code != 503:
                    self.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
                    raise SystemExit
            time.sleep(0.1)


def killed_app(bench: Bench) -> Outcome:
    """The app is killed 15 times at random moments under four people who ask, with photos, and correct it, and who send
    again what was not answered: whatever was answered is in the store, once, with its photo, and becomes data.
    """
    home = bench.home("app")
    port, dice = free_port(), random.Random(0)
    url = f"http://127.0.0.1:{port}"
    people = [Person(f"person-{number}", url) for number in range(PEOPLE)]
    wrong: list[str] = []
    starts: list[float] = []
    for turn in range(KILLS + 1):
        app, seconds = _start(home, port, url)
        starts.append(seconds)
        if turn == 0:
            for person in people:
                person.start()
        if turn < KILLS:
            time.sleep(dice.uniform(0.2, 3.0))
            app.kill()
            app.wait()
            wrong += look(home).wrong
    for person in people:
        person.enough.set()
    for person in people:
        person.join(120)
        wrong += [*person.wrong, *([f"{person.name} still waits for an answer"] if person.is_alive() else [])]
    app.terminate()
    app.wait(60)
    said = [one for person in people for one in person.said]
    wrong += _missing(home, said)
    done = run_work(WORKS["feedback"], home)
    if done.code:
        wrong.append(f"the next run of feedback fails: {done.output[-600:]}")
    seen = look(home)
    last = max(one.number for one in said)
    if seen.cursor < last or any(times > 1 for times in seen.labelled.values()):
        wrong.append(f"feedback was read up to {seen.cursor} of {last}")
    told = f"{len(said)} predictions and corrections answered; up again within {max(starts):.1f} s at most"
    return Outcome([*wrong, *seen.wrong], told)


def _photo(dice: random.Random) -> bytes:
    """A photo like no other."""
    file = BytesIO()
    Image.frombytes("RGB", (24, 24), dice.randbytes(24 * 24 * 3)).save(file, "PNG")
    return file.getvalue()


def _start(home: Home, port: int, url: str) -> tuple[subprocess.Popen[bytes], float]:
    """Start the app and wait until it can judge; return it, and the seconds that it took."""
    begun = time.monotonic()
    file = home.root / "experiment.yaml"
    file.write_text(home.as_yaml())
    command = [sys.executable, str(ROOT / "app" / "app.py"), "-e", str(file), "--port", str(port)]
    with (home.root / "app.log").open("ab") as log:
        app = subprocess.Popen(command, cwd=home.folder, env=home.variables(), stdout=log, stderr=log)
    while app.poll() is None and time.monotonic() - begun < 120:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return app, time.monotonic() - begun
        time.sleep(0.1)
    app.kill()
    raise RuntimeError(f"the app does not come up: {(home.root / 'app.log').read_text()[-600:]}")


def _missing(home: Home, said: list[Said]) -> list[str]:
    """Return what was answered and is not in the store as it was, or there twice."""
    from rayon.feedback import open_store

    store = open_store(home.config)
    kept = {one.number: one for one in store.feedback_after(0)}
    wrong = []
    for one in said:
        found = kept.get(one.number)
        if found is None or (found.prediction, found.category) != (one.prediction, one.category):
            wrong.append(f"feedback {one.number} was acknowledged and is {found}")
        elif sum(other.prediction == one.prediction for other in kept.values()) != 1:
            wrong.append(f"feedback {one.number} is there more than once")
        elif not found.photo or store.photo(found.photo) is None:
            wrong.append(f"the photo of feedback {one.number} is gone")
    store.close()
    return wrong


FAULTS = {"killed: the running app": killed_app}
