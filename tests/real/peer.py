# SPDX-License-Identifier: MIT
"""peer.py ADDRESS MS [CERTIFICATE KEY]: an HTTP/1.1 server on a free port of ADDRESS, with TLS when a
certificate is given. `/bytes/N` is answered with N bytes, `/echo` with the request's body, anything
else with a line of text; who says `Connection: close` is obeyed. It first speaks MS milliseconds after a connection came in, as if it were that far away.

On standard output stand JSON lines: the port, then for each connection that ended the bytes that
passed, how many and with which SHA-256.
"""

import hashlib
import json
import random
import socket
import ssl
import sys
import threading
import time

said = threading.Lock()
bodies = {}


def say(**what):
    with said:
        print(json.dumps(what), flush=True)


def body(n):
    """Bytes that are no text, the same for the same N."""
    if n not in bodies:
        bodies[n] = random.Random(n).randbytes(n)
    return bodies[n]


class Counted:
    """A socket that counts what passes."""

    def __init__(self, sock):
        self.sock = sock
        self.requests = self.received = self.sent = 0
        self.received_sum, self.sent_sum = hashlib.sha256(), hashlib.sha256()

    def receive(self):
        data = self.sock.recv(1 << 18)
        self.received += len(data)
        self.received_sum.update(data)
        return data

    def send(self, data):
        self.sock.sendall(data)
        self.sent += len(data)
        self.sent_sum.update(data)


def answer(head, sent):
    path = head.split(b" ", 2)[1].split(b"?")[0]
    text = b"all is well\n"
    if path.startswith(b"/bytes/"):
        text = body(int(path[7:]))
    elif path == b"/echo":
        text = sent
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text


def request_length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def converse(connection):
    rest = b""
    while True:
        while b"\r\n\r\n" not in rest:
            data = connection.receive()
            if not data:
                return
            rest += data
        head, _, rest = rest.partition(b"\r\n\r\n")
        pieces, missing = [rest], request_length(head) - len(rest)
        while missing > 0:
            data = connection.receive()
            if not data:
                return
            pieces.append(data)
            missing -= len(data)
        sent = b"".join(pieces)[: request_length(head)]
        rest = b"".join(pieces)[request_length(head) :]
        connection.send(answer(head, sent))
        connection.requests += 1
        if b"\r\nConnection: close" in head:
            return


def serve(sock, peer, context, delay_s):
    connection = error = None
    with sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(delay_s)
            if context:
                sock = context.wrap_socket(sock, server_side=True)
            connection = Counted(sock)
            converse(connection)
        except OSError as e:
            error = str(e)
        if connection:
            sock.close()
            say(
                peer=peer[1],
                error=error,
                requests=connection.requests,
                received=connection.received,
                sent=connection.sent,
                received_sha256=connection.received_sum.hexdigest(),
                sent_sha256=connection.sent_sum.hexdigest(),
            )


def main():
    address, delay_ms, *files = sys.argv[1:]
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=512) as listener:
        say(port=listener.getsockname()[1])
        while True:
            sock, peer = listener.accept()
            threading.Thread(target=serve, args=(sock, peer, context, int(delay_ms) / 1000), daemon=True).start()


if __name__ == "__main__":
    main()
