"""Imports Lightning without three packages that it would bring along and that a training does not use.

Lightning imports torchmetrics, and that every metric it has: with torchvision, transformers and matplotlib where they
are installed, which takes nearly as long as all the rest. Knows how they are looked for; where that has changed,
Lightning is imported as it is, and slower.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_UNUSED = ("torchvision", "transformers", "matplotlib")


def import_lightning() -> None:
    """Import Lightning, which does not find those packages meanwhile; whoever needs one of them later does.

    For a process that is about to import what trains, and has no other thread that imports.
    """
    imports: Any = importlib.import_module("lightning_utilities.core.imports")
    hidden = [name for name in _UNUSED if name not in sys.modules]
    version = getattr(imports, "_version", None)
    if version is None or "pytorch_lightning" in sys.modules:
        return

    def visible_version(name: str) -> str:
        if name in hidden:
            raise imports.PackageNotFoundError(name)
        return str(version(name))

    imports._version = visible_version
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it fails
    try:
        import pytorch_lightning  # noqa: F401
    finally:
        imports._version = version
        for name in hidden:
            del sys.modules[name]
