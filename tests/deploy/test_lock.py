"""What the images install: as requirements.txt says, each file by its hash."""

from __future__ import annotations

import importlib.util
import re
from datetime import date
from types import ModuleType

import pytest
from support_image import ROOT

LOCKS = ("base.lock", "cuda.lock")


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "deploy" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(name: str) -> dict[str, str]:
    """Return version by package of a lock file, whose every entry has a hash."""
    text = (ROOT / "deploy" / "requirements" / name).read_text(encoding="utf-8")
    found = re.findall(r"^([a-z0-9.-]+)==(\S+) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^[^ #\n]", text, re.MULTILINE))
    return {package: version for package, version, _ in found}


def test_the_lock_follows_requirements_txt():
    lines = program("lock").runtime((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    wanted = {}
    for line in lines:
        package, version = line.split("#")[0].strip().split("==")
        wanted[package.partition("[")[0].lower()] = version
    locked = {**entries("base.lock"), **entries("cuda.lock")}
    differ = {package for package, version in wanted.items() if locked.get(package) != version}
    assert not differ, f"requirements.txt and the lock differ on {sorted(differ)}: run `make lock`"
    cpu = (ROOT / "deploy" / "requirements" / "cpu.txt").read_text(encoding="utf-8").splitlines()
    assert cpu[1:] == [f"{package}=={wanted[package]}" for package in ("torch", "torchvision")]


def test_torch_and_its_gpu_libraries_are_apart():
    base, cuda = entries("base.lock"), entries("cuda.lock")
    assert not base.keys() & cuda.keys()
    assert {"torch", "torchvision", "triton"} <= cuda.keys()
    assert all(re.match("torch|triton|nvidia-|cuda-", package) for package in cuda)
    assert {"boto3", "metaflow", "requests", "setuptools"} <= base.keys()  # pods download their code; wheels are built
    assert not {"pytest", "ruff", "moto", "playwright"} & base.keys()


def test_an_exception_of_the_audit_whose_day_has_come_stops_it(monkeypatch, capsys):
    audit = program("audit")
    monkeypatch.setattr(audit, "ACCEPTED", (audit.Accepted("GHSA-xxxx", date(2026, 1, 31), "only on Windows"),))
    assert audit.main(date(2026, 1, 31)) == 1
    assert "GHSA-xxxx" in capsys.readouterr().out


def test_requirements_without_the_mark_are_refused():
    with pytest.raises(SystemExit, match="# development"):
        program("lock").runtime("torch==2.14.1\n")
