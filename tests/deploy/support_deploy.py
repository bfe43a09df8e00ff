"""What the tests of a deployment share: variables, settings, and what there is to break."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import yaml
from argo import Argo, Webhook
from pods import ROOT
from postgres import Postgres
from servers import Line

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
EVENTS = {
    "METAFLOW_ARGO_EVENTS_EVENT": "metaflow-event",
    "METAFLOW_ARGO_EVENTS_EVENT_SOURCE": "argo-events-webhook",
    "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT": "operate-workflow-sa",
}


class Cluster(NamedTuple):
    """What a platform engineer has: variables of a deployment, and handles to break things with."""

    folder: Path
    environment: dict[str, str]
    argo: Argo
    events: Webhook
    chat: Webhook
    s3: Line
    database: Postgres


def client(address: str) -> Any:
    """A client of the object store."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


def variables(address: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("METAFLOW_", "AWS_"))}
    return {
        **kept,
        **KEYS,
        **EVENTS,
        "METAFLOW_USER": "tests",
        "METAFLOW_S3_ENDPOINT_URL": address,
        "METAFLOW_DATASTORE_SYSROOT_S3": "s3://shop/metaflow",
        "METAFLOW_DEFAULT_DATASTORE": "s3",
    }


def production(**sections: Any) -> dict[str, Any]:
    """Return settings for a small shop on the cluster; a dict is merged into its section."""
    settings = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text())
    catalog = {"products": "s3://shop/catalogue/products.csv", "images": "s3://shop/catalogue/images"}
    deploy = yaml.safe_load((ROOT / "configs" / "production.yaml").read_text())["deploy"]
    settings |= {
        "name": "shop",
        "catalog": {**settings["catalog"], **catalog, "synthetic": None},
        "deploy": {**deploy, "retry_minutes": 0},
        "cache": "/tmp/rayon",
        "shared": "s3://shop/shared",
    }
    for name, value in sections.items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    return settings
