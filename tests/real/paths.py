# SPDX-License-Identifier: MIT
"""Where root writes for others: whatever a path is made of, nothing outside of it changes by a byte."""

import ctypes
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

from real import AGENTSIGHT, ENVIRONMENT, WAIT_S, check, check_equal, wait_until

ATTACKER, CALLER = 65534, 54321
SUDO = {"SUDO_UID": str(CALLER), "SUDO_GID": str(CALLER)}
TEXT = b"precious\n"
MARK = b"</html>"
RENAME_EXCHANGE, AT_FDCWD = 2, -100
libc = ctypes.CDLL(None, use_errno=True)


class Scene:
    """`treasure`, which nobody may touch, and directories of others beside it."""

    def __init__(self, bench):
        self.top = bench.dir
        self.treasure = self.top / "treasure"
        self.treasure.mkdir()
        (self.treasure / "file").write_bytes(TEXT)
        self.theirs = self.place("theirs", ATTACKER)
        self.callers = self.place("callers", CALLER)
        self.sticky = self.place("sticky", 0, 0o1777)
        self.ours = self.place("ours", 0)
        self.before = self.snapshot()
        self.recording = self.top / "recording"
        subprocess.run([AGENTSIGHT, "system", "-q", "-d", "0.1", "-o", self.recording], env=ENVIRONMENT, check=True)

    def place(self, name, owner, mode=0o755):
        path = self.top / name
        path.mkdir()
        os.chown(path, owner, owner)
        path.chmod(mode)
        return path

    def snapshot(self):
        """All that a write, a rename, a chmod or a chown would change."""
        found = {}
        for path in (self.treasure, *sorted(self.treasure.iterdir())):
            st = path.lstat()
            text = path.read_bytes() if stat.S_ISREG(st.st_mode) else b""
            found[path.name] = (st.st_mode, st.st_uid, st.st_gid, st.st_ino, st.st_mtime_ns, text)
        return found

    def check_untouched(self, what):
        now = self.snapshot()
        check(now == self.before, f"{what}: {self.before} became {now}")


def link(path, target, owner=0):
    path.symlink_to(target)
    os.lchown(path, owner, owner)
    return path


def file(path, owner=0):
    path.write_bytes(TEXT)
    os.chown(path, owner, owner)
    return path


def node(path, kind, device=0, owner=0):
    os.mknod(path, kind | 0o600, device)
    os.chown(path, owner, owner)
    return path


def hard_link(path, target):
    os.link(target, path)
    return path


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
    return path


# ---- who writes ----


def run(scene, words, env=None, timeout=WAIT_S):
    return subprocess.run([AGENTSIGHT, *map(str, words)], cwd=scene.ours, env={**ENVIRONMENT, **(env or {})}, capture_output=True, timeout=timeout, check=False)


def write(scene, path, env=None):
    """A report: of all that writes files it is the fastest, and all ask the same function."""
    return run(scene, ["stats", "--html", path, scene.recording], env)


def check_refused(scene, done, path, what):
    check(done.returncode == 1, f"{what}: it ended with {done.returncode}")
    message = done.stderr.decode(errors="replace")
    name = os.path.basename(str(path).rstrip("/")) or "/"
    named = name[:40] in message or str(path)[:60] in message
    check("agentsight: " in message and named, f"{what}: it says {message!r}")
    check(message.count("\n") == 1, f"{what}: more than one line: {message!r}")
    scene.check_untouched(what)


def check_written(scene, done, path, what, owner=0):
    check(done.returncode == 0, f"{what}: it ended with {done.returncode}: {done.stderr}")
    st = os.stat(path)
    check_equal((stat.S_IMODE(st.st_mode), st.st_uid), (0o600, owner), f"{what}: mode and owner")
    with open(path, "rb") as f:
        check(MARK in f.read(), f"{what}: nothing was written")
    scene.check_untouched(what)


# ---- the file itself ----

BLOCK, CHARACTER, FIFO = stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO

LAST_PARTS = {
    "a link to a file": lambda s: link(s.ours / "a", s.treasure / "file"),
    "a link to a file that is not there": lambda s: link(s.ours / "b", s.treasure / "new"),
    "a link to a link": lambda s: link(s.ours / "c", link(s.ours / "c2", s.treasure / "file")),
    "a link to a directory": lambda s: link(s.ours / "d", s.treasure),
    "a link to itself": lambda s: link(s.ours / "e", s.ours / "e"),
    "somebody's link in a directory for all": lambda s: link(s.sticky / "f", s.treasure / "file", ATTACKER),
    "somebody's link in their directory": lambda s: link(s.theirs / "g", s.treasure / "new", ATTACKER),
    "another name of a file": lambda s: hard_link(s.ours / "h", s.treasure / "file"),
    "another name in a directory for all": lambda s: hard_link(s.sticky / "i", s.treasure / "file"),
    "somebody's file in a directory for all": lambda s: file(s.sticky / "j", ATTACKER),
    "somebody's file in their directory": lambda s: file(s.theirs / "k", ATTACKER),
    "somebody's pipe in a directory for all": lambda s: node(s.sticky / "l", FIFO, owner=ATTACKER),
    "somebody's pipe in their directory": lambda s: node(s.theirs / "m", FIFO, owner=ATTACKER),
    "a pipe that nobody reads": lambda s: node(s.ours / "n", FIFO),
    "a directory": lambda s: s.place("o", 0),
    "a directory with a slash": lambda s: f"{s.place('p', 0)}/",
    "the directory above": lambda s: f"{s.ours}/..",
    "a disk": lambda s: node(s.ours / "q", BLOCK, os.makedev(7, 199)),
    "the memory": lambda s: node(s.ours / "r", CHARACTER, os.makedev(1, 1)),
    "a watchdog": lambda s: node(s.ours / "t", CHARACTER, os.makedev(10, 130)),
    "a socket": lambda s: unix_socket(s.ours / "u"),
    "a directory that is not there": lambda s: s.ours / "none" / "v",
    "a file as a directory": lambda s: file(s.ours / "w") / "x",
    "a long name": lambda s: s.ours / ("y" * 256),
    "a long path": lambda s: "/".join([str(s.ours)] + ["z" * 200] * 25),
    "standard output by its name": lambda s: "/dev/stdout",
    "a descriptor by its name": lambda s: "/proc/self/fd/2",
    "a file of the kernel": lambda s: "/proc/sys/kernel/core_pattern/x",
}


def nothing_but_a_file_or_pipe_of_ours_is_written(bench):
    scene = Scene(bench)
    for what, make in LAST_PARTS.items():
        path = make(scene)
        before = time.monotonic()
        check_refused(scene, write(scene, path), path, what)
        check(time.monotonic() - before < 10, f"{what}: it took {time.monotonic() - before:.0f} s")
    for path in (scene.sticky / "j", scene.theirs / "k"):
        check_equal(path.read_bytes(), TEXT, "somebody's file")


def nothing_goes_to_the_reader_of_somebodys_pipe(bench):
    scene = Scene(bench)
    path = node(scene.sticky / "pipe", FIFO, owner=ATTACKER)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    check_refused(scene, write(scene, path), path, "a pipe of somebody else")
    check_equal(os.read(reader, 1), b"", "what its reader got")
    os.close(reader)


# ---- the way to it ----


def writable(path, mode, group=0):
    os.chown(path, 0, group)
    path.chmod(mode)
    return path


WAYS = {
    "somebody's link in their directory": lambda s: link(s.theirs / "a", s.treasure, ATTACKER) / "x",
    "a link of ours in their directory": lambda s: link(s.theirs / "b", s.treasure) / "x",
    "somebody's link in a directory for all": lambda s: link(s.sticky / "c", s.treasure, ATTACKER) / "x",
    "a link of ours in a directory that all may change": lambda s: link(writable(s.place("d", 0), 0o777) / "d", s.treasure) / "x",
    "a link of ours in a directory of a group": lambda s: link(writable(s.place("e", 0), 0o775, ATTACKER) / "e", s.treasure) / "x",
    "our link to their link": lambda s: link(s.ours / "f", link(s.theirs / "f", s.treasure, ATTACKER)) / "x",
    "their link, and back": lambda s: f"{link(s.theirs / 'g', s.treasure / 'file', ATTACKER)}/../x",
    "their link, and up": lambda s: f"{link(s.theirs / 'h', s.treasure, ATTACKER)}/../treasure/x",
    "their relative link": lambda s: link(s.theirs / "i", "../treasure", ATTACKER) / "x",
    "their link in the middle": lambda s: link(s.theirs / "j", s.top, ATTACKER) / "treasure" / "x",
    "the root of a process": lambda s: f"/proc/self/root{s.treasure}/x",
    "the directory of a process": lambda s: "/proc/self/cwd/x",
    "links without an end": lambda s: link(s.ours / "k", s.ours / "k") / "x",
}


def a_link_on_the_way_counts_only_where_nobody_else_could_make_it(bench):
    scene = Scene(bench)
    for what, make in WAYS.items():
        path = make(scene)
        check_refused(scene, write(scene, path), path, what)
        check(not (scene.treasure / "x").exists(), f"{what}: there is a new file")


def our_own_links_and_ways_lead_on(bench):
    scene = Scene(bench)
    real = scene.place("real", 0)
    for what, path, where in (
        ("our link to a directory", link(scene.ours / "a", real) / "1", real / "1"),
        ("our relative link", link(scene.ours / "b", "../real") / "2", real / "2"),
        ("our link in a directory for all", link(scene.sticky / "c", real) / "3", real / "3"),
        ("a relative path", "4", scene.ours / "4"),
        ("up and down", "../ours/./../ours//5", scene.ours / "5"),
        ("a directory of somebody else", scene.theirs / "6", scene.theirs / "6"),
        ("a directory for all", scene.sticky / "7", scene.sticky / "7"),
        ("a file of ours that is there", file(scene.ours / "8"), scene.ours / "8"),
    ):
        check_written(scene, write(scene, path), where, what)


# ---- under sudo ----


def who_called_sudo_is_not_trusted_with_links(bench):
    """What is traced may run as the caller, who then gets the file that root made."""
    scene = Scene(bench)
    for what, path in (
        ("the caller's link to a directory", link(scene.callers / "a", scene.treasure, CALLER) / "x"),
        ("the caller's link to a file", link(scene.callers / "b", scene.treasure / "file", CALLER)),
        ("another name of a file", hard_link(scene.callers / "c", scene.treasure / "file")),
        ("somebody's file", file(scene.sticky / "d", ATTACKER)),
        ("somebody's pipe", node(scene.sticky / "e", FIFO, owner=ATTACKER)),
    ):
        check_refused(scene, write(scene, path, SUDO), path, what)
    for what, path in (
        ("a new file", scene.callers / "f"),
        ("a file of the caller", file(scene.callers / "g", CALLER)),
        ("a file of root", file(scene.callers / "h")),
        ("a new file in a directory for all", scene.sticky / "i"),
    ):
        check_written(scene, write(scene, path, SUDO), path, what, CALLER)


# ---- every option that names a file ----


def every_option_that_names_a_file_asks_the_same(bench):
    scene = Scene(bench)
    short = ("-q", "-d", "0.01")
    ways = {
        "system --output": lambda p: ["system", *short, f"--output={p}"],
        "system --log-file": lambda p: ["system", *short, "--log-file", p],
        "record -o": lambda p: ["record", *short, "-c", "nobody", "-o", p],
        "process -o": lambda p: ["process", *short, "-o", p],
        "run --out": lambda p: ["run", "-q", "--out", p, "--", "true"],
        "run -o, denet": lambda p: ["run", "-q", "--format", "denet", "-o", p, "--", "true"],
        "attach -o": lambda p: ["attach", *short, "-o", p, str(os.getpid())],
        "stats -o": lambda p: ["stats", "-o", p, scene.recording],
        "stats --html": lambda p: ["stats", "--html", p, scene.recording],
        "diff -o": lambda p: ["diff", "-o", p, scene.recording, scene.recording],
    }
    for number, (what, words) in enumerate(ways.items()):
        refused = {
            "a link": link(scene.ours / f"a{number}", scene.treasure / "file"),
            "their link on the way": link(scene.theirs / f"b{number}", scene.treasure, ATTACKER) / "x",
            "somebody's file": file(scene.sticky / f"c{number}", ATTACKER),
        }
        # each meets one of them: that all are refused is known
        kind, path = list(refused.items())[number % 3]
        check_refused(scene, run(scene, words(path)), path, f"{what}: {kind}")
        path = scene.ours / f"d{number}"
        done = run(scene, words(path))
        check_equal(done.returncode, 0, f"{what}: status, it says {done.stderr}")
        check_equal(stat.S_IMODE(path.stat().st_mode), 0o600, f"{what}: mode")
        scene.check_untouched(what)


# ---- at the same time ----


def exchange(a, b):
    """The two names change places; there is no moment without either."""
    libc.renameat2(AT_FDCWD, os.fsencode(str(a)), AT_FDCWD, os.fsencode(str(b)), RENAME_EXCHANGE)


class Racer(threading.Thread):
    """Changes two names all the time."""

    def __init__(self, a, b):
        super().__init__(daemon=True)
        self.names, self.over = (a, b), threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            exchange(*self.names)

    def stop(self):
        self.over.set()
        self.join()


def race(scene, a, b, path, times):
    racer = Racer(a, b)
    done = [write(scene, path) for _ in range(times)]
    racer.stop()
    for one in done:
        check(one.returncode in (0, 1), f"it ended with {one.returncode}: {one.stderr}")
    return sum(one.returncode == 0 for one in done)


def who_changes_names_meanwhile_gains_nothing(bench):
    scene = Scene(bench)
    place = scene.theirs / "place"
    place.mkdir()
    away = link(scene.theirs / "away", scene.treasure, ATTACKER)
    written = race(scene, place, away, place / "file", 60)
    scene.check_untouched("a directory that turns into a link")
    mine, name = file(scene.sticky / "mine"), link(scene.sticky / "name", scene.treasure / "file", ATTACKER)
    written += race(scene, mine, name, name, 60)
    scene.check_untouched("a file that turns into a link")
    theirs = file(scene.sticky / "theirs", ATTACKER)
    race(scene, mine, theirs, theirs, 60)
    for path in (mine, theirs):
        if path.stat().st_uid == ATTACKER:
            check_equal(path.read_bytes(), TEXT, "the file of somebody else")
    check(written > 0, "no run won: nothing was tried")


def a_directory_that_is_swapped_takes_no_reopened_file(bench):
    scene = Scene(bench)
    place = scene.theirs / "place"
    place.mkdir()
    sight = bench.spawn([AGENTSIGHT, "system", "-v", "-i", "0.05", "-o", place / "file"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_until("the first line", lambda: (place / "file").exists() and (place / "file").stat().st_size)
    place.rename(scene.theirs / "moved")
    link(place, scene.treasure, ATTACKER)
    sight.send_signal(signal.SIGHUP)
    size = (scene.theirs / "moved/file").stat().st_size
    wait_until("more lines", lambda: (scene.theirs / "moved/file").stat().st_size > size + 2000)
    sight.send_signal(signal.SIGTERM)
    message = sight.communicate()[1]
    check_equal(sight.returncode, 0, "status")
    check(b"going on with the file that is open" in message, f"it says {message}")
    scene.check_untouched("a directory that was swapped")
    shutil.rmtree(scene.theirs / "moved")


TESTS = [
    nothing_but_a_file_or_pipe_of_ours_is_written,
    nothing_goes_to_the_reader_of_somebodys_pipe,
    a_link_on_the_way_counts_only_where_nobody_else_could_make_it,
    our_own_links_and_ways_lead_on,
    who_called_sudo_is_not_trusted_with_links,
    every_option_that_names_a_file_asks_the_same,
    who_changes_names_meanwhile_gains_nothing,
    a_directory_that_is_swapped_takes_no_reopened_file,
]
