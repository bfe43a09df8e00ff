"""Makes the buckets that compose.yaml names, where they are missing, on the server of METAFLOW_S3_ENDPOINT_URL."""

from __future__ import annotations

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def main(buckets: list[str]) -> None:
    endpoint = os.environ["METAFLOW_S3_ENDPOINT_URL"]
    client = boto3.client("s3", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 3}))
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in buckets:
            if bucket not in there:
                client.create_bucket(Bucket=bucket)
            print(f"the bucket {bucket} {'is there' if bucket in there else 'was made'}")
    except ClientError as error:
        sys.exit(f"{endpoint} refuses: {error}. Check MINIO_USER and MINIO_PASSWORD in .env.")
    except BotoCoreError as error:
        sys.exit(f"{endpoint} cannot be reached: {error}. Is the service minio up?")


if __name__ == "__main__":
    main(sys.argv[1:])
