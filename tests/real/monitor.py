# SPDX-License-Identifier: MIT
"""What `run` and `attach` measure, against programs that know what they used; what `stats` and `diff` make of it, and
what is said of wrong arguments."""

import json
import os
import subprocess

from command import run, samples
from real import AGENTSIGHT, ENVIRONMENT, PYTHON, check, check_equal, die_with_parent

NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}

# One second of CPU time, one of sleep, and so on; then what was really used and how long it took.
SQUARE_WAVE = """
import json, sys, time
begin = time.monotonic()
for i in range(int(sys.argv[1])):
    end = time.process_time() + 1
    while time.process_time() < end:
        pass
    time.sleep(1)
json.dump({"cpu_s": time.process_time(), "wall_s": time.monotonic() - begin}, open(sys.argv[2], "w"))
"""

# Nothing, then memory that grows by a tenth each time, then short work, then files, then nothing again.
MANY_KINDS = """
import sys, time
time.sleep(2)
hold = []
for i in range(12):
    hold.append(b"x" * (4 << 20) if i % 3 else b"y" * (200 << 10))
    time.sleep(0.15)
for i in range(60):
    end = time.process_time() + 0.0005 * i
    while time.process_time() < end:
        pass
    time.sleep(0.05)
with open(sys.argv[1], "wb") as file:
    for i in range(40):
        file.write(bytes(i * 5000))
        file.flush()
        time.sleep(0.05)
time.sleep(2)
"""

# 20 MB a second; its slope is known from the fifth one on.
LEAK = """
import time
hold = []
for i in range(100):
    hold.append(b"x" * (2 << 20))
    time.sleep(0.1)
raise SystemExit(int(len(hold) != 100))
"""

USE = """
import sys, time
hold = b"x" * (int(sys.argv[1]) << 20)
while time.process_time() < float(sys.argv[2]):
    pass
sys.stdout.buffer.write(bytes(int(sys.argv[3])))
time.sleep(0.5)
"""


def stats(path, *options):
    done = subprocess.run([AGENTSIGHT, "stats", "--json", *options, path], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def trees_of(path):
    return [e["data"] for e in samples(path)]


def percent(data):
    return float(data["cpu"]["percent"])


# ---- means ----


def check_wave(path, truth, off_s):
    """The mean of `stats`, the rows behind it and the sums all say the same, and the truth."""
    tree = stats(path)["tree"]
    rows = trees_of(path)
    seconds = sum(row["interval_ns"] for row in rows) / 1e9
    # the start and the end of the command are in the recording, too
    check(-0.1 < seconds - truth["wall_s"] < 5, f"{seconds} s recorded of {truth['wall_s']} s")
    mean, want = tree["cpu_percent"]["mean"], 100 * truth["cpu_s"] / seconds
    check(abs(mean - want) <= want / 100, f"{mean} % on average instead of {want:.2f} %")
    total = tree["totals"]["cpu_ns"] / 1e9
    check(abs(total - truth["cpu_s"]) <= truth["cpu_s"] / 100, f"{total} s instead of {truth['cpu_s']} s")
    area = sum(percent(row) / 100 * row["interval_ns"] / 1e9 for row in rows)
    check(abs(area / seconds * 100 - mean) < 0.02, f"{area / seconds * 100} % by the rows, {mean} % by stats")
    check(abs(area - total) < off_s, f"{area} s by the percentages, {total} s by the sums")
    check(tree["cpu_percent"]["min"] < mean / 2 < 1.2 * mean < tree["cpu_percent"]["max"], f"not a wave: {tree['cpu_percent']}")


def a_square_wave_has_its_mean_at_every_pace(bench):
    """All at once: each tells its own truth, however little of the machine it gets."""
    home = bench.dir / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    runs = [("time", {}), ("activity", {}), ("fixed", {}), ("time", NOBODY)]
    children = []
    for i, (mode, who) in enumerate(runs):
        log, truth = home / f"log{i}", home / f"truth{i}"
        words = ["run", "-q", "--adaptive", mode, "-o", log, "--", PYTHON, "-I", "-S", "-c", SQUARE_WAVE, "5", truth]
        child = subprocess.Popen([AGENTSIGHT, *words], cwd=home, env=ENVIRONMENT, preexec_fn=die_with_parent, **who)
        bench.processes.append(child)
        children.append((mode, who, child, log, truth))
    for mode, who, child, log, truth in children:
        check_equal(child.wait(), 0, f"exit status with --adaptive {mode}")
        # without root `stats` leaves out what the command used until the first sample
        check_wave(log, json.loads(truth.read_text()), 0.02 if who else 0.005)


# ---- the pace ----

BASE_MS, MOST_MS = 50, 800


def moved(now, before):
    high, low = max(now, before), min(now, before)
    return (high - low) / high if high else 0


def planned_ns(trees):
    """By docs/MONITOR.md, what `next_ns` of each must be."""
    cpu = rss = io = rate = 0
    for tree in trees:
        last_cpu, last_rss, last_rate = cpu, rss, rate
        cpu, rss = percent(tree), tree["memory"].get("rss_kb", 0)
        sums = tree.get("io", {})
        total = sum(sums.get(key, 0) for key in ("read_bytes", "write_bytes", "rchar", "wchar"))
        rate, io = (total - io) * 1e9 / tree["interval_ns"], total
        a = max(abs(cpu - last_cpu) / 100, moved(rss, last_rss))
        if max(rate, last_rate) >= 65536:
            a = max(a, moved(rate, last_rate))
        if tree["reason"] != "timer":
            a = 1
        yield max(MOST_MS * 1e6 * 2 ** (-8 * min(a, 1)), BASE_MS * 1e6)


def the_pace_by_activity_is_the_formula(bench):
    pace = ["-i", str(BASE_MS), "-m", str(MOST_MS), "--adaptive", "activity"]
    done = run(bench, "run", "-q", "-o", "log.json", *pace, "--", PYTHON, "-I", "-S", "-c", MANY_KINDS, "file")
    check_equal(done.returncode, 0, f"exit status; {done.stderr}")
    trees = trees_of(bench.dir / "log.json")
    check_equal(trees.pop()["reason"], "last", "why the last sample was taken")
    for i, (tree, want) in enumerate(zip(trees, planned_ns(trees))):
        # the rate is whole bytes there
        check(abs(tree["next_ns"] - want) <= want / 1000, f"{tree['next_ns']} ns instead of {want:.0f} ns in {i}: {tree}")
    plans = [tree["next_ns"] for tree in trees]
    check(min(plans) == BASE_MS * 10**6 and max(plans) > 0.9 * MOST_MS * 10**6, f"from {min(plans)} to {max(plans)}")
    between = sum(1.1 * BASE_MS * 10**6 < plan < 0.9 * MOST_MS * 10**6 for plan in plans)
    check(between >= 5, f"only {between} of {len(plans)} plans between the two ends say anything")
    # and it is kept: no sample came before its time unless something forced it
    for before, tree in zip(trees, trees[1:]):
        if tree["reason"] == "timer":
            check(tree["interval_ns"] > before["next_ns"] / 2, f"{tree['interval_ns']} ns behind {before['next_ns']}")


def trees_that_rest_are_looked_at_rarely(bench):
    """Each for itself rests; that one is larger than the other is no activity."""
    sleepers = [
        bench.spawn(["sleep", "60"]),
        bench.spawn([PYTHON, "-I", "-c", "import time; hold = b'x' * (50 << 20); print(flush=True); time.sleep(60)"], stdout=-1),
    ]
    sleepers[1].stdout.readline()
    words = ["-i", str(BASE_MS), "-m", str(MOST_MS), "--adaptive", "activity", "-d", "4", "-o", "log.json"]
    done = run(bench, "attach", "-q", *words, *(str(s.pid) for s in sleepers))
    check_equal(done.returncode, 0, f"exit status; {done.stderr}")
    events = samples(bench.dir / "log.json")
    check_equal({e["pid"] for e in events}, {s.pid for s in sleepers}, "trees")
    rests = [e["data"]["next_ns"] for e in events if e["data"]["reason"] == "timer"][4:]
    check(rests and min(rests) > 0.9 * MOST_MS * 10**6, f"planned: {rests}")


def a_fixed_pace_stays(bench):
    done = run(bench, "run", "-q", "-o", "log.json", "-i", "40", "--adaptive", "fixed", "--", "sleep", "4")
    check_equal(done.returncode, 0, "exit status")
    trees = trees_of(bench.dir / "log.json")
    check_equal({tree["next_ns"] for tree in trees[:-1]}, {40_000_000}, "planned")
    check(len(trees) > 15, f"{len(trees)} samples in 4 s")


# ---- alerts ----


def check_alert(rows, start, end):
    """min, avg, max of the samples in between, each weighing as much as the time before it."""
    held = [r["data"] for r in rows if start["timestamp"] <= r["timestamp"] < end["timestamp"]]
    mib = [(d["memory"]["rss_kb"] / 1024, d["interval_ns"]) for d in held]
    want = {
        "min": min(value for value, _ in mib),
        "max": max(value for value, _ in mib),
        "avg": sum(value * ns for value, ns in mib) / sum(ns for _, ns in mib),
    }
    for key, value in want.items():
        check(abs(end["data"][key] - value) <= value / 200, f"{key} is {end['data'][key]} instead of {value:.2f}")
    off = end["data"]["duration_ns"] - (end["timestamp"] - start["timestamp"])
    check(abs(off) < 1_000_000, f"the duration is {off} ns off")
    check_equal(end["data"]["value"], end["data"]["max"], "the peak")


def a_leak_is_told_before_its_limit_and_fails_a_script(bench):
    alerts = ["--alert", "rss.slope > 10MB/min for 500ms", "--alert", "rss > 160MB", "--exit-over"]
    done = run(bench, "run", "-q", "-o", "log.json", *alerts, "--", PYTHON, "-I", "-S", "-c", LEAK)
    check_equal(done.returncode, 4, f"exit status; {done.stderr}")
    events = [json.loads(line) for line in open(bench.dir / "log.json")]
    told = {}
    for e in events:
        if e["source"] == "alert":
            told.setdefault((e["data"]["metric"], e["data"]["state"]), e)
    check_equal(
        set(told), {(m, s) for m in ("rss.slope", "rss") for s in ("start", "end")}, "alerts, and the states of each"
    )
    check(told["rss.slope", "start"]["timestamp"] < told["rss", "start"]["timestamp"], "the limit was told first")
    pid = told["rss", "start"]["pid"]
    rows = [e for e in samples(bench.dir / "log.json", "system_metrics") if e["pid"] == pid]
    check_alert(rows, told["rss", "start"], told["rss", "end"])
    check_equal(stats(bench.dir / "log.json")["alerts_seen"], 2, "alerts in the statistics")


def exit_over_leaves_other_statuses_alone(bench):
    never, ever = ["--alert", "rss > 1000GB"], ["--alert", "tree.processes >= 1"]
    for words, script, status in (
        (never, "sleep 0.3", 0),
        (ever, "sleep 2", 4),
        (ever, "sleep 2; exit 7", 7),
        (ever, "sleep 2; kill -9 $$", 137),
        (["--alert", "exit_code != 0"], "exit 7", 7),
    ):
        done = run(bench, "run", "-q", "--exit-over", *words, "--", "sh", "-c", script)
        check_equal(done.returncode, status, f"exit status of {script} with {words}")


# ---- two recordings ----


def diff_tells_what_became_more(bench):
    for name, use in (("a", ("30", "0.3", "1000")), ("b", ("90", "0.9", "5000"))):
        done = run(bench, "run", "-q", "-i", "50", "-o", name, "--", PYTHON, "-I", "-S", "-c", USE, *use)
        check_equal(done.returncode, 0, "exit status")
    told = json.loads(run(bench, "diff", "--json", "a", "b").stdout)
    metrics = {m["name"]: m for m in told["metrics"]}
    cpu, rss, wchar = (metrics[name] for name in ("totals.cpu_ns", "rss_kb.max", "totals.wchar"))
    check(0.55e9 < cpu["change"] < 0.75e9, f"CPU: {cpu}")
    check(abs(cpu["percent"] - 100 * cpu["change"] / cpu["a"]) < 0.01, f"percent: {cpu}")
    check(59 << 10 <= rss["change"] <= 62 << 10, f"memory: {rss}")
    check_equal(wchar["change"], 4000, "bytes that were written")
    names = {n["comm"]: n for n in told["names"]}
    python = next(n for comm, n in names.items() if comm.startswith("python3"))
    check_equal((python["a"]["processes"], python["b"]["processes"]), (1, 1), "processes by that name")
    check(0.55e9 < python["b"]["cpu_ns"] - python["a"]["cpu_ns"] < 0.75e9, f"by name: {python}")

    same = json.loads(run(bench, "diff", "--json", "a", "a").stdout)
    changed = [m for m in same["metrics"] if m.get("change")]
    check_equal(changed, [], "changes between a recording and itself")
    text = run(bench, "diff", "a", "b").stdout.decode()
    check("CPU time" in text and "+" in text, f"as text: {text}")


def what_ended_before_a_sample_has_no_means(bench):
    done = run(bench, "run", "-i", "1s", "--", "sh", "-c", "/bin/true; sleep 1.5")
    check_equal(done.returncode, 0, "exit status")
    rows = done.stderr.decode().partition("\nProcesses\n")[2].splitlines()
    words = {row.split()[0]: row.split() for row in rows if row}
    check_equal(words["true"][4:7], ["-", "-", "-"], f"columns of true in {rows}")
    check("-" not in words["sleep"][4:7], f"columns of sleep in {rows}")


# ---- without root ----


def an_ordinary_user_follows_what_is_theirs(bench):
    """Also a process that runs already, as long as it lives; of root's there is less, but no failure."""
    home = bench.dir / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    theirs = subprocess.Popen(["sleep", "4"], preexec_fn=die_with_parent, **NOBODY)
    bench.processes += [theirs]
    roots = bench.spawn(["sleep", "30"])
    done = run(bench, "attach", "-q", "-i", "50", "-o", home / "log.json", str(theirs.pid), **NOBODY)
    check_equal(done.returncode, 0, f"exit status; {done.stderr}")
    rows = samples(home / "log.json", "system_metrics")
    check(len(rows) > 5 and {e["pid"] for e in rows} == {theirs.pid}, f"{len(rows)} rows")
    done = run(bench, "attach", "-q", "-d", "0.5", "-o", home / "roots.json", str(roots.pid), **NOBODY)
    check_equal(done.returncode, 0, f"exit status; {done.stderr}")
    check({e["pid"] for e in samples(home / "roots.json")} == {roots.pid}, "no row of root's process")


# ---- what is said of mistakes ----


def a_mistake_is_named_with_what_to_do(bench):
    (bench.dir / "empty").write_bytes(b"")
    (bench.dir / "binary").write_bytes(os.urandom(5000))
    check_equal(run(bench, "run", "-q", "-o", "fine", "--", "sleep", "0.2").returncode, 0, "a recording")
    for line, status, *said in (
        ("run", 2, "agentsight run -- make"),
        ("run -q --", 2, "missing after '--'"),
        ("attach", 2, "agentsight attach 1234", "-c"),
        ("attach sleep", 2, "'sleep'", "--comm"),
        ("attach 0", 2, "'0'", "process id"),
        ("attach 4194304", 1, "no process 4194304"),
        ("stats", 2, "Name recordings"),
        ("stats missing", 1, "'missing'", "No such file"),
        ("stats empty", 1, "'empty' holds nothing"),
        ("stats binary", 1, "'binary' holds nothing"),
        ("stats .", 1, "directory"),
        ("stats --html /nonexistent/page fine", 1, "/nonexistent/page"),
        ("diff fine", 2, "two recordings"),
        ("diff fine fine fine", 2, "two recordings"),
        ("diff fine missing", 1, "'missing'"),
        ("diff fine empty", 1, "'empty'"),
        ("run --alert nonsense -- true", 2, "no metric 'nonsense'", "there are cpu"),
        ("run --alert rss>5 -- true", 2, "500MB", "^"),
        ("run --exit-over -- true", 2, "--exit-over needs an alert", "--alert 'cpu"),
        ("run --on-alert x -- true", 2, "--on-alert needs an alert"),
        ("run --interval 0 -- true", 2, "--interval", "'0'"),
        ("run --max-interval x -- true", 2, "--max-interval", "'x'"),
        ("run -i 500 -m 100 -- true", 2, "--max-interval is shorter than --interval"),
        ("run --adaptive x -- true", 2, "time, activity or fixed"),
        ("run --format x -- true", 2, "agentsight or denet"),
        ("run --env A=b -- true", 2, "'A=b'", "NAME[,NAME...]"),
        ("run --filter ( -- true", 2, "filter"),
        ("run -o /nonexistent/file -- true", 1, "/nonexistent/file"),
        ("run --no-such -- true", 2, "'--no-such'", "--help"),
        ("runn", 2, "'runn'", "--help"),
        ("run nonexistent-program", 127, "'nonexistent-program'"),
        ("run ./empty", 126, "'./empty'", "Permission denied"),
    ):
        done = run(bench, *line.split())
        text = done.stderr.decode()
        check_equal(done.returncode, status, f"exit status of '{line}', which said {text}")
        for words in said:
            check(words in text, f"'{line}' says {text!r}, without {words!r}")
        check(done.stdout == b"" and "All processes" not in text, f"'{line}' shows more than its error: {text}")


TESTS = [
    a_square_wave_has_its_mean_at_every_pace,
    the_pace_by_activity_is_the_formula,
    trees_that_rest_are_looked_at_rarely,
    a_fixed_pace_stays,
    a_leak_is_told_before_its_limit_and_fails_a_script,
    exit_over_leaves_other_statuses_alone,
    diff_tells_what_became_more,
    what_ended_before_a_sample_has_no_means,
    an_ordinary_user_follows_what_is_theirs,
    a_mistake_is_named_with_what_to_do,
]
