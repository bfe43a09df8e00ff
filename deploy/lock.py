"""Writes what the images install, from requirements.txt: every package pinned, with the hashes of its files.

    make lock                       what is pinned already stays, where requirements.txt allows it
    make lock UPGRADE=--upgrade     the newest that requirements.txt allows

`base.lock` is all but torch, `cuda.lock` torch with its GPU libraries, both for Linux (x86_64 and aarch64) and the
Python of the Dockerfile, with hashes as the package index tells them; `cpu.txt` names the same torch for PyTorch's own
index, whose files have other hashes. Knows requirements as text; uv resolves them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).parent / "requirements"
PYTHON = "3.11"
_GPU = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)==")
_HEAD = "# Made by `make lock` from requirements.txt; do not edit.\n"


def runtime(requirements: str) -> list[str]:
    """Return the lines of requirements.txt that name a package the images need: those above '# development'."""
    needed, mark, _ = requirements.partition("# development\n")
    if not mark:
        raise SystemExit("requirements.txt has no line '# development': what follows it is left out of the images.")
    return [line for line in needed.splitlines() if line and not line.startswith(("#", "-e"))]


def split(locked: str) -> tuple[str, str]:
    """Return the entries of a lock file that are not torch's, and those that are."""
    entries = re.split(r"^(?=[A-Za-z0-9])", locked, flags=re.MULTILINE)[1:]
    return tuple("".join(e for e in entries if bool(_GPU.match(e)) is gpu) for gpu in (False, True))  # type: ignore[return-value]


def main(uv: str, *more: str) -> None:
    needed = runtime((FOLDER.parents[1] / "requirements.txt").read_text(encoding="utf-8"))
    options = ["--generate-hashes", "--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28"]
    with TemporaryDirectory() as folder:
        lock = Path(folder) / "all.lock"  # uv keeps the versions that it finds where it writes
        lock.write_text("".join(before.read_text(encoding="utf-8") for before in sorted(FOLDER.glob("*.lock"))))
        command = [uv, "pip", "compile", "-", "-o", str(lock), "--quiet", "--no-header", "--no-annotate"]
        subprocess.run([*command, *options, *more], input="\n".join(needed), text=True, check=True)
        base, gpu = split(lock.read_text(encoding="utf-8"))
    torch = [line for line in needed if _GPU.match(line)]
    files = {"base.lock": base, "cuda.lock": gpu, "cpu.txt": "\n".join(torch) + "\n"}
    for name, content in files.items():
        (FOLDER / name).write_text(_HEAD + content, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
