"""Reads the YAML of an experiment, and that of monitoring, for a flow's `Config`, before any task starts.

Knows settings and how Metaflow tells a mistake; imports nothing heavy, since every task of every flow begins here.
"""

from __future__ import annotations

from typing import Any

from metaflow.exception import MetaflowException


def read_experiment(text: str) -> dict[str, Any]:
    """Return an experiment's settings as plain data, with every default filled in.

    Raises:
        MetaflowException: the text is no experiment; its mistakes are the message, and no traceback is shown.
    """
    from rayon.config import ConfigError, read_config

    try:
        return read_config(text)
    except ConfigError as error:
        raise MetaflowException(str(error)) from None


def read_monitoring_settings(text: str) -> dict[str, Any]:
    """Return the settings of monitoring as plain data, with every default filled in.

    Raises:
        MetaflowException: as `read_experiment`.
    """
    from rayon.config import ConfigError
    from rayon.monitoring_config import read_monitoring

    try:
        return read_monitoring(text)
    except ConfigError as error:
        raise MetaflowException(str(error)) from None
