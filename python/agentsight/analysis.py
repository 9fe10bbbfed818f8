# SPDX-License-Identifier: MIT
"""Samples as data: loading, saving, converting, and simple statistics that weight each sample by its time."""

from __future__ import annotations

import csv
import json
import os
import statistics
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

Json = Dict[str, Any]
PathLike = Union[str, "os.PathLike[str]"]

FORMATS = ("jsonl", "json", "csv")


def flatten(event: Json, prefix: str = "") -> Dict[str, Any]:
    """{"cpu": {"percent": 1}} -> {"cpu.percent": 1}; the members of ``data`` stand at the top."""
    flat: Dict[str, Any] = {}
    for key, value in event.items():
        if isinstance(value, dict):
            flat.update(flatten(value, "" if not prefix and key == "data" else f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def value_of(sample: Json, field: str) -> Optional[float]:
    """A number of a sample by its path, "cpu.percent"; None where it is not there."""
    value: Any = sample.get("data", sample)
    for name in field.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def weight_of(sample: Json) -> float:
    """Seconds that a sample stands for."""
    interval = value_of(sample, "interval_ns")
    return interval / 1e9 if interval else 0.0


def _is_sample(event: Json) -> bool:
    data = event.get("data", {})
    return event.get("source") == "system" and data.get("type") in ("tree", "system_metrics", "system_wide")


def load_metrics(path: PathLike, include_metadata: bool = False, kind: Optional[str] = "tree") -> List[Json]:
    """The samples of a recording: JSON lines, or a JSON list. ``kind`` None: of every type.

    With ``include_metadata`` all other events come as well.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    if text.lstrip().startswith("["):
        events: List[Json] = json.loads(text)
    else:
        # not splitlines(): a string may hold U+2028 and its like as they are
        events = [json.loads(line) for line in text.split("\n") if line.strip()]
    if include_metadata:
        return events
    return [e for e in events if _is_sample(e) and (kind is None or e["data"]["type"] == kind)]


def save_metrics(metrics: Sequence[Json], path: PathLike, format: str = "jsonl") -> None:
    """As lines of JSON, one JSON list, or CSV with a column for each member."""
    if format not in FORMATS:
        raise ValueError(f"format: {format!r} is none of {', '.join(FORMATS)}")
    with open(path, "w", encoding="utf-8", newline="") as file:
        if format == "jsonl":
            for sample in metrics:
                file.write(json.dumps(sample, separators=(",", ":")) + "\n")
        elif format == "json":
            json.dump(list(metrics), file, indent=1)
            file.write("\n")
        else:
            rows = [flatten(sample) for sample in metrics]
            names = list(dict.fromkeys(name for row in rows for name in row))
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)


def convert_format(source: PathLike, target: PathLike, format: str) -> None:
    save_metrics(load_metrics(source, kind=None), target, format)


def _numbers(samples: Sequence[Json], field: str) -> List[Tuple[float, float]]:
    """(value, weight) of those samples that have the field."""
    found = ((value_of(s, field), weight_of(s)) for s in samples)
    return [(value, weight) for value, weight in found if value is not None]


def weighted_mean(samples: Sequence[Json], field: str) -> float:
    """Each sample counts for the time that it stands for."""
    pairs = _numbers(samples, field)
    total = sum(weight for _, weight in pairs)
    if not pairs:
        return 0.0
    if total == 0:
        return statistics.fmean(value for value, _ in pairs)
    return sum(value * weight for value, weight in pairs) / total


def aggregate_metrics(metrics: Sequence[Json], window_size: int = 10, method: str = "mean") -> List[Json]:
    """One sample for each ``window_size``: numbers by ``method`` (mean, max, min), the rest as in the last one."""
    if window_size < 1:
        raise ValueError("window_size must be 1 or more")
    if method not in ("mean", "max", "min"):
        raise ValueError(f"method: {method!r} is none of mean, max, min")
    result = []
    for begin in range(0, len(metrics), window_size):
        window = metrics[begin : begin + window_size]
        row = flatten(window[-1])
        for name in row:
            values = [value for value, _ in _numbers(window, name)]
            if not values or isinstance(row[name], bool) or name in ("pid", "timestamp"):
                continue
            if method == "mean":
                row[name] = sum(values) if name == "interval_ns" else weighted_mean(window, name)
            else:
                row[name] = max(values) if method == "max" else min(values)
        result.append(row)
    return result


def find_peaks(
    metrics: Sequence[Json], field: str, threshold: Optional[float] = None, window_size: int = 5
) -> List[Json]:
    """Samples that are the highest among ``window_size`` neighbours, and above ``threshold`` (0.8 of the highest)."""
    values = [value_of(sample, field) or 0.0 for sample in metrics]
    if not values:
        return []
    limit = 0.8 * max(values) if threshold is None else threshold
    half = max(1, window_size // 2)
    peaks = []
    for i, value in enumerate(values):
        around = values[max(0, i - half) : i + half + 1]
        if value >= limit and value == max(around) and value not in values[max(0, i - half) : i]:
            peaks.append(metrics[i])
    return peaks


def resource_utilization(metrics: Sequence[Json]) -> Dict[str, float]:
    """CPU and memory in a few numbers; means are weighted by time."""
    result: Dict[str, float] = {"sample_count": float(len(metrics))}
    for name, field in (("cpu", "cpu.percent"), ("rss_kb", "memory.rss_kb"), ("threads", "threads")):
        values = [value for value, _ in _numbers(metrics, field)]
        if not values:
            continue
        result[f"avg_{name}"] = weighted_mean(metrics, field)
        result[f"max_{name}"] = max(values)
        result[f"min_{name}"] = min(values)
        result[f"median_{name}"] = statistics.median(values)
        result[f"stdev_{name}"] = statistics.stdev(values) if len(values) > 1 else 0.0
    for name, field in (
        ("total_cpu_seconds", "cpu.total_ns"),
        ("total_read_bytes", "io.read_bytes"),
        ("total_write_bytes", "io.write_bytes"),
        ("total_rx_bytes", "net.rx_bytes"),
        ("total_tx_bytes", "net.tx_bytes"),
    ):
        values = [value for value, _ in _numbers(metrics, field)]
        if values:
            result[name] = values[-1] / (1e9 if name == "total_cpu_seconds" else 1)
    return result


def process_tree_analysis(events: Iterable[Json]) -> Dict[int, Json]:
    """Per process of a recording: name, parent, samples, highest CPU and memory, CPU time, exit status."""
    processes: Dict[int, Json] = {}
    for event in events:
        data, pid = event.get("data", {}), event.get("pid")
        if not pid:
            continue
        row = processes.setdefault(pid, {"comm": event.get("comm"), "samples": 0, "max_cpu": 0.0, "max_rss_kb": 0})
        if data.get("type") == "system_metrics":
            row["comm"] = event.get("comm")
            row["samples"] += 1
            row["max_cpu"] = max(row["max_cpu"], float(data["cpu"]["percent"]))
            row["max_rss_kb"] = max(row["max_rss_kb"], data["memory"]["rss_kb"])
        elif data.get("type") in ("info", "exec"):
            row["argv"] = data.get("argv")
            row["ppid"] = data.get("ppid")
        elif data.get("type") == "exit":
            row["exit_code"] = data["exit_code"]
            row["signal"] = data["signal"]
            row["cpu_seconds"] = (data["cpu_user_ns"] + data["cpu_system_ns"]) / 1e9
            row["max_rss_kb"] = max(row["max_rss_kb"], data["max_rss_kb"])
    return processes
