"""Trains as flows/train_flow.py does, with the processes of several machines, or GPUs, that train each model together.

    python flows/train_nodes_flow.py --config experiment configs/rakuten.yaml run      # trainer.nodes says how many

Its runs are runs of TrainFlow: champions, monitoring and the app find them as any other. It is a file of its own
because on Argo a @parallel step needs the JobSet resource, which the ordinary training shall not ask for.
"""

import rayon  # noqa: F401 - first: it sets what Metaflow reads when it is imported

import os
import sys
from pathlib import Path

from metaflow import card, config_expr, current, parallel, resources, retry, step, timeout

import train_flow
from rayon.hooks import report_failure  # noqa: F401 - the hook of train_flow.TrainFlow is looked for in the flow's file

# Metaflow starts the other processes with whatever `python` comes first: without this one they would not find rayon.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

experiment = config_expr("experiment")


class TrainFlow(train_flow.TrainFlow):
    """Train a calibrated text + photo classifier on a dataset version, with several processes a model.

    1. start: take the latest dataset version of the catalogue, or prepare one where there is none
    2. encode: let the frozen encoders read the products that they have not read yet
    3. train: in every process, train each candidate together with the others; the first one calibrates and bundles
    4. evaluate: select by held-out products, measure on the gold set, draw the card, log to Weights & Biases
    5. gate: run the champion on the same gold set and promote the selected candidate, or hold it and say why
    6. end: say what was trained, how good it is, where to look and what to run next

    Artifacts, parameters and settings are those of flows/train_flow.py; no heads are kept to go on from.
    """

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.encode.minutes)
    @resources(
        cpu=experiment.resources.encode.cpu,
        memory=experiment.resources.encode.memory,
        gpu=experiment.resources.encode.gpu,
    )
    @step
    def encode(self):
        """Encode the products that the feature store lacks; `encoded` counts them."""
        from rayon.preparing import encode_and_tell, load_config

        self.encoded = encode_and_tell(self.manifest, load_config(self.experiment, train_flow.ROOT))
        self.next(self.train, num_parallel=self.experiment.trainer.nodes)

    @card(type="blank", id="train", refresh_interval=5)
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.train.minutes)
    @resources(
        cpu=experiment.resources.train.cpu,
        memory=experiment.resources.train.memory,
        gpu=experiment.resources.train.gpu,
    )
    @parallel
    @step
    def train(self):
        """Train every candidate together with the other processes, going on from the last checkpoints after a kill."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.candidates import run_together
        from rayon.preparing import load_config, load_dataset, stopping

        config = load_config(self.experiment, train_flow.ROOT)
        with stopping():
            self.results = run_together(self.candidates, load_dataset(self.manifest, config), config, current)
        self.next(self.evaluate)


if __name__ == "__main__":
    TrainFlow()
