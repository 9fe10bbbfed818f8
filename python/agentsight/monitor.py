# SPDX-License-Identifier: MIT
"""Monitors: a command that is started, or processes that run already, and what they do."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from ctypes import byref, c_int, c_void_p
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from . import _native
from .analysis import FORMATS, save_metrics

Json = Dict[str, Any]
Command = Union[str, Sequence[str]]
PathLike = Union[str, "os.PathLike[str]"]

# No wait is longer: Python looks for signals, and so for Ctrl-C, in between.
WAIT_MS = 200


class ProcessMonitor:
    """Starts a command and samples it with all that it starts, until it ends.

    ``for event in monitor:`` gives every event as a dictionary (docs/EVENTS.md has their members); ``run()`` goes
    through all of them. Samples of the whole tree are kept, see ``get_samples()``. As root the numbers come from the
    kernel and include children of any lifetime; as another user they come from /proc.

    Use it as a context manager, or call ``close()``.
    """

    def __init__(
        self,
        cmd: Command,
        base_interval_ms: float = 100,
        max_interval_ms: float = 1000,
        since_process_start: bool = False,
        output_file: Optional[PathLike] = None,
        output_format: str = "jsonl",
        store_in_memory: bool = True,
        quiet: bool = False,
        include_children: bool = True,
        write_metadata: bool = False,
        write_env: bool = False,
        **options: Any,
    ) -> None:
        """``cmd`` is a list, or one string for the shell.

        Further options: ``adaptive`` ("time", "activity", "fixed"), ``alerts`` (rules such as "cpu > 80 for 10s"),
        ``env`` (names of variables to tell of each process), ``filter`` (as of --filter), ``format`` of the output file
        ("agentsight", "denet"), ``pss_interval_ms``, ``stdout`` and ``stderr`` (files or descriptors for the
        command's output), and the switches ``threads``, ``syscalls``, ``offcpu``, ``gpu``, ``pressure``, ``files``,
        ``tls``, ``no_kernel``, ``no_polling`` and ``hold`` (the command waits for ``release()``).

        ``quiet``, ``write_metadata`` and ``write_env`` are accepted: nothing is ever printed, and what they
        ask for is always part of the output.
        """
        argv = ["/bin/sh", "-c", cmd] if isinstance(cmd, str) else [os.fspath(word) for word in cmd]
        self._prepare(
            base_interval_ms,
            max_interval_ms,
            since_process_start,
            output_file,
            output_format,
            store_in_memory,
            include_children,
            options,
        )
        argument = _native.texts(argv)
        self._open(lambda *rest: _native.library().agentsight_start(byref(self._options), argument, *rest))

    @classmethod
    def from_pid(
        cls,
        pid: Union[int, Iterable[int]],
        base_interval_ms: float = 100,
        max_interval_ms: float = 1000,
        since_process_start: bool = False,
        output_file: Optional[PathLike] = None,
        output_format: str = "jsonl",
        store_in_memory: bool = True,
        quiet: bool = False,
        include_children: bool = True,
        write_metadata: bool = False,
        write_env: bool = False,
        **options: Any,
    ) -> "ProcessMonitor":
        """Attaches to a running process, or several. ProcessLookupError when one of them is not there."""
        self = cls.__new__(cls)
        pids = [pid] if isinstance(pid, int) else list(pid)
        self._prepare(
            base_interval_ms,
            max_interval_ms,
            since_process_start,
            output_file,
            output_format,
            store_in_memory,
            include_children,
            options,
        )
        argument = (c_int * len(pids))(*pids)
        self._open(
            lambda *rest: _native.library().agentsight_attach(byref(self._options), argument, len(pids), *rest)
        )
        return self

    # ---- opening and closing ----

    def _prepare(
        self,
        base_ms: float,
        max_ms: float,
        since_start: bool,
        output_file: Optional[PathLike],
        output_format: str,
        store: bool,
        children: bool,
        options: Dict[str, Any],
    ) -> None:
        self._handle: Optional[c_void_p] = None
        if output_format not in FORMATS:
            raise ValueError(f"output_format: {output_format!r} is none of {', '.join(FORMATS)}")
        if base_ms <= 0 or max_ms < base_ms:
            raise ValueError("the interval must be above 0 and not above its maximum")
        adaptive = options.pop("adaptive", "time")
        if adaptive not in _native.PACES:
            raise ValueError(f"adaptive: {adaptive!r} is none of {', '.join(_native.PACES)}")

        flags = 0
        switches = {"no_children": not children, "since_start": since_start}
        for name in _native.FLAGS:
            if name in options:
                switches[name] = bool(options.pop(name))
        for name, on in switches.items():
            flags |= _native.FLAGS[name] if on else 0

        self._keep = [_native.texts(options.pop("alerts", ())), _native.texts(options.pop("env", ()))]
        self._save = (output_file, output_format) if output_file and output_format != "jsonl" else None
        self._options = _native.Options(
            size=ctypes.sizeof(_native.Options),
            flags=flags,
            pace=_native.PACES[adaptive],
            stdout_fd=_descriptor(options.pop("stdout", 0)),
            stderr_fd=_descriptor(options.pop("stderr", 0)),
            interval_ns=int(base_ms * 1e6),
            max_interval_ns=int(max_ms * 1e6),
            pss_interval_ns=int(options.pop("pss_interval_ms", 0) * 1e6),
            output=os.fsencode(output_file) if output_file and not self._save else None,
            format=os.fsencode(options.pop("format", "agentsight")),
            filter=_optional(options.pop("filter", None)),
            alerts=self._keep[0],
            env=self._keep[1],
        )
        if options:
            raise TypeError(f"unknown option {next(iter(options))!r}")
        self._store = store or self._save is not None
        self._samples: List[Json] = []
        self._metadata: Json = {}
        self._start: Json = {}
        self._ended = False
        self._status: Optional[int] = None

    def _open(self, function: Callable[..., int]) -> None:
        error = ctypes.create_string_buffer(_native.ERROR_LEN)
        handle = c_void_p()
        _native.raise_for(function(byref(handle), error, _native.ERROR_LEN), error)
        self._handle = handle
        self._pid: int = _native.library().agentsight_pid(handle)

    def close(self) -> None:
        """Ends the monitoring, not the command, and frees all."""
        if self._handle is not None:
            _native.library().agentsight_free(self._handle)
            self._handle = None

    def __enter__(self) -> "ProcessMonitor":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _need(self) -> c_void_p:
        if self._handle is None:
            raise ValueError("the monitor is closed")
        return self._handle

    # ---- events ----

    def next_line(self, timeout: Optional[float] = None) -> Optional[str]:
        """The next event as a line of JSON; None when ``timeout`` seconds are over, or all has been told."""
        event = _native.Event(size=ctypes.sizeof(_native.Event))
        until = None if timeout is None else time.monotonic() + timeout
        result = 0
        while result == 0:
            left_ms = WAIT_MS if until is None else max(0, int((until - time.monotonic()) * 1000))
            result = _native.library().agentsight_next(self._need(), min(left_ms, WAIT_MS), byref(event))
            if result == 0 and until is not None and left_ms <= WAIT_MS:
                return None
        if result == -_native.ENODATA:
            self._finish()
            return None
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        line = ctypes.string_at(event.json, event.json_len).decode()
        self._notice(event, line)
        return line

    def next_event(self, timeout: Optional[float] = None) -> Optional[Json]:
        line = self.next_line(timeout)
        return json.loads(line) if line is not None else None

    def __iter__(self) -> Iterator[Json]:
        """Every event until the end."""
        while not self._ended:
            event = self.next_event()
            if event is not None:
                yield event

    def _notice(self, event: _native.Event, line: str) -> None:
        kind = (event.source, event.type)
        if kind == (b"system", b"tree") and self._store:
            self._samples.append(json.loads(line))
        elif kind == (b"process", b"info") and event.pid == self._pid:
            self._metadata = json.loads(line)["data"]
        elif kind == (b"agentsight", b"start"):
            self._start = json.loads(line)["data"]

    def _finish(self) -> None:
        status = c_int()
        if self._ended:
            return
        self._ended = True
        if _native.library().agentsight_status(self._need(), byref(status)) == 1:
            self._status = status.value
        if self._save:
            save_metrics(self._samples, self._save[0], self._save[1])

    def fileno(self) -> int:
        """For select: readable when ``next_line(0)`` has something to do."""
        return int(_native.library().agentsight_fd(self._need()))

    def release(self) -> None:
        """Lets a command go that was started with ``hold=True``."""
        error = ctypes.create_string_buffer(_native.ERROR_LEN)
        _native.raise_for(_native.library().agentsight_release(self._need(), error, _native.ERROR_LEN), error)

    def run(self, timeout: Optional[float] = None) -> bool:
        """Monitors to the end, or for ``timeout`` seconds. True when the end was reached."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._ended:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.next_line(left)
        return True

    def stop(self) -> None:
        """Ends the monitoring, takes what was on its way."""
        if not self._ended:
            _native.library().agentsight_stop(self._need())
            self.run()

    def sample_once(self) -> Optional[str]:
        """One sample of the tree, taken now, as a line of JSON; None when all has ended."""
        if self._ended or _native.library().agentsight_sample(self._need()) < 0:
            return None
        while not self._ended:
            line = self.next_line()
            if line is None:
                continue
            event = json.loads(line)
            if event["source"] == "system" and event["data"]["type"] == "tree":
                if event["data"]["reason"] in ("request", "last"):
                    return line
        return None

    # ---- what is known ----

    def is_running(self) -> bool:
        """Whether there is more to come. Takes what has come meanwhile, for a second at most."""
        until = time.monotonic() + 1
        while not self._ended and self.next_line(0) is not None and time.monotonic() < until:
            pass
        return not self._ended

    def get_pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> Optional[int]:
        """The command's exit status, negative for a signal, as of subprocess; None until it is known."""
        return None if self._status is None else os.waitstatus_to_exitcode(self._status)

    def get_metadata(self) -> Json:
        """Who the process is: argv, exe, cwd, user, start, container; empty until it was told."""
        return self._metadata

    def get_env(self) -> Json:
        """The host: kernel, version, boot id; empty until it was told."""
        return self._start

    def get_samples(self) -> List[Json]:
        """The samples of the tree so far, oldest first."""
        return self._samples

    def clear_samples(self) -> None:
        self._samples = []

    def save_samples(self, path: PathLike, format: str = "jsonl") -> None:
        save_metrics(self._samples, path, format)

    def get_summary(self) -> Json:
        """Statistics of the run so far (docs/STATS.md)."""
        text = _native.library().agentsight_summary(self._need())
        if text is None:
            raise MemoryError
        summary: Json = json.loads(text)
        return summary


def _optional(text: Optional[str]) -> Optional[bytes]:
    return None if text is None else os.fsencode(text)


def _descriptor(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def execute_with_monitoring(
    cmd: Command,
    stdout_file: Optional[PathLike] = None,
    stderr_file: Optional[PathLike] = None,
    timeout: Optional[float] = None,
    base_interval_ms: float = 100,
    max_interval_ms: float = 1000,
    store_in_memory: bool = True,
    output_file: Optional[PathLike] = None,
    output_format: str = "jsonl",
    since_process_start: bool = False,
    pause_for_attachment: bool = True,
    quiet: bool = False,
    include_children: bool = True,
    write_metadata: bool = False,
    **options: Any,
) -> Tuple[int, ProcessMonitor]:
    """Runs a command to its end: its exit status (as of subprocess) and the monitor.

    The command never runs unwatched: it is held until all is in place, whatever ``pause_for_attachment`` says. After
    ``timeout`` seconds it gets SIGTERM, five seconds later SIGKILL, and TimeoutError is raised. Where nobody can know
    how it ended, since SIGCHLD is ignored, that is ChildProcessError. The ``monitor`` attribute of both holds the
    monitor.
    """
    with open(stdout_file or os.devnull, "wb") as out, open(stderr_file or os.devnull, "wb") as err:
        if stdout_file:
            options["stdout"] = out
        if stderr_file:
            options["stderr"] = err
        monitor = ProcessMonitor(
            cmd,
            base_interval_ms,
            max_interval_ms,
            since_process_start,
            output_file,
            output_format,
            store_in_memory,
            quiet,
            include_children,
            write_metadata,
            **options,
        )
    # what has ended in time may have left more than could be told in it; its number may be another's by now
    if not monitor.run(timeout) and monitor.is_running():
        _kill(monitor.get_pid(), signal.SIGTERM)
        if not monitor.run(5) and monitor.is_running():
            _kill(monitor.get_pid(), signal.SIGKILL)
            monitor.run()
        late = TimeoutError(f"the command took longer than {timeout} s")
        late.monitor = monitor  # type: ignore[attr-defined]
        raise late
    if monitor.returncode is None:
        unknown = ChildProcessError("nobody knows how the command ended: is SIGCHLD ignored?")
        unknown.monitor = monitor  # type: ignore[attr-defined]
        raise unknown
    return monitor.returncode, monitor


def generate_summary_from_file(path: PathLike) -> str:
    """Statistics of a recording, as JSON."""
    return _native.summary_of_file(os.fspath(path))


def generate_summary_from_metrics_json(metrics: Sequence[Union[str, Json]], elapsed: Optional[float] = None) -> str:
    """The same of samples in memory: lines of JSON, or dictionaries. ``elapsed`` is accepted: samples tell it."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "samples.jsonl"
        with path.open("w") as file:
            for sample in metrics:
                file.write((sample if isinstance(sample, str) else json.dumps(sample)).rstrip("\n") + "\n")
        return _native.summary_of_file(str(path))
