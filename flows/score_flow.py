"""Gives every product of a catalogue its category: Parquet files out, nothing lost, in bounded memory.

    python flows/score_flow.py run --input new_products.csv --images photos/
    python flows/score_flow.py --config experiment configs/catalog.yaml run --input new_products.parquet

Heavy imports stay inside the steps that need them.
"""

import rayon  # noqa: F401 - first: it sets what Metaflow reads when it is imported

from datetime import UTC, datetime
from pathlib import Path

from metaflow import (
    Config,
    FlowSpec,
    Parameter,
    card,
    config_expr,
    current,
    exit_hook,
    package_sources,
    project,
    resources,
    retry,
    schedule,
    step,
    timeout,
)

from rayon.cluster import on_cluster
from rayon.commands import flow_command
from rayon.experiment import read_experiment
from rayon.hooks import report_failure

ROOT = Path(__file__).resolve().parent.parent


@schedule(
    cron=config_expr("experiment.deploy.schedules.score"),
    timezone=config_expr("experiment.deploy.schedules.timezone"),
    daily=False,
)
@exit_hook(on_error=[report_failure])
@on_cluster
@package_sources("../src/rayon", suffixes=[".py", ".json", ".yaml"])
@project(name="rayon")
class ScoreFlow(FlowSpec):
    """Score products: a category, how sure, and whether a human should look.

    1. start: choose the model, read and validate the input, plan shards and share them out among tasks
    2. score: for each shard, shrink photos, encode what is new, predict, write a Parquet file
    3. combine: add up, gather the rejects, check that no row was lost
    4. end: draw the card and say where the predictions are

    A shard that is done is not done again when its task is retried or the run is resumed. The predictions are files in
    the output folder and artifacts of the run: `rayon.registry.read_predictions("ScoreFlow/12")` reads them.
    """

    experiment = Config(
        "experiment",
        default=str(ROOT / "configs" / "demo.yaml"),
        parser=read_experiment,
        help="the experiment's YAML file: what the input's columns are called, and which catalogue's model to use",
    )
    source = Parameter(
        "input",
        default=config_expr("experiment.score.input"),
        type=str,
        help="what to score, if not what the experiment says: a CSV, TSV (.gz too) or Parquet file, or a folder of "
        "Parquet files, by path or s3:// address; or 'unseen', the products that the split keeps aside",
    )
    files = Parameter(
        "files",
        default=config_expr("experiment.score.files"),
        type=str,
        help="'all' of the input's files, or 'new' ones, which no finished scoring of this catalogue took before",
    )
    images = Parameter("images", default="", type=str, help="the input's photo folder, if not that of the experiment")
    model = Parameter(
        "model",
        default="",
        type=str,
        help="the champion, or the latest training where there is none, if not given; else 'champion', 'latest', a run "
        "of TrainFlow such as 12, or a bundle's file",
    )
    output = Parameter(
        "output", default="", type=str, help="a folder or s3://bucket/prefix, if not that of the experiment"
    )

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.score.minutes)
    @resources(cpu=experiment.resources.score.cpu, memory=experiment.resources.score.memory)
    @step
    def start(self):
        """Choose the model, read and validate the input, plan the shards."""
        from rayon.columns import say_columns
        from rayon.config import durable
        from rayon.preparing import load_config, stopping
        from rayon.registry import find_model
        from rayon.score_files import choose_files, scored_files
        from rayon.score_run import UNSEEN, open_predictor, plan_input, share_out, with_input

        config = load_config(self.experiment, ROOT)
        with stopping():
            chosen = find_model(self.model, config.name)
            self.version, self.bundle = chosen
            open_predictor(chosen, config)
            self.looked = datetime.now(UTC).isoformat()  # a resumed run keeps it, with what it saw then
            names, self.scored_files = None, scored_files(config.name)
            if self.source != UNSEEN:
                config = with_input(config, self.source, self.images)
                names, found, self.scored_files = choose_files(config.catalog.products, self.files, self.scored_files)
                if names is not None:
                    print(f"{len(names):,} of {found:,} files are new")
            self.jobs, self.refused, self.columns = plan_input(
                config, self.source, self.bundle, lambda number, part: setattr(self, f"part_{number:05d}", part), names
            )
        own = f"{config.name}-{current.run_id}"
        kept = f"{config.score.output.rstrip('/')}/{own}" if config.score.output else ""
        self.destination = self.output or kept or durable(config, "predictions", own)
        self.tasks = share_out(self.jobs, config.score.tasks)
        rows = sum(job["rows"] for job in self.jobs)
        print(
            f"model {self.version}: {rows:,} products to score in {len(self.jobs):,} shards, "
            f"{len(self.refused):,} refused"
        )
        if changed := say_columns(self.columns):
            print(f"note: {changed}")
        self.next(self.score, foreach="tasks")

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.score.minutes)
    @resources(
        cpu=experiment.resources.score.cpu,
        memory=experiment.resources.score.memory,
        gpu=experiment.resources.score.gpu,
    )
    @step
    def score(self):
        """Score the shards of one task, each to a Parquet file and an artifact."""
        from rayon.data.outputs import Outputs
        from rayon.preparing import load_config, progress_line, stopping
        from rayon.registry import Model, make_locator, predictions_name
        from rayon.score_run import UNSEEN, open_predictor, run_jobs, with_input

        config = load_config(self.experiment, ROOT)
        if self.source != UNSEEN:
            config = with_input(config, self.source, self.images)
        self.predictions, self.summaries, self.rejects, found = [], [], [], 0
        with stopping():
            predictor = open_predictor(Model(self.version, self.bundle), config)
            for done in run_jobs(
                self.input,
                lambda number: getattr(self, f"part_{number:05d}"),
                predictor,
                self.bundle,
                config,
                Outputs(self.destination),
                progress_line(),
            ):
                setattr(self, predictions_name(done.number), done.data)
                self.predictions.append(make_locator(current.pathspec, done.number))
                self.summaries.append(done.summary)
                self.rejects.append(done.rejects)
                found += done.found
        print(f"{len(self.input) - found} shards scored, {found} found done")
        self.next(self.combine)

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def combine(self, inputs):
        """Add up what the tasks did; gather the rejects; check that every row is a prediction or a reject."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.data.outputs import Outputs
        from rayon.preparing import load_config, stopping, track
        from rayon.registry import scores_tag
        from rayon.score_run import conclude, tracked_values

        config = load_config(self.experiment, ROOT)
        self.merge_artifacts(inputs, include=["jobs", "refused", "version", "bundle", "destination", "columns"])
        self.predictions = [locator for task in inputs for locator in task.predictions]
        with stopping():
            self.summary, self.rejects = conclude(
                self.jobs,
                self.refused,
                [summary for task in inputs for summary in task.summaries],
                [frame for task in inputs for frame in task.rejects],
                self.version,
                Outputs(self.destination),
                self.columns,
            )
        current.run.add_tag(scores_tag(config.name))
        with track(config, current, "score", [], model=self.version) as run:
            run.summary(tracked_values(self.summary))
        self.next(self.end)

    @card(type="blank", id="scores")
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def end(self):
        """Draw the card and say where the predictions are."""
        from rayon.bundle_document import describe_bundle
        from rayon.cards import scores_card
        from rayon.preparing import load_config
        from rayon.registry import scores_tag
        from rayon.score_run import trained_mix

        config, summary = load_config(self.experiment, ROOT), self.summary
        # again: a resumed run takes over the steps that had finished without running them, and is looked up by its tag
        current.run.add_tag(scores_tag(config.name))
        document = describe_bundle(self.bundle)
        precision = config.score.precision
        threshold = next(t["confidence"] for t in document["thresholds"] if t["precision"] == precision)
        facts = {"input": self.source, "model": self.version, "output": self.destination, "catalogue": config.name}
        current.card["scores"].extend(
            scores_card(summary, self.rejects, trained_mix(document), threshold, precision, facts)
        )
        print(f"{summary['read']:,} rows read: {summary['products']:,} scored, {summary['rejected']:,} rejected")
        print(f"{summary['accepted']:,} can be filed without a human at {precision:.0%} precision")
        print(f"predictions  {self.destination}/predictions")
        print(f"rejects      {self.destination}/rejects.parquet")
        print(f"card         python flows/score_flow.py card view {current.run_id}/end --id scores")
        print(f"next         {flow_command('monitor', f'run --run {current.run_id}')}")


if __name__ == "__main__":
    ScoreFlow()
