# SPDX-License-Identifier: MIT
"""What the tests with real programs share: agentsight under test, the programs beside it, and the
stream that came out. A test is a function that takes a Bench and returns when all is well."""

import base64
import ctypes
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # the system's own: a wrapper would be one process more
AGENTSIGHT = os.path.abspath(os.environ.get("AGENTSIGHT", TOP / "agentsight"))
# No proxy, no language, no version wrappers: what runs is the same everywhere.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}
PR_SET_PDEATHSIG = 1
# For what never comes. They say nothing about speed, and a slow machine may take ten times as long as a quick one.
WAIT_S = 120
TIMEOUT_S = 600
libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def check_equal(got, want, what):
    check(got == want, f"{what}: {str(got)[:200]} instead of {str(want)[:200]}")


def wait_until(what, ready, timeout_s=WAIT_S):
    """Polls `ready` until it returns something true, and returns that."""
    end = time.monotonic() + timeout_s
    while not (result := ready()):
        check(time.monotonic() < end, f"waited {timeout_s} s in vain for {what}")
        time.sleep(0.01)
    return result


def need(name):
    path = shutil.which(name, path=ENVIRONMENT["PATH"])
    if not path:
        raise Skip(f"{name} is not installed")
    return path


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def library_of(program, name="libssl.so"):
    """The file that the dynamic linker gives a program for `name`, or None when it has none."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    for line in listing.stdout.splitlines():
        words = line.split()
        if words and words[0].startswith(name) and len(words) > 2:
            return Path(words[2])
    return None


# ---- what is in the kernel ----


def children(pid):
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def bpf_held_by(pids):
    """Ids of all links, programs and maps that these have open."""
    held = {kind: set() for kind in ("link", "prog", "map")}
    for path in (path for pid in pids for path in Path(f"/proc/{pid}/fdinfo").iterdir()):
        try:
            text = path.read_text()
        except OSError:
            continue
        for kind, number in re.findall(r"^(link|prog|map)_id:\s*(\d+)", text, re.M):
            held[kind].add(number)
    return held


def bpf_left(held):
    """What there still is of these."""
    left = {}
    for kind, numbers in held.items():
        listing = subprocess.run([need("bpftool"), kind, "show"], capture_output=True, text=True, check=True).stdout
        left[kind] = sorted(numbers & set(re.findall(r"^(\d+):", listing, re.M)))
    return {kind: numbers for kind, numbers in left.items() if numbers}


# ---- the schema ----

_types = None


def event_types():
    """tests/validate.py's compiled schema of every event type; None where jsonschema is missing."""
    global _types
    if _types is None:
        spec = importlib.util.spec_from_file_location("validate", TOP / "tests/validate.py")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except ImportError:
            print("note: python3-jsonschema is missing, so the lines are not checked against the schema")
            _types = {}
        else:
            _types = module.load_types(AGENTSIGHT)
    return _types


def validate(event):
    types = event_types()
    if not types:
        return
    key = event["source"], event["data"]["type"]
    check(key in types, f"no such event type: {key}")
    try:
        types[key].validate(event)
    except Exception as e:  # its own class; the message says all
        raise Failure(f"{'.'.join(key)} does not agree with the schema: {e}") from e


# ---- the stream ----


def payload(event):
    """The plaintext of an ssl.data event."""
    data = event["data"]
    check("truncated" not in data, f"a call of {data['len']} bytes is cut")
    if "data_base64" in data:
        return base64.b64decode(data["data_base64"], validate=True)
    return data["data"].encode()


class Stream:
    """A recording: every line strict JSON in UTF-8 and as the schema says, the ledger closed."""

    def __init__(self, path, lossless=True):
        self.raw = Path(path).read_bytes()
        check(self.raw.endswith(b"\n"), "the last line is not whole")
        self.events = [json.loads(line.decode("utf-8", "strict")) for line in self.raw.splitlines()]
        for event in self.events:
            validate(event)
        self.index = defaultdict(list)
        for event in self.events:
            self.index[event["source"], event["data"]["type"]].append(event)

        check_equal(self.events[0]["data"]["type"], "start", "the first event")
        check_equal(self.events[-1]["data"]["type"], "stop", "the last event")
        self.stop = self.events[-1]["data"]
        check_equal(self.stop["difference"], 0, f"the ledger's difference in {self.stop}")
        if lossless:
            check_equal(self.stop["lost"], 0, f"lost events, in {self.stop}")
            check(not self.index["agentsight", "loss"], "there is a loss event")

    def select(self, source, name, pid=None, **data):
        return [
            e
            for e in self.index[source, name]
            if (pid is None or e["pid"] == pid) and all(e["data"].get(k) == v for k, v in data.items())
        ]

    def only(self, source, name, pid=None, **data):
        found = self.select(source, name, pid, **data)
        check(len(found) == 1, f"{len(found)} events {source}.{name} of {pid} instead of 1")
        return found[0]

    def plaintext(self, pid, direction):
        """Stream id -> the bytes of all its calls in one direction, in the order of the stream."""
        streams = defaultdict(bytearray)
        for event in self.select("ssl", "data", pid, direction=direction):
            piece = payload(event)
            check_equal(len(piece), event["data"]["len"], "shown bytes of a call")
            streams[event["data"]["stream_id"]] += piece
        return streams


# ---- agentsight ----


class Sight:
    """agentsight, started with -v, which says when all hooks are in place."""

    def __init__(self, bench, *args, prefix=(), directory=None, program=AGENTSIGHT, stdout=subprocess.DEVNULL):
        self.bench = bench
        where = directory or bench.dir
        self.output = where / f"recording.{bench.number()}.json"
        self.messages_path = bench.dir / f"messages.{bench.number()}"
        argv = [*prefix, program, args[0], "-v", f"--output={self.output}", *args[1:]]
        begin = time.monotonic()
        with open(self.messages_path, "wb") as messages:
            self.process = bench.spawn(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=messages)
        wait_until("agentsight to watch", self.is_ready)
        self.started_s = time.monotonic() - begin - self.waited_s()

    def is_ready(self):
        if self.process.poll() is not None:
            raise Failure(f"agentsight ended with {self.process.returncode}: {self.messages()}")
        return "watching\n" in self.messages()

    def waited_s(self):
        """How long it could run but had no processor: what others on this machine took."""
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0

    def messages(self):
        return self.messages_path.read_text(errors="replace")

    def lines(self):
        """The whole lines so far."""
        raw = self.output.read_bytes() if self.output.exists() else b""
        return [json.loads(line) for line in raw[: raw.rfind(b"\n") + 1].splitlines()]

    def wait_for(self, what, wanted):
        return wait_until(what, lambda: next(filter(wanted, self.lines()), None))

    def end(self):
        """Waits for an end by itself or by a signal that was sent."""
        status = self.process.wait()
        check(status == 0, f"agentsight ended with {status}: {self.messages()}")
        return Stream(self.output)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()


# ---- the other programs ----


class Peer:
    """tests/real/peer.py: a server that says for each connection what passed."""

    def __init__(self, bench, tls=False, address="127.0.0.1", delay_ms=0):
        self.address = address
        argv = [PYTHON, "-I", str(HERE / "peer.py"), address, str(delay_ms)]
        if tls:
            argv += [str(path) for path in bench.certificate()]
        self.process = bench.spawn(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.pid = self.process.pid
        host = f"[{address}]" if ":" in address else address
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"

    def told(self):
        """What the next connection that ended was like."""
        return json.loads(self.process.stdout.readline())


class Bench:
    """What one test holds: a directory, and processes that end with it."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="agentsight-real."))
        self.dir.chmod(0o755)  # another user runs in it, too
        self.processes = []
        self.numbers = 0
        self._certificate = None

    def number(self):
        self.numbers += 1
        return self.numbers

    def spawn(self, argv, env=None, **kw):
        process = subprocess.Popen(
            [str(a) if isinstance(a, Path) else a for a in argv],
            env=dict(ENVIRONMENT, **(env or {})),
            cwd=kw.pop("cwd", self.dir),
            preexec_fn=die_with_parent,
            **kw,
        )
        self.processes.append(process)
        return process

    def hold(self, argv, **kw):
        """A shell that becomes `argv` when it is released, under the same pid."""
        gate = ["/bin/sh", "-c", 'read _ && exec "$@"', "gate", *argv]
        return self.spawn(gate, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kw)

    def release(self, process):
        process.stdin.write(b"\n")
        process.stdin.flush()

    def finish(self, process, status=0):
        """Waits for its end and returns what it printed."""
        out, _ = process.communicate()
        check(process.returncode == status, f"{process.args} ended with {process.returncode}")
        return out

    def peer(self, **kw):
        return Peer(self, **kw)

    def sight(self, *args, **kw):
        return Sight(self, *args, **kw)

    def certificate(self):
        if not self._certificate:
            key, cert = self.dir / "key.pem", self.dir / "certificate.pem"
            command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert]
            command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            subprocess.run(command, check=True, stderr=subprocess.PIPE, env=ENVIRONMENT)
            self._certificate = cert, key
        return self._certificate

    def script(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path

    def close(self, keep):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass
        if keep:
            print(f"    what it left is in {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)  # somebody may still be writing into it
