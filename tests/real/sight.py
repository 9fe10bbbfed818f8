# SPDX-License-Identifier: MIT
"""Starting agentsight and reading what it wrote, for the tests with real programs."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
OUT = os.path.join(TOP, os.environ.get("O", "out"), "tests", "output", "real")
PROGRAM = os.path.realpath(os.environ.get("AGENTSIGHT", os.path.join(TOP, "agentsight")))
WORKLOADS = os.path.join(TOP, os.environ.get("O", "out"), "tests", "workloads")


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failed(why)


def need(*programs):
    """Their full paths; a program that is not installed skips the test."""
    paths = [shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin") for p in programs]
    for program, path in zip(programs, paths):
        if not path:
            raise Skipped(f"{program} is not installed")
    return paths if len(paths) > 1 else paths[0]


def wait_for(what, ready, timeout_s=20):
    end = time.monotonic() + timeout_s
    while True:
        result = ready()
        if result:
            return result
        check(time.monotonic() < end, f"{what}: not within {timeout_s} s")
        time.sleep(0.005)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Sight:
    """agentsight while it watches; as a context, it is stopped in order at its end."""

    def __init__(self, directory, *args):
        os.makedirs(directory, exist_ok=True)
        self.out = os.path.join(directory, "recording.0.json")
        self.err = os.path.join(directory, "messages")
        with open(self.err, "wb") as err:
            command = [PROGRAM, args[0], "-v", "--output", self.out, *args[1:]]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
        wait_for("agentsight to watch", self.watching)

    def messages(self):
        return read(self.err).decode("utf-8", "replace")

    def watching(self):
        check(self.process.poll() is None, f"agentsight ended at once: {self.messages()}")
        return "watching\n" in self.messages()

    def wait_for_library(self, path):
        """Until the TLS functions in @path are watched."""
        wait_for(f"probes in {path}", lambda: any(self.capability_of(line, path) for line in open(self.out, "rb")))

    @staticmethod
    def capability_of(line, path):
        if b'"type":"capability"' not in line or not line.endswith(b"\n"):
            return False
        data = json.loads(line)["data"]
        return data["family"] == "tls" and data["hook"] == path and data["state"] != "missing"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("agentsight does not end") from None
        check(status == 0, f"agentsight ended with {status}: {self.messages()}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind:
            self.process.kill()
            self.process.wait()
        else:
            self.stop()


class Recording:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.lines = [json.loads(line) for line in f]
        self.stop = self.lines[-1]["data"]
        check(self.stop["type"] == "stop", "the last line is not `stop`")
        check(self.stop["difference"] == 0, f"the ledger does not close: {self.stop}")
        check(self.stop["lost"] == 0, f"events were lost: {self.stop}")

    def find(self, source, kind, **data):
        return [
            line
            for line in self.lines
            if line["source"] == source
            and line["data"]["type"] == kind
            and all(line["data"].get(k) == v for k, v in data.items())
        ]

    def plaintext(self, comm, direction):
        """All that processes called @comm moved in one direction, by TLS session."""
        sessions = {}
        for line in self.find("ssl", "data", direction=direction):
            if line["comm"] != comm:
                continue
            data = line["data"]
            check(not data.get("truncated"), "plaintext was cut")
            body = data["data"].encode() if "data" in data else base64.b64decode(data["data_base64"])
            check(len(body) == data["len"], f"{len(body)} bytes shown of {data['len']}")
            sessions[data["stream_id"]] = sessions.get(data["stream_id"], b"") + body
        return list(sessions.values())


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False, **options)
    check(done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    return done.stdout
