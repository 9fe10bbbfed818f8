# SPDX-License-Identifier: MIT
"""libagentsight through ctypes: the structs and functions of <agentsight/agentsight.h>, nothing more."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Iterable, Optional

NAME = "libagentsight.so.1"
ERROR_LEN = 512
ENODATA = 61


class Options(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("pace", c_uint32),
        ("stdout_fd", c_int32),
        ("stderr_fd", c_int32),
        ("reserved", c_uint32),
        ("interval_ns", c_uint64),
        ("max_interval_ns", c_uint64),
        ("pss_interval_ns", c_uint64),
        ("output", c_char_p),
        ("format", c_char_p),
        ("filter", c_char_p),
        ("alerts", POINTER(c_char_p)),
        ("env", POINTER(c_char_p)),
    ]


class Sample(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("pid", c_uint32),
        ("tid", c_uint32),
        ("processes", c_uint32),
        ("threads", c_uint32),
        ("reserved", c_uint32),
        ("time_ns", c_uint64),
        ("interval_ns", c_uint64),
        ("cpu_percent", c_double),
    ] + [
        (name, c_uint64)
        for name in (
            "cpu_ns user_ns system_ns wait_ns rss_kb pss_kb uss_kb swap_kb vsz_kb peak_kb read_bytes write_bytes "
            "rchar wchar syscr syscw rx_bytes tx_bytes minor_faults major_faults voluntary_switches "
            "involuntary_switches"
        ).split()
    ]


class Event(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("pid", c_uint32),
        ("time_ns", c_uint64),
        ("source", c_char_p),
        ("type", c_char_p),
        ("json", c_void_p),
        ("json_len", c_size_t),
        ("sample", POINTER(Sample)),
    ]


FLAGS = {
    "hold": 1 << 0,
    "no_children": 1 << 1,
    "threads": 1 << 2,
    "syscalls": 1 << 3,
    "offcpu": 1 << 4,
    "gpu": 1 << 5,
    "pressure": 1 << 6,
    "files": 1 << 7,
    "tls": 1 << 8,
    "no_kernel": 1 << 9,
    "since_start": 1 << 10,
    "no_polling": 1 << 11,
}
PACES = {"time": 0, "activity": 1, "fixed": 2}

_library: Optional[ctypes.CDLL] = None


def library() -> ctypes.CDLL:
    """The library: from AGENTSIGHT_LIBRARY, else as the loader finds it."""
    global _library
    if _library is None:
        lib = ctypes.CDLL(os.environ.get("AGENTSIGHT_LIBRARY", NAME))
        lib.agentsight_version.restype = c_char_p
        lib.agentsight_start.argtypes = [
            POINTER(Options),
            POINTER(c_char_p),
            POINTER(c_void_p),
            c_char_p,
            c_size_t,
        ]
        lib.agentsight_attach.argtypes = [
            POINTER(Options),
            POINTER(c_int),
            c_size_t,
            POINTER(c_void_p),
            c_char_p,
            c_size_t,
        ]
        lib.agentsight_release.argtypes = [c_void_p, c_char_p, c_size_t]
        lib.agentsight_next.argtypes = [c_void_p, c_int, POINTER(Event)]
        lib.agentsight_fd.argtypes = [c_void_p]
        lib.agentsight_sample.argtypes = [c_void_p]
        lib.agentsight_stop.argtypes = [c_void_p]
        lib.agentsight_stop.restype = None
        lib.agentsight_pid.argtypes = [c_void_p]
        lib.agentsight_status.argtypes = [c_void_p, POINTER(c_int)]
        lib.agentsight_summary.argtypes = [c_void_p]
        lib.agentsight_summary.restype = c_char_p
        lib.agentsight_summary_of_file.argtypes = [c_char_p, POINTER(c_void_p), c_char_p, c_size_t]
        lib.agentsight_free.argtypes = [c_void_p]
        lib.agentsight_free.restype = None
        _library = lib
    return _library


def texts(items: Iterable[str]) -> Optional[ctypes.Array[c_char_p]]:
    """A NULL-terminated array of C strings; None for none."""
    encoded = [os.fsencode(item) for item in items]
    return (c_char_p * (len(encoded) + 1))(*encoded, None) if encoded else None


def raise_for(result: int, error: ctypes.Array[ctypes.c_char]) -> None:
    if result < 0:
        raise OSError(-result, error.value.decode(errors="replace") or os.strerror(-result))


def summary_of_file(path: str) -> str:
    error = ctypes.create_string_buffer(ERROR_LEN)
    text = c_void_p()
    raise_for(library().agentsight_summary_of_file(os.fsencode(path), byref(text), error, ERROR_LEN), error)
    try:
        return ctypes.string_at(text).decode()
    finally:
        libc = ctypes.CDLL(None)
        libc.free.argtypes = [c_void_p]
        libc.free(text)
