# SPDX-License-Identifier: MIT
"""Names that want to do something to the terminal of whoever reads them."""

import base64
import os
import pty
import re
import select
import struct
import subprocess
import termios
import fcntl
import tty
import unicodedata

from real import AGENTSIGHT, PYTHON, Stream, check, check_equal

NAMES = [
    b"new\nline",
    b"quo\"te'`$(id)\\",
    b"\x1b[2J\x1b]0;title\x07",
    b"\x1b[31mred\x1b[0m",
    b"\xff\xfe\x80bad",
    b"c1\xc2\x9b2J\xc2\x90",
    b"\x9b2Jraw",
    b"ta\tb\rback\x08\x7f",
    "right\u202eleft\u2066".encode(),
    "na\u00efve\u4e2d\U0001f600".encode(),
]

WORKLOAD = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
top = os.fsencode(sys.argv[1])
for text in sys.argv[2:]:
    name = bytes.fromhex(text)
    os.mkdir(os.path.join(top, name))
    path = os.path.join(top, name, name)
    with open(path, "wb") as f:
        f.write(name)
    pid = os.fork()
    if pid == 0:
        libc.prctl(15, name[:15], 0, 0, 0)
        os.rename(path, path + b".2")
        os.execv("/bin/true", [name, b"--" + name])
    os.waitpid(pid, 0)
    os.unlink(path + b".2")
"""


def read_terminal(master):
    """All that was written to the terminal, until the last who had it open is gone."""
    pieces = []
    while True:
        select.select([master], [], [])
        try:
            piece = os.read(master, 65536)
        except OSError:
            return b"".join(pieces)
        pieces.append(piece)


def record_on_a_terminal(bench, *command):
    """What agentsight wrote on its terminal, and the stream."""
    output = bench.dir / "recording.json"
    master, slave = pty.openpty()
    tty.setraw(slave)  # the line discipline changes nothing
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
    argv = [AGENTSIGHT, "record", "-v", "-o", str(output), "--", *command]
    process = bench.spawn(argv, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env={"TERM": "xterm"})
    os.close(slave)
    shown = read_terminal(master)
    os.close(master)
    check_equal(process.wait(), 0, f"agentsight's status, after {shown[-300:]}")
    return shown, Stream(output)


def exact(data, field):
    """The bytes of a field, or of an array of them."""
    if field + "_base64" not in data:
        texts = data.get(field, "")
        return [t.encode() for t in texts] if isinstance(texts, list) else texts.encode()
    texts = data[field + "_base64"]
    return [base64.b64decode(t) for t in texts] if isinstance(texts, list) else base64.b64decode(texts)


def forbidden(text):
    """Control characters, and those that turn the direction of what follows."""
    return sorted({c for c in text if (unicodedata.category(c) == "Cc" and c != "\n") or c in "\u202e\u2066"})


def hostile_names_do_nothing_to_the_terminal(bench):
    work = bench.dir / "work"
    work.mkdir()
    shown, stream = record_on_a_terminal(
        bench, PYTHON, "-I", "-c", WORKLOAD, str(work), *(name.hex() for name in NAMES)
    )
    check(re.search(rb"\x1b\[[0-9;]+m", shown), "there are no colours, so this was no terminal")
    text = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode("utf-8", "strict")
    check(not forbidden(text), f"on the terminal: {forbidden(text)!r}")
    check("na\u00efve\u4e2d\U0001f600" in text, "a harmless name is not shown as it is")

    top = os.fsencode(work)
    for name in NAMES:
        path = os.path.join(top, name, name)
        for kind, field, want in (
            ("mkdir", "path", os.path.join(top, name)),
            ("open", "path", path),
            ("write", "path", path),
            ("rename", "new_path", path + b".2"),
            ("unlink", "path", path + b".2"),
        ):
            found = [e for e in stream.select("file", kind) if exact(e["data"], field) == want]
            check_equal(len(found), 1, f"events file.{kind} of {name}")
        renamed = [e for e in stream.select("file", "rename") if exact(e["data"], "path") == path]
        check_equal(exact(renamed[0], "comm"), name[:15], "the name of the process")
        argvs = [exact(e["data"], "argv") for e in stream.select("process", "exec")]
        check([name, b"--" + name] in argvs, f"no exec has {name} in its argv")


TESTS = [hostile_names_do_nothing_to_the_terminal]
