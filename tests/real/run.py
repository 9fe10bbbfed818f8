#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""run.py [NAME...]: agentsight beside real programs: curl, python3, node, nginx, the shell.

Prints one line per test and a closing line "N passed, N failed, N skipped". Needs root. A test
that fails leaves its directory and says where.
"""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bodies  # noqa: E402
import command  # noqa: E402
import exchanges  # noqa: E402
import harm  # noqa: E402
import hostile  # noqa: E402
import libraries  # noqa: E402
import models  # noqa: E402
import monitor  # noqa: E402
import multiplex  # noqa: E402
import network  # noqa: E402
import paths  # noqa: E402
import redaction  # noqa: E402
import report  # noqa: E402
import steady  # noqa: E402
import system  # noqa: E402
import tls  # noqa: E402
import whole  # noqa: E402
import without_tls  # noqa: E402
from real import AGENTSIGHT, TIMEOUT_S, Bench, Failure, Skip  # noqa: E402


def out_of_time(signum, frame):
    raise Failure("it did not end in time")


def run_one(name, test):
    """'passed', 'failed' or 'skipped'."""
    bench = Bench()
    result = "failed"
    begin = time.monotonic()
    signal.alarm(TIMEOUT_S)
    try:
        test(bench)
        result = "passed"
        print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    except Skip as e:
        result = "skipped"
        print(f"skip {name} - {e}", flush=True)
    except Failure as e:
        print(f"not ok {name} - {e}", flush=True)
    except Exception as e:  # a program missing, a line that is no JSON: each is a failure of this test alone
        print(f"not ok {name} - {type(e).__name__}: {e}".replace("\n", " "), flush=True)
    finally:
        signal.alarm(0)
        bench.close(keep=result == "failed")
    return result


def main():
    tests = {t.__name__: t for module in (command, monitor, network, paths, tls, libraries, exchanges, bodies, multiplex, models, steady, system, redaction, report, hostile, harm, without_tls, whole) for t in module.TESTS}
    names = sys.argv[1:] or list(tests)
    unknown = [n for n in names if n not in tests]
    if unknown:
        sys.exit(f"run.py: no test {', '.join(unknown)}; there are:\n  " + "\n  ".join(tests))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    if os.geteuid() != 0:
        for name in names:
            print(f"skip {name} - it needs root")
            counts["skipped"] += 1
    elif not os.access(AGENTSIGHT, os.X_OK):
        print(f"not ok real - there is no program {AGENTSIGHT}")
        counts["failed"] += 1
    else:
        signal.signal(signal.SIGALRM, out_of_time)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who starts the tests may have nohup(1) ignore it
        for name in names:
            counts[run_one(name, tests[name])] += 1
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    return counts["failed"] > 0 or counts["passed"] == 0


if __name__ == "__main__":
    sys.exit(main())
