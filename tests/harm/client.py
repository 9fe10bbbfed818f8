# SPDX-License-Identifier: MIT
"""client.py PORT: three requests, and what came back."""

import hashlib
import http.client
import ssl
import sys

context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context)
for method, path, body in ("GET", "/bytes/5000", None), ("POST", "/echo", b"x" * 30000), ("GET", "/bytes/100000", None):
    connection.request(method, path, body)
    print(path, hashlib.sha256(connection.getresponse().read()).hexdigest())
