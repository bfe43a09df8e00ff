"""Takes in what people said in the app: inspected, accepted as data or left to an admin, each piece exactly once.

    python flows/feedback_flow.py run
    python flows/feedback_flow.py --config experiment configs/catalog.yaml run

Heavy imports stay inside the steps that need them.
"""

import rayon  # noqa: F401 - first: it sets what Metaflow reads when it is imported

from pathlib import Path

from metaflow import (
    Config,
    FlowSpec,
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
    cron=config_expr("experiment.deploy.schedules.feedback"),
    timezone=config_expr("experiment.deploy.schedules.timezone"),
    daily=False,
)
@exit_hook(on_error=[report_failure])
@on_cluster
@package_sources("../src/rayon", suffixes=[".py", ".json", ".yaml"])
@project(name="rayon")
class FeedbackFlow(FlowSpec):
    """Turn new feedback into data.

    1. start: read what came in since the last finished run, and what waited then; inspect it; pack what is accepted
       as a shard, which the next dataset version holds
    2. end: draw the card, say what waits, ask for a retraining where the settings say so

    A run that does not finish has read nothing: the next one starts where the last finished one stopped.
    """

    experiment = Config(
        "experiment",
        default=str(ROOT / "configs" / "demo.yaml"),
        parser=read_experiment,
        help="the experiment's YAML file",
    )

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.shard.minutes)
    @resources(cpu=experiment.resources.shard.cpu, memory=experiment.resources.shard.memory)
    @step
    def start(self):
        """Read and inspect new feedback; pack what is accepted."""
        from rayon.champions import keep_order
        from rayon.feedback_run import build_accepted, inspect_new, open_feedback, read_new, resume, tally
        from rayon.preparing import load_config, open_latest, stopping
        from rayon.registry import artifact_names, feedback_state, feedback_tag, make_locator

        config = load_config(self.experiment, ROOT)
        with stopping():
            keep_order(current.flow_name, current.run_id, feedback_tag(config.name))
            store = open_feedback(config)
            state = resume(store, feedback_state(config.name))
            entries = read_new(store, state)
            print(f"{len(entries):,} pieces of feedback to look at, {len(state.waiting):,} of them waited")
            inspected = inspect_new(entries, store, state, open_latest(config), config)
            shard = build_accepted(inspected, store, config)
        self.cursor, self.waiting, self.decisions = inspected.cursor, inspected.waiting, inspected.decisions
        self.wrong, self.store, self.last = list(inspected.wrong), state.store, inspected.last
        self.elsewhere = {identity: read._asdict() for identity, read in state.elsewhere.items()}
        self.origins = list(state.origins)
        self.tally = tally(inspected.decisions)
        self.shards = [ref._asdict() for ref in state.shards]
        if shard is not None:
            data, keys = artifact_names(0)
            setattr(self, data, shard.data)
            setattr(self, keys, shard.keys)
            self.shards.append(
                shard.ref._replace(locator=make_locator(current.pathspec, 0), origin="feedback")._asdict()
            )
            self.origins.append(state.store)
        self.next(self.end)

    @card(type="blank", id="feedback")
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def end(self):
        """Draw the card; ask for a retraining where enough was corrected; log the counts to Weights & Biases."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.cards import feedback_card
        from rayon.events import enough_corrections, request_retraining
        from rayon.feedback_run import sample_accepted, tracked_values
        from rayon.preparing import load_config, track
        from rayon.registry import feedback_tag

        config = load_config(self.experiment, ROOT)
        current.run.add_tag(feedback_tag(config.name))
        self.request, self.silence = enough_corrections(config, self.tally), ""
        if self.request:
            self.silence = request_retraining(config, self.request, {"run": current.pathspec, **self.tally}, current)
        with track(config, current, "feedback", []) as run:
            run.summary(tracked_values(self.tally, len(self.waiting), bool(self.request)))
        facts = {"catalogue": config.name, "read up to": f"no. {self.cursor}", "shards so far": str(len(self.shards))}
        samples = sample_accepted(config, self.decisions)
        current.card["feedback"].extend(
            feedback_card(self.tally, self.decisions, samples, len(self.waiting), self.request, facts)
        )
        told = self.tally
        print(f"{told['accepted']:,} of {told['read']:,} accepted, {told['corrections']:,} of them corrections")
        print(f"{len(self.waiting):,} wait for an admin: settle them in the app, under Feedback")
        if self.request:
            print(f"retraining asked for: {self.request}{self.silence and f' (no event: {self.silence})'}")
        print(f"card  python flows/feedback_flow.py card view {current.run_id}/end --id feedback")
        print(f"next  {flow_command('preprocess')} | {flow_command('train')} | python -m rayon loop")


if __name__ == "__main__":
    FeedbackFlow()
