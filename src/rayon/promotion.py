"""The end of the road to production: judge a candidate against the champion, promote it or hold it.

Brings together the registry, the gate and re-scoring; the flow and the command line call it. A model that is held
leaves the champion as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rayon.bundle import read_bundle
from rayon.bundle_document import BundleError, describe_bundle
from rayon.cards import gate_card
from rayon.champions import Event, RegistryError, champion, history, promote, rollback
from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.evaluation import macro_f1
from rayon.experiment import Policy, check_policy
from rayon.gate import HOLD, GateRecord, Said, Verdict, judge
from rayon.gold import predict_gold_baseline
from rayon.inference import Predictor, PredictorError
from rayon.models.encoders import EncoderError
from rayon.models.shared import feature_store
from rayon.preparing import RayonError, follow, open_latest, track
from rayon.registry import Model, find_model
from rayon.rescoring import gold_labels, gold_learnt, reproduced, rescore
from rayon.tracking import Identity, TrackedRun
from rayon.tracking.keys import CHAMPION, gate_key

FORCED = "forced"


class ByHand(NamedTuple):
    """A promotion that was asked for: the gate's verdict, the champion until then ('' for none), the event (None where
    the model is held) and where W&B was told.
    """

    verdict: Verdict
    before: str
    event: Event | None
    wandb: str


def judge_candidate(
    candidate: Model, dataset: Dataset, config: Config, yardstick: float | None = None, said: Said | None = None
) -> tuple[Verdict, str]:
    """Return the gate's verdict on a model, and the champion that it was judged against, '' where there is none.

    The champion itself is judged against the one that it replaced, as it was then: a task that is tried again says what
    it said. Both are run anew on the gold set of `dataset`. A champion that cannot be run here is a line of the gate
    that fails, and so is a model whose gold set was another one: whoever knows better promotes by force.

    Args:
        yardstick: the tf-idf baseline's macro-F1 on that gold set, which counts where there is no champion; None has it
            fitted then.
        said: what the candidate said of that gold set, where it was run on it already.
    """
    served = champion(config.name)
    other = served.to if served is not None else ""
    if served is not None and other == candidate.version:
        other = served.before if served.kind == "promote" else ""
    rival: Said | float | None = yardstick
    problems = _unfair(candidate, dataset, "the candidate")
    if other:
        try:
            model = find_model(other, config.name)
            rival = rescore(open_model(model, config), dataset)
            problems += _unfair(model, dataset, "the champion")
        except (RegistryError, BundleError, EncoderError, PredictorError) as error:
            told = f"the champion {other} cannot be run beside it: {error}"
            problems.append(GateRecord("champion", 0.0, 0.0, False, told))
    labels = gold_labels(dataset)
    if rival is None:
        baseline = predict_gold_baseline(dataset).log_probabilities.argmax(axis=1)
        rival = macro_f1(labels, baseline, len(dataset.categories))
    verdict = judge(
        labels,
        dataset.categories,
        said or rescore(open_model(candidate, config), dataset),
        rival,
        config.gate,
        reproduced(candidate.bundle, dataset, Path(config.cache)),
        config.evaluation.bootstrap,
    )
    if problems:
        records = (*verdict.records, *problems)
        verdict = Verdict(HOLD, records, "; ".join(line.sentence for line in records if not line.passed))
    return verdict, other


def _unfair(model: Model, dataset: Dataset, who: str) -> list[GateRecord]:
    """Return the line of the gate that fails where a model may have learnt from what it is judged on."""
    learnt, total = gold_learnt(model.bundle, dataset), len(gold_labels(dataset))
    sentence = (
        f"{who} {model.version} was trained under another split (split.test, split.seed): {learnt:,} of {total:,} gold "
        "products were not in its gold set, and it may have learnt from them"
    )
    return [GateRecord(f"{who[4:]}'s gold set", 0.0, float(learnt), False, sentence)] if learnt else []


def conclude_training(
    bundle: bytes,
    said: Said,
    dataset: Dataset,
    config: Config,
    yardstick: float | None,
    policy: str,
    reason: str,
    current: Any,
) -> tuple[dict[str, Any], bool]:
    """Judge the model of the running training by what it said of the gold set, promote it as `policy` says, draw the
    card `gate`, log to W&B.

    Returns the verdict as plain data, with the champion before, and whether the model is champion now.
    """
    run = f"{current.flow_name}/{current.run_id}"
    verdict, before = judge_candidate(Model(run, bundle), dataset, config, yardstick, said)
    event = decide(verdict, check_policy(policy), config.name, run, reason)
    facts = {
        "model": run,
        "champion before": before or "none",
        "gold set": f"{len(gold_labels(dataset)):,} products of {dataset.fingerprint[:12]}",
        "policy": policy,
        "reason": event.reason if event else verdict.reason,
    }
    current.card["gate"].extend(gate_card(verdict, event is not None, before, facts))
    tags = [verdict.verdict, *([CHAMPION] if event is not None else [])]
    with track(config, current, "gate", tags, dataset=dataset.fingerprint[:12]) as tracked:
        tracked.summary({gate_key(record.name): record.actual for record in verdict.records})
        tracked.summary({"gate/verdict": verdict.verdict, "gate/promoted": int(event is not None)})
        if event is not None:
            _tell(tracked, event, config, verdict)
            about = {"run": run, "dataset": dataset.fingerprint, "before": before}
            tracked.artifact(f"{config.name}-bundle", "model", bundle, "bundle.safetensors", about, ["champion"])
    return {**verdict.as_dict(), "before": before}, event is not None


def promote_by_hand(run: str, config: Config, force: bool, reason: str, who: str = "") -> ByHand:
    """Judge a model, 'TrainFlow/12', against the champion on today's gold set; promote it if it passes, or by force.

    Raises:
        RegistryError: there is no such model, or no dataset version to judge it on.
        RayonError: it cannot be run here.
    """
    model = find_model(run, config.name)
    try:
        verdict, before = judge_candidate(model, open_latest(config), config)
    except (BundleError, EncoderError, PredictorError) as error:
        raise RayonError(f"the model {model.version} cannot be run here: {error}") from None
    event = decide(verdict, "force" if force else "auto", config.name, model.version, reason, who)
    return ByHand(verdict, before, event, announce(event, model.bundle, config, verdict) if event else "")


def roll_back(config: Config, reason: str, who: str = "", taken: str = "") -> tuple[Event, str]:
    """Return to the champion before this one, or before `taken`; returns the event, and where W&B was told.

    Raises:
        RegistryError: there is none before it.
    """
    event = rollback(config.name, reason, who, taken)
    return event, announce(event, find_model(event.to, config.name).bundle, config)


def announce(event: Event, bundle: bytes, config: Config, verdict: Verdict | None = None) -> str:
    """Tell W&B of a promotion or rollback made by hand: the bundle served from now on bears the alias `champion`.

    Returns where W&B keeps it.
    """
    identity = Identity("Registry", config.name, event.kind, f"{event.number}-{event.id}", 0)
    with follow(config, identity, event.kind, [CHAMPION]) as tracked:
        _tell(tracked, event, config, verdict)
        about = {**describe_bundle(bundle)["about"], "before": event.before, "reason": event.reason}
        tracked.artifact(f"{config.name}-bundle", "model", bundle, "bundle.safetensors", about, ["champion"])
        return tracked.where()


def _tell(tracked: TrackedRun, event: Event, config: Config, verdict: Verdict | None) -> None:
    """Log an event of the history, and the history with it."""
    tracked.summary(
        {f"champion/{name}": value for name, value in event._asdict().items() if name not in ("id", "time")}
    )
    if verdict is not None:
        measured = {record.name: record.actual for record in verdict.records}
        tracked.summary({"champion/macro_f1": measured["floor"]})
    columns = [name for name in Event._fields if name != "id"]
    tracked.table("champions", columns, [[getattr(one, name) for name in columns] for one in history(config.name)])


def decide(verdict: Verdict, policy: Policy, name: str, run: str, reason: str, who: str = "") -> Event | None:
    """Promote a run as the gate and the policy say; None where it is held.

    'auto' follows the gate, 'never' promotes nothing, 'force' promotes whatever the gate says.
    """
    held = verdict.verdict == HOLD
    if policy == "never" or (policy == "auto" and held):
        return None
    return promote(name, run, reason or verdict.reason, FORCED if held else verdict.verdict, who)


def open_model(model: Model, config: Config) -> Predictor:
    """Return a predictor whose decisions nobody asks for."""
    return Predictor(read_bundle(model.bundle), model.version, None, feature_store(config))
