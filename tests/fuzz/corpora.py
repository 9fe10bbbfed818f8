# SPDX-License-Identifier: MIT
"""corpora.py CACHE: out of the repositories in CACHE/git, files as the fuzz targets read them (CACHE/targets/NAME)
and as they are (CACHE/raw/NAME, for tests/hostile)."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

FILE_MAX = 4 << 20  # larger ones are pictures of disks


def git(directory, *args):
    return subprocess.run(["git", "--git-dir", str(directory), *args], check=True, capture_output=True).stdout


def files(directory, *prefixes):
    """Path and content of all files below one of the prefixes."""
    listed = []
    for line in git(directory, "ls-tree", "-r", "-l", "-z", "HEAD").split(b"\0")[:-1]:
        meta, name = line.split(b"\t", 1)
        mode, kind, blob, size = meta.split()
        name = name.decode(errors="replace")
        # a size that is none: the object is missing
        if kind == b"blob" and mode != b"120000" and size.isdigit() and int(size) <= FILE_MAX and name.startswith(prefixes):
            listed.append((name, blob))
    batch = subprocess.Popen(
        ["git", "--git-dir", str(directory), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for name, blob in listed:
        batch.stdin.write(blob + b"\n")
        batch.stdin.flush()
        head = batch.stdout.readline().split()
        if len(head) == 3:  # else it is missing
            yield name, batch.stdout.read(int(head[2]))
            batch.stdout.read(1)
    batch.stdin.close()
    batch.wait()


# ---- how a target reads its input: see the comment at the top of each ----


def steps(control, data):
    return b"".join(bytes([control, len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))


def http1(data, side):
    return b"\x05" + steps(side, data)


def http2(data, side):
    # behind a preface that is there or not
    begins = data.startswith(b"PRI ") or data[3:4] == b"\x04"
    return bytes([0 if begins else 1 + side]) + steps(side, data)


def conn(data, side):
    return b"".join(bytes([side << 7, len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))


def stages(data, side):
    return b"".join(
        bytes([0, side << 2, len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)
    )


def hpack(blocks):
    return b"".join(bytes([2]) + len(b).to_bytes(2, "little") + b for b in blocks)


BODY = {"gzip": 0, "deflate": 1, "br": 2, "zstd": 3}


class Corpora:
    def __init__(self, cache):
        self.cache = cache
        self.counts = {}
        for kind in ("targets", "raw"):
            shutil.rmtree(cache / kind, ignore_errors=True)

    def put(self, kind, name, data, label=None):
        directory = self.cache / kind / name
        directory.mkdir(parents=True, exist_ok=True)
        label = label or hashlib.sha1(data).hexdigest()
        (directory / label).write_bytes(data)
        self.counts[name] = self.counts.get(name, 0) + (kind == "targets")

    def target(self, data, *names):
        for name in names:
            self.put("targets", name, data)

    def http(self, data, sides=(0, 1)):
        self.put("raw", "http1", data)
        for side in sides:
            self.target(http1(data, side), "http1")
            self.target(conn(data, side), "conn")
            self.target(stages(data, side), "stages")

    def frames(self, data):
        self.put("raw", "http2", data)
        for side in (0, 1):
            self.target(http2(data, side), "http2")
            self.target(conn(data, side), "conn")
            self.target(stages(data, side), "stages")

    def json(self, data):
        self.target(data, "value", "json", "line", "stats")
        self.target(b"\0" + data, "sse")
        for form in range(6):
            self.target(bytes([form, 7]) + data, "llm")

    def body(self, coding, data):
        self.target(bytes([BODY[coding]]) + data, "body")

    def text(self, data):
        self.target(data, "filter", "rule", "line", "json", "procfs")
        self.target(b"\0\0" + data, "secrets", "options")
        for first in range(8):
            self.target(bytes([first]) + data, "container")


# ---- what is where ----


def json_test_suite(c, git_dir):
    for name, data in files(git_dir, "test_parsing/"):
        c.json(data)
        c.put("raw", "json", data, Path(name).name)
    for _, data in files(git_dir, "test_transform/"):
        c.json(data)


def llhttp(c, git_dir):
    def unescape(m):
        return {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}.get(m[1]) or chr(int(m[1][1:], 16))

    for name, data in files(git_dir, "test/request/", "test/response/"):
        for block in re.findall(r"```http\n(.*?)```", data.decode("utf-8", "replace"), re.S):
            text = block.replace("\\\n", "").replace("\n", "\r\n")
            text = re.sub(r"\\(x[0-9a-fA-F]{2}|[rntf])", unescape, text)
            c.http(text.encode("latin-1", "replace"), (int("response" in name),))


def hpack_test_case(c, git_dir):
    for name, data in files(git_dir, ""):
        if name.endswith(".json"):
            wires = [case.get("wire") for case in json.loads(data)["cases"]]
            c.target(hpack([bytes.fromhex(w) for w in wires if w]), "hpack")


def frame_test_case(c, git_dir):
    for name, data in files(git_dir, ""):
        if name.endswith(".json"):
            c.frames(bytes.fromhex(json.loads(data)["wire"]))


def nghttp2(c, git_dir):
    for _, data in files(git_dir, "fuzz/corpus/"):
        c.frames(data)


def go_fuzz_corpus(c, git_dir):
    for name, data in files(git_dir, "httpreq/corpus", "httpresp/corpus", "multipart/corpus", "mime/corpus"):
        c.http(data)
    for _, data in files(git_dir, "http2/corpus"):
        c.frames(data)
    for _, data in files(git_dir, "json/corpus"):
        c.json(data)
    for coding, where in (("gzip", "gzip/corpus"), ("deflate", "flate/corpus"), ("deflate", "zlib/corpus")):
        for _, data in files(git_dir, where):
            c.body(coding, data)
    for _, data in files(git_dir, "websocketserver/corpus", "websocketclient/corpus"):
        c.put("raw", "websocket", data)
        c.target(b"\0\1" + data, "websocket")
    for _, data in files(git_dir, "elf/corpus"):
        c.target(data, "elf", "find")
    for _, data in files(git_dir, "regexp/corpus"):
        c.target(b'comm ~ "' + data.replace(b'"', b'\\"') + b'"\ntext', "filter")
    for _, data in files(git_dir, "flag/corpus", "url/", "x509/pem", "pem/corpus", "csv/corpus"):
        c.text(data)


def testbins(c, git_dir):
    for name, data in files(git_dir, "elf/", "fuzzed/"):
        c.target(data, "elf", "find")


def brotli(c, git_dir):
    for name, data in files(git_dir, "tests/testdata/"):
        if ".compressed" in name:
            c.body("br", data)


def zstd(c, git_dir):
    for _, data in files(git_dir, "tests/golden-decompression"):
        c.body("zstd", data)


def naughty_strings(c, git_dir):
    for name, data in files(git_dir, "blns.txt"):
        for line in data.split(b"\n"):
            c.text(line)
            c.put("raw", "names", line)


REPOSITORIES = {
    "nst+JSONTestSuite": json_test_suite,
    "nodejs+llhttp": llhttp,
    "http2jp+hpack-test-case": hpack_test_case,
    "http2jp+http2-frame-test-case": frame_test_case,
    "nghttp2+nghttp2": nghttp2,
    "dvyukov+go-fuzz-corpus": go_fuzz_corpus,
    "radareorg+radare2-testbins": testbins,
    "google+brotli": brotli,
    "facebook+zstd": zstd,
    "minimaxir+big-list-of-naughty-strings": naughty_strings,
}


def main():
    cache = Path(sys.argv[1])
    corpora = Corpora(cache)
    for name, lay_out in REPOSITORIES.items():
        if (cache / "git" / name).exists():
            before = sum(corpora.counts.values())
            lay_out(corpora, cache / "git" / name)
            print(f"{name.replace('+', '/'):40} {sum(corpora.counts.values()) - before:6} inputs")
    for name, n in sorted(corpora.counts.items()):
        print(f"  {name:38} {n:6}")


if __name__ == "__main__":
    main()
