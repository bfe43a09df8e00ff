"""The card of the gate: promoted or held, and every line of it.

Knows a verdict and lists Metaflow card components, the conclusion first.
"""

from __future__ import annotations

from collections.abc import Mapping

from metaflow.cards import MetaflowCardComponent

from rayon.cards_layout import checks, section, style, table, verdict
from rayon.gate import HOLD, Verdict


def gate_card(judged: Verdict, promoted: bool, champion: str, facts: Mapping[str, str]) -> list[MetaflowCardComponent]:
    """Return the card of a verdict.

    Args:
        promoted: whether the model is champion now.
        champion: the run that was champion before, '' where there was none.
        facts: where it all comes from.
    """
    before = f"before it: {champion}" if champion else "the first of its catalogue"
    if promoted and judged.verdict == HOLD:
        sentence, tone = f"Promoted by force, {before}; the gate would have held it.", "caution"
    elif promoted:
        sentence, tone = f"Promoted: this model is champion now, {before}.", "good"
    elif judged.verdict == HOLD:
        sentence, tone = f"Held: {champion or 'no model'} stays champion.", "bad"
    else:
        sentence, tone = "The gate would promote it; promotion was not asked for.", "plain"
    lines = [record.sentence for record in judged.records if not record.passed]
    return [
        style(),
        verdict(sentence, lines or ["Every line of the gate holds."], tone),  # type: ignore[arg-type]
        *section(
            "The gate", "Candidate and champion were run on the same gold set, today.",
            checks([(line.name, line.passed, line.sentence) for line in judged.records]),
        ),
        *section("Details", "", table(["fact", "value"], list(facts.items()))),
    ]  # fmt: skip
