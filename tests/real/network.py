# SPDX-License-Identifier: MIT
"""Connections of real programs: exact bytes, and the right owner at both ends."""

import socket
from collections import Counter

from real import PYTHON, Skip, check, check_equal, need

SIZE = 50_000_000
CONNECTIONS = 2000

CLIENT = """
import socket, sys
port, n = int(sys.argv[1]), int(sys.argv[2])
for i in range(n):
    with socket.create_connection(("127.0.0.1", port)) as s:
        print(s.getsockname()[1])
        s.sendall(b"GET /bytes/%d HTTP/1.1\\r\\n\\r\\n" % (i % 100))
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass
"""


def endpoint(peer, port):
    return {"address": peer.address, "port": port}


def check_close(stream, pid, comm, local, remote, sent, received):
    """The one connection of `pid`: its totals, and that the single calls add up to the same."""
    close = stream.only("network", "close", pid)
    data = close["data"]
    check_equal(close["comm"], comm, f"the owner of {data}")
    check_equal(data["local"], local, f"the local end at {comm}")
    check_equal(data["remote"], remote, f"the remote end at {comm}")
    check_equal((data["tx_bytes"], data["rx_bytes"]), (sent, received), f"bytes sent and received by {comm}")
    for direction, total in (("send", sent), ("recv", received)):
        calls = stream.select("network", direction, pid, conn_id=data["conn_id"])
        check_equal(sum(e["data"]["bytes"] for e in calls), total, f"the sum of {direction} events of {comm}")


def download(bench, address):
    peer = bench.peer(address=address)
    curl = bench.hold(
        [need("curl"), "-gsS", "--noproxy", "*", "-o", "/dev/null", "-w"]
        + ["%{size_download} %{size_header} %{size_request} %{local_port}", f"{peer.url}/bytes/{SIZE}"]
    )
    sight = bench.sight("network", "-p", f"{peer.pid},{curl.pid}")
    bench.release(curl)
    body, head, asked, port = map(int, bench.finish(curl).split())
    told = peer.told()
    stream = sight.stop()

    check_equal(body, SIZE, "bytes that curl downloaded")
    check_equal((told["received"], told["sent"]), (asked, head + body), "bytes at the server")
    here, there = endpoint(peer, port), endpoint(peer, peer.port)
    check_close(stream, curl.pid, "curl", here, there, asked, head + body)
    check_close(stream, peer.pid, "python3", there, here, head + body, asked)
    check_equal(stream.only("network", "connect", curl.pid)["data"]["remote"], there, "where curl connected")
    check_equal(stream.only("network", "accept", peer.pid)["data"]["remote"], here, "whom the server accepted")


def fifty_megabytes_by_curl_over_ipv4_add_up_at_both_ends(bench):
    download(bench, "127.0.0.1")


def fifty_megabytes_by_curl_over_ipv6_add_up_at_both_ends(bench):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as e:
        raise Skip(f"no IPv6 here: {e}") from e
    download(bench, "::1")


def two_thousand_short_connections_of_python_have_an_owner_at_both_ends(bench):
    peer = bench.peer()
    script = bench.script("client.py", CLIENT)
    client = bench.hold([PYTHON, "-I", script, str(peer.port), str(CONNECTIONS)])
    sight = bench.sight("network", "-p", f"{peer.pid},{client.pid}")
    bench.release(client)
    ports = Counter(map(int, bench.finish(client).split()))
    told = Counter((t["peer"], t["received"], t["sent"]) for t in (peer.told() for _ in range(CONNECTIONS)))
    stream = sight.stop()

    # a port may come a second time: on the loopback the kernel gives it again after a second
    check_equal(Counter(peer_port for peer_port, _, _ in told.elements()), ports, "client ports in the server's words")
    for name, pid, end in (
        ("connect", client.pid, "local"),
        ("close", client.pid, "local"),
        ("accept", peer.pid, "remote"),
        ("close", peer.pid, "remote"),
    ):
        seen = Counter(e["data"][end]["port"] for e in stream.select("network", name, pid))
        check(seen == ports, f"{name} of {pid}: {sum((ports - seen).values())} missing, {seen - ports} too many")
        check_equal(sum(seen.values()), CONNECTIONS, f"{name} events")
    seen = Counter(
        (d["remote"]["port"], d["rx_bytes"], d["tx_bytes"])
        for d in (e["data"] for e in stream.select("network", "close", peer.pid))
    )
    check(seen == told, f"port, bytes received and sent: {seen - told} instead of {told - seen}")


TESTS = [
    fifty_megabytes_by_curl_over_ipv4_add_up_at_both_ends,
    fifty_megabytes_by_curl_over_ipv6_add_up_at_both_ends,
    two_thousand_short_connections_of_python_have_an_owner_at_both_ends,
]
