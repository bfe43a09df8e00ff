"""Serving: a model that is swapped while it answers, requests gathered into batches, a JSON API. No user interface."""
