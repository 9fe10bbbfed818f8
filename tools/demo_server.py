#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The other side of the demonstration: an HTTPS server on loopback that answers like a model.

Usage: demo_server.py CERTIFICATE KEY PORT-FILE. It takes a free port and writes it to PORT-FILE.
"""
import http.server
import json
import os
import ssl
import sys

WORDS = ["Hello, ", "I ", "will ", "write ", "the ", "file ", "now."]


def answer_of_model(model):
    """The events of an answer, as Anthropic's Messages API streams them."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    yield {"type": "message_start", "message": {
        "id": "msg_demo", "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": None, "usage": usage}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for word in WORDS:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": len(WORDS)}}
    yield {"type": "message_stop"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        body = {"data": [{"id": "demo-model"}]}
        self.answer("application/json", json.dumps(body).encode())

    def do_POST(self):
        asked = json.loads(self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20)))
        events = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in answer_of_model(asked["model"])]
        self.answer("text/event-stream", "".join(events).encode())

    def log_message(self, *args):
        pass


def main():
    certificate, key, port_file = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with open(port_file + ".new", "w", encoding="ascii") as f:
        f.write(str(server.server_address[1]))
    os.rename(port_file + ".new", port_file)  # whoever waits for the file finds it whole
    server.serve_forever()


if __name__ == "__main__":
    main()
