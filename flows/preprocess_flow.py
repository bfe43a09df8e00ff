"""Turns a catalogue into a dataset version: validated, cleaned, sharded; every reject kept with its reason.

    python flows/preprocess_flow.py run
    python flows/preprocess_flow.py --config experiment configs/catalog.yaml run

Heavy imports stay inside the steps that need them.
"""

import rayon  # noqa: F401 - first: it sets what Metaflow reads when it is imported

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
from metaflow import namespaced_event_name, trigger

from rayon.cluster import on_cluster
from rayon.commands import flow_command
from rayon.experiment import read_experiment
from rayon.hooks import report_failure

ROOT = Path(__file__).resolve().parent.parent


@trigger(event=namespaced_event_name("retraining"))  # rayon.events publishes it
@schedule(
    cron=config_expr("experiment.deploy.schedules.preprocess"),
    timezone=config_expr("experiment.deploy.schedules.timezone"),
    daily=False,
)
@exit_hook(on_error=[report_failure])
@on_cluster
@package_sources("../src/rayon", suffixes=[".py", ".json", ".yaml"])
@project(name="rayon")
class PreprocessFlow(FlowSpec):
    """Make a dataset version of a catalogue.

    1. start: read the catalogue, validate every row, keep the shards of the last version that still hold, plan new ones
    2. build: for each new shard, decode each photo once, resize and re-encode it, clean the texts
    3. combine: list the shards, and those of accepted feedback, in a manifest with a fingerprint; gather the rejects
    4. end: draw the card, log the counts to Weights & Biases and say what to run next

    Rows added to a catalogue add shards; the earlier ones are not touched. Splits follow from a hash of each title, so
    that the gold set does not move.
    """

    experiment = Config(
        "experiment",
        default=str(ROOT / "configs" / "demo.yaml"),
        parser=read_experiment,
        help="the experiment's YAML file",
    )
    fresh = Parameter(
        "fresh", default=False, type=bool, help="build everything anew, without the last version's shards"
    )

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def start(self):
        """Read and validate the catalogue; plan the shards that are new."""
        from rayon.data.planning import plan_dataset
        from rayon.data.spooling import Spool
        from rayon.preparing import load_config, provide_catalog, stopping
        from rayon.champions import keep_order
        from rayon.registry import dataset_tag, latest_dataset, read_keys

        config = load_config(self.experiment, ROOT)
        with stopping():
            keep_order(current.flow_name, current.run_id, dataset_tag(config.name))
            config = provide_catalog(config, tell=print)
            last = None if self.fresh else latest_dataset(config.name)
            keep = Spool(Path(config.cache)).keep
            self.plan = plan_dataset(config, last.manifest if last else None, read_keys, keep=keep)
        parts, self.plan = self.plan.parts, self.plan._replace(parts=())
        # a part an artifact: a task then reads its own alone
        for number, part in enumerate(parts):
            setattr(self, f"part_{number:05d}", part)
        self.numbers = list(range(len(parts))) or [None]
        counts = self.plan.counts
        print(f"{counts['read']:,} rows read, {counts['unchanged']:,} as before: {len(parts)} new shards to build")
        self.next(self.build, foreach="numbers")

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.shard.minutes)
    @resources(cpu=experiment.resources.shard.cpu, memory=experiment.resources.shard.memory)
    @step
    def build(self):
        """Build one shard: read, check and shrink each photo, clean each text."""
        from rayon.data.building import build_shard
        from rayon.preparing import load_config, stopping
        from rayon.registry import artifact_names, make_locator

        self.built = None
        if self.input is not None:
            with stopping():
                part = take(self, f"part_{self.input:05d}")
                shard = build_shard(part, load_config(self.experiment, ROOT))
            data, keys = artifact_names(self.input)
            setattr(self, data, shard.data)
            setattr(self, keys, shard.keys)
            ref = shard.ref._replace(locator=make_locator(current.pathspec, self.input))
            self.built = shard._replace(data=b"", keys=b"", ref=ref)
        self.next(self.combine)

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def combine(self, inputs):
        """List all shards in the manifest of the new version; gather the rejects."""
        from rayon.data.preprocessing import combine
        from rayon.preparing import load_config, stopping
        from rayon.registry import artifact_names, dataset_tag, feedback_state, read_keys

        config = load_config(self.experiment, ROOT)
        self.plan = inputs[0].plan
        built = [(task, task.built) for task in inputs if task.built is not None]
        with_keys = (shard._replace(keys=take(task, artifact_names(task.input)[1])) for task, shard in built)
        with stopping():
            labelled = feedback_state(config.name).shards
            manifest, rejects = combine(config, self.plan, with_keys, read_keys, labelled)
        self.rejects, self.refused = rejects.as_artifact(), rejects.summary()
        self.manifest = manifest.to_json()
        self.new_rows = sum(shard.ref.rows for _, shard in built)
        current.run.add_tags([dataset_tag(config.name), f"fingerprint:{manifest.fingerprint[:12]}"])
        self.next(self.end)

    @card(type="blank", id="dataset")
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def end(self):
        """Draw the card: counts, categories, photos, rejects; log the counts to Weights & Biases."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.cards import dataset_card
        from rayon.data.census import take_census
        from rayon.data.shards import Manifest
        from rayon.preparing import dataset_values, load_config, sample_photos, stopping, track
        from rayon.registry import dataset_tag, read_keys

        config = load_config(self.experiment, ROOT)
        manifest = Manifest.from_json(self.manifest)
        # again: a resumed run takes over the steps that had finished without running them, and is looked up by its tag
        current.run.add_tags([dataset_tag(config.name), f"fingerprint:{manifest.fingerprint[:12]}"])
        with stopping():
            census = take_census(manifest, read_keys, config.split)
        current.card["dataset"].extend(
            dataset_card(
                manifest,
                self.refused,
                list(census.mix.items()),
                census.splits,
                self.new_rows,
                sample_photos(manifest, census.photos, config),
            )
        )
        with track(config, current, "preprocess", [], dataset=manifest.fingerprint[:12]) as run:
            run.summary(dataset_values(manifest, self.new_rows))
        self.profile = {"splits": census.splits, **manifest.counts}
        counts = manifest.counts
        people = f" ({counts['feedback']:,} labelled by people)" if counts["feedback"] else ""
        print(f"dataset {manifest.name} {manifest.fingerprint[:12]}: {counts['kept']:,} products{people}, ", end="")
        print(f"{len(manifest.categories)} categories, {counts['rejected']:,} rows rejected, ", end="")
        print(f"{counts['photos_refused']:,} photos refused")
        print(f"card:  python flows/preprocess_flow.py card view {current.run_id}/end --id dataset")
        print(f"next:  {flow_command('train')}")


def take(task, name):
    """Return an artifact of a task without Metaflow's keeping it in memory, and storing it again, for the step."""
    found = getattr(task, name)
    delattr(task, name)
    return found


if __name__ == "__main__":
    PreprocessFlow()
