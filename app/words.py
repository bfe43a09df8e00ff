"""What the app says, in French and in English, and how its components change language."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr

Language = Literal["fr", "en"]
LANGUAGES: tuple[tuple[str, Language], ...] = (("Français", "fr"), ("English", "en"))

# key: (French, English)
_WORDS: dict[str, tuple[str, str]] = {
    "classify": ("Classer", "Classify"),
    "lots": ("Lots", "Batch"),
    "models": ("Modèles", "Models"),
    "monitoring": ("Surveillance", "Monitoring"),
    "title": ("Titre", "Title"),
    "title_hint": ("Piscine tubulaire ronde 3 m", "Round frame pool 3 m"),
    "description": ("Description", "Description"),
    "description_hint": ("facultative", "optional"),
    "photo": ("Photo", "Photo"),
    "address": ("ou son adresse (https://…)", "or its address (https://…)"),
    "go": ("Classer l'article", "Classify the article"),
    "clear": ("Effacer", "Clear"),
    "nothing_yet": (
        "Donnez un titre, une description ou une photo : le rayon s'affiche ici.",
        "Give a title, a description or a photo: its department appears here.",
    ),
    "accept": ("à classer sans relecture", "can be filed as it is"),
    "review": ("à relire", "to be reviewed"),
    "accept_about": (
        "La confiance atteint le seuil mesuré pour {precision} de précision.",
        "Products scored this high were right {precision} of the time.",
    ),
    "review_about": (
        "La confiance est sous le seuil de {precision} de précision : un regard humain est utile.",
        "Products scored this low were right less than {precision} of the time: a human should look.",
    ),
    "evidence": ("Ce qui a compté", "What counted"),
    "text": ("texte", "text"),
    "image": ("photo", "photo"),
    "similar": ("Articles d'apprentissage les plus proches", "Most similar training products"),
    "no_photo": ("sans photo", "no photo"),
    "signed": ("modèle", "model"),
    "photo_problem": ("La photo n'a pas pu être utilisée", "The photo could not be used"),
    "photo_gone": (
        "La photo n'est plus là : envoyez-la de nouveau.",
        "The photo is no longer there: please send it again.",
    ),
    "refused": ("Cet article ne peut pas être classé", "This article cannot be classified"),
    "right": ("C'est juste", "Right"),
    "wrong": ("Non, c'est…", "No, it is…"),
    "choose": ("Le bon rayon", "The right department"),
    "choose_about": ("Choisissez, ou écrivez-en un nouveau", "Choose one, or write a new one"),
    "send": ("Envoyer la correction", "Send the correction"),
    "thanks": ("Merci, c'est noté (n° {number}).", "Thank you, noted (no. {number})."),
    "not_kept": (
        "La prédiction n'a pas été enregistrée : la correction ne peut pas l'être.",
        "The prediction was not kept, so its correction cannot be either.",
    ),
    "no_category": ("Indiquez le bon rayon.", "Say which department is right."),
    "no_model": ("Il n'y a pas encore de modèle.", "There is no model yet."),
    "no_model_about": (
        "Entraînez-en un : `make train`, ou `python flows/train_flow.py run`. L'application le prendra d'elle-même.",
        "Train one: `make train`, or `python flows/train_flow.py run`. The app will pick it up by itself.",
    ),
    "busy": ("Trop de demandes à la fois : réessayez dans un instant.", "Too many requests: try again in a moment."),
    "lot_file": ("Fichier des articles (CSV ou Parquet)", "File of products (CSV or Parquet)"),
    "lot_photos": ("Photos (ZIP, facultatif)", "Photos (ZIP, optional)"),
    "lot_about": (
        "Colonnes : **{columns}**. La colonne des photos donne leur chemin dans le ZIP. "
        "Jusqu'à {rows} articles ; au-delà, `python flows/score_flow.py run --input FICHIER`.",
        "Columns: **{columns}**. The photo column gives its path in the ZIP. "
        "Up to {rows} products; for more, `python flows/score_flow.py run --input FILE`.",
    ),
    "lot_go": ("Classer le lot", "Classify the batch"),
    "lot_done": (
        "**{scored}** articles classés, dont **{accepted}** sans relecture ; **{rejected}** rejetés. "
        "{read} lignes lues.",
        "**{scored}** products classified, **{accepted}** of which need no review; **{rejected}** rejected. "
        "{read} rows read.",
    ),
    "lot_missing": ("Choisissez un fichier.", "Choose a file."),
    "lot_reading": ("lecture", "reading"),
    "lot_scoring": ("articles classés", "products classified"),
    "predictions": ("Prédictions (les premières)", "Predictions (the first ones)"),
    "rejects": ("Rejets, avec leur raison", "Rejects, with their reason"),
    "downloads": ("À télécharger", "To download"),
    "refresh": ("Actualiser", "Refresh"),
    "model_table": ("Les modèles du catalogue", "The models of the catalogue"),
    "model_choice": ("Modèle à regarder", "Model to look at"),
    "no_models": (
        "Aucun modèle encore : `python flows/train_flow.py run` en entraîne un.",
        "No model yet: `python flows/train_flow.py run` trains one.",
    ),
    "reliability": ("Confiance et réalité", "Confidence and reality"),
    "coverage": ("Ce qui se classe sans relecture", "What can be filed as it is"),
    "confusion": ("Confusions", "Confusions"),
    "card": ("La fiche du modèle (HTML)", "The model's card (HTML)"),
    "offline": ("hors ligne", "offline"),
    "admin_about": (
        "Un modèle n'est promu que s'il bat le champion sur le jeu de référence.",
        "Promoting the chosen model goes through the gate: it must beat the champion on the gold set.",
    ),
    "reason": ("Raison, pour l'historique", "Reason, for the history"),
    "force": ("Promouvoir même si l'épreuve échoue", "Promote even if the gate holds it back"),
    "promote": ("Promouvoir", "Promote"),
    "rollback": ("Revenir au champion précédent", "Roll back to the champion before"),
    "reason_missing": ("Donnez une raison : elle reste dans l'historique.", "Give a reason: the history keeps it."),
    "not_admin": ("Réservé aux administrateurs.", "For admins only."),
    "promoted": ("{run} est champion (avant : {before}).", "{run} is champion (before: {before})."),
    "held": ("Refusé, le champion reste : {reason}", "Held, the champion stays: {reason}"),
    "none": ("aucun", "none"),
    "no_verdict": (
        "Pas encore de verdict : `python flows/monitor_flow.py run` compare la production au jeu de référence.",
        "No verdict yet: `python flows/monitor_flow.py run` compares production with the reference.",
    ),
    "drift": ("Dérive, rapportée à son seuil", "Drift, relative to its limit"),
    "waiting": ("Retours en attente d'une décision", "Feedback awaiting a decision"),
    "waiting_tab": ("Retours", "Feedback"),
    "waiting_about": (
        "Ce que les gens ont dit devient des données par `python flows/feedback_flow.py run`. Ce qui semble douteux "
        "attend ici qu'un administrateur tranche.",
        "What people said becomes data by `python flows/feedback_flow.py run`. What looks doubtful waits here for an "
        "admin.",
    ),
    "waiting_none": ("Rien n'attend.", "Nothing is waiting."),
    "waiting_choice": ("Numéros à trancher", "Numbers to decide on"),
    "settle_accept": ("Accepter", "Accept"),
    "settle_refuse": ("Refuser", "Refuse"),
    "settled": (
        "Décisions notées : {count}. Le prochain passage de FeedbackFlow les applique.",
        "Decisions noted: {count}. The next run of FeedbackFlow applies them.",
    ),
    "traffic": ("Prédictions par jour", "Predictions by day"),
    "accuracy": ("Justes parmi les produits commentés", "Right among the products commented on"),
    "mix": ("Rayons prédits, depuis 7 jours et à l'entraînement", "Predicted departments, last 7 days and in training"),
    "no_traffic": ("Rien n'a encore été prédit ici.", "Nothing has been predicted here yet."),
    "counts": (
        "{predictions} prédictions gardées, {feedback} retours.",
        "{predictions} predictions kept, {feedback} pieces of feedback.",
    ),
    "now": ("en production", "in production"),
    "then": ("à l'entraînement", "in training"),
    "tagline": (
        "Chaque article dans son rayon, par son texte et sa photo.",
        "Every article in its department, by its text and its photo.",
    ),
}


def say(language: str, key: str, **values: object) -> str:
    """Return the words of `key`; a language that is not known is English."""
    words = _WORDS[key][0 if language == "fr" else 1]
    return words.format(**values) if values else words


def preferred(header: str) -> Language:
    """Return the language of a browser's Accept-Language header."""
    first = header.split(",")[0].strip().lower()
    return "fr" if first.startswith("fr") else "en"


def number(language: str, count: int) -> str:
    """Return a count as the language writes it."""
    return f"{count:,}".replace(",", "\u202f") if language == "fr" else f"{count:,}"


class Translations:
    """Components with the words that each of their properties shows."""

    def __init__(self) -> None:
        self._known: list[tuple[Any, dict[str, str]]] = []

    def add(self, component: Any, **keys: str) -> Any:
        """Register a component: `label="photo"` says that its label shows those words. Returns the component."""
        self._known.append((component, keys))
        return component

    @property
    def components(self) -> list[Any]:
        """All registered components."""
        return [component for component, _ in self._known]

    def updates(self, language: str) -> list[dict[str, Any]]:
        """Return what changes in each component where the language changes."""
        return [gr.update(**{name: say(language, key) for name, key in keys.items()}) for _, keys in self._known]
