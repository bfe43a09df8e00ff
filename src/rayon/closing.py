"""The lines that end a flow: what was made, how good it is, where to look, what to run next.

Knows the plain artifacts of a run and nothing heavier, so that a step that only prints costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rayon.commands import flow_command


def closing_lines(
    report: Mapping[str, Any],
    comparison: Sequence[Mapping[str, Any]],
    selected: str,
    dataset_run: str,
    wandb: str,
    verdict: Mapping[str, Any],
    promoted: bool,
    current: Any,
) -> list[str]:
    """Return the six lines that end a run: what, how good, against what, where to look, what next."""
    macro = report["metrics"]["macro_f1"]
    others = [f"{row['name']} {row['macro_f1']['value']:.3f}" for row in comparison if row["name"] != selected]
    coverage = ", ".join(
        f"{share:.0%} at {float(target):.0%} precision" for target, share in report["coverage"].items()
    )
    return [
        f"trained   {selected}, {len(report['categories'])} categories, on {dataset_run}",
        f"gold set  macro-F1 {macro['value']:.3f} [{macro['low']:.3f}, {macro['high']:.3f}], ECE {report['ece']:.3f}, "
        f"fileable without a human: {coverage}",
        f"against   {', '.join(others) or 'nothing else'}",
        f"gate      {_gate(verdict, promoted)}",
        f"look at   python flows/train_flow.py card view {current.run_id}/evaluate --id model | "
        f"... {current.run_id}/gate --id gate | W&B: {wandb}",
        f"next      {flow_command('score', 'run --input new.csv')} | python -m rayon models",
    ]


def _gate(verdict: Mapping[str, Any], promoted: bool) -> str:
    if promoted:
        forced = " by force" if verdict["verdict"] == "hold" else ""
        return f"promoted{forced}, champion now (before: {verdict['before'] or 'none'})"
    if verdict["verdict"] == "hold":
        return f"held, {verdict['before'] or 'no model'} stays champion: {verdict['reason']}"
    return "passed, not promoted: `python -m rayon promote RUN` does"
