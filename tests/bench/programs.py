# SPDX-License-Identifier: MIT
"""What is started: workloads, agentsight, and other tracers beside it."""
import json
import os
import re
import resource
import signal
import subprocess
import time

AGENTSIGHT = os.path.abspath("./agentsight")
START_S = 20
REST_S = 5   # on a busy machine another tracer never comes to rest


def processes_of(pid):
    """With those of its children that run the same program: agentsight is two processes."""
    found = [pid]
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/children") as f:
                found += [c for c in f.read().split() if os.readlink(f"/proc/{c}/exe") == program]
    except OSError:
        pass  # it has ended
    return found


def thread_values(pid, read):
    total = 0
    for process in processes_of(pid):
        for tid in os.listdir(f"/proc/{process}/task"):
            try:
                total += read(f"/proc/{process}/task/{tid}")
            except OSError:
                pass
    return total


def cpu_ns(pid):
    return thread_values(pid, lambda d: int(open(d + "/schedstat").read().split()[0]))


def voluntary_switches(pid):
    pattern = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.M)
    return thread_values(pid, lambda d: int(pattern.search(open(d + "/status").read())[1]))


def memory_mb(pid):
    """The resident sets of its processes together: now, at their peaks, and with shared pages once."""
    sums = [0, 0, 0]
    places = (("status", "VmRSS"), ("status", "VmHWM"), ("smaps_rollup", "Pss"))
    for process in processes_of(pid):
        for i, (name, key) in enumerate(places):
            with open(f"/proc/{process}/{name}") as f:
                sums[i] += int(re.search(rf"^{key}:\s+(\d+)", f.read(), re.M)[1]) / 1024
    return sums


def children_cpu_ns():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (use.ru_utime + use.ru_stime) * 1e9


class Bench:
    """What every row is given."""

    def __init__(self, options, machine, noise, report, work):
        self.options, self.machine, self.noise = options, machine, noise
        self.report, self.work = report, work
        self.running = []

    def memory_path(self, name):
        """For files that shall not wait for a disk."""
        where = "/dev/shm" if os.path.isdir("/dev/shm") else self.work
        return os.path.join(where, f"agentsight-bench-{os.getpid()}-{name}")

    def start(self, command, **more):
        self.running.append(subprocess.Popen(command, **more))
        return self.running[-1]

    def end_all(self):
        """What a row that failed has left behind would disturb the next one."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.running = []

    def program(self, name):
        return os.path.join(self.options.programs, name)

    def held(self, command):
        """A program that waits for a line on its standard input, and becomes the command."""
        return [self.program("load"), "hold", *command]

    def lines_of(self, command, *arguments, timeout=60, cpu=0):
        """The JSON lines of one of the bench_ programs."""
        out = subprocess.run([self.program(command), *arguments], capture_output=True,
                             timeout=timeout, preexec_fn=self.machine.place(cpu, False))
        if out.returncode:
            raise RuntimeError(f"{command}: {out.stderr.decode().strip()}")
        return [json.loads(line) for line in out.stdout.splitlines()]


class Workload:
    """A program that has been started and waits for go()."""

    def __init__(self, bench, command, hold=True, cpu=1):
        self.process = bench.start(bench.held(command) if hold else command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE,
                                        preexec_fn=bench.machine.place(cpu))
        self.pid = self.process.pid

    def go(self):
        """The last JSON line, with the CPU time of all its processes."""
        begin, cpu = time.monotonic(), children_cpu_ns()
        out, errors = self.process.communicate(b"\n", timeout=60)
        self.wall_ns = (time.monotonic() - begin) * 1e9
        self.cpu_ns = children_cpu_ns() - cpu
        if self.process.returncode:
            raise RuntimeError(errors.decode().strip() or "the workload failed")
        self.out, self.errors = out, errors.decode()
        return json.loads(out.splitlines()[-1]) if out.endswith(b"}\n") else {}

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines() if line.startswith(b"{")]


# What says that a family is in place, in the order in which they are; the first line is there before.
READY = (("record", b'"family":"net","hook":"seed"'), ("--network", b'"family":"net","hook":"seed"'),
         ("--files", b'"family":"file"'), ("ssl", b'"family":"tls"'), ("--ssl", b'"family":"tls"'),
         ("--process", b'"family":"proc","hook":"exec"'), ("system", b'"hook":"processes"'))


class Agentsight:
    """A recording into a file. @ready: what must stand in it before it counts as started."""

    def __init__(self, bench, arguments, fifo=True, ready=()):
        self.path = os.path.join(bench.work, "trace.log")
        if os.path.exists(self.path):
            os.unlink(self.path)
        begin = time.monotonic()
        self.process = bench.start(
            [AGENTSIGHT, *arguments, "-q", "-o", self.path], stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=bench.machine.place(0, fifo))
        while not (os.path.exists(self.path) and os.path.getsize(self.path)):
            if self.process.poll() is not None or time.monotonic() > begin + START_S:
                raise RuntimeError(f"agentsight {' '.join(arguments)} did not start")
            time.sleep(0.0005)
        self.start_ms = (time.monotonic() - begin) * 1e3
        self.pid = self.process.pid
        wanted = [*ready, *(text for word, text in READY if word in arguments)]
        while not all(text in self.output() for text in wanted):
            if self.process.poll() is not None or time.monotonic() > begin + START_S:
                raise RuntimeError(f"agentsight {' '.join(arguments)} is not ready")
            time.sleep(0.01)
        self.settle()
        self.cpu = cpu_ns(self.pid)

    def output(self):
        with open(self.path, "rb") as f:
            return f.read()

    def settle(self, quiet_s=0.2):
        """
        Until nothing more is written: it looks at what comes every 100 ms, and writes a file every 50. Returns the CPU
        nanoseconds since the start.
        """
        size, until = -1, time.monotonic() + 2  # samples never cease
        while size != os.path.getsize(self.path) and time.monotonic() < until:
            size = os.path.getsize(self.path)
            time.sleep(quiet_s)
        return cpu_ns(self.pid) - getattr(self, "cpu", 0)

    def stop(self):
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.stop_ms = (time.monotonic() - begin) * 1e3
        self.lines = self.output().splitlines()
        self.totals = json.loads(self.lines[-1])["data"]
        return self

    def count(self, kind, *needles):
        wanted = [b'"type":"%s"' % kind.encode()] + [n.encode() for n in needles]
        return sum(all(w in line for w in wanted) for line in self.lines)

    def lost(self):
        return self.totals["lost"], self.totals["produced"]

    def check(self, **expected):
        """An empty list, or what is wrong with this run. A loss that was told is none of it."""
        wrong = []
        delivered, lines = self.totals["delivered"], len(self.lines) - 1
        if delivered != lines:
            wrong.append(f"{lines} lines for {delivered} delivered events")
        if self.totals["difference"]:
            wrong.append(f"the ledger does not close: {self.totals['difference']}")
        if self.totals["lost"]:
            expected = {}
        for what, (got, want) in expected.items():
            if got != want:
                wrong.append(f"{what}: {got} instead of {want}")
        for line in self.lines[:: max(1, len(self.lines) // 2000)]:
            json.loads(line)
        return wrong


class Companion:
    """Another tracer, or the floor: running until it is stopped."""

    def __init__(self, bench, command, ends_with_input=False):
        self.path = os.path.join(bench.work, "companion.log")
        self.by_input = ends_with_input
        with open(self.path, "wb") as out:
            self.process = bench.start(command, stdin=subprocess.PIPE, stdout=out,
                                            stderr=subprocess.STDOUT, cwd=bench.work,
                                            preexec_fn=bench.machine.place(0))
        self.pid = self.process.pid
        self.wait_until_ready(0.05 if ends_with_input else 0.4)
        self.cpu = cpu_ns(self.pid)
        self.mb, self.peak_mb, self.pss_mb = memory_mb(self.pid)

    def wait_until_ready(self, idle_s):
        """Loading and attaching takes CPU time; who takes none any more, waits for events."""
        last, since, end = -1, time.monotonic(), time.monotonic() + REST_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args[0]}: {self.output()[-200:].decode()}")
            used = cpu_ns(self.pid)
            if used > last + 1000000 or (self.by_input and b"ready" not in self.output()):
                last, since = used, time.monotonic()
            elif time.monotonic() > since + idle_s:
                return
            time.sleep(0.02)

    def output(self):
        with open(self.path, "rb") as f:
            return f.read()

    def settle(self):
        """The CPU nanoseconds since the start, when it has caught up."""
        used, until = -1, time.monotonic() + 5
        while time.monotonic() < until and cpu_ns(self.pid) > used + 1000000:
            used = cpu_ns(self.pid)
            time.sleep(0.2)
        return cpu_ns(self.pid) - self.cpu  # also of one that has ended by itself

    def stop(self):
        self.process.stdin.close()
        if not self.by_input:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self
