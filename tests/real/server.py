# SPDX-License-Identifier: MIT
"""A loopback server that counts every byte: server.py [--tls CERTIFICATE KEY] ADDRESS ANSWER-FILE

Prints its port, then for each connection one line of JSON: the bytes that went through the socket's
plaintext side and the SHA-256 of the body that came in. Answers every request with ANSWER-FILE.
"""

import hashlib
import json
import socket
import ssl
import sys


def read_request(conn):
    """All bytes of one request, headers and body; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return b"", b""
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, value = line.split(b":", 1)
        if name.lower() == b"content-length":
            length = int(value)
    parts = [body]
    missing = length - len(body)
    while missing > 0:
        more = conn.recv(65536)
        if not more:
            raise EOFError("the body is incomplete")
        parts.append(more)
        missing -= len(more)
    return head + b"\r\n\r\n", b"".join(parts)


def serve(conn, answer):
    head, body = read_request(conn)
    if not head:
        return
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode() + answer
    conn.sendall(reply)
    told = {
        "received": len(head) + len(body),
        "sent": len(reply),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    if isinstance(conn, ssl.SSLSocket):
        try:
            conn.unwrap()
        except OSError:
            pass
    # before the end of the connection: who has seen that can read it
    print(json.dumps(told), flush=True)


def main():
    args = sys.argv[1:]
    context = None
    if args[0] == "--tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args[1], args[2])
        args = args[3:]
    address, path = args
    with open(path, "rb") as f:
        answer = f.read()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            conn, _ = listener.accept()
            try:
                if context:
                    conn = context.wrap_socket(conn, server_side=True)
                serve(conn, answer)
            except OSError as e:
                print(e, file=sys.stderr)
            finally:
                conn.close()


main()
