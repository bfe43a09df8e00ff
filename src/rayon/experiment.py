"""Reads the YAML of an experiment, and that of monitoring, for a flow's `Config`, and a parameter, before all else.

Knows settings and how Metaflow tells a mistake; imports nothing heavy, since every task of every flow begins here.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

from metaflow.exception import MetaflowException

import rayon.commands  # noqa: F401 - notes the experiment's file while the command that names it is at hand

Policy = Literal["auto", "never", "force"]
"""What becomes of a trained model: champion if it passes the gate, judged only, champion whatever the gate says."""


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


def check_policy(policy: str) -> Policy:
    """Return the policy.

    Raises:
        MetaflowException: there is no such policy.
    """
    for known in get_args(Policy):
        if policy == known:
            return cast(Policy, policy)
    raise MetaflowException(f"--promote {policy}: write auto, never or force.")
