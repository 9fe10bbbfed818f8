#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tls_server.py DIRECTORY [VERSION]: HTTP/1.1 over TLS on a free port of the loopback.

Writes ca.pem and, last, the file `port` into the directory; answers /.../N with N bytes. At the end of a
connection it prints what went through, with its SHA-256, in the words of the client.
"""
import hashlib, json, os, signal, socket, ssl, subprocess, sys, threading

directory = sys.argv[1]


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


def certificates():
    with open(directory + "/leaf.cnf", "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=test")
    openssl("req", *key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "20",
            "-CAcreateserial", "-extfile", "leaf.cnf", "-out", "leaf.pem")


class Side:
    def __init__(self, direction):
        self.direction, self.hash, self.bytes = direction, hashlib.sha256(), 0

    def add(self, data):
        self.hash.update(data)
        self.bytes += len(data)

    def tell(self):
        print(json.dumps({"direction": self.direction, "bytes": self.bytes,
                          "sha256": self.hash.hexdigest()}), flush=True)


def chunked_end(data):
    at = 0
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        n = int(data[at:line], 16)
        at = line + 2 + n + 2
        if at > len(data):
            return None
        if n == 0:
            return at


def request(conn, data, wrote):
    """Reads on until @data holds a request; how long it is, and its path."""
    while True:
        head = data.find(b"\r\n\r\n") + 4
        if head >= 4:
            lines = bytes(data[:head]).lower().split(b"\r\n")
            n = 0
            for line in lines:
                if line.startswith(b"content-length:"):
                    n = int(line.split(b":")[1])
                elif line.startswith(b"transfer-encoding:") and b"chunked" in line:
                    n = chunked_end(data[head:])
            if n is not None and len(data) >= head + n:
                return head + n, bytes(data[:head]).split(b" ")[1].decode()
        more = conn.recv(65536)
        if not more:
            return 0, None
        wrote.add(more)
        data += more


def serve(sock, context):
    wrote, read = Side("write"), Side("read")
    try:
        conn = context.wrap_socket(sock, server_side=True)
        data = bytearray()
        while True:
            n, path = request(conn, data, wrote)
            if not n:
                break
            del data[:n]
            last = path.split("/")[-1]
            body = bytes((i * 7 + n) % 251 for i in range(int(last) if last.isdigit() else 300))
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            conn.sendall(answer)
            read.add(answer)
    except OSError:
        pass
    if wrote.bytes:
        wrote.tell()
        read.tell()


certificates()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory + "/leaf.pem", directory + "/leaf.key")
context.set_alpn_protocols(["http/1.1"])
if len(sys.argv) > 2:
    context.maximum_version = getattr(ssl.TLSVersion, sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
connections = []


def end(*_):
    """Its clients are gone, so each connection comes to its end and is told before this one ends."""
    for thread in connections:
        thread.join(10)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
with open(directory + "/port.new", "w") as f:
    f.write(str(listener.getsockname()[1]))
os.rename(directory + "/port.new", directory + "/port")
while True:
    connections.append(threading.Thread(target=serve, args=(listener.accept()[0], context), daemon=True))
    connections[-1].start()
