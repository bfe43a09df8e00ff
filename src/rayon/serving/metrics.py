"""What Prometheus may read of the server: requests, latencies, batches, decisions, feedback, the model."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rayon.schema import Prediction, Refusal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The server's own registry: several servers in one process, as in tests, do not share numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self.requests = Counter("rayon_requests", "requests by route and status", ["route", "status"], registry=here)
        self.latency = Histogram("rayon_request_seconds", "time to answer", ["route"], buckets=_LATENCY, registry=here)
        self.batch_size = Histogram("rayon_batch_products", "products judged at once", buckets=_SIZES, registry=here)
        self.waiting = Gauge("rayon_waiting_products", "products that wait for a batch", registry=here)
        self.products = Counter(
            "rayon_products", "products by decision: accept, review or refused", ["decision"], registry=here
        )
        self.categories = Counter("rayon_predicted", "predictions by category", ["category"], registry=here)
        self.confidence = Histogram(
            "rayon_confidence", "confidence of predictions", buckets=[n / 10 for n in range(1, 11)], registry=here
        )
        self.feedback = Counter("rayon_feedback", "pieces of feedback kept", registry=here)
        self.not_kept = Counter("rayon_predictions_not_kept", "predictions that the store did not take", registry=here)
        self.model = Gauge("rayon_model", "1 for the model that serves", ["version"], registry=here)
        self.model_failures = Gauge("rayon_model_load_failures", "models that could not be loaded", registry=here)

    def count(self, said: Iterable[Prediction | Refusal]) -> None:
        """Count what was said of products."""
        for one in said:
            if isinstance(one, Prediction):
                self.products.labels(one.decision).inc()
                self.categories.labels(one.category).inc()
                self.confidence.observe(one.confidence)
            else:
                self.products.labels("refused").inc()

    def text(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self.registry)

    def serving(self, version: str) -> None:
        """Note which model serves."""
        self.model.clear()
        if version:
            self.model.labels(version).set(1)
