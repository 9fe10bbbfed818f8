# SPDX-License-Identifier: MIT
"""client.py PORT BODY-FILE ANSWER-FILE: waits for a line, and only then loads anything of TLS."""

import sys

sys.stdin.readline()

import http.client  # noqa: E402
import ssl  # noqa: E402

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context)
with open(sys.argv[2], "rb") as f:
    connection.request("POST", "/v1/complete", body=f.read())
with open(sys.argv[3], "wb") as f:
    f.write(connection.getresponse().read())
