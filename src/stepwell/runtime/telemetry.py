"""The set-up of logs, the types of metrics, and the lag of the event loop. `app.metrics` and the API define metrics."""

import asyncio
import logging
import re
import sys
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import structlog
from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from structlog.typing import EventDict, Processor, WrappedLogger

log = structlog.get_logger()

REDACTED = "[redacted]"
_SECRET_KEY = re.compile(r"(?:^|[_-])(?:authorization|ticket|token|secret|password|api[_-]?key)$", re.IGNORECASE)
# At level INFO these loggers log each requested URL with its query, which may contain a secret.
_CHATTY = ("httpx", "httpcore")


Labels = tuple[str, ...]


class Distribution:
    """A histogram: the number of values in each bucket, and their sum. One event loop uses it, so it needs no lock.

    `counts` are the numbers of values by bucket, `total` is the sum of the values.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """*bounds* are the upper ends of the buckets, ascending. A last bucket without an end is added."""
        # Floats are compared faster with each other than with integers.
        self._bounds, self.counts = tuple(map(float, bounds)), [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def merge(self, other: "Distribution") -> None:
        """Add the values of *other*, which must have the same bounds."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def observed(self) -> int:
        """The number of values."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper end of each bucket, and the number of values that don't exceed it."""
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(ends, accumulate(map(float, self.counts)), strict=True))


class Metrics:
    """The metrics of one app. Each app has its own registry, so that two apps in a process don't add up their numbers.

    Values are read in the event loop at each scrape, so reading must be cheap. If it raises, the metric is left out.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "stepwell_http_requests",
            "Requests, by route, method and status of the response.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "stepwell_http_request_duration_seconds",
            "Seconds until the response began.",
            ["route", "method"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        )
        self.before_scrape: list[Callable[[], Awaitable[None]]] = []
        self._rendering = CapacityLimiter(1)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read at each scrape."""
        self.gauges(name, text, (), lambda: {(): read()})

    def count(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a counter whose value is read at each scrape. Prometheus sees it as `<name>_total`."""
        self.counters(name, text, (), lambda: {(): read()})

    def gauges(self, name: str, text: str, labels: Labels, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Add a gauge with *labels*; *read* returns its values by the values of the labels."""
        self.registry.register(_Family(lambda: GaugeMetricFamily(name, text, labels=labels), read))

    def counters(self, name: str, text: str, labels: Labels, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Add a counter with *labels*, as `gauges` does; Prometheus sees it as `<name>_total`."""
        self.registry.register(_Family(lambda: CounterMetricFamily(name, text, labels=labels), read))

    def histograms(
        self, name: str, text: str, labels: Labels, read: Callable[[], Mapping[Labels, Distribution]]
    ) -> None:
        """Add a histogram with *labels*, as `gauges` does."""

        def values() -> dict[Labels, tuple[Any, ...]]:
            return {key: (each.buckets(), each.total) for key, each in read().items()}

        self.registry.register(_Family(lambda: HistogramMetricFamily(name, text, labels=labels), values))

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """Return the present value of a sample; its *name* includes `_total`. Raises KeyError for an unknown one.

        This reads the values of that metric only.
        """
        wanted_labels = dict(labels or {})
        for family in self.registry.restricted_registry([name]).collect():
            for sample in family.samples:
                if sample.labels == wanted_labels:
                    return sample.value
        raise KeyError(name)

    async def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format, version 0.0.4. A thread encodes what the loop has read."""
        for prepare in self.before_scrape:
            await prepare()
        families = list(self.registry.collect())
        for family in families:
            # Such samples belong to OpenMetrics; the text format would show them as gauges.
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        return await to_thread.run_sync(generate_latest, _Families(families), limiter=self._rendering)


class _Family(Collector):
    """A collector of one metric, whose values are read at each scrape."""

    def __init__(self, make: Callable[[], Any], read: Callable[[], Mapping[Labels, Any]]) -> None:
        self._make, self._read = make, read

    def describe(self) -> Iterator[Metric]:
        """Yield the metric without values, from which the registry learns its name."""
        yield self._make()

    def collect(self) -> Iterator[Metric]:
        family = self._make()
        try:
            for labels, value in self._read().items():
                family.add_metric(labels, *value if isinstance(value, tuple) else (value,))
        except Exception:  # one metric that can't be read must not hide the others
            log.exception("metric.unreadable", action="metrics", metric=family.name)
            return
        yield family


class _Families(Collector):
    """A collector of metrics that have been read already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the values of keys that name a secret, at any depth. A structlog processor."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in value]
    return value


def configure_logging(format: Literal["console", "json"], level: str) -> None:  # noqa: A002
    """Write all logs of the process, ours and the libraries', to stderr in one format."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    if format == "json":
        # Tracebacks as text, because structlog's structured ones contain local variables, and so secrets.
        last: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


_EVERY_S = 1.0
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class LoopLag:
    """A monitor that measures once a second how late a timer of the event loop fires. `seconds` has the values."""

    def __init__(self) -> None:
        self.seconds = Distribution(_BUCKETS_S)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_S
            fired = asyncio.Event()
            timer = loop.call_at(due, _fire_loop_lag, fired)
            try:
                await fired.wait()
            finally:
                timer.cancel()
            self.seconds.observe(max(loop.time() - due, 0.0))


def _fire_loop_lag(fired: asyncio.Event) -> None:
    """Fire the timer. A list of the loop's timers shows this name."""
    fired.set()
