# SPDX-License-Identifier: MIT
"""agentsight: what a process, and all that it starts, is really doing."""

from . import _native
from .analysis import (
    aggregate_metrics,
    convert_format,
    find_peaks,
    load_metrics,
    process_tree_analysis,
    resource_utilization,
    save_metrics,
)
from .monitor import (
    ProcessMonitor,
    execute_with_monitoring,
    generate_summary_from_file,
    generate_summary_from_metrics_json,
)


def version() -> str:
    """Of the library."""
    return str(_native.library().agentsight_version(), "ascii")


__all__ = [
    "ProcessMonitor",
    "aggregate_metrics",
    "convert_format",
    "execute_with_monitoring",
    "find_peaks",
    "generate_summary_from_file",
    "generate_summary_from_metrics_json",
    "load_metrics",
    "process_tree_analysis",
    "resource_utilization",
    "save_metrics",
    "version",
]
