# SPDX-License-Identifier: MIT
"""ws_peer.py PORT [plain]: a WebSocket client over TLS. ws_peer.py CERTIFICATE KEY [plain]: its server, which says
its port. Both know what is sent. Messages are compressed (RFC 7692), each with the ones before it as its dictionary,
unless `plain`; some come in fragments with a ping between."""

import base64
import hashlib
import os
import random
import socket
import ssl
import struct
import sys
import zlib

TEXT, BINARY, PING = 1, 2, 9
MESSAGES = [
    b'{"hello":"world"}',
    b'{"hello":"world","again":true}' * 3,
    b"",
    "„Grüße“ ✓".encode() * 5_000,
    random.Random(7).randbytes(70_000),
    b"in three fragments, with a ping in between " * 100,
    b"bye",
]
if "WS_MESSAGE" in os.environ:  # a test's own
    MESSAGES = [os.environ["WS_MESSAGE"].encode()]


def answer(message):
    return message[::-1] if is_text(message[::-1]) and is_text(message) else message


def is_text(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def masked(data, key):
    keys = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(data), "big")


class Channel:
    def __init__(self, sock, masks, compressed):
        self.sock, self.masks, self.rest = sock, masks, b""
        self.out = zlib.compressobj(wbits=-15) if compressed else None
        self.into = zlib.decompressobj(wbits=-15) if compressed else None

    def frame(self, first, payload):
        n, bit = len(payload), 0x80 if self.masks else 0
        if n < 126:
            head = struct.pack("!BB", first, bit | n)
        elif n < 1 << 16:
            head = struct.pack("!BBH", first, bit | 126, n)
        else:
            head = struct.pack("!BBQ", first, bit | 127, n)
        if self.masks:
            key = os.urandom(4)
            head, payload = head + key, masked(payload, key)
        self.sock.sendall(head + payload)

    def send(self, message):
        kind, bit = TEXT if is_text(message) else BINARY, 0
        fragments = 3 if b"fragments" in message or b"fragments"[::-1] in message else 1
        if self.out:
            bit = 0x40
            message = (self.out.compress(message) + self.out.flush(zlib.Z_SYNC_FLUSH))[:-4]
        size = -(-len(message) // fragments) or 1
        pieces = [message[i : i + size] for i in range(0, len(message), size)] or [b""]
        for i, piece in enumerate(pieces):
            if i == 1:
                self.frame(0x80 | PING, b"still there?")
            self.frame((0x80 if piece is pieces[-1] and i == len(pieces) - 1 else 0) | (0 if i else bit | kind), piece)

    def exactly(self, n):
        while len(self.rest) < n:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self.rest += data
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def head(self):
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            text += self.exactly(1)
        return text.decode()

    def read_frame(self):
        first, n = self.exactly(2)
        bit, n = n & 0x80, n & 0x7F
        if n >= 126:
            n = int.from_bytes(self.exactly(2 if n == 126 else 8), "big")
        key = self.exactly(4) if bit else b"\0\0\0\0"
        return first, masked(self.exactly(n), key)

    def receive(self):
        message = b""
        while True:
            first, payload = self.read_frame()
            if first & 15 == PING:
                continue
            message += payload
            if first & 0x80:
                return self.into.decompress(message + b"\0\0\xff\xff") if self.into else message


def client(port, compressed):
    sys.stdin.readline()
    sock = ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", port)))
    key = base64.b64encode(os.urandom(16)).decode()
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if compressed else ""
    sock.sendall(f"GET /chat?a=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offer}"
                 f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    channel = Channel(sock, True, compressed)
    assert channel.head().startswith("HTTP/1.1 101 ")
    for message in MESSAGES:
        channel.send(message)
        assert channel.receive() == answer(message)


def server(certificate, key, compressed):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    channel = Channel(context.wrap_socket(listener.accept()[0], server_side=True), False, compressed)
    lines = dict(line.split(": ", 1) for line in channel.head().split("\r\n")[1:] if line)
    proof = hashlib.sha1(lines["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    agreed = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compressed else ""
    channel.sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{agreed}"
                         f"Sec-WebSocket-Accept: {base64.b64encode(proof).decode()}\r\n\r\n".encode())
    for message in MESSAGES:
        assert channel.receive() == message
        channel.send(answer(message))


if __name__ == "__main__":
    words = [a for a in sys.argv[1:] if a != "plain"]
    deflate = "plain" not in sys.argv
    if len(words) == 1:
        client(int(words[0]), deflate)
    else:
        server(*words, deflate)
