"""Figures of a server, in the form that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from mimo_embodied_ros.engine import Engine, GenerationStats

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counts the requests of one server; for use by one thread.

    Attributes:
        running: requests that are answered or wait.

    """

    def __init__(self, engine: Engine) -> None:
        """Begin at zero; ``engine`` is asked for its memory whenever the figures are read."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            'mimo_requests', 'Requests that have ended, by their finish reason or HTTP status.',
            ['end'], registry=self._registry)
        self.running = Gauge(
            'mimo_requests_running', 'Requests that are answered or wait.',
            registry=self._registry)
        self._prompt, self._reused, self._completion = (
            Counter(f'mimo_{name}_tokens', text, registry=self._registry) for name, text in (
                ('prompt', 'Tokens of prompts.'),
                ('reused', 'Tokens of prompts whose keys and values were kept.'),
                ('completion', 'Tokens written.')))
        self._first, self._total = (
            Histogram(f'mimo_{name}_seconds', text, buckets=_SECONDS, registry=self._registry)
            for name, text in (('first_token', 'Seconds to the first token.'),
                               ('request', 'Seconds to the end of an answer.')))
        memory = Gauge('mimo_cache_bytes', 'Memory of kept images and prefixes.',
                       registry=self._registry)
        memory.set_function(lambda: engine.memory().cache)

    def answered(self, reason: str, stats: GenerationStats) -> None:
        """Note an answer."""
        self._requests.labels(reason).inc()
        self._prompt.inc(stats.prompt_tokens)
        self._reused.inc(stats.reused_tokens)
        self._completion.inc(stats.completion_tokens)
        self._first.observe(stats.first_token_s)
        self._total.observe(stats.total_s)

    def failed(self, status: int) -> None:
        """Note a request that ended with an error."""
        self._requests.labels(str(status)).inc()

    def page(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self._registry)
