# SPDX-License-Identifier: MIT
"""`run` and `attach`: the command keeps its output, terminal, signals and exit status, and the samples keep the pace."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections import Counter

from real import AGENTSIGHT, ENVIRONMENT, PYTHON, check, check_equal, die_with_parent, wait_until

# A program that takes the whole screen, as editors and pagers do: raw keys in, cursor movement out.
FULL_SCREEN = """
import sys, termios, tty
tty.setraw(0)
sys.stdout.write("\\x1b[?1049h\\x1b[H[READY]")
sys.stdout.flush()
key = sys.stdin.read(1)
sys.stdout.write("\\x1b[?1049l\\r\\nkey " + repr(key) + "\\r\\n")
"""

TRAP = """
import os, signal
def on_signal(number, frame):
    os.write(1, b"got %d\\n" % number)
    os._exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, on_signal)
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def run(bench, *words, **options):
    options.setdefault("timeout", 60)
    return subprocess.run([AGENTSIGHT, *words], cwd=bench.dir, env=ENVIRONMENT, capture_output=True, **options)


def samples(path, kind="tree"):
    events = [json.loads(line) for line in open(path)]
    check_equal(events[-1]["data"]["difference"], 0, "the ledger's difference")
    return [e for e in events if e["source"] == "system" and e["data"]["type"] == kind]


def the_exit_status_is_the_commands(bench):
    for words, status in (
        (("true",), 0),
        (("false",), 1),
        (("sh", "-c", "exit 42"), 42),
        (("sh", "-c", "kill -9 $$"), 137),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("/nonexistent/program",), 127),
        (("/etc/passwd",), 126),
    ):
        check_equal(run(bench, "run", "-q", "--", *words).returncode, status, f"exit status of {words}")
    done = run(bench, "run", "--", "sh", "-c", "kill -9 $$")
    check(b"signal 9 (Killed)" in done.stderr, f"the signal is not named: {done.stderr}")
    done = run(bench, "--json", "run", "true")  # as other monitors are called
    check_equal(done.returncode, 0, "options before the command")
    check_equal(run(bench, "run", "-q", "-d", "0.5", "--", "sleep", "30").returncode, 124, "status after --duration")


def its_output_is_untouched(bench):
    script = "echo to stdout; echo to stderr >&2; cat"
    done = run(bench, "run", "-q", "-o", "log.json", "--", "sh", "-c", script, input=b"from stdin\n")
    check_equal(done.stdout, b"to stdout\nfrom stdin\n", "standard output")
    check_equal(done.stderr, b"to stderr\n", "standard error")
    check(samples(bench.dir / "log.json"), "no sample in the file")
    # events have standard output for themselves when they are sent there
    done = run(bench, "run", "--json", "--", "sh", "-c", "echo words; echo more >&2")
    for line in done.stdout.splitlines():
        json.loads(line)
    check(b"words\n" in done.stderr and b"more\n" in done.stderr, f"standard error: {done.stderr}")


class Terminal:
    """agentsight on a terminal of its own, in its own session, as a shell would start it."""

    def __init__(self, bench, *words):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        fcntl.ioctl(self.fd if self.pid else 0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        if self.pid == 0:
            die_with_parent()
            os.chdir(bench.dir)
            os.execve(AGENTSIGHT, [AGENTSIGHT, *words], {**ENVIRONMENT, "TERM": "xterm"})
        self.status = None

    def read(self):
        """False at the end."""
        try:
            if select.select([self.fd], [], [], 0.05)[0]:
                self.seen += os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the terminal any more
            return False
        return True

    def wait_for(self, text):
        wait_until(f"{text} on the terminal", lambda: (self.read(), text in self.seen)[1])

    def keys(self, text):
        os.write(self.fd, text)

    def end(self):
        while self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def ctrl_c_reaches_the_command(bench):
    terminal = Terminal(bench, "run", "--", PYTHON, "-c", TRAP)
    terminal.wait_for(b"ready")
    terminal.keys(b"\x03")
    terminal.wait_for(b"got 2")
    check_equal(terminal.end(), 7, "exit status")
    check_equal(terminal.seen.count(b"got 2"), 1, "signals that the command got")


def a_signal_for_agentsight_is_passed_on(bench):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child = subprocess.Popen(
            [AGENTSIGHT, "run", "-q", "--", PYTHON, "-c", TRAP], env=ENVIRONMENT, stdout=subprocess.PIPE
        )
        check_equal(child.stdout.readline(), b"ready\n", "first line")
        child.send_signal(number)
        check_equal(child.stdout.readline(), b"got %d\n" % number, "what the command got")
        check_equal(child.wait(30), 7, "exit status")
        child.stdout.close()


def ignored_and_blocked_signals_stay_that(bench):
    def before():
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR1])

    words = ("grep", "^Sig[BI]", "/proc/self/status")
    expected = subprocess.run(words, preexec_fn=before, restore_signals=False, capture_output=True).stdout
    done = run(bench, "run", "-q", "--", *words, preexec_fn=before, restore_signals=False)
    check(re.search(rb"[13579bdf]{2}...\n$", expected), f"not as set: {expected}")
    check_equal(done.stdout, expected, "signals of the command")


def a_full_screen_program_works(bench):
    terminal = Terminal(bench, "run", "-i", "20", "--", PYTHON, "-c", FULL_SCREEN)
    terminal.wait_for(b"[READY]")
    before = len(terminal.seen)
    end = time.monotonic() + 0.5  # 25 samples, none of which may draw
    while time.monotonic() < end:
        terminal.read()
    drawn = terminal.seen[before:].replace(b"\x1b7\x1b[r\x1b8", b"", 1)  # the last row is given back, once
    check_equal(drawn, b"", "drawn over the program's screen")
    terminal.keys(b"x")
    terminal.wait_for(b"key 'x'")
    check_equal(terminal.end(), 0, "exit status")


def the_line_has_the_last_row(bench):
    script = "printf 'Delete everything? '; read x; echo you said $x"
    terminal = Terminal(bench, "run", "-i", "50", "--", "sh", "-c", script)
    terminal.wait_for(b"Delete everything? ")
    row = b"\x1b7\x1b[0m\x1b[24;1H"
    wait_until("four lines", lambda: (terminal.read(), terminal.seen.count(row) > 3)[1])
    # whatever was written where the cursor stood would have ended in one of these
    question = terminal.seen.split(b"Delete everything? ")[1]
    check(b"\r" not in question and b"\n" not in question, f"the question is gone: {terminal.seen}")
    check_equal(question.count(b"\x1b7"), question.count(b"\x1b8"), "the cursor was left behind")
    terminal.keys(b"no\n")
    terminal.wait_for(b"you said no")
    check_equal(terminal.end(), 0, "exit status")
    check(b"\x1b[r" in terminal.seen, "the row is not given back")


def the_pace_is_the_formula(bench):
    """Base for a second, then rising to the ceiling at the tenth: to the millisecond."""
    done = run(bench, "run", "-q", "-o", "log.json", "-i", "100", "-m", "1000", "--", "sleep", "12")
    check_equal(done.returncode, 0, "exit status")
    trees = [e["data"] for e in samples(bench.dir / "log.json")]
    check(len(trees) > 10, f"only {len(trees)} samples in 12 s")
    for tree in trees:
        if tree["reason"] == "last":
            continue
        elapsed = tree["elapsed_ns"] / 1e9
        want = 0.1 if elapsed < 1 else 1.0 if elapsed >= 10 else 0.1 + 0.9 * (elapsed - 1) / 9
        check(abs(tree["next_ns"] / 1e9 - want) < 0.001, f"{tree['next_ns']} ns at {elapsed} s instead of {want} s")
    check(any(tree["next_ns"] == 10**9 for tree in trees if "next_ns" in tree), "the ceiling was never reached")


def the_end_of_the_last_process_ends_attach(bench):
    first, second = (bench.spawn(["sleep", "600"]) for _ in range(2))
    log = bench.dir / "log.json"
    attach = bench.spawn([AGENTSIGHT, "attach", "-o", log, "-q", str(first.pid), str(second.pid)])

    def trees():
        whole = [line for line in log.read_bytes().splitlines(True) if line.endswith(b"\n")] if log.exists() else []
        return Counter(e["pid"] for e in map(json.loads, whole) if e["data"]["type"] == "tree")

    wait_until("both trees", lambda: {first.pid, second.pid} <= set(trees()))
    first.kill()
    first.wait()
    before = trees()[second.pid]
    wait_until("more of the second", lambda: trees()[second.pid] > before + 2)
    check(attach.poll() is None, "it ended with the first")
    second.kill()
    second.wait()
    check_equal(attach.wait(), 0, "exit status")
    check_equal(set(trees()), {first.pid, second.pid}, "trees")
    zombie = subprocess.Popen(["true"], preexec_fn=die_with_parent)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    done = run(bench, "attach", str(zombie.pid))
    zombie.wait()
    check_equal(done.returncode, 0, "exit status when it has ended")
    check(b"ended before it was sampled" in done.stderr, f"said of who has ended: {done.stderr}")
    done = run(bench, "attach", str(first.pid))
    check_equal(done.returncode, 1, "exit status when there is no such process")
    check(b"there is no process" in done.stderr, f"said: {done.stderr}")


def an_ordinary_user_gets_samples_of_what_is_theirs(bench):
    os.chmod(bench.dir, 0o777)
    done = run(
        bench,
        "run",
        "-q",
        "-i",
        "50",
        "-o",
        "log.json",
        "--",
        "sh",
        "-c",
        "sleep 2; exit 5",
        user=65534,
        group=65534,
        extra_groups=[],
    )
    check_equal(done.returncode, 5, f"exit status; {done.stderr}")
    trees = [e["data"] for e in samples(bench.dir / "log.json")]
    check(max(tree["processes"] for tree in trees) == 2, "the shell and its child were never seen together")


TESTS = [
    the_exit_status_is_the_commands,
    its_output_is_untouched,
    ctrl_c_reaches_the_command,
    a_signal_for_agentsight_is_passed_on,
    ignored_and_blocked_signals_stay_that,
    a_full_screen_program_works,
    the_line_has_the_last_row,
    the_pace_is_the_formula,
    the_end_of_the_last_process_ends_attach,
    an_ordinary_user_gets_samples_of_what_is_theirs,
]
