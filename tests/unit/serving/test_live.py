"""The live model: swapped without a gap, kept where the new one cannot be loaded."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rayon.schema import Prediction, Product
from rayon.serving.service import NoModelError


def ask(service, text="lampe chevet"):
    # in a thread of its own: a browser that another test of this process drives keeps a loop running in this one
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, service.predict([Product("1", text)], "api")).result()[0]


def test_without_a_model_it_says_what_to_run(make_service):
    service = make_service([])
    service.live.refresh()
    with pytest.raises(NoModelError, match=r"python flows/train_flow\.py run"):
        ask(service)
    service.close()


def test_a_model_is_found_once_there_is_one(make_service):
    versions: list[str] = []
    service = make_service(versions)
    service.live.refresh()
    versions.append("TrainFlow/7")
    service.live.refresh()
    assert service.live.problem == "" and ask(service).said.model_version == "TrainFlow/7"
    service.close()


def test_a_bundle_that_fails_leaves_the_old_one_serving(make_service, classifier):
    from rayon.bundle_document import BundleError
    from rayon.inference import Predictor

    def load(version):
        if version == "TrainFlow/8":
            raise BundleError("the bundle is damaged: take it again")
        return Predictor(classifier[0], version, 0.9), None

    versions = ["TrainFlow/7"]
    service = make_service(versions, load)
    service.live.refresh()
    versions.append("TrainFlow/8")
    service.live.refresh()
    assert "TrainFlow/8 cannot be loaded, TrainFlow/7 goes on serving" in service.live.problem
    assert ask(service).said.model_version == "TrainFlow/7" and service.live.failures == 1
    service.live.refresh()
    assert service.live.failures == 1  # not tried again at once
    versions.append("TrainFlow/9")
    service.live.refresh()
    assert service.live.problem == "" and ask(service).said.model_version == "TrainFlow/9"
    service.close()


def test_a_swap_drops_no_request(make_service):
    versions = ["TrainFlow/7"]
    service = make_service(versions)
    service.live.refresh()
    service.start()
    answers, errors, stop = [], [], threading.Event()

    def client():
        while not stop.is_set():
            try:
                told = ask(service, f"lampe chevet {len(answers)}")
                assert isinstance(told.said, Prediction)
                answers.append(told.said.model_version)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(8, 13):
        time.sleep(0.3)
        versions.append(f"TrainFlow/{number}")
    deadline = time.monotonic() + 10
    while "TrainFlow/12" not in answers and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    service.close()
    assert not errors
    assert {f"TrainFlow/{n}" for n in (7, 12)} <= set(answers)
