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

WORDS = ["Hello,", "I", "will", "write", "the", "file", "now."]


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
        self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20))
        events = [f"data: {json.dumps({'delta': word})}\n\n" for word in WORDS]
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
