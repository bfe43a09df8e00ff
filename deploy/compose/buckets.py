"""Makes the buckets that compose.yaml names, on the S3 server that METAFLOW_S3_ENDPOINT_URL names; once is enough."""

from __future__ import annotations

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def main(buckets: list[str]) -> None:
    endpoint = os.environ["METAFLOW_S3_ENDPOINT_URL"]
    client = boto3.client("s3", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 5}))
    for bucket in buckets:
        try:
            client.create_bucket(Bucket=bucket)
            print(f"made the bucket {bucket}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE:
                sys.exit(f"the bucket {bucket} cannot be made at {endpoint}: {error}. Check MINIO_USER and its password.")
            print(f"the bucket {bucket} is there")
        except BotoCoreError as error:
            sys.exit(f"{endpoint} cannot be reached: {error}. Is the service minio up?")


if __name__ == "__main__":
    main(sys.argv[1:])
