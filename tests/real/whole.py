# SPDX-License-Identifier: MIT
"""The documented lines for jq, and the demonstration."""

import json
import re
import shutil
import subprocess
from collections import Counter

from real import AGENTSIGHT, ENVIRONMENT, PYTHON, TOP, Skip, Stream, check, check_equal, need, wait_until

# Word for word as they are promised.
COMPLETE = """jq -r 'select(.source == "ssl" and .data.request.path == "/v1/complete") | .timestamp' log.json"""
BUSY = """jq -r 'select(.source == "system" and (.data.cpu.percent | tonumber) > 50) | .timestamp' log.json"""
PERCENT = (
    """cat agent_metrics.log | jq -r 'select(.source == "system") | """
    """"[\\(.data.timestamp)] CPU: \\(.data.cpu.percent)%"' | head -20"""
)
MEMORY = """cat agent_metrics.log | jq -r 'select(.source == "system") | .data.memory.rss_mb' | sort -n | tail -1"""
ALERTS = """cat alerts.log | jq 'select(.data.alert == true)'"""

AGENT = """
import http.client, select, ssl, sys
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl._create_unverified_context())
connection.request("POST", "/v1/complete", b"{}")
connection.getresponse().read()
while not select.select([sys.stdin], [], [], 0)[0]:
    sum(range(10000))
"""


def pipe(bench, line):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=bench.dir, env=ENVIRONMENT, capture_output=True, check=False
    )
    # head closes the pipe when it has seen enough
    check(done.returncode in (0, 141) and not done.stderr, f"{line} ended with {done.returncode}: {done.stderr}")
    return done.stdout.decode()


def rounded(value):
    """Numbers as jq knows them: older ones keep 53 bits."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def numbers(text):
    return [float(line) for line in text.split()]


def check_lines(bench, stream):
    system = [e for e in stream.events if e["source"] == "system"]
    asked = [e for e in stream.events if e["data"].get("request", {}).get("path") == "/v1/complete"]
    busy = [e for e in system if float(e["data"]["cpu"]["percent"]) > 50]
    alerts = [e for e in stream.events if e["data"].get("alert") is True]

    want = [float(e["timestamp"]) for e in asked if e["source"] == "ssl"]
    check_equal(numbers(pipe(bench, COMPLETE)), want, COMPLETE)
    check_equal(numbers(pipe(bench, BUSY)), [float(e["timestamp"]) for e in busy], BUSY)
    lines = [re.fullmatch(r"\[(\d+)\] CPU: (\d+\.\d\d)%", line) for line in pipe(bench, PERCENT).splitlines()]
    check(all(lines), PERCENT)
    want = [(float(e["data"]["timestamp"]), e["data"]["cpu"]["percent"]) for e in system[:20]]
    check_equal([(float(m[1]), m[2]) for m in lines], want, PERCENT)
    check_equal(numbers(pipe(bench, MEMORY)), [max(e["data"]["memory"]["rss_mb"] for e in system)], MEMORY)
    decoder, text, printed = json.JSONDecoder(), pipe(bench, ALERTS), []
    while text := text.lstrip():
        event, end = decoder.raw_decode(text)
        printed.append(rounded(event))
        text = text[end:]
    check_equal(printed, [rounded(e) for e in alerts], ALERTS)
    return system, busy, alerts


def the_documented_jq_lines_work_word_for_word(bench):
    need("jq")
    peer = bench.peer(tls=True)
    agent = bench.hold(["nice", "-n", "-19", PYTHON, "-I", "-c", AGENT, str(peer.port)])
    limits = ["--system-interval", "0.1", "--cpu-threshold", "50"]
    sight = bench.sight("record", "-p", str(agent.pid), *limits)
    sight.wait_for("a quiet sample", lambda e: e["source"] == "system" and e["data"]["cpu"]["percent"] == "0.00")
    bench.release(agent)
    wait_until("busy samples", lambda: sum(e["data"].get("alert") is True for e in sight.lines()) >= 5)
    bench.release(agent)
    bench.finish(agent)
    stream = sight.stop()
    for name in ("log.json", "agent_metrics.log", "alerts.log"):
        shutil.copy(sight.output, bench.dir / name)

    system, busy, alerts = check_lines(bench, stream)
    counts = len(system), len(busy), len(alerts)
    check(counts[0] > counts[1] > 0 and counts[2] >= 5, f"samples, busy ones and those with an alert: {counts}")
    check(stream.select("ssl", "data", agent.pid), "the request is not in the stream")


def the_documented_jq_lines_work_on_the_whole_machine(bench):
    """A sample of the machine has the same members."""
    need("jq")
    sight = bench.sight("system", "--interval", "0.2")
    sight.wait_for("a sample", lambda e: e["data"]["type"] == "system_wide")
    stream = sight.stop()
    for name in ("log.json", "agent_metrics.log", "alerts.log"):
        shutil.copy(sight.output, bench.dir / name)
    system, _, _ = check_lines(bench, stream)
    check_equal({e["data"]["type"] for e in system}, {"system_wide"}, "what was sampled")


# ---- the demonstration ----


def summary(text):
    """'processes 2 forked, 3 programs started' -> {('processes', 'forked'): 2, ...}"""
    counts = {}
    for line in text[text.index("Summary\n") :].splitlines()[1:]:
        topic = re.match(r"  ([A-Za-z]+|lost events) +(\d.*)$", line)
        if not topic:
            break
        if topic[1] == "lost events":
            counts["lost"] = int(topic[2])
            continue
        for part in re.split(r"[,;] ", topic[2]):
            n, _, what = part.partition(" ")
            if re.fullmatch(r"[\d,]+", n):
                counts[topic[1], what] = int(n.replace(",", ""))
    return counts


def the_demonstration_runs_and_its_summary_is_right(bench):
    if AGENTSIGHT != str(TOP / "agentsight"):
        raise Skip("the demonstration runs ./agentsight")
    need("curl")
    need("openssl")
    process = bench.spawn(
        ["sh", TOP / "tools/demo.sh"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = bench.finish(process).decode()
    stream = Stream(TOP / "out/demo.log")
    counts = summary(text)

    def count(source, name, wanted=lambda d: True):
        return sum(wanted(e["data"]) for e in stream.select(source, name))

    want = {
        ("processes", "forked"): count("process", "fork"),
        ("processes", "programs started"): count("process", "exec"),
        ("processes", "ended"): count("process", "exit"),
        ("processes", "with an error"): count("process", "exit", lambda d: d["exit_code"] != 0 or d["signal"] != 0),
        ("files", "opened"): count("file", "open", lambda d: "fd" in d),
        ("files", "not"): count("file", "open", lambda d: "error" in d),
        ("connections", "made"): count("network", "connect", lambda d: "error" not in d),
        ("connections", "accepted"): count("network", "accept"),
        ("TLS", "calls"): count("ssl", "data"),
        "lost": 0,
    }
    for key, n in want.items():
        check_equal(counts.get(key), n, f"{key} in the summary")
    programs = Counter(e["data"]["filename"].rsplit("/", 1)[-1] for e in stream.select("process", "exec"))
    for program, least in (("curl", 2), ("python3", 1), ("grep", 1), ("mkdir", 1), ("ls", 1)):
        check(programs[program] >= least, f"{program} was started {programs[program]} times")
    check(want["TLS", "calls"] >= 6 and want["connections", "made"] == 3, f"{want}")
    failed = stream.select("process", "exit", exit_code=2)
    check_equal([e["comm"] for e in failed], ["ls"], "the command that failed")
    answer = stream.only("llm", "response")["data"]
    check_equal(answer["stop_reason"], "end_turn", "how the model's answer ended")
    check("incomplete" not in answer and "error" not in answer, f"{answer}")


TESTS = [
    the_documented_jq_lines_work_word_for_word,
    the_documented_jq_lines_work_on_the_whole_machine,
    the_demonstration_runs_and_its_summary_is_right,
]
