"""The rules of `promtool check metrics`, and what its parser refuses, for the text of `/metrics`.

After https://github.com/prometheus/client_golang/tree/main/prometheus/testutil/promlint/validations
"""

import re
from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

_NAME = re.compile(r"stepwell(_[a-z0-9]+)+")
_LABEL = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}
_ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
_SCALED = {"milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks", "kilobytes", "megabytes"}
_SCALED |= {"gigabytes", "bits", "percent", "percents"}
_RESERVED = ("_count", "_sum", "_bucket", "_created", "_info")


def families_of(text: str) -> dict[str, Metric]:
    """Return the metric families by their names in the text, `_total` included."""
    families = {}
    for family in text_string_to_metric_families(text):
        families[family.name + "_total" * (family.type == "counter")] = family
    return families


def faults(text: str) -> list[str]:
    """Return the violations in *text*."""
    return [*_faults_of_text(text), *(fault for family in families_of(text).values() for fault in _faults_of(family))]


def _faults_of_text(text: str) -> Iterator[str]:
    if not text.endswith("\n"):
        yield "the last line doesn't end"
    lines = text.splitlines()
    heads = Counter(tuple(line.split(" ", 3)[1:3]) for line in lines if line.startswith("#"))
    yield from (f"{' '.join(head)} stands {count} times" for head, count in heads.items() if count > 1)
    series = Counter(line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#"))
    yield from (f"{name} stands {count} times" for name, count in series.items() if count > 1)
    counters = {line.split()[2] for line in lines if line.startswith("# TYPE") and line.endswith(" counter")}
    yield from (f"{name} is a counter without _total" for name in counters if not name.endswith("_total"))


def _faults_of(family: Metric) -> Iterator[str]:
    name, words = family.name, set(family.name.split("_"))
    if _NAME.fullmatch(name) is None:
        yield f"{name}: its name is not in snake case, or does not begin with stepwell_"
    if not family.documentation or family.documentation != family.documentation.strip():
        yield f"{name}: it has no text"
    if family.type not in ("counter", "gauge", "histogram"):
        yield f"{name}: its type is {family.type}"
    if name.endswith("_total") or (family.type != "histogram" and name.endswith(_RESERVED)):
        yield f"{name}: its suffix is reserved"
    if found := words & (_KINDS | _ABBREVIATIONS | _SCALED):
        yield f"{name}: {found}"
    if words & {"seconds", "bytes", "ratio"} and not name.endswith(("_seconds", "_bytes", "_ratio")):
        yield f"{name}: its unit is not at its end"
    yield from _faults_of_samples(family)
    if family.type == "histogram":
        yield from _faults_of_buckets(family)


def _faults_of_samples(family: Metric) -> Iterator[str]:
    for sample in family.samples:
        labels = set(sample.labels) - ({"le"} if sample.name.endswith("_bucket") else set())
        if bad := {label for label in labels if _LABEL.fullmatch(label) is None or label in ("le", "quantile")}:
            yield f"{sample.name}: labels {bad}"
        if family.type != "gauge" and not sample.value >= 0:
            yield f"{sample.name}: {sample.value}"


def _faults_of_buckets(family: Metric) -> Iterator[str]:
    series: dict[tuple[tuple[str, str], ...], dict[str, list[float]]] = {}
    for sample in family.samples:
        key = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        series.setdefault(key, {}).setdefault(sample.name.removeprefix(family.name), []).append(sample.value)
    for labels, parts in series.items():
        if set(parts) != {"_bucket", "_sum", "_count"}:
            yield f"{family.name}{labels}: it has {sorted(parts)}"
        elif parts["_bucket"] != sorted(parts["_bucket"]) or parts["_bucket"][-1] != parts["_count"][0]:
            yield f"{family.name}{labels}: its buckets are {parts['_bucket']}"
