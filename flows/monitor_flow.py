"""Compares what is predicted in production with what the model saw when it was trained, and says what follows.

    python flows/monitor_flow.py run --window 7d
    python flows/monitor_flow.py --config experiment configs/catalog.yaml run --run ScoreFlow/12

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

from rayon.cluster import on_cluster
from rayon.experiment import read_experiment, read_monitoring_settings
from rayon.hooks import report_failure

ROOT = Path(__file__).resolve().parent.parent


@schedule(
    cron=config_expr("experiment.deploy.schedules.monitor"),
    timezone=config_expr("experiment.deploy.schedules.timezone"),
    daily=False,
)
@exit_hook(on_error=[report_failure])
@on_cluster
@package_sources("../src/rayon", suffixes=[".py", ".json", ".yaml"])
@project(name="rayon")
class MonitorFlow(FlowSpec):
    """Watch a classifier in production: ok, watch or retrain, and why.

    1. start: choose the model's reference and the predictions to look at
    2. judge: compare them, measure accuracy by people's labels, settle the verdict with those before it
    3. report: make the HTML report, column by column
    4. end: draw the cards and say the verdict, why, where to look and what to run next

    The verdict is the artifact `verdict`, plain data. Where the settings say so it asks for a retraining, by an event;
    it starts nothing itself.
    """

    experiment = Config(
        "experiment",
        default=str(ROOT / "configs" / "demo.yaml"),
        parser=read_experiment,
        help="the experiment's YAML file: whose catalogue's model and predictions are looked at",
    )
    monitoring = Config(
        "monitoring",
        default=str(ROOT / "configs" / "monitoring.yaml"),
        parser=read_monitoring_settings,
        help="the YAML file of limits",
    )
    window = Parameter(
        "window",
        default="",
        type=str,
        help="how far back to look at what ScoreFlow and the app predicted: 7d, 12h, 30m; the experiment's "
        "retraining.window if not given",
    )
    scored = Parameter("run", default="", type=str, help="one run of ScoreFlow instead, such as 12")
    file = Parameter("file", default="", type=str, help="a Parquet file of predictions instead, or a folder of them")
    model = Parameter(
        "model",
        default="",
        type=str,
        help="whose reference to compare with: the champion's, or the latest training's, if not given; or a run",
    )
    feedback = Parameter(
        "feedback", default="", type=str, help="what people said: a CSV or Parquet file with product_id and label"
    )

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def start(self):
        """Choose the reference and what is compared with it."""
        from datetime import UTC, datetime

        from rayon.champions import keep_order
        from rayon.monitor_run import monitor_tag
        from rayon.preparing import load_config, stopping
        from rayon.production import app_source, choose_sources, span_of
        from rayon.registry import find_reference

        config, now = load_config(self.experiment, ROOT), datetime.now(UTC)
        self.span, window = [], self.window or config.retraining.window
        with stopping():
            keep_order(current.flow_name, current.run_id, monitor_tag(config.name))
            self.reference = find_reference(self.model, config.name)
            self.sources = choose_sources(config.name, window, self.scored, self.file, now)
            if not self.scored and not self.file:
                self.sources += app_source(config, window, now)
                self.span = span_of(window, now)
        print(f"looking at {', '.join(self.sources) or f'nothing: nobody asked in the last {window}'}")
        self.next(self.judge)

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.score.minutes)
    @resources(cpu=experiment.resources.score.cpu, memory=experiment.resources.score.memory)
    @step
    def judge(self):
        """Compare the window with the reference and settle the verdict."""
        from rayon.tracking import import_wandb

        import_wandb(self.experiment.tracking.mode)
        from rayon.monitor_run import (
            judge_window,
            log_windows,
            make_point,
            monitor_tag,
            past_points,
            shown,
            windows_before,
        )
        from rayon.monitoring_config import parse_monitoring
        from rayon.preparing import load_config, stopping, track
        from rayon.production import read_labels, read_window
        from rayon.reference import read_reference
        from rayon.tracking.keys import TIME

        config, settings = load_config(self.experiment, ROOT), parse_monitoring(self.monitoring.to_dict())
        with stopping():
            reference = read_reference(self.reference)
            labels = read_labels(self.feedback) if self.feedback else None
            production = read_window(self.sources, reference.model, labels, config, settings.sample_rows)
            self.past = past_points(config.name, production.key)
            earlier = self.past
            if self.span:
                earlier = windows_before(config.name, reference.model, self.span, settings.settling.windows - 1)
            compared = judge_window(reference, production, settings, earlier)
        self.compared_with = reference.model
        self.verdict = compared.judged.as_dict()
        self.shown = shown(compared, production, reference.categories)
        run_path = f"{current.flow_name}/{current.run_id}"
        self.point = make_point(run_path, reference, production, compared.judged, self.span)
        current.run.add_tag(monitor_tag(config.name))
        with track(config, current, "monitor", [self.verdict["verdict"]], axis=TIME, model=reference.model) as run:
            log_windows(run, self.past, self.point)
            self.wandb = run.where()
        self.next(self.report)

    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.score.minutes)
    @resources(cpu=experiment.resources.score.cpu, memory=experiment.resources.score.memory)
    @step
    def report(self):
        """Make the HTML report of a sample; where it cannot be made, say why and go on."""
        from rayon.config import durable
        from rayon.data.outputs import Outputs
        from rayon.drift_report import make_report
        from rayon.monitor_run import open_both
        from rayon.monitoring_config import parse_monitoring
        from rayon.preparing import load_config, stopping
        from rayon.production import read_window
        from rayon.reference import read_reference

        config, settings = load_config(self.experiment, ROOT), parse_monitoring(self.monitoring.to_dict())
        with stopping():
            reference = read_reference(self.reference)
            production = read_window(self.sources, reference.model, None, config, settings.sample_rows)
            then, now = open_both(reference, production)
        self.page, self.report_problem = make_report(
            then.frame, now.frame, settings.report_rows, settings.report_megabytes, f"{current.run_id}"
        )
        with stopping():
            folder = Outputs(durable(config, "monitoring"))
            self.report_file = folder.write(f"{config.name}-{current.run_id}.html", self.page.encode())
        if self.report_problem:
            print(self.report_problem)
        self.next(self.end)

    @card(type="blank", id="monitor")
    @card(type="html", id="report", options={"attribute": "page"})
    @retry(times=experiment.deploy.retries, minutes_between_retries=experiment.deploy.retry_minutes)
    @timeout(minutes=experiment.resources.other.minutes)
    @resources(cpu=experiment.resources.other.cpu, memory=experiment.resources.other.memory)
    @step
    def end(self):
        """Draw the cards, the second one being the report; say the verdict, why, where to look and what to run next."""
        from rayon.cards import Report, monitor_card
        from rayon.events import request_retraining
        from rayon.monitor_run import closing_lines, monitor_tag, view_command
        from rayon.preparing import load_config

        config = load_config(self.experiment, ROOT)
        # again: a resumed run takes over the steps that had finished without running them, and is looked up by its tag
        current.run.add_tag(monitor_tag(config.name))
        self.request, self.silence = "", ""
        if self.verdict["verdict"] in config.retraining.verdicts:
            self.request = f"the monitor says {self.verdict['verdict']}: {'; '.join(self.verdict['reasons'][:3])}"
            self.silence = request_retraining(
                config, self.request, {"run": current.pathspec, **self.point["ratios"]}, current
            )
        facts = {
            "looked at": ", ".join(self.sources) or "nothing",
            "compared with": f"the gold set of {self.compared_with}",
            "by other models": ", ".join(f"{n:,} by {model}" for model, n in self.shown["others"].items()) or "none",
            "Weights & Biases": self.wandb,
        }
        report = Report(self.report_file, view_command(current.run_id, "report"), self.report_problem)
        current.card["monitor"].extend(monitor_card(self.verdict, [*self.past, self.point], self.shown, report, facts))
        where = self.report_problem or f"{self.report_file}, or --id report"
        for line in closing_lines(self.verdict, self.sources, current.run_id, where):
            print(line)


if __name__ == "__main__":
    MonitorFlow()
