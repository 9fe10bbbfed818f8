# SPDX-License-Identifier: MIT
"""Large bodies over HTTPS, both ways: what is kept is exact, and what is not is said."""

import hashlib
import subprocess

from exchanges import body_of
from peer import body
from real import PYTHON, check, check_equal
from tls import LATE_PYTHON, curl_argv

KEPT = 16 << 20  # of one body; see HTTP_BODY_MAX
CALL = 16 << 20  # of one call; see AS_CHUNKS_MAX
SMALL, LARGE = 1_000_000, 20_000_000
PAUSED = ("--ring-size", "64", "--queue-size", "128")  # this machine may look away for a while


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check_body(event, what, want, error=None):
    """All of it, or its beginning and a word about the rest."""
    message = event[what]
    data = body_of(message)
    check_equal(message["body_bytes"], len(want), f"bytes of the {what}")
    check_equal(len(data), min(len(want), KEPT), f"kept bytes of the {what}")
    check(data == want[: len(data)], f"the {what} is another")
    cut = len(data) < len(want)
    check_equal(event.get("truncated", False), cut, f"truncated, of the {what}")
    check_equal(message.get("body_length"), len(want) if cut else None, f"body_length of the {what}")
    check_equal(message.get("body_error"), error, f"error of the {what}")


def post(bench, client, size, seen=None):
    """One POST of `size` bytes that is answered with as many others. `seen`: so many of what is sent."""
    up = bench.dir / "up"
    up.write_bytes(body(size + 1))
    peer = bench.peer(tls=True)
    process = client(peer, up, f"/bytes/{size}")
    sight = bench.sight("ssl", "--no-redact", *PAUSED, "-p", str(process.pid))
    bench.release(process)
    bench.finish(process)
    told = peer.told()
    stream = sight.stop()

    request = stream.only("ssl", "http_request", process.pid)["data"]
    response = stream.only("ssl", "http_response", process.pid)["data"]
    check_equal(request["exchange_id"], response["exchange_id"], "exchange")
    check_body(request, "request", body(size + 1), "bytes behind these were not seen" if seen else None)
    check_body(response, "response", body(size))
    check_equal([e.get("incomplete", False) for e in (request, response)], [bool(seen), False], "incomplete")
    check_equal(response["request"]["body_bytes"], size + 1, "bytes of the request, in the response")
    check_raw(stream, process.pid, told, seen)


def check_raw(stream, pid, told, seen):
    check_equal(sha256(*stream.plaintext(pid, "read").values()), told["sent_sha256"], "the SHA-256 of what was read")
    if not seen:
        got = sha256(*stream.plaintext(pid, "write").values())
        check_equal(got, told["received_sha256"], "the SHA-256 of what was written")
        return
    head, call = (e["data"] for e in stream.select("ssl", "data", pid, direction="write"))
    check_equal(call["len"] + head["len"], told["received"], "bytes of two calls")
    check_equal((call["truncated"], call["data_length"]), (True, call["len"]), "what is said of the long call")
    check_equal(len(body_of({"body_base64": call["data_base64"]})), seen, "bytes of the long call")


def curl(bench):
    def client(peer, up, path):
        return bench.hold(curl_argv("--http1.1", "-H", "Expect:", "--data-binary", f"@{up}", peer.url + path))

    return client


def python(bench):
    def client(peer, up, path):
        argv = [PYTHON, "-I", "-c", LATE_PYTHON, str(peer.port), str(up), "1", path]
        return bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    return client


def bodies_of_a_megabyte_by_curl_are_whole(bench):
    post(bench, curl(bench), SMALL)


def bodies_of_a_megabyte_by_python_are_whole(bench):
    post(bench, python(bench), SMALL)


def bodies_of_twenty_megabytes_by_curl_are_cut_and_say_so(bench):
    post(bench, curl(bench), LARGE)


def bodies_of_twenty_megabytes_by_python_are_cut_and_say_so(bench):
    post(bench, python(bench), LARGE, seen=CALL)  # which writes its body in one call


TESTS = [
    bodies_of_a_megabyte_by_curl_are_whole,
    bodies_of_a_megabyte_by_python_are_whole,
    bodies_of_twenty_megabytes_by_curl_are_cut_and_say_so,
    bodies_of_twenty_megabytes_by_python_are_cut_and_say_so,
]
