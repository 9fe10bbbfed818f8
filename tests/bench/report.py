# SPDX-License-Identifier: MIT
"""The table and the JSON file."""
import json
import math
import os
import statistics
import sys
import time

COLOURS = {"PASS": "\033[32m", "MISS": "\033[31m", "WRONG": "\033[1;31m"}
WIDTHS = (27, 33, 27, 11, 10, 10, 10, 18)
SURE = 0.95


def interval(values):
    """Two values between which the median lies: with a probability of 95 %, or of as much as so few give."""
    ordered, n = sorted(values), len(values)
    outside, k = 2 * 0.5 ** n, 0  # that all values lie on one side of it
    while outside + 2 * math.comb(n, k + 1) * 0.5 ** n <= 1 - SURE:
        k += 1
        outside += 2 * math.comb(n, k) * 0.5 ** n
    return ordered[k], ordered[n - 1 - k]


class At_least(float):
    """A target from below."""


def short(value):
    return "" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def cells(texts):
    left = [f"{t:{w}}" for t, w in zip(texts[:3], WIDTHS[:3])]
    return " ".join(left + [f"{t:>{w}}" for t, w in zip(texts[3:], WIDTHS[3:])])


def doubts(row):
    """
    The target may lie on either side of the median; a disturbed round had to be kept; and what does no more than has
    to be done has missed it, too.
    """
    if not row["verdict"]:
        return ""
    return (("" if row["sure"] else "?") + (" (noisy)" if row["noisy"] else "")
            + (f", floor {short(row['floor'])}" if floor_misses(row) else ""))


def meets(row, value):
    return value >= row["target"] if row["target_is_minimum"] else value <= row["target"]


def judge(row):
    if row["wrong"]:
        return "WRONG"
    if row["target"] is None:
        return ""
    return "PASS" if meets(row, row["median"]) and not row["lost"] else "MISS"


def floor_misses(row):
    """Nothing that does the same can meet the target: the whole interval of the least that does is beyond it."""
    return (row["verdict"] == "MISS" and not meets(row, row["median"])
            and bool(row["floor_interval"]) and not any(meets(row, x) for x in row["floor_interval"]))


class Report:
    def __init__(self):
        self.rows = []
        self.errors = {}
        self.skipped = set()
        self.complaints = set()  # that were printed: several metrics have the same
        self.begin = time.monotonic()
        self.terminal = sys.stdout.isatty()
        self.progress = sys.stderr.isatty()
        print(cells(("workload", "configuration", "metric", "target", "median", "from", "to",
                     "lost of")) + "  verdict", flush=True)

    def tell(self, text):
        """What is being done, on one line that the next one replaces; nothing in a log."""
        if self.progress:
            print(f"\r\033[K{text[:110]}\r", end="", file=sys.stderr, flush=True)

    def row_begins(self, number, count, name):
        self.name = name
        self.complaints = set()
        if not self.progress:
            print(f"[{number}/{count}] {name}, after {time.monotonic() - self.begin:.0f} s",
                  file=sys.stderr, flush=True)

    def skip(self, name, why):
        self.skipped.add(f"{name} ({why})")

    def fail(self, name, error):
        self.errors[name] = str(error)
        self.tell("")
        print(f"{name}: {error}", file=sys.stderr)

    def add(self, workload, configuration, metric, unit, target, values, lost=None, wrong=(),
            noisy=False, more=None, floor=None):
        """
        @target: the most that is allowed, or At_least(x); None: for information. @lost: (events, of). @floor: the same
        measure of the least that does this, in the same run.
        """
        if not values:
            return
        low, high = interval(values)
        row = {"row": self.name, "workload": workload, "configuration": configuration,
               "metric": metric, "unit": unit, "target": target,
               "target_is_minimum": isinstance(target, At_least),
               "median": statistics.median(values), "from": low, "to": high, "min": min(values),
               "max": max(values), "rounds": len(values),
               "floor": statistics.median(floor) if floor else None,
               "floor_interval": interval(floor) if floor else None,
               "lost": lost[0] if lost else None, "of": lost[1] if lost else None,
               "noisy": noisy, "wrong": sorted(set(wrong)), **(more or {})}
        row["verdict"] = judge(row)
        row["sure"] = (target is None or row["verdict"] == "WRONG" or bool(row["lost"])
                       or not low < target < high)
        self.rows.append(row)
        self.print_row(row)

    def print_row(self, row):
        self.tell("")
        sign = "" if row["target"] is None else ">= " if row["target_is_minimum"] else "<= "
        lost = "" if row["lost"] is None else f"{row['lost']:,} of {row['of']:,}"
        verdict = row["verdict"]
        if self.terminal and verdict:
            verdict = COLOURS[verdict] + verdict + "\033[0m"
        verdict += doubts(row)
        print(cells((row["workload"], row["configuration"],
                     row["metric"] + (", " + row["unit"] if row["unit"] else ""),
                     sign + short(row["target"]), short(row["median"]), short(row["from"]),
                     short(row["to"]), lost)) + "  " + verdict, flush=True)
        for text in set(row["wrong"]) - self.complaints:
            print(" " * (WIDTHS[0] + 1) + text)
        self.complaints |= set(row["wrong"])

    def write_markdown(self, path):
        """The same table for a document."""
        with open(path, "w") as f:
            f.write("| workload | configuration | metric | target | median | from to | lost | verdict |\n"
                    "|---|---|---|---|---|---|---|---|\n")
            for r in self.rows:
                sign = "" if r["target"] is None else "≥ " if r["target_is_minimum"] else "≤ "
                lost = "" if r["lost"] is None else f"{r['lost']:,} of {r['of']:,}"
                f.write(f"| {r['workload']} | {r['configuration']} | {r['metric']}"
                        f"{', ' + r['unit'] if r['unit'] else ''} | {sign}{short(r['target'])} | "
                        f"{short(r['median'])} | {short(r['from'])} to {short(r['to'])} | {lost} | "
                        f"{r['verdict'].lower()}{doubts(r)} |\n")

    def finish(self, path, machine, noise):
        document = {"machine": machine.describe(), "noise": noise.describe(),
                    "seconds": round(time.monotonic() - self.begin),
                    "skipped": sorted(self.skipped), "errors": self.errors, "rows": self.rows}
        with open(path, "w") as f:
            json.dump(document, f, indent=1)
            f.write("\n")
        self.write_markdown(os.path.splitext(path)[0] + ".md")
        verdicts = [r["verdict"] for r in self.rows]
        unsure = [r["verdict"] for r in self.rows if not r["sure"]]
        state = document["noise"]
        if self.skipped:
            print("skipped: " + ", ".join(sorted(self.skipped)))
        print(f"{verdicts.count('PASS')} met ({unsure.count('PASS')} of them within the noise), "
              f"{verdicts.count('MISS')} missed ({unsure.count('MISS')}; by the floor, too: "
              f"{sum(map(floor_misses, self.rows))}), "
              f"{verdicts.count('WRONG')} wrong, {len(self.errors)} rows failed, in "
              f"{document['seconds']} s; rounds: {state['rounds']['kept']} kept, "
              f"{state['rounds']['doubtful']} of them doubtful; {state['steal_s']} s stolen, "
              f"load {state['load_before'][0]:.1f} to {state['load_after'][0]:.1f}, audit "
              f"{'on' if state['audit_enabled'] else 'off'}; all in {path}")
        return 1 if "WRONG" in verdicts or self.errors else 0
