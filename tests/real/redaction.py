# SPDX-License-Identifier: MIT
"""Secrets as real programs carry them: none of them reaches the output, unless it is asked for."""

import base64
import random
import string

from real import PYTHON, check

RUN = 12  # bytes of a secret that may not appear anywhere

# Each NAME in braces is another secret. What a program is given stands in its argv as well.
SCRIPT = """
ask() {{ curl -sSk --noproxy '*' -o /dev/null "$@"; }}
ask -H 'Authorization: Bearer {bearer}' {url}/echo
ask -H 'x-api-key: {header}' {url}/echo
ask -H 'x-api-key: {twice}' -H 'x-api-key: {twice2}' {url}/echo
ask --cookie 'session={cookie}; csrftoken={cookie2}' {url}/echo
ask -H 'Cookie: session={cookie3}' {url}/echo
ask '{url}/v1/models?key={query}&page=2'
ask -H 'Content-Type: application/json' -d '{{"model":"m","api_key":"{json}"}}' {url}/echo
ask -d 'user=me&password={form}' {url}/echo
env OPENAI_API_KEY={env} /bin/true
/bin/true --api-key {option} --verbose
/bin/true --password={option2}
sh -c 'curl -sSk --noproxy "*" -o /dev/null -H "Authorization: Bearer {nested}" {url}/echo; :'
"$PYTHON" -I client.py {port}
"""

# Headers and body in calls of their own, and a key that is cut in two by the calls.
CLIENT = """
import http.client, ssl, sys
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl._create_unverified_context())
def ask(body, **headers):
    connection.request("POST", "/echo", body, headers)
    connection.getresponse().read()
ask(b'{{"a":1}}', Authorization="Bearer {python}")
whole = b'{{"access_token":"{cut}","b":2}}'
ask(iter([whole[:35], whole[35:]]), **{{"Content-Length": str(len(whole))}})
"""

PREFIXES = {"bearer": "sk-ant-", "nested": "sk-", "env": "sk-proj-", "header": "", "python": "sk-"}


def make_secrets():
    names = {
        name
        for text in (SCRIPT, CLIENT)
        for _, name, _, _ in string.Formatter().parse(text)
        if name and name not in ("url", "port")
    }
    dice = random.Random(20)
    alphabet = string.ascii_letters + string.digits
    return {n: PREFIXES.get(n, "") + "".join(dice.choices(alphabet, k=40)) for n in sorted(names)}


def decoded(value):
    """All base64 in an event, decoded."""
    if isinstance(value, list):
        for v in value:
            yield from decoded(v)
    elif isinstance(value, dict):
        for k, v in value.items():
            if k.endswith("_base64"):
                for text in v if isinstance(v, list) else [v]:
                    yield base64.b64decode(text)
            else:
                yield from decoded(v)


def record(bench, *options):
    """The secrets, and all that came out, encoded or not."""
    secrets = make_secrets()
    peer = bench.peer(tls=True)
    bench.script("client.py", CLIENT.format(**secrets))
    script = bench.script("script.sh", SCRIPT.format(url=peer.url, port=peer.port, **secrets))
    shell = bench.hold(["/bin/sh", str(script)], env={"PYTHON": PYTHON})
    # the other end sees the same bytes again
    sight = bench.sight("record", "-p", f"{shell.pid},{peer.pid}", *options)
    bench.release(shell)
    bench.finish(shell)
    stream = sight.stop()

    check(len(stream.select("ssl", "data", peer.pid)) >= 18, "the server's plaintext is not in the stream")
    check(len(stream.select("process", "exec")) >= 12, "the programs are not in the stream")
    output = [stream.raw, sight.messages().encode()]
    output += [piece for event in stream.events for piece in decoded(event)]
    return secrets, b"\n".join(output), stream


def no_planted_secret_is_in_any_output(bench):
    secrets, output, stream = record(bench)
    leaks = set()
    for name, secret in secrets.items():
        for i in range(len(secret) - RUN + 1):
            if secret[i : i + RUN].encode() in output:
                leaks.add(name)
    check(not leaks, f"in the output: {', '.join(sorted(leaks))}")
    masked = [e for e in stream.events if e["data"].get("redacted")]
    check(len(masked) >= len(secrets), f"only {len(masked)} events say that they were redacted")


def every_secret_is_shown_when_asked_for(bench):
    secrets, output, stream = record(bench, "--no-redact")
    hidden = [name for name, secret in secrets.items() if name != "cut" and secret.encode() not in output]
    check(not hidden, f"not in the output: {', '.join(hidden)}")
    half = secrets["cut"].encode()
    check(half[:10] in output and half[-10:] in output, "the secret in two calls is not in the output")
    check(not any(e["data"].get("redacted") for e in stream.events), "an event says that it was redacted")


TESTS = [no_planted_secret_is_in_any_output, every_secret_is_shown_when_asked_for]
