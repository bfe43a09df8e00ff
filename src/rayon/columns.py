"""How the columns of an input differ from those that a model was trained from, in words.

Knows names alone: `rayon.data.catalog` finds them, scoring keeps them, monitoring tells them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NAMED = 5

Columns = Mapping[str, Sequence[str]]
"""`new`: columns that neither the training nor the settings know. `gone`: those that the settings name and products
can be scored without. Either may be missing."""


def say_columns(columns: Columns) -> str:
    """Return how an input's columns differ from those that the model was trained from; '' for not at all.

    Example:
        >>> say_columns({"gone": ["description"], "new": ["colour"]})
        "the input's columns have changed: it lacks 'description' and has 'colour', unknown to the model's training"
    """
    gone, new = (columns.get(which, ()) for which in ("gone", "new"))
    parts = [f"lacks {_names(gone)}"] if gone else []
    parts += [f"has {_names(new)}, unknown to the model's training"] if new else []
    return f"the input's columns have changed: it {' and '.join(parts)}" if parts else ""


def _names(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _NAMED:,} more" if len(columns) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in columns[:_NAMED]) + more
