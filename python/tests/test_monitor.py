# SPDX-License-Identifier: MIT
"""Monitors of real commands; as root or not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import agentsight
from agentsight import ProcessMonitor, execute_with_monitoring

PYTHON = "/usr/bin/python3"
BURN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


def kinds(events):
    return {(e["source"], e["data"]["type"]) for e in events}


def test_a_command_is_monitored_to_its_end():
    with ProcessMonitor(["sh", "-c", "sleep 2; exit 3"], base_interval_ms=50) as monitor:
        events = list(monitor)
        assert monitor.returncode == 3
        assert not monitor.is_running()
        assert len(monitor.get_samples()) >= 3
        assert {e["pid"] for e in monitor.get_samples()} == {monitor.get_pid()}
    assert ("system", "tree") in kinds(events)
    assert ("agentsight", "stop") in kinds(events)


def test_a_string_is_for_the_shell_and_a_signal_is_negative():
    with ProcessMonitor("kill -9 $$") as monitor:
        assert monitor.run()
        assert monitor.returncode == -9


def test_a_command_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError, match="/nonexistent"):
        ProcessMonitor(["/nonexistent"])


def test_cpu_time_of_children_is_in_the_samples():
    # the mean over the whole run, children that lived 20 ms included
    with ProcessMonitor([PYTHON, "-c", BURN], base_interval_ms=50) as monitor:
        monitor.run()
        last = monitor.get_samples()[-1]["data"]
    assert 0.35 < last["cpu"]["total_ns"] / 1e9 < 0.8


def test_a_held_command_starts_when_it_is_released(tmp_path):
    mark = tmp_path / "mark"
    with ProcessMonitor(["touch", str(mark)], hold=True) as monitor:
        time.sleep(0.2)
        assert not mark.exists()
        monitor.release()
        monitor.run()
        assert mark.exists()
        assert monitor.returncode == 0


def test_attaching_follows_a_process_to_its_end():
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with ProcessMonitor.from_pid(child.pid, base_interval_ms=50) as monitor:
        assert monitor.get_pid() == child.pid
        child.stdin.close()  # it lives until it is attached to, however long that takes
        assert monitor.run(60)
        assert {e["pid"] for e in monitor.get_samples()} == {child.pid}
    assert child.wait() == 0


def test_attaching_to_nobody_is_an_error():
    with pytest.raises(ProcessLookupError):
        ProcessMonitor.from_pid(2**22 - 1)
    with pytest.raises(OSError):
        ProcessMonitor.from_pid([])


def test_one_sample_at_a_time():
    with ProcessMonitor(["sleep", "5"], no_polling=True) as monitor:
        sample = json.loads(monitor.sample_once())
        assert sample["data"]["type"] == "tree"
        assert sample["data"]["reason"] == "request"
        assert sample["data"]["processes"] == 1
        os.kill(monitor.get_pid(), signal.SIGTERM)
        monitor.run()
        assert monitor.sample_once() is None


def test_a_timeout_ends_the_command():
    with pytest.raises(TimeoutError) as late:
        execute_with_monitoring(["sleep", "30"], timeout=0.3)
    assert late.value.monitor.returncode == -signal.SIGTERM


class Interrupted(Exception):
    pass


def interrupt(number, frame):
    raise Interrupted


@pytest.mark.parametrize("wait", [ProcessMonitor.run, list, ProcessMonitor.next_line, lambda m: m.run(60)])
def test_an_interrupt_ends_a_wait(wait):
    before = signal.signal(signal.SIGALRM, interrupt)
    with ProcessMonitor(["sleep", "20"], base_interval_ms=50000, max_interval_ms=50000) as monitor:
        while monitor.next_line(0.5) is not None:
            pass
        begin = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            with pytest.raises(Interrupted):
                wait(monitor)
            assert time.monotonic() - begin < 10, "it ended with the command"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            os.kill(monitor.get_pid(), signal.SIGKILL)


def test_a_status_that_nobody_knows_is_no_success():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ChildProcessError) as error:
            execute_with_monitoring(["sh", "-c", "exit 3"])
        error.value.monitor.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_output_goes_to_files(tmp_path):
    out, err = tmp_path / "out", tmp_path / "err"
    status, monitor = execute_with_monitoring("echo a; echo b >&2", stdout_file=out, stderr_file=err)
    assert status == 0
    assert out.read_text() == "a\n"
    assert err.read_text() == "b\n"
    assert monitor.get_samples()


@pytest.mark.parametrize("format", ["jsonl", "json", "csv"])
def test_samples_go_to_a_file(tmp_path, format):
    path = tmp_path / f"samples.{format}"
    status, monitor = execute_with_monitoring("sleep 1", base_interval_ms=50, output_file=path, output_format=format)
    assert status == 0
    if format == "csv":
        assert "cpu.percent" in path.read_text().splitlines()[0]
    else:
        assert len(agentsight.load_metrics(path)) == len(monitor.get_samples()) >= 2


def test_two_monitors_at_a_time():
    with ProcessMonitor(["sh", "-c", "exit 1"]) as first, ProcessMonitor(["sh", "-c", "exit 2"]) as second:
        assert first.run() and second.run()
        assert (first.returncode, second.returncode) == (1, 2)


def test_wrong_arguments_are_refused():
    for wrong in (
        dict(base_interval_ms=0),
        dict(base_interval_ms=10, max_interval_ms=1),
        dict(output_format="xml"),
        dict(adaptive="no"),
    ):
        with pytest.raises(ValueError):
            ProcessMonitor(["true"], **wrong)
    with pytest.raises(TypeError, match="no_such"):
        ProcessMonitor(["true"], no_such=1)
    with pytest.raises(OSError, match="filter"):
        ProcessMonitor(["true"], filter="(")


def test_the_summary_agrees_with_the_samples():
    status, monitor = execute_with_monitoring([PYTHON, "-c", BURN], base_interval_ms=50)
    summary = monitor.get_summary()
    assert status == 0
    assert summary["tree"]["samples"] == len(monitor.get_samples())
    again = json.loads(agentsight.generate_summary_from_metrics_json(monitor.get_samples()))
    assert again["tree"]["samples"] == summary["tree"]["samples"]


def test_the_examples_of_the_readme_run():
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 2
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    for example in examples:
        done = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout
