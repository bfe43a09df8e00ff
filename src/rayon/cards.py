"""The cards that flows show: of a dataset version, a model, its gate, scores, monitoring; `cards_training` has that of
a training.

Each function returns a list of Metaflow card components, to be added with `current.card.extend`. They know neither
steps nor files.
"""

from rayon.cards_dataset import dataset_card
from rayon.cards_feedback import feedback_card
from rayon.cards_gate import gate_card
from rayon.cards_model import CandidateRow, MistakeRow, SuspectRow, model_card
from rayon.cards_monitor import Report, monitor_card
from rayon.cards_scores import scores_card

__all__ = [
    "CandidateRow",
    "MistakeRow",
    "Report",
    "SuspectRow",
    "dataset_card",
    "feedback_card",
    "gate_card",
    "model_card",
    "monitor_card",
    "scores_card",
]
