"""Logs as JSON lines on standard error, a field a fact; no photo, no product's text and no secret is ever a field."""

from __future__ import annotations

import logging

from pythonjsonlogger.json import JsonFormatter


def set_up_logs(level: int = logging.INFO) -> None:
    """Send what `rayon` logs to standard error as JSON."""
    handler = logging.StreamHandler()
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    logger = logging.getLogger("rayon")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
