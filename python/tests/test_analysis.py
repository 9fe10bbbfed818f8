# SPDX-License-Identifier: MIT
import json

import pytest

from agentsight import analysis


def sample(cpu, seconds, rss=1000, **more):
    return {
        "source": "system",
        "pid": 7,
        "data": {
            "type": "tree",
            "cpu": {"percent": f"{cpu:.2f}"},
            "memory": {"rss_kb": rss},
            "threads": 1,
            "interval_ns": int(seconds * 1e9),
            **more,
        },
    }


def test_means_are_weighted_by_time():
    wave = [sample(100, 0.1)] * 10 + [sample(0, 1)] * 9  # one second of ten busy
    assert analysis.weighted_mean(wave, "cpu.percent") == pytest.approx(10)
    assert analysis.resource_utilization(wave)["avg_cpu"] == pytest.approx(10)
    assert analysis.resource_utilization(wave)["max_cpu"] == 100
    assert analysis.resource_utilization([])["sample_count"] == 0


def test_windows_are_aggregated():
    rows = analysis.aggregate_metrics([sample(0, 1), sample(30, 2), sample(50, 1)], 2)
    assert [row["cpu.percent"] for row in rows] == [20, 50]
    assert rows[0]["interval_ns"] == 3e9
    assert analysis.aggregate_metrics([sample(5, 1), sample(3, 1)], 2, "max")[0]["cpu.percent"] == 5
    assert analysis.aggregate_metrics([sample(5, 1), sample(3, 1)], 2, "min")[0]["cpu.percent"] == 3
    with pytest.raises(ValueError):
        analysis.aggregate_metrics([], 0)
    with pytest.raises(ValueError):
        analysis.aggregate_metrics([], 1, "sum")


def test_peaks_are_found_once():
    values = [1, 2, 9, 2, 1, 10, 10, 1, 3]
    peaks = analysis.find_peaks([sample(v, 1) for v in values], "cpu.percent")
    assert [analysis.value_of(p, "cpu.percent") for p in peaks] == [9, 10]
    assert analysis.find_peaks([], "cpu.percent") == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_where_json_says(tmp_path, end):
    path = tmp_path / "file"
    argv = "a\u2028b\u2029c\u0085d"
    row = json.dumps(sample(1, 1, argv=argv), ensure_ascii=False)
    path.write_bytes(f"{row}{end}{end}{row}{end}".encode())
    assert [s["data"]["argv"] for s in analysis.load_metrics(path)] == [argv, argv]


@pytest.mark.parametrize("format", ["jsonl", "json"])
def test_what_is_saved_is_loaded(tmp_path, format):
    path = tmp_path / "file"
    rows = [sample(1, 1), sample(2, 1)]
    analysis.save_metrics(rows, path, format)
    assert analysis.load_metrics(path) == rows
    analysis.convert_format(path, tmp_path / "csv", "csv")
    assert (tmp_path / "csv").read_text().count("\n") == 3
    with pytest.raises(ValueError):
        analysis.save_metrics(rows, path, "xml")
    assert analysis.load_metrics(path) == rows, "what was there is lost"


def test_a_recording_becomes_a_table_of_processes():
    events = [
        {"pid": 1, "comm": "sh", "data": {"type": "exec", "argv": ["sh"], "ppid": 0}},
        {"pid": 1, "comm": "sh", "data": {"type": "system_metrics", "cpu": {"percent": "5.00"}, "memory": {"rss_kb": 9}}},
        {
            "pid": 1,
            "comm": "sh",
            "data": {
                "type": "exit",
                "exit_code": 2,
                "signal": 0,
                "cpu_user_ns": 5 * 10**8,
                "cpu_system_ns": 5 * 10**8,
                "max_rss_kb": 12,
            },
        },
    ]
    assert analysis.process_tree_analysis(events) == {
        1: {
            "comm": "sh",
            "samples": 1,
            "max_cpu": 5.0,
            "max_rss_kb": 12,
            "argv": ["sh"],
            "ppid": 0,
            "exit_code": 2,
            "signal": 0,
            "cpu_seconds": 1.0,
        }
    }
