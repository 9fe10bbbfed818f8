#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Measures what tracing costs and how fast the collector is: one table, and one JSON file.

method.py says how, rows_*.py have the workloads, the ways to trace them and the targets, peers.py the
other tools.
"""
import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile

import rows_collector
import rows_compare
import rows_life
import rows_sample
from method import Machine, Noise
from programs import Bench
from report import Report

ROWS = {**rows_compare.ROWS, **rows_collector.ROWS, **rows_sample.ROWS, **rows_life.ROWS}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--programs", default="out/tests/bench", help="where the workloads are")
    parser.add_argument("--output", default="out/bench.json")
    parser.add_argument("--rows", default=",".join(ROWS), help="of " + ",".join(ROWS))
    parser.add_argument("--idle", type=float, default=10, help="seconds of doing nothing")
    parser.add_argument("--quick", action="store_true",
                        help="one round of each comparison: shows that it works, not what it takes")
    parser.add_argument("--times", type=int, default=1,
                        help="so many times as many rounds of each comparison, on a noisy machine")
    parsed = parser.parse_args()
    parsed.programs = os.path.abspath(parsed.programs)
    parsed.rows = parsed.rows.split(",")
    if parsed.times < 1:
        parser.error("--times: 1 or more")
    unknown = [r for r in parsed.rows if r not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    return parsed


def run_row(bench, name):
    try:
        ROWS[name](bench)
    except (RuntimeError, OSError, subprocess.SubprocessError, LookupError, ValueError,
            ArithmeticError) as e:
        bench.report.fail(name, e)
    bench.end_all()


TRACEFS = b"/sys/kernel/tracing"
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def mount_tracefs():
    """The other tools want it mounted, which not every machine has: here for this process and its children."""
    if os.path.isdir(TRACEFS + b"/events"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if (libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
            or libc.mount(b"tracefs", TRACEFS, b"tracefs", 0, None)):
        print(f"bench: tracefs cannot be mounted: {os.strerror(ctypes.get_errno())}; "
              "tools that want it will fail", file=sys.stderr)


def main():
    options = parse_options()
    if os.geteuid() != 0:
        sys.exit("bench: run it as root")
    mount_tracefs()
    # ended from outside, it ends what it has started
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    machine, noise, report = Machine(), Noise(options.quick, options.times), Report()
    where = os.path.dirname(options.programs)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as work:
        bench = Bench(options, machine, noise, report, work)
        try:
            for number, name in enumerate(options.rows, 1):
                report.row_begins(number, len(options.rows), name)
                run_row(bench, name)
        finally:
            bench.end_all()
    sys.exit(report.finish(options.output, machine, noise))


if __name__ == "__main__":
    main()
