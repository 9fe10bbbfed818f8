#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
soak.py --hours H [-- OPTIONS OF RECORD]: records a machine full of short processes, connections and TLS sessions
for hours, and looks at agentsight itself meanwhile: memory, descriptors, threads, entries of its maps.

What is asked at the end: memory that does not grow, descriptors and threads as many as at the beginning, tables
that are empty again once the load has gone, a ledger that closes, and every line that was delivered read. Memory under
load goes up and down with how many processes and connections this machine has under way, by more in a minute than
what must not be lost in an hour. The load therefore rests every three minutes: what is held then is held for nobody that
lives, and a run of half an hour or more is judged by the slope of that, after the warm-up. Under load any run is
judged by what it grew altogether.

Prints a line of progress now and then, one line for each verdict, a table, and "N passed, N failed, N skipped".
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kernel import Group, Maps, family, process  # noqa: E402

TOP = Path(__file__).resolve().parents[2]
AGENTSIGHT = os.path.abspath(os.environ.get("AGENTSIGHT", TOP / "agentsight"))
SLOPE_KB_H = 100  # of memory at rest, after the warm-up
LOADED_KB = 512  # of memory under load, altogether
REST_SETTLE_S = 12  # from the beginning of a rest until nothing is under way, and what a burst needed is given back
SLOPE_MIN_S = 1200  # of samples, for a slope
WARM_UP_S = 600
SETTLE_S = 60  # after the load, until the maps are as before
LEFT_OVER = 16  # entries in a map that belong to nobody in particular
ROOTS_PER_S = 4  # processes of a name that was asked for, which nobody watched has started
COPIES = 12  # new copies of the TLS library during the warm-up, as packages and bundles bring them
EXIT_S = 2
LOSSES = ("ring_full", "output_dropped", "no_memory")  # of a stream in `stop`


def say(text):
    print(text, flush=True)


# ---- the stream ----


class Reader(threading.Thread):
    """Reads the recording from a pipe, counts its lines, and keeps the last one."""

    def __init__(self, fd):
        super().__init__(daemon=True)
        self.fd, self.lines, self.bytes, self.tail, self.reports = fd, 0, 0, b"", 0
        self.start()

    def run(self):
        while block := os.read(self.fd, 1 << 20):
            self.lines += block.count(b"\n")
            # one that two blocks share is missed: who waits for it looks a moment later
            self.reports += block.count(b'"type":"stats"')
            self.bytes += len(block)
            self.tail = (self.tail + block)[-(1 << 18) :]
        os.close(self.fd)

    def last(self):
        """The `stop` event's data; {} when the stream ends without."""
        if not self.tail.endswith(b"\n"):
            return {}
        data = json.loads(self.tail.splitlines()[-1]).get("data", {})
        return data if data.get("type") == "stop" else {}


# ---- the load ----


class Load:
    """The program `load`, and what only a process outside of it can do."""

    def __init__(self, programs, directory, seconds, rate, warm_up_s):
        self.directory, self.programs = directory, programs
        self.told, self.roots, self.copies = {}, 0, 0
        self.copy_every_s = warm_up_s / (COPIES + 1)
        self.over = threading.Event()
        for name in ("n", "lib"):
            (directory / name).mkdir()
        self.link("soak_root", programs / "child")
        self.link("soak_tls", programs / "load")
        self.link("soak_load", programs / "load")
        argv = [directory / "soak_load", str(seconds), str(rate), programs / "child", directory]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self.listen, self.start_roots, self.copy_libraries)]
        for thread in self.threads:
            thread.start()

    def link(self, name, target):
        (self.directory / name).symlink_to(target)

    def listen(self):
        for line in self.process.stdout:
            self.told = json.loads(line)
        self.over.set()

    def start_roots(self):
        while not self.over.wait(1 / ROOTS_PER_S):
            if self.told.get("resting"):
                continue
            argv = ["soak_root", "o" if self.roots % 10 == 0 else "n", str(self.directory), str(self.roots)]
            os.waitpid(os.posix_spawn(self.directory / "soak_root", argv, os.environ), 0)
            self.roots += 1

    def copy_libraries(self):
        listing = subprocess.run(["ldd", self.programs / "load"], capture_output=True, text=True, check=True).stdout
        library = next(line.split()[2] for line in listing.splitlines() if "libssl" in line)
        copy = self.directory / "lib" / os.path.basename(library)
        env = {**os.environ, "LD_LIBRARY_PATH": str(copy.parent)}
        # a file stays probed for good, so a copy now and then would be a descriptor more now and then
        while self.copies < COPIES and not self.over.wait(self.copy_every_s):
            if not self.told:
                continue
            shutil.copyfile(library, f"{copy}.new")
            with open(f"{copy}.new", "ab") as f:
                f.write(str(self.copies).encode())  # not the same file as the last one
            os.rename(f"{copy}.new", copy)
            argv = [self.directory / "soak_tls", "--session", str(self.copies), str(self.told["tls_port"])]
            subprocess.run(argv, env=env, check=False, timeout=60)
            self.copies += 1

    def end(self):
        self.process.wait()
        for thread in self.threads:
            thread.join()


# ---- figures ----


def least_squares(points):
    n = len(points)
    mean_t, mean_v = sum(t for t, _ in points) / n, sum(v for _, v in points) / n
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (v - mean_v) for t, v in points) / spread if spread else 0


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if values else 0


def theil_sen(points):
    """The median of all slopes: a single step does not pull at it."""
    points = points[:: len(points) // 600 + 1]
    return median([(v - u) / (t - s) for i, (s, u) in enumerate(points) for t, v in points[i + 1 :] if t > s])


def trend(samples, name):
    points = [(s["t_s"] / 3600, s[name]) for s in samples if s.get(name) is not None]
    if len(points) < 4:
        return {"least_squares_per_h": 0, "theil_sen_per_h": 0, "grew": 0}
    quarter = max(len(points) // 4, 1)
    return {
        "least_squares_per_h": round(least_squares(points), 1),
        "theil_sen_per_h": round(theil_sen(points), 1),
        "grew": median([v for _, v in points[-quarter:]]) - median([v for _, v in points[:quarter]]),
    }


def execs_of(stop):
    """Events of process.exec, and those that are told to be lost: of another type none is an excuse."""
    row = stop.get("streams", {}).get("process.exec", {})
    return row.get("delivered", 0), sum(row.get(name, 0) for name in LOSSES)


# ---- the run ----


class Run:
    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.warm_up_s = min(WARM_UP_S, args.hours * 3600 * 0.2)
        self.group, self.maps, self.samples, self.verdicts = Group(), Maps(), [], []
        self.begin, self.load = time.monotonic(), None
        fifo = directory / "recording"
        os.mkfifo(fifo)
        names = "soak_load,soak_root,soak_tls"
        argv = [AGENTSIGHT, "record", "-v", "-q", "-c", names, "-o", str(fifo), *args.options]
        fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(fd, True)
        self.messages = directory / "messages"
        with open(self.messages, "wb") as messages:
            self.sight = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=messages, preexec_fn=self.group.join)
        self.wait_for_writer()
        self.reader = Reader(fd)
        self.wait_until_watching()

    def wait_for_writer(self):
        """A pipe that nobody has opened yet reads as one that has ended."""
        while not any(os.path.realpath(f"/proc/{self.sight.pid}/fd/{n}") == str(self.directory / "recording") for n in self.descriptors()):
            self.still_there()

    def descriptors(self):
        try:
            return os.listdir(f"/proc/{self.sight.pid}/fd")
        except OSError:
            return []

    def still_there(self):
        if self.sight.poll() is not None:
            sys.exit(f"soak.py: agentsight ended with {self.sight.returncode}: {self.messages.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)

    def wait_until_watching(self):
        while "watching\n" not in self.messages.read_text(errors="replace"):
            self.still_there()

    def sample(self):
        pids = family(self.sight.pid)
        all_of = [process(pid) for pid in pids]
        sample = {name: sum(p[name] for p in all_of) for name in all_of[0]}
        self.maps.look(pids)
        counts = self.maps.counts()
        sample.update(
            t_s=round(time.monotonic() - self.begin, 1),
            processes=len(pids),
            kernel_kb=self.group.kernel_kb(),
            maps=counts,
            entries=sum(counts.values()),
            lines=self.reader.lines,
        )
        self.samples.append(sample)
        return sample

    def progress(self, load, seconds):
        s = self.samples[-1]
        grew = trend(self.at_rest(), "anon_kb")
        say(
            f"  {int(s['t_s']):>5} s of {int(seconds)}  RSS {s['rss_kb'] / 1024:.1f} MB  anonymous {s['anon_kb'] / 1024:.1f} MB"
            f" ({grew['theil_sen_per_h']:+.0f} KB/h at rest)  kernel {(s['kernel_kb'] or 0) / 1024:.1f} MB  fds {s['fds']}"
            f"  entries {s['entries']}  processes {load.told.get('processes', 0):,}  lines {s['lines']:,}  CPU {s['cpu_s']:.0f} s"
        )

    def warm(self):
        """Samples behind the warm-up, while the load is on."""
        return [s for s in self.behind_warm_up() if not s.get("idle") and not s.get("rest")]

    def at_rest(self):
        return [s for s in self.behind_warm_up() if s.get("rest")]

    def behind_warm_up(self):
        return [s for s in self.samples if self.warm_up_s <= s["t_s"] - self.load_begin]

    def look_behind_report(self):
        """Before a report free memory is given back."""
        reports, end = self.reader.reports, time.monotonic() + 2
        self.sight.send_signal(signal.SIGUSR1)
        while self.reader.reports == reports and time.monotonic() < end:
            self.still_there()
        sample = self.sample()
        sample["idle"] = True
        return sample

    def sample_at_rest(self):
        """The smaller of two looks: one of the writer's blocks, 256 KB, comes and goes with a report's line."""
        looks = [self.look_behind_report()]
        time.sleep(1.5)
        looks.append(self.look_behind_report())
        sample = min(looks, key=lambda look: look["anon_kb"])
        sample["rest"] = True
        say(f"  {int(sample['t_s']):>5} s at rest  RSS {sample['rss_kb'] / 1024:.1f} MB  anonymous {sample['anon_kb'] / 1024:.2f} MB")

    def run(self):
        seconds = self.args.hours * 3600
        time.sleep(1)
        self.baseline = self.sample()
        self.baseline["idle"] = True
        self.load_begin = time.monotonic() - self.begin
        load = self.load = Load(self.args.programs, self.directory, seconds, self.args.rate, self.warm_up_s)
        every = min(10, max(seconds / 30, 0.5))
        rests_since, due = None, time.monotonic() + every
        while not load.over.wait(0.5):
            self.still_there()
            now = time.monotonic()
            if not load.told.get("resting"):
                rests_since = None
            elif rests_since is None:
                rests_since = now
            elif now - rests_since >= REST_SETTLE_S:
                self.sample_at_rest()
                rests_since = float("inf")
            if now >= due and rests_since is None:
                due = now + every
                self.sample()
                self.progress(load, seconds)
        load.end()
        self.settle()
        self.finish()
        return load

    def left(self):
        """Maps that hold more than before the load. Those that evict by themselves may be full for good."""
        counts, before = self.samples[-1]["maps"], self.baseline["maps"]
        return {n: c for n, c in counts.items() if self.maps.kind(n) == "hash" and c > before.get(n, 0) + LEFT_OVER}

    def settle(self):
        end = time.monotonic() + SETTLE_S
        while True:
            time.sleep(2)
            self.sample()["idle"] = True
            if not self.left() or time.monotonic() > end:
                return

    def finish(self):
        begin = time.monotonic()
        self.sight.send_signal(signal.SIGTERM)
        try:
            self.sight.wait(60)
        except subprocess.TimeoutExpired:
            self.sight.kill()
            self.sight.wait()
        self.exit_s = time.monotonic() - begin
        self.reader.join(10)
        self.stop = self.reader.last()

    # ---- verdicts ----

    def verdict(self, ok, what):
        self.verdicts.append((bool(ok), what))
        say(f"{'ok' if ok else 'not ok'} {what}")

    def judge_memory(self):
        warm, rest = self.warm(), self.at_rest()
        span = rest[-1]["t_s"] - rest[0]["t_s"] if len(rest) > 3 else 0
        for name, what in (("anon_kb", "anonymous memory"), ("kernel_kb", "memory in the kernel")):
            if self.baseline.get(name) is None:
                continue
            t = trend(rest, name)
            if span >= SLOPE_MIN_S:
                text = f"{what} at rest: {t['theil_sen_per_h']:+.0f} KB/h (Theil-Sen), {t['least_squares_per_h']:+.0f} (least squares), {t['grew']:+d} KB in {span:.0f} s, {len(rest)} samples"
                self.verdict(t["theil_sen_per_h"] < SLOPE_KB_H, text)
            t = trend(warm, name)
            text = f"{what} under load: {t['grew']:+d} KB; {t['theil_sen_per_h']:+.0f} KB/h (Theil-Sen), {t['least_squares_per_h']:+.0f} (least squares)"
            self.verdict(t["grew"] < LOADED_KB, text)

    def judge(self, load):
        stop, told = self.stop, load.told
        self.judge_memory()
        warm = self.warm() or self.samples
        for name in ("fds", "threads", "processes"):
            first, last = warm[0][name], self.samples[-1][name]
            self.verdict(last <= first, f"{name}: {first} after the warm-up, {last} at the end, {max(s[name] for s in warm)} at most")
        left = self.left()
        self.verdict(not left, f"entries of maps: {self.baseline['entries']} before, {max(s['entries'] for s in self.samples)} at most, {self.samples[-1]['entries']} {self.samples[-1]['t_s'] - warm[-1]['t_s']:.0f} s after the load{', left in ' + str(left) if left else ''}")
        self.verdict(stop.get("difference") == 0, f"ledger: difference {stop.get('difference')}, produced {stop.get('produced', 0):,}, delivered {stop.get('delivered', 0):,}, lost {stop.get('lost')}, filtered {stop.get('filtered')}, shed {stop.get('shed')}")
        lines = self.delivered_lines()
        self.verdict(self.reader.lines == lines, f"lines: {self.reader.lines:,} read, {lines:,} delivered")
        execs, lost = execs_of(stop)
        at_least = told.get("processes", 0) + load.roots + load.copies
        self.verdict(execs + lost >= at_least, f"process.exec: {execs:,} events, {lost:,} lost, {at_least:,} processes started")
        self.verdict(self.exit_s < EXIT_S, f"ended {self.exit_s:.2f} s after SIGTERM with {self.sight.returncode}")
        self.verdict(self.sight.returncode == 0 and told.get("processes"), f"the load: {told}")

    def delivered_lines(self):
        """Of events that are lines, and the `stop` event itself."""
        streams = self.stop.get("streams", {})
        return sum(s.get("delivered", 0) for n, s in streams.items() if not n.startswith("internal.")) + 1

    def report(self, load):
        warm, last = self.warm() or self.samples, self.samples[-1]
        say(f"\n{'':24}{'idle':>12}{'warm':>12}{'end of load':>12}{'settled':>12}{'per hour':>12}{'at rest':>12}")
        for name in ("rss_kb", "pss_kb", "anon_kb", "data_kb", "kernel_kb", "fds", "threads", "processes", "entries", "cpu_s"):
            row = [s.get(name) for s in (self.baseline, warm[0], warm[-1], last)]
            per_hour = [trend(samples, name)["theil_sen_per_h"] for samples in (warm, self.at_rest())]
            say(f"{name:24}" + "".join(f"{'-' if v is None else round(v):>12}" for v in (*row, *per_hour)))
        peak = {n: max(s["maps"].get(n, 0) for s in self.samples) for n in last["maps"]}
        say(f"\n{'map':24}{'kind':>8}{'room':>10}{'idle':>10}{'peak':>10}{'settled':>10}")
        for name, n in last["maps"].items():
            say(f"{name:24}{self.maps.kind(name):>8}{self.maps.limit(name):>10}{self.baseline['maps'].get(name, 0):>10}{peak[name]:>10}{n:>10}")
        result = {
            "hours": self.args.hours,
            "rate": self.args.rate,
            "options": self.args.options,
            "kernel": os.uname().release,
            "load": {**load.told, "roots": load.roots, "copies": load.copies},
            "trends": {n: trend(warm, n) for n in ("rss_kb", "pss_kb", "anon_kb", "kernel_kb", "fds", "entries")},
            "trends_at_rest": {n: trend(self.at_rest(), n) for n in ("rss_kb", "pss_kb", "anon_kb", "kernel_kb")},
            "verdicts": [{"ok": ok, "what": what} for ok, what in self.verdicts],
            "maps": {n: {"kind": self.maps.kind(n), "room": self.maps.limit(n), "peak": peak[n], "settled": c} for n, c in last["maps"].items()},
            "exit_s": round(self.exit_s, 3),
            "stop": self.stop,
            "samples": self.samples,
        }
        if self.args.output:
            Path(self.args.output).write_text(json.dumps(result) + "\n")
            say(f"\nall samples are in {self.args.output}")

    def close(self):
        if self.load and self.load.process.poll() is None:
            self.load.process.kill()
        if self.sight.poll() is None:
            self.sight.kill()
            self.sight.wait()
        self.maps.close()
        self.group.close()


def arguments():
    parser = argparse.ArgumentParser(description="agentsight under load for hours")
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--rate", type=float, default=1)
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--output")
    parser.add_argument("options", nargs="*", help="options of `record`")
    args = parser.parse_args()
    args.programs = args.programs.resolve()
    if not args.hours > 0 or not args.rate > 0:
        parser.error("--hours and --rate are above 0")
    return args


def main():
    args = arguments()
    if os.geteuid() != 0:
        say("skip soak - it needs root\n0 passed, 0 failed, 1 skipped")
        return 0
    directory = Path(tempfile.mkdtemp(prefix="agentsight-soak."))
    run = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak.py: terminated"))
    try:
        run = Run(args, directory)
        load = run.run()
        run.judge(load)
        run.report(load)
    finally:
        if run:
            run.close()
        shutil.rmtree(directory, ignore_errors=True)
    failed = sum(not ok for ok, _ in run.verdicts)
    say(f"{len(run.verdicts) - failed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
