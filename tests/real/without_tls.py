# SPDX-License-Identifier: MIT
"""Programs that have no TLS in them, some with libcrypto: nothing is attached to them, and why is said."""

import os
import shutil
import subprocess

from real import ENVIRONMENT, Skip, check, check_equal, library_of, wait_until

# They read until the end of their input. The last one loads libcrypto itself.
FILTERS = [
    ["cat"], ["sort"], ["wc"], ["head"], ["tail"], ["tac"], ["nl"], ["od"], ["tr", "a", "b"], ["cut", "-b1"], ["uniq"],
    ["fold"], ["fmt"], ["paste"], ["tee"], ["md5sum"], ["sha256sum"], ["base64"], ["cksum"], ["sed", "p"], ["grep", "x"],
    ["gzip", "-c"], ["bash"], ["expand"], ["shuf"], ["python3", "-c", "import hashlib, sys; sys.stdin.read()"],
]  # fmt: skip
# These, too, and they have libcrypto.
CRYPTO = [["ssh-keygen", "-lf", "-"], ["gdb", "-nx", "-q"]]
LEAST = 20


def installed(argvs):
    for argv in argvs:
        path = shutil.which(argv[0], path=ENVIRONMENT["PATH"])
        if path and not library_of(path):
            yield [os.path.realpath(path), *argv[1:]]


def nothing_is_attached_to_programs_without_TLS(bench):
    argvs = [*installed(FILTERS), *(a for a in installed(CRYPTO) if library_of(a[0], "libcrypto.so"))]
    if len(argvs) < LEAST:
        raise Skip(f"only {len(argvs)} such programs are installed")
    options = dict(stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    programs = [bench.spawn(argv, **options) for argv in argvs]
    for argv, program in zip(argvs, programs):
        wait_until(f"{argv[0]} to run", lambda p=program: runs(p))
    sight = bench.sight("record", "-p", ",".join(str(p.pid) for p in programs))
    for argv in argvs:
        wait_until(f"a word about {argv[0]}", lambda a=argv: said(sight, a[0]))
    for program in programs:
        program.kill()
        program.wait()
    stream = sight.stop()

    paths = {argv[0] for argv in argvs} | {str(library_of(a[0], "libcrypto.so")) for a in argvs}
    hooks = {e["data"].get("hook", "") for e in stream.select("agentsight", "capability")}
    attached = [p for p in paths if any(hook.endswith(p) for hook in hooks)]
    check_equal(attached, [], "files that something was attached to")
    for argv in argvs:
        line = said(sight, argv[0])
        check("; no TLS" in line, f"no reason is given: {line}")
    check(not stream.select("ssl", "data"), "there is plaintext")


def said(sight, path):
    """What the search of the file came to; also what came from the cache. None as long as it goes on."""
    lines = sight.messages().splitlines()
    return next((line for line in lines if f"tls: {path}: " in line and ": 0 sites" in line), None)


def runs(program):
    """It is past its start: it waits, in its own image."""
    check(program.poll() is None, f"{program.args} ended with {program.returncode}")
    with open(f"/proc/{program.pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "S"


TESTS = [nothing_is_attached_to_programs_without_TLS]
