"""A real PostgreSQL server on loopback, for a test session; skips where there is none to start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest


class Postgres:
    """A server that runs, and the URL of its database."""

    def __init__(self, url: str, control: list[str], options: str) -> None:
        self.url = url
        self._control = control
        self._options = options

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._run("-o", self._options, "start")

    def stop(self) -> None:
        """Stop it at once, as a machine that goes down does."""
        self._run("-m", "immediate", "stop")

    def _run(self, *words: str) -> None:
        subprocess.run([*self._control, *words], stdout=subprocess.DEVNULL, check=True, cwd="/")


def postgres() -> Iterator[Postgres]:
    """Start a server on a folder of its own, yield it, stop it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("there is no PostgreSQL server here (Debian: apt install postgresql)")
    tools = Path(found).parent
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        as_user = ["runuser", "-u", "nobody", "--"]
    folder = Path(mkdtemp(prefix="rayon-postgres-"))  # pytest's own folders are closed to other users
    if as_user:
        shutil.chown(folder, "nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    command = [*as_user, found, "-D", data, "-U", "rayon", "-A", "trust", "--no-sync"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd="/")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    control = [*as_user, str(tools / "pg_ctl"), "-D", data, "-w", "-l", f"{folder}/log"]
    server = Postgres(f"postgresql+psycopg://rayon@127.0.0.1:{port}/postgres", control, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
