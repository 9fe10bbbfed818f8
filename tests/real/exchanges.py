# SPDX-License-Identifier: MIT
"""Requests and responses of real clients and servers, put together from their plaintext."""

import base64
import gzip
import signal
import subprocess

from peer import body
from real import PYTHON, check, check_equal, need, wait_until
from tls import answers, curl_argv, free_port

SIZE = 300_000

NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
	access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
	uwsgi_temp_path {dir}; scgi_temp_path {dir}; gzip on; gzip_types text/plain; gzip_min_length 1;
	types {{ text/plain txt; application/octet-stream bin; }}
	server {{
		listen 127.0.0.1:{port} ssl http2; root {dir}/www;
		ssl_certificate {certificate}; ssl_certificate_key {key};
	}}
}}
"""

# One connection: requests with and without a body, one body in chunks, one answer in pieces.
KEPT_ALIVE = """
import http.client, ssl, sys
sys.stdin.readline()
c = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl._create_unverified_context())
for i in range(int(sys.argv[2])):
    c.request("POST", f"/echo?{i}", f"body number {i}".encode(), {"X-Number": str(i)})
    assert c.getresponse().read() == f"body number {i}".encode()
c.close()
"""

# It reads the beginning of an answer and then nothing.
HALF = """
import http.client, ssl, sys, time
sys.stdin.readline()
c = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl._create_unverified_context())
c.request("GET", "/bytes/" + sys.argv[2])
c.getresponse().read(5000)
print("read", flush=True)
time.sleep(60)
"""


def shown(message):
    """The body of a request or response."""
    check_equal(len(body_of(message)), message["body_bytes"], "bytes of a body")
    return body_of(message)


def body_of(message):
    if "body_base64" in message:
        return base64.b64decode(message["body_base64"], validate=True)
    return message["body"].encode()


def nginx(bench):
    certificate, key = bench.certificate()
    port = free_port()
    (bench.dir / "www").mkdir()
    (bench.dir / "www/b.bin").write_bytes(body(SIZE))
    (bench.dir / "www/t.txt").write_bytes(b"the same line again and again\n" * 10_000)
    text = NGINX.format(dir=bench.dir, port=port, certificate=certificate, key=key)
    argv = [need("nginx"), "-e", bench.dir / "error.log", "-c", bench.script("nginx.conf", text)]
    server = bench.spawn(argv)
    wait_until("nginx to listen", lambda: answers(port))
    return server, port


def pairs_of(stream, pid):
    """exchange_id -> (request, response), each there once and whole."""
    requests = {e["data"]["exchange_id"]: e["data"] for e in stream.select("ssl", "http_request", pid)}
    responses = {e["data"]["exchange_id"]: e["data"] for e in stream.select("ssl", "http_response", pid)}
    check_equal(sorted(requests), sorted(responses), "requests with an answer")
    for event in [*requests.values(), *responses.values()]:
        check("incomplete" not in event, f"incomplete: {str(event)[:300]}")
    return {i: (requests[i], responses[i]) for i in requests}


def check_files(bench, version, *options):
    """curl and nginx, both traced: each tells the same of both files, and of one that is not there."""
    server, port = nginx(bench)
    paths = ["/b.bin", "/t.txt", "/none"]
    urls = [f"https://localhost:{port}{path}" for path in paths]
    argv = curl_argv(*options, "--compressed", *urls)
    for _ in urls[1:]:
        argv += ["-o", "/dev/null"]
    client = bench.hold(argv)
    sight = bench.sight("ssl", "--no-redact", "-p", f"{client.pid},{server.pid}")
    bench.release(client)
    bench.finish(client)
    # a write is told when it returns, and the client may have all before that
    server.send_signal(signal.SIGTERM)
    server.wait()
    stream = sight.stop()

    text = (bench.dir / "www/t.txt").read_bytes()
    for pid, role in ((client.pid, "client"), (server.pid, "server")):
        pairs = pairs_of(stream, pid)
        check_equal(sorted(q["request"]["path"] for q, _ in pairs.values()), sorted(paths), f"paths of the {role}")
        for request, response in pairs.values():
            path = request["request"]["path"]
            check_equal(request["role"], role, "role")
            check_equal(request["request"]["version"], version, "version")
            check_equal(request["request"]["host"].split(":")[0], "localhost", "host")
            check_equal(response["request"]["path"], path, "path in the response")
            check_equal(response["response"]["status"], 404 if path == "/none" else 200, "status")
            if path == "/b.bin":
                check(shown(response["response"]) == body(SIZE), "the bytes are others")
            if path == "/t.txt":
                check_equal(response["response"]["headers"]["content-encoding"], "gzip", "encoding")
                check(shown(response["response"]) == text, "the text is another")
            check(response["duration_ns"] >= response["first_byte_ns"] >= 0, "times")


def curl_and_nginx_over_HTTP_1_are_put_together(bench):
    check_files(bench, "HTTP/1.1", "--http1.1")


def curl_and_nginx_over_HTTP_2_are_put_together(bench):
    check_files(bench, "HTTP/2", "--http2")


def streams_of_HTTP_2_at_the_same_time_are_put_together(bench):
    check_files(bench, "HTTP/2", "--http2", "--parallel")


def an_upload_is_exact_and_its_secrets_are_masked(bench):
    peer = bench.peer(tls=True)
    up = bench.dir / "up"
    up.write_bytes(gzip.compress(body(SIZE)))
    key = "abcdefghijklmnop0123456789"
    headers = ["-H", f"X-Api-Key: {key}", "-H", f"X-Api-Key: {key[::-1]}"]
    client = bench.hold(curl_argv("--data-binary", f"@{up}", *headers, f"{peer.url}/echo?key={key}"))
    sight = bench.sight("ssl", "-p", str(client.pid))
    bench.release(client)
    bench.finish(client)
    stream = sight.stop()

    check(key[4:].encode() not in stream.raw and key[::-1][4:].encode() not in stream.raw, "a secret is there")
    [(request, response)] = pairs_of(stream, client.pid).values()
    check_equal(request["request"]["headers"]["x-api-key"], ["*" * len(key)] * 2, "keys")
    check_equal(request["request"]["body_bytes"], up.stat().st_size, "bytes sent")
    check_equal(response["response"]["body_bytes"], up.stat().st_size, "bytes received")


def a_thousand_kept_alive_requests_are_put_together(bench):
    count = 1000
    peer = bench.peer(tls=True)
    argv = [PYTHON, "-I", "-c", KEPT_ALIVE, str(peer.port), str(count)]
    client = bench.spawn(argv, stdin=subprocess.PIPE)
    sight = bench.sight("ssl", "--no-redact", "-p", f"{client.pid},{peer.pid}")
    bench.release(client)
    bench.finish(client)
    peer.told()  # its last write has returned
    stream = sight.stop()

    for pid in (client.pid, peer.pid):
        pairs = list(pairs_of(stream, pid).values())
        check_equal(len(pairs), count, "exchanges")
        for i, (request, response) in enumerate(pairs):
            want = f"body number {i}".encode()
            check_equal(request["request"]["path"], f"/echo?{i}", "path")
            check_equal(request["request"]["headers"]["x-number"], str(i), "header")
            check_equal(shown(request["request"]), want, "body of the request")
            check_equal(shown(response["response"]), want, "body of the response")


def a_client_that_dies_leaves_an_incomplete_response(bench):
    peer = bench.peer(tls=True)
    argv = [PYTHON, "-I", "-c", HALF, str(peer.port), str(3_000_000)]
    client = bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sight = bench.sight("ssl", "-p", str(client.pid))
    bench.release(client)
    check_equal(client.stdout.readline(), b"read\n", "what the client says")
    client.kill()
    client.wait()
    stream = sight.stop()
    event = stream.only("ssl", "http_response", client.pid)
    check_equal(event["data"].get("incomplete"), True, "incomplete")
    check(5_000 <= event["data"]["response"]["body_bytes"] < 3_000_000, "bytes of the body")
    check_equal(stream.only("ssl", "http_request", client.pid)["data"].get("incomplete"), None, "the request")


TESTS = [
    curl_and_nginx_over_HTTP_1_are_put_together,
    curl_and_nginx_over_HTTP_2_are_put_together,
    streams_of_HTTP_2_at_the_same_time_are_put_together,
    an_upload_is_exact_and_its_secrets_are_masked,
    a_thousand_kept_alive_requests_are_put_together,
    a_client_that_dies_leaves_an_incomplete_response,
]
