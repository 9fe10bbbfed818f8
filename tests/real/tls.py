# SPDX-License-Identifier: MIT
"""Plaintext of real TLS clients and servers, byte for byte."""

import hashlib
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path

from peer import body
from real import PYTHON, Skip, check, check_equal, library_of, need, wait_until

SIZE = 1_000_000
REQUESTS = 20_000
# How far away a server is whose client brings a library that was never seen before: it is probed after 40 ms, on a slow
# machine after some times that.
DELAY_MS = 500

# It blocks before TLS is in its memory.
LATE_PYTHON = """
import sys
sys.stdin.readline()
import http.client, ssl
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context)
body = open(sys.argv[2], "rb").read()
for i in range(int(sys.argv[3])):
    connection.request("POST", sys.argv[4], body)
    connection.getresponse().read()
connection.close()
"""

NODE = """
const https = require("https"), fs = require("fs");
fs.readSync(0, Buffer.alloc(1));
const options = {method: "POST", host: "127.0.0.1", port: process.argv[2], path: process.argv[4],
	rejectUnauthorized: false, agent: false};
const request = https.request(options, (r) => { r.resume(); });
request.end(fs.readFileSync(process.argv[3]));
"""

NODE_SERVER = """
const https = require("https"), fs = require("fs");
const pem = {cert: fs.readFileSync(process.argv[2]), key: fs.readFileSync(process.argv[3])};
const server = https.createServer(pem, (q, r) => { r.setHeader("Connection", "close"); r.end("to " + q.url); });
server.listen(0, "127.0.0.1", () => { console.log(server.address().port); });
"""

# One request through a library that nothing but this script loads, and after the recording began.
DLOPEN = """
import ctypes, socket, sys
sys.stdin.readline()
ssl = ctypes.CDLL(sys.argv[1])
for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(ssl, name).restype = ctypes.c_void_p
context = ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(ssl.TLS_client_method())))
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as s:
    session = ctypes.c_void_p(ssl.SSL_new(context))
    ssl.SSL_set_fd(session, s.fileno())
    assert ssl.SSL_connect(session) == 1
    request = b"GET /late HTTP/1.1\\r\\n\\r\\n"
    assert ssl.SSL_write(session, request, len(request)) == len(request)
    reply = ctypes.create_string_buffer(4096)
    assert ssl.SSL_read(session, reply, 4096) > 0
    ssl.SSL_shutdown(session)
"""

# Its libraries are in its memory when it blocks.
READY_PYTHON = """
import http.client, ssl, sys
context = ssl._create_unverified_context()
print("ready", flush=True)
sys.stdin.readline()
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context)
connection.request("GET", "/bytes/5000")
assert len(connection.getresponse().read()) == 5000
connection.close()
"""

# One request after the other on one connection; the file says how many were answered.
BUSY = """
import http.client, os, ssl, sys, time
file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context)
done = 0
while True:
    connection.request("GET", "/bytes/100")
    assert len(connection.getresponse().read()) == 100
    done += 1
    os.pwrite(file, b"%09d" % done, 0)
    time.sleep(float(sys.argv[3]))
"""


# Sessions in turns: on one thread, then from thread to thread, and new ones in their places. Each message names its port.
TURNS = """
import random, selectors, socket, ssl, sys, threading
sys.stdin.readline()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
port, turns, random_of = listener.getsockname()[1], int(sys.argv[3]), random.Random(1)

def serve():
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                ready.register(context.wrap_socket(listener.accept()[0], server_side=True), selectors.EVENT_READ)
                continue
            message = key.fileobj.recv(100)
            if message:
                key.fileobj.sendall(message)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()

def connect():
    return ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", port)))

def talk(session, i):
    message = b"port %d turn %d." % (session.getsockname()[1], i)
    session.sendall(message)
    assert session.recv(100) == message
    print(session.getsockname()[1], i)

threading.Thread(target=serve, daemon=True).start()
sessions = [connect() for _ in range(3)]
for i in range(turns):
    at = random_of.randrange(3)
    if random_of.random() < 0.05:
        sessions[at].close()
        sessions[at] = connect()
    if random_of.random() < 0.3:
        other = threading.Thread(target=talk, args=(sessions[at], i))
        other.start()
        other.join()
    else:
        talk(sessions[at], i)
"""


# What the full socket did not take goes on without the buffer, in which there are other bytes by then.
AGAIN = """
import ctypes, select, socket, ssl, sys, threading
tls, AGAIN = ctypes.CDLL("libgnutls.so.30"), -28
tls.gnutls_record_send.restype = ctypes.c_ssize_t
tls.gnutls_record_send.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
sys.stdin.readline()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener, is_full = socket.create_server(("127.0.0.1", 0)), threading.Event()

def serve():
    with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
        is_full.wait()
        while peer.recv(65536):
            pass

server = threading.Thread(target=serve)
server.start()
end = socket.create_connection(listener.getsockname())
session, credentials = ctypes.c_void_p(), ctypes.c_void_p()
assert tls.gnutls_init(ctypes.byref(session), 2) == 0
assert tls.gnutls_certificate_allocate_credentials(ctypes.byref(credentials)) == 0
assert tls.gnutls_set_default_priority(session) == 0
assert tls.gnutls_credentials_set(session, 1, credentials) == 0
tls.gnutls_transport_set_int2(session, end.fileno(), end.fileno())
assert tls.gnutls_handshake(session) == 0
end.setblocking(False)
text, n = ctypes.create_string_buffer(b"a" * 8000), 0
while (r := tls.gnutls_record_send(session, text, 8000)) != AGAIN:
    assert r == 8000
    n += 1
text.value = b"b" * 8000
is_full.set()
while (r := tls.gnutls_record_send(session, None, 0)) == AGAIN:
    select.select([], [end], [])
assert r == 8000
end.setblocking(True)
tls.gnutls_bye(session, 1)
server.join()
print(n)
"""


def check_plaintext(stream, pid, told, comm, library, connection=True):
    """What the process wrote is what the server received, and the reverse, to the last byte."""
    for direction, n, digest in (
        ("write", told["received"], told["received_sha256"]),
        ("read", told["sent"], told["sent_sha256"]),
    ):
        streams = stream.plaintext(pid, direction)
        check_equal(len(streams), 1, f"TLS sessions in which {comm} did {direction}")
        data = next(iter(streams.values()))
        check_equal(len(data), n, f"bytes of {direction} by {comm}")
        check_equal(hashlib.sha256(data).hexdigest(), digest, f"the SHA-256 of {direction} by {comm}")
    for event in stream.select("ssl", "data", pid):
        check_equal(event["comm"], comm, "the name of the process")
        check_equal(Path(event["data"]["library"]).name, library, "the library")
        if connection:
            check("connection" in event["data"], f"an event of {comm} without its connection")
            check_equal(event["data"]["connection"]["remote"]["port"], told["port"], "the server's port")
            check_equal(event["data"]["connection"]["local"]["port"], told["peer"], "the client's port")


def check_bodies(stream, pid, sent, received):
    for direction, want in (("write", sent), ("read", received)):
        data = next(iter(stream.plaintext(pid, direction).values()))
        check(bytes(data).endswith(b"\r\n\r\n" + want), f"the body of {direction} is not in the plaintext")


def exchange(bench, client, comm, library, connection=True, handshakes=1, both=False):
    """One POST of SIZE bytes that is answered with as many; `client` takes URL, port, body file, path."""
    up = bench.dir / "body"
    up.write_bytes(body(SIZE + 1))
    peer = bench.peer(tls=True)
    process = client(peer, up, f"/bytes/{SIZE}")
    sight = bench.sight("ssl", "--no-redact", "-p", f"{peer.pid},{process.pid}" if both else str(process.pid))
    bench.release(process)
    bench.finish(process)
    told = dict(peer.told(), port=peer.port)
    stream = sight.stop()

    check_equal(told["requests"], 1, "requests at the server")
    check_plaintext(stream, process.pid, told, comm, library, connection)
    check_bodies(stream, process.pid, body(SIZE + 1), body(SIZE))
    check_equal(len(stream.select("ssl", "handshake", process.pid)), handshakes, "handshakes")
    if both:
        read = next(iter(stream.plaintext(peer.pid, "read").values()))
        check_equal(hashlib.sha256(read).hexdigest(), told["received_sha256"], "what the server read")
        check_equal(len(stream.select("ssl", "handshake", peer.pid)), 1, "handshakes of the server")
    return stream


def curl_argv(*args, output="/dev/null"):
    return [need("curl"), "-sSk", "--noproxy", "*", "-o", output, *args]


def plaintext_of_curl_is_exact_both_ways(bench):
    def client(peer, up, path):
        return bench.hold(curl_argv("-H", "Expect:", "--data-binary", f"@{up}", peer.url + path))

    exchange(bench, client, "curl", "libssl.so.3", both=True)


def plaintext_of_python_that_imports_ssl_late_is_exact_both_ways(bench):
    def client(peer, up, path):
        argv = [PYTHON, "-I", "-c", LATE_PYTHON, str(peer.port), str(up), "1", path]
        return bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    exchange(bench, client, "python3", "libssl.so.3")


def plaintext_of_node_is_exact_both_ways(bench):
    node = need("node")
    library = library_of(node)

    def client(peer, up, path):
        argv = [node, bench.script("client.js", NODE), str(peer.port), str(up), path]
        return bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    # node moves the ciphertext itself, so its TLS library knows of no socket; reads drive the handshake
    exchange(bench, client, "node", library.name if library else "node", connection=False, handshakes=0)


def connections_of_a_node_server_have_nothing_of_each_other(bench):
    """Whose TLS objects lie one after the other in the same memory, and know of no handshake and no socket."""
    argv = [need("node"), bench.script("server.js", NODE_SERVER), *bench.certificate()]
    server = bench.spawn(argv, stdout=subprocess.PIPE)
    port = int(server.stdout.readline())
    sight = bench.sight("ssl", "-p", str(server.pid))
    clients = []
    for _ in range(20):
        client = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())
        client.connect()
        clients.append(client.sock.getsockname()[1])
        client.request("GET", f"/{clients[-1]}")
        check_equal(client.getresponse().read(), b"to /%d" % clients[-1], "the answer")
        client.close()
    stream = sight.stop()
    streams = {}
    for event in stream.select("ssl", "data", server.pid):
        streams.setdefault(event["data"]["stream_id"], []).append(event["data"])
    check_equal(len(streams), len(clients), "streams")
    for calls, client in zip(streams.values(), clients):
        text = "".join(call["data"] for call in calls)
        check(text.startswith(f"GET /{client} ") and text.endswith(f"to /{client}"), f"{client} is told as {text}")
        ports = {call["connection"]["remote"]["port"] for call in calls if "connection" in call}
        check(ports <= {client}, f"{client} is told of {ports}")


def twenty_thousand_requests_of_python_on_one_connection_are_all_there(bench):
    up = bench.dir / "body"
    up.write_bytes(b"x" * 64)
    peer = bench.peer(tls=True)
    argv = [PYTHON, "-I", "-c", LATE_PYTHON, str(peer.port), str(up), str(REQUESTS), "/bytes/200"]
    process = bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sight = bench.sight("ssl", "--no-redact", "-p", str(process.pid))
    bench.release(process)
    bench.finish(process)
    told = dict(peer.told(), port=peer.port)
    stream = sight.stop()

    check_equal(told["requests"], REQUESTS, "requests at the server")
    check_plaintext(stream, process.pid, told, "python3", "libssl.so.3")


NGINX = """
daemon off; master_process on; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
	access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
	uwsgi_temp_path {dir}; scgi_temp_path {dir};
	server {{
		listen 127.0.0.1:{port} ssl; root {dir}/www;
		ssl_certificate {certificate}; ssl_certificate_key {key};
	}}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def nginx_serving_https_is_seen_in_plaintext(bench):
    nginx = need("nginx")
    certificate, key = bench.certificate()
    port = free_port()
    (bench.dir / "www").mkdir()
    (bench.dir / "www/page").write_bytes(body(SIZE))
    text = NGINX.format(dir=bench.dir, port=port, certificate=certificate, key=key)
    server = bench.spawn([nginx, "-e", bench.dir / "error.log", "-c", bench.script("nginx.conf", text)])
    wait_until("nginx to listen", lambda: answers(port))
    sight = bench.sight("ssl", "--no-redact", "-c", "nginx")
    got = bench.dir / "got"
    argv = curl_argv("-D", str(bench.dir / "head"), f"https://localhost:{port}/page?of=nginx", output=str(got))
    bench.finish(bench.spawn(argv, stdout=subprocess.PIPE))
    # a write is told when it returns, and curl may have all before that
    server.send_signal(signal.SIGTERM)
    server.wait()
    stream = sight.stop()

    check_equal(got.read_bytes(), body(SIZE), "what curl got")
    events = stream.select("ssl", "data")
    check_equal({e["comm"] for e in events}, {"nginx"}, "who is in the stream")
    pids = {e["pid"] for e in events}
    check(len(pids) == 1 and server.pid not in pids, f"the plaintext is of {pids}, not of one worker")
    written = [bytes(s) for s in stream.plaintext(pids.pop(), "write").values()]
    check_equal(written, [(bench.dir / "head").read_bytes() + body(SIZE)], "what nginx wrote")
    read = stream.select("ssl", "data", direction="read")[0]["data"]["data"]
    check(read.startswith("GET /page?of=nginx HTTP/1.1\r\n"), f"nginx read {read[:60]}")


def busy(bench, peer, pause_s=0, **kw):
    (bench.dir / "answered").unlink(missing_ok=True)  # the count of one before would be taken for this one's
    argv = [PYTHON, "-I", "-c", BUSY, str(peer.port), str(bench.dir / "answered"), str(pause_s)]
    process = bench.spawn(argv, **kw)
    progress(bench, process, 1)
    return process


def answered(bench):
    path = bench.dir / "answered"
    return int(path.read_bytes() or 0) if path.exists() else 0


def progress(bench, process, n):
    """Waits until `n` more requests were answered."""
    target = answered(bench) + n

    def there():
        check(process.poll() is None, "the client died")
        return answered(bench) >= target

    wait_until(f"{n} more requests", there)


# ---- where the library lies ----


def private_copy(directory):
    """libssl and libcrypto as curl uses them, in a directory of its own."""
    directory.mkdir(exist_ok=True)
    for name in ("libssl.so", "libcrypto.so"):
        library = library_of(need("curl"), name)
        if not library:
            raise Skip(f"curl does not use {name}")
        shutil.copy(library, directory)
    return directory / library_of(need("curl")).name


# A root of its own, with libraries on a file system that no other process sees.
CONTAINER = """
set -e
mkdir root
mount --rbind / root
mount -t tmpfs none root/mnt
cp private/* root/mnt
exec chroot root /usr/bin/env LD_LIBRARY_PATH=/mnt /bin/sh -c 'echo ready; read _ && exec "$@"' gate "$@"
"""


def container(bench, argv):
    need("unshare")
    command = ["unshare", "--mount", "/bin/sh", "-c", CONTAINER, "container", *argv]
    process = bench.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdout.readline() != b"ready\n":
        raise Skip("this machine allows no mount namespaces")
    return process


def check_library(sight, path):
    """Waits until the stream says that this file is probed: events hold no more than its base name."""
    sight.wait_for(f"the probes of {path}", lambda e: e["data"].get("hook", "").endswith(path))


def check_request(stream, pid, peer, told, library):
    check(stream.select("ssl", "data", pid), "no plaintext was seen")
    comm = stream.select("ssl", "data", pid)[0]["comm"]
    check_plaintext(stream, pid, dict(told, port=peer.port), comm, library.name)


def a_library_in_another_mount_namespace_and_root_is_captured(bench):
    library = private_copy(bench.dir / "private")
    peer = bench.peer(tls=True, delay_ms=DELAY_MS)
    process = container(bench, curl_argv(f"{peer.url}/bytes/5000"))
    sight = bench.sight("ssl", "-p", str(process.pid), "--no-redact")
    bench.release(process)
    bench.finish(process)
    check_library(sight, "/mnt/" + library.name)
    check_request(sight.stop(), process.pid, peer, peer.told(), library)


def a_library_mapped_before_in_another_root_is_captured(bench):
    library = private_copy(bench.dir / "private")
    peer = bench.peer(tls=True)
    process = container(bench, [PYTHON, "-I", "-c", READY_PYTHON, str(peer.port)])
    bench.release(process)
    check_equal(process.stdout.readline(), b"ready\n", "what python said")
    sight = bench.sight("ssl", "-p", str(process.pid), "--no-redact")
    bench.release(process)
    bench.finish(process)
    check_library(sight, "/mnt/" + library.name)
    check_request(sight.stop(), process.pid, peer, peer.told(), library)


def a_library_loaded_late_is_captured_from_its_first_write(bench):
    library = private_copy(bench.dir / "private")
    peer = bench.peer(tls=True, delay_ms=DELAY_MS)
    argv = [PYTHON, "-I", "-c", DLOPEN, str(library), str(peer.port)]
    environment = {"LD_LIBRARY_PATH": str(library.parent)}
    process = bench.spawn(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sight = bench.sight("record", "-p", str(process.pid), "--no-redact")
    bench.release(process)
    bench.finish(process)
    check_library(sight, str(library))
    check_request(sight.stop(), process.pid, peer, peer.told(), library)


def a_library_replaced_while_traced_is_captured_in_later_programs(bench):
    library = private_copy(bench.dir / "private")
    environment = {"LD_LIBRARY_PATH": str(library.parent)}
    peer = bench.peer(tls=True, delay_ms=DELAY_MS)
    old = busy(bench, peer, pause_s=0.01, env=environment)
    sight = bench.sight("ssl", "-c", "curl", "-p", str(old.pid), "--no-redact")
    sight.wait_for("the old program's plaintext", lambda e: e["source"] == "ssl" and e["pid"] == old.pid)
    later = []
    for path in ("/before", "/after", "/again"):
        curl = bench.spawn(curl_argv(f"{peer.url}{path}"), env=environment, stdout=subprocess.PIPE)
        bench.finish(curl)
        later.append((curl.pid, peer.told()))
        shutil.copy(library, bench.dir / "new")
        os.rename(bench.dir / "new", library)
    last = sight.lines()[-1]["timestamp"]
    sight.wait_for("more of the old program", lambda e: e["pid"] == old.pid and e["timestamp"] > last)
    old.kill()
    stream = sight.stop()
    for pid, told in later:
        check_request(stream, pid, peer, told, library)


def sessions_in_turns_are_kept_apart(bench):
    cert, key = bench.certificate()
    argv = [PYTHON, "-I", "-c", TURNS, cert, key, "600"]
    process = bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    sight = bench.sight("ssl", "-p", str(process.pid))
    process.stdin.write("\n")
    process.stdin.flush()
    said = process.stdout.read()
    bench.finish(process)
    stream = sight.stop()
    done = {tuple(map(int, line.split())) for line in said.splitlines()}
    check_equal(len(done), 600, "turns")
    streams = {}
    for event in stream.select("ssl", "data", process.pid):
        data, ends = event["data"], event["data"]["connection"]
        words = data["data"].rstrip(".").split()
        port, turn = int(words[1]), int(words[3])
        check((port, turn) in done, f"what nobody has said: {data['data']}")
        end = "local" if ends["local"]["port"] == port else "remote"
        check_equal(ends[end]["port"], port, f"a port of the connection of '{data['data']}'")
        streams.setdefault((port, end), []).append((data["stream_id"], data["direction"], turn))
    for (port, end), seen in streams.items():
        check_equal(len({stream_id for stream_id, _, _ in seen}), 1, f"streams of the {end} end of port {port}")
    check_equal(sum(map(len, streams.values())), 4 * 600, "calls")


def what_GnuTLS_goes_on_with_without_its_buffer_is_a_gap(bench):
    library = library_of(need("wget"), "libgnutls.so.30")
    if not library:
        raise Skip("wget does not use libgnutls.so.30")
    argv = [PYTHON, "-I", "-c", AGAIN, *bench.certificate()]
    process = bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sight = bench.sight("ssl", "-p", str(process.pid))
    check_library(sight, library.resolve().name)
    bench.release(process)
    whole = int(bench.finish(process))
    events = sight.stop().select("ssl", "data", process.pid, function="gnutls_record_send")
    check_equal([e["data"]["len"] for e in events], [8000] * (whole + 1), "what was sent")
    check_equal({e["data"]["data"] for e in events[:-1]}, {"a" * 8000}, "what was sent at once")
    last = events[-1]["data"]
    check("truncated" in last and not last.get("data"), "what went on is told as what is in the buffer by then")


# ---- leaving ----


def leave_a_busy_client(bench, leave):
    peer = bench.peer(tls=True)
    process = busy(bench, peer)
    for _ in range(3):
        sight = bench.sight("ssl", "-p", str(process.pid))
        progress(bench, process, 100)
        leave(sight)
        progress(bench, process, 200)
    check(process.poll() is None, "the client ended")
    process.kill()
    told = peer.told()
    check(told["requests"] >= 900, f"only {told['requests']} requests were answered")


def ending_in_order_leaves_a_busy_client_running(bench):
    """Which is in the middle of a session when the probes arrive, and has all members from its first event."""

    def leave(sight):
        events = sight.stop().select("ssl", "data")
        check(events, "nothing was seen")
        check_equal({e["data"]["library"] for e in events}, {"libssl.so.3"}, "the library")
        without = sum("connection" not in e["data"] for e in events)
        check(not without, f"{without} of {len(events)} events without their connection")

    leave_a_busy_client(bench, leave)


def a_hard_kill_leaves_a_busy_client_running(bench):
    def leave(sight):
        sight.process.kill()
        sight.process.wait()

    leave_a_busy_client(bench, leave)


TESTS = [
    plaintext_of_curl_is_exact_both_ways,
    plaintext_of_python_that_imports_ssl_late_is_exact_both_ways,
    plaintext_of_node_is_exact_both_ways,
    connections_of_a_node_server_have_nothing_of_each_other,
    twenty_thousand_requests_of_python_on_one_connection_are_all_there,
    nginx_serving_https_is_seen_in_plaintext,
    a_library_in_another_mount_namespace_and_root_is_captured,
    a_library_mapped_before_in_another_root_is_captured,
    a_library_loaded_late_is_captured_from_its_first_write,
    a_library_replaced_while_traced_is_captured_in_later_programs,
    sessions_in_turns_are_kept_apart,
    what_GnuTLS_goes_on_with_without_its_buffer_is_a_gap,
    ending_in_order_leaves_a_busy_client_running,
    a_hard_kill_leaves_a_busy_client_running,
]
