"""Processes that tests start: forks of a server that has made the imports and has no threads.

A fork of the test process itself would find locked forever what any of its threads (servers, browsers, pools) held.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cloudpickle

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["rayon.training", "rayon.inputs"])

_STARTS_WITHIN = 60.0  # seconds, the server's imports included
_SAYS_WHERE = 5.0  # seconds before its end that a process which hangs is asked for its stack


def run(functions: Sequence[Callable[[], Any]], seconds: float = 60.0) -> list[int]:
    """Call each function in a process of its own, all at the same moment; return the processes' exit codes.

    A function may be a closure, or one of a test module; what it changes in memory is not seen here.

    Raises:
        AssertionError: one takes longer than `seconds`. The message shows the stack it was at.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("tests."):  # which pytest alone knows how to import
            cloudpickle.register_pickle_by_value(module)
    with tempfile.TemporaryDirectory(prefix="rayon-processes-") as folder:
        stacks = [Path(folder, str(number)) for number, _ in enumerate(functions)]
        started = _CONTEXT.Barrier(len(functions) + 1)
        processes = [
            _CONTEXT.Process(target=_watched(function, stack, seconds), args=(started,))
            for function, stack in zip(functions, stacks, strict=True)
        ]
        for process in processes:
            process.start()
        started.wait(_STARTS_WITHIN)
        return [_code(process, stack, seconds) for process, stack in zip(processes, stacks, strict=True)]


class _Sent:
    """A function as `cloudpickle` sends it, which the other side finds as a plain function."""

    def __init__(self, function: Callable[[Any], None]) -> None:
        self._function = function

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return cloudpickle.loads, (cloudpickle.dumps(self._function),)


def _watched(function: Callable[[], Any], stack: Path, seconds: float) -> _Sent:
    environment = dict(os.environ)  # the server has kept that of its start

    def call(started: Any) -> None:
        os.environ.clear()
        os.environ.update(environment)
        started.wait(_STARTS_WITHIN)
        with stack.open("w") as file:
            faulthandler.dump_traceback_later(max(seconds - _SAYS_WHERE, seconds / 2), file=file)
            function()
            faulthandler.cancel_dump_traceback_later()

    return _Sent(call)


def _code(process: BaseProcess, stack: Path, seconds: float) -> int:
    process.join(seconds)
    hung = process.is_alive()
    process.kill()
    process.join()
    assert not hung, f"a process hangs at\n{stack.read_text()}"
    return process.exitcode or 0
