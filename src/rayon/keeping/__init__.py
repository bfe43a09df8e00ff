"""Retention: what earlier runs left and nothing needs any more, and how it is deleted without harm to the rest."""
