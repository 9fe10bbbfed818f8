# SPDX-License-Identifier: MIT
"""What the kernel tells of a process and of what it holds: memory, descriptors, BPF maps."""

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 0)
MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, MAP_LOOKUP_BATCH = 14, 15, 24
HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH = 1, 5, 9, 10
COUNTED = {HASH: "hash", PERCPU_HASH: "hash", LRU_HASH: "lru", LRU_PERCPU_HASH: "lru"}
libc = ctypes.CDLL(None, use_errno=True)


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


# ---- processes ----


def family(pid):
    """A process and all that descend from it."""
    kids = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read(f"/proc/{entry}/stat")
            if stat:
                kids.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found = [pid]
    for one in found:
        found += kids.get(one, [])
    return found


def fields(text):
    pairs = (line.split() for line in text.splitlines())
    return {pair[0].rstrip(":"): int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}


def process(pid):
    """Kilobytes, counts and seconds of one process."""
    memory, status = fields(read(f"/proc/{pid}/smaps_rollup")), fields(read(f"/proc/{pid}/status"))
    stat = read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
    try:
        fds = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        fds = 0
    return {
        "rss_kb": status.get("VmRSS", 0),
        "pss_kb": memory.get("Pss", 0),
        "anon_kb": memory.get("Anonymous", 0),
        "data_kb": status.get("VmData", 0),
        "threads": status.get("Threads", 0),
        "fds": fds,
        "cpu_s": (int(stat[11]) + int(stat[12])) / TICKS if len(stat) > 12 else 0,
    }


# ---- memory that the kernel charges ----


class Group:
    """A memory cgroup for one program, of either version; without one where none can be made."""

    def __init__(self):
        self.path = None
        for top, marker in (("/sys/fs/cgroup", "cgroup.controllers"), ("/sys/fs/cgroup/memory", "memory.usage_in_bytes")):
            if not os.path.exists(f"{top}/{marker}"):
                continue
            path = f"{top}/agentsight-soak.{os.getpid()}"
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(f"{path}/memory.stat"):
                self.path = path
                return
            os.rmdir(path)

    def join(self):
        """For preexec_fn."""
        if self.path:
            try:
                Path(self.path, "cgroup.procs").write_text("0")
            except OSError:
                pass

    def kernel_kb(self):
        """Maps, rings, slab, stacks; None when it is not told."""
        if not self.path:
            return None
        v1 = read(f"{self.path}/memory.kmem.usage_in_bytes")
        if v1:
            return int(v1) // 1024
        for line in read(f"{self.path}/memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == "kernel":
                return int(value) // 1024
        return None

    def close(self):
        if self.path:
            try:
                os.rmdir(self.path)
            except OSError:
                pass


# ---- maps ----


def bpf(command, attr):
    r = libc.syscall(BPF, command, attr, len(attr))
    return r, ctypes.get_errno() if r < 0 else 0


class Map:
    def __init__(self, number):
        self.fd, _ = bpf(MAP_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("III", number, 0, 0), 16))
        if self.fd < 0:
            raise OSError(f"no map {number}")
        info = ctypes.create_string_buffer(88)
        attr = ctypes.create_string_buffer(struct.pack("IIQ", self.fd, len(info), ctypes.addressof(info)), 16)
        bpf(OBJ_GET_INFO_BY_FD, attr)
        self.kind, _, key, value, self.max, _ = struct.unpack_from("6I", info.raw)
        self.name = info.raw[24:40].split(b"\0")[0].decode()
        if self.kind in (PERCPU_HASH, LRU_PERCPU_HASH):
            value = (value + 7) // 8 * 8 * (os.cpu_count() or 1)
        self.keys, self.values = ctypes.create_string_buffer(max(key, 8) * self.max), ctypes.create_string_buffer(value * self.max)

    def count(self):
        """Its entries; they may change under the hand, and none is counted twice."""
        total, at, to = 0, None, ctypes.create_string_buffer(64)
        while True:
            where = ctypes.addressof(at) if at else 0
            attr = struct.pack("QQQQIIQQ", where, ctypes.addressof(to), ctypes.addressof(self.keys), ctypes.addressof(self.values), self.max, self.fd, 0, 0)
            attr = ctypes.create_string_buffer(attr, len(attr))
            r, error = bpf(MAP_LOOKUP_BATCH, attr)
            n = struct.unpack_from("I", attr.raw, 32)[0]
            if r < 0 and error != errno.ENOENT:
                return total
            total += n
            if r < 0 or not n:
                return total
            at = ctypes.create_string_buffer(to.raw, 64)


class Maps:
    """All hash maps that these processes hold. A name that several maps have is told once, with their sum."""

    def __init__(self):
        self.maps = {}

    def look(self, pids):
        for pid in pids:
            try:
                numbers = os.listdir(f"/proc/{pid}/fdinfo")
            except OSError:
                continue
            for number in numbers:
                text = fields(read(f"/proc/{pid}/fdinfo/{number}"))
                if text.get("map_type") in COUNTED and text["map_id"] not in self.maps:
                    self.maps[text["map_id"]] = Map(text["map_id"])
        return self

    def kind(self, name):
        return next(COUNTED[m.kind] for m in self.maps.values() if m.name == name)

    def limit(self, name):
        return sum(m.max for m in self.maps.values() if m.name == name)

    def counts(self):
        result = {}
        for one in self.maps.values():
            result[one.name] = result.get(one.name, 0) + one.count()
        return dict(sorted(result.items()))

    def close(self):
        for one in self.maps.values():
            os.close(one.fd)
        self.maps = {}
