"""Trains classifiers of articles from text and photo, measures them, and leaves the best as a bundle.

    python flows/train_flow.py run
    python flows/train_flow.py --config experiment configs/catalog.yaml run

Heavy imports stay inside the steps that need them.
"""

import rayon  # noqa: F401 - first: it sets what Metaflow reads when it is imported

from pathlib import Path

from metaflow import (
    Config,
    FlowSpec,
    Parameter,
    card,
    current,
    exit_hook,
    package_sources,
    project,
    resources,
    retry,
    step,
    timeout,
)
from metaflow import trigger_on_finish

from rayon.cluster import on_cluster
from rayon.config import BASELINE
from rayon.experiment import read_experiment
from rayon.hooks import report_failure

ROOT = Path(__file__).resolve().parent.parent


@trigger_on_finish(flow="PreprocessFlow")
@exit_hook(on_error=[report_failure])
@on_cluster
@package_sources("../src/rayon", suffixes=[".py", ".json", ".yaml"])
@project(name="rayon")
class TrainFlow(FlowSpec):
    """Train a calibrated text + photo classifier on a dataset version.

    1. start: take the latest dataset version of the catalogue, or prepare one where there is none
    2. encode: let the frozen encoders read the products that they have not read yet
    3. train: for each candidate (tf-idf baseline, text, image, fusion), train, calibrate and bundle it
    4. evaluate: select by held-out products, measure on the gold set, draw the card, log to Weights & Biases
    5. gate: run the champion on the same gold set and promote the selected candidate, or hold it and say why
    6. end: say what was trained, how good it is, where to look and what to run next

    The bundle of the selected candidate is the artifact `bundle`; its measurements are the artifact `report`, what
    production is compared with is `reference`, the gate's verdict is `verdict`.
    """

    experiment = Config(
        "experiment",
        default=str(ROOT / "configs" / "demo.yaml"),
        parser=read_experiment,
        help="the experiment's YAML file",
    )
    dataset = Parameter(
        "dataset", default="", type=str, help="the PreprocessFlow run to train on, such as 12; the latest if not given"
    )
    promote = Parameter(
        "promote",
        default="auto",
        type=str,
        help="auto: champion if it passes the gate; never: judged only; force: champion whatever the gate says",
    )
    reason = Parameter("reason", default="", type=str, help="why it is promoted, for the history")

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.shard.minutes)
    @resources(cpu=experiment.resources.shard.cpu, memory=experiment.resources.shard.memory)
    @step
    def start(self):
        """Take the dataset version to train on; prepare one where there is none."""
        from rayon.champions import keep_order
        from rayon.events import open_reasons
        from rayon.experiment import check_policy
        from rayon.kept_heads import going_on_from
        from rayon.preparing import choose_dataset, load_config, stopping
        from rayon.registry import model_tag

        config = load_config(self.experiment, ROOT)
        with stopping():
            keep_order(current.flow_name, current.run_id, model_tag(config.name))
            check_policy(self.promote)
            chosen = choose_dataset(config, self.dataset, current, store=lambda name, data: setattr(self, name, data))
        self.manifest, self.dataset_run = chosen.manifest.to_json(), chosen.run
        self.candidates = list(config.candidates)
        self.begins_at = going_on_from(config)
        self.why = self.reason or open_reasons(config.name)
        self.next(self.encode)

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

        self.encoded = encode_and_tell(self.manifest, load_config(self.experiment, ROOT))
        self.next(self.train, foreach="candidates")

    @card(type="blank", id="train", refresh_interval=5)
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.train.minutes)
    @resources(
        cpu=experiment.resources.train.cpu,
        memory=experiment.resources.train.memory,
        gpu=experiment.resources.train.gpu,
    )
    @step
    def train(self):
        """Train one candidate, going on from its last checkpoint after a kill, and run it on the gold set."""
        if self.input != BASELINE:  # the baseline is not followed
            from rayon.tracking import import_wandb

            import_wandb(self.experiment.tracking.mode)
        from rayon.candidates import run_candidate
        from rayon.kept_heads import read_heads
        from rayon.preparing import load_config, load_dataset, stopping

        config, self.candidate = load_config(self.experiment, ROOT), self.input
        with stopping():
            dataset, begun = load_dataset(self.manifest, config), read_heads(self.begins_at, self.input)
            result = run_candidate(self.input, dataset, config, current, begun)
        self.heads = result.pop("heads")  # apart: `evaluate` reads the results of all candidates, and no heads
        self.results = {self.input: result}
        self.next(self.evaluate)

    @card(type="blank", id="model")
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.train.minutes)
    @resources(cpu=experiment.resources.train.cpu, memory=experiment.resources.train.memory)
    @step
    def evaluate(self, inputs):
        """Select the candidate that is best on held-out products; measure all on the gold set; draw and log."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.checkpoints import remove_checkpoints
        from rayon.gallery import make_gallery
        from rayon.outcome import publish, select
        from rayon.preparing import load_config, load_dataset, stopping
        from rayon.registry import model_tag

        self.merge_artifacts(inputs, include=["manifest", "dataset_run", "encoded", "why", "begins_at"])
        config = load_config(self.experiment, ROOT)
        dataset = load_dataset(self.manifest, config)
        results = {name: result for task in inputs for name, result in task.results.items()}
        with stopping():
            self.selected = select(results, len(dataset.categories))
            self.bundle = results[self.selected]["bundle"]
            outcome = publish(results, self.selected, dataset, config, current, self.encoded, self.dataset_run)
        self.report, self.comparison, self.suspects = outcome.report, outcome.comparison, outcome.suspects
        self.predictions, self.wandb = outcome.predictions, outcome.wandb
        self.reference, self.said = outcome.reference, outcome.said
        self.gallery = make_gallery(dataset, config)
        remove_checkpoints(config, current.flow_name, current.run_id, current.origin_run_id)
        current.run.add_tag(model_tag(config.name))
        self.next(self.gate)

    @card(type="blank", id="gate")
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.train.minutes)
    @resources(
        cpu=experiment.resources.train.cpu,
        memory=experiment.resources.train.memory,
        gpu=experiment.resources.train.gpu,
    )
    @step
    def gate(self):
        """Judge the selected candidate against the champion on today's gold set; promote or hold it."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.gate import Said
        from rayon.preparing import load_config, load_dataset, stopping
        from rayon.promotion import conclude_training

        config = load_config(self.experiment, ROOT)
        measured = {row["name"]: row["macro_f1"]["value"] for row in self.comparison}
        with stopping():
            dataset = load_dataset(self.manifest, config)
            told = (self.bundle, Said(**self.said), dataset, config, measured.get(BASELINE))
            self.verdict, self.promoted = conclude_training(*told, self.promote, self.why, current)
        self.next(self.end)

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def end(self):
        """Say in six lines what was trained, how good it is, against what, where to look and what to run next."""
        from rayon.closing import closing_lines
        from rayon.preparing import load_config
        from rayon.registry import model_tag

        # again: a resumed run takes over the steps that had finished without running them, and is looked up by its tag
        current.run.add_tag(model_tag(load_config(self.experiment, ROOT).name))
        told = (self.report, self.comparison, self.selected, self.dataset_run, self.wandb, self.verdict, self.promoted)
        for line in closing_lines(*told, current):
            print(line)


if __name__ == "__main__":
    TrainFlow()
