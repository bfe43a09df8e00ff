"""What the tests of the app share: a running app, a free port, the folder of the screenshots."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from support_flows import ROOT, Shop

SHOTS = Path(os.environ.get("RAYON_SCREENSHOTS", ROOT / "build" / "screenshots"))


class Running(NamedTuple):
    """A running app: where it answers, its process, its shop and the runs that trained its two models."""

    url: str
    process: subprocess.Popen[bytes]
    shop: Shop
    first: str
    second: str
    log: Path


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
