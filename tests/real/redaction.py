# SPDX-License-Identifier: MIT
"""Secrets as real programs carry them: none of them reaches the output, unless it is asked for."""

import base64
import fcntl
import os
import random
import string
import struct
import subprocess
import termios
import threading

from exchanges import nginx
from models import ModelServer
from real import AGENTSIGHT, ENVIRONMENT, HERE, PYTHON, check

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
curl -sS --noproxy '*' -o /dev/null -H 'Authorization: Bearer {plain}' -d '{{"token":"{plain2}"}}' {clear}/echo
ask --http2 -H 'Authorization: Bearer {two}' -H 'x-api-key: {two2}' -d '{{"api_key":"{two3}"}}' '{h2}/echo?key={two4}'
"$PYTHON" -I client.py {port}
"$PYTHON" -I "$HERE/ws_peer.py" {ws} plain < /dev/null
"$PYTHON" "$HERE/agent.py" anthropic {agent} {certificate}
"""

# What a model's tool call runs.
COMMAND = """env API_KEY={tool} /bin/true --token {tool2} && echo '{{"client_secret":"{tool3}"}}'"""
WS_MESSAGE = '{{"type":"login","access_token":"{message}","note":"{message2}"}}'

# Headers and body in calls of their own, and a key that is cut in two by the calls.
CLIENT = """
import http.client, json, ssl, sys
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl._create_unverified_context())
def ask(body, **headers):
    connection.request("POST", "/v1/messages" if "x-api-key" in headers else "/echo", body, headers)
    connection.getresponse().read()
ask(json.dumps({{"model": "m", "max_tokens": 1, "messages": [
    {{"role": "user", "content": "use the key {model} and password=\\"{model2}\\""}},
    {{"role": "assistant", "content": [{{"type": "tool_use", "id": "t", "name": "bash", "input": {{
        "command": "curl -H 'x-api-key: {model3}'", "api_key": "{model4}"}}}}]}},
    {{"role": "user", "content": [{{"type": "tool_result", "tool_use_id": "t", "content":
        json.dumps({{"secret": "{model5}", "nested": json.dumps({{"password": "{model6}"}})}})}}]}}]}}),
    **{{"x-api-key": "{model7}", "Content-Type": "application/json"}})
ask(b'{{"a":1}}', Authorization="Bearer {python}")
whole = b'{{"access_token":"{cut}","b":2}}'
ask(iter([whole[:35], whole[35:]]), **{{"Content-Length": str(len(whole))}})
"""

PLACES = ("url", "port", "clear", "h2", "ws", "agent", "certificate")
PREFIXES = {"bearer": "sk-ant-", "nested": "sk-", "env": "sk-proj-", "python": "sk-", "model": "sk-ant-", "message2": "ghp_"}


def make_secrets():
    names = {
        name
        for text in (SCRIPT, CLIENT, COMMAND, WS_MESSAGE)
        for _, name, _, _ in string.Formatter().parse(text)
        if name and name not in PLACES
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


class Screen:
    """A wide terminal, and all that was shown on it."""

    def __init__(self):
        self.shown = b""
        self.read_end, self.terminal = os.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 2000, 0, 0))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            while data := os.read(self.read_end, 1 << 16):
                self.shown += data
        except OSError:  # nobody has the other end any more
            pass

    def close(self):
        os.close(self.terminal)
        self.thread.join()
        os.close(self.read_end)
        return self.shown


def websocket_server(bench, message):
    argv = [PYTHON, "-I", HERE / "ws_peer.py", *bench.certificate(), "plain"]
    server = bench.spawn(argv, env={"WS_MESSAGE": message}, stdout=subprocess.PIPE)
    return server, int(server.stdout.readline())


def record(bench, *options):
    """The secrets, and all that came out, encoded or not."""
    secrets = make_secrets()
    peer = bench.peer(tls=True)
    bench.script("client.py", CLIENT.format(**secrets))
    model = ModelServer(bench, COMMAND.format(**secrets))
    ws, port = websocket_server(bench, WS_MESSAGE.format(**secrets))
    two, two_port = nginx(bench)
    places = dict(url=peer.url, port=peer.port, clear=bench.peer().url, h2=f"https://localhost:{two_port}", ws=port,
                  agent=model.url, certificate=model.certificate)
    script = bench.script("script.sh", SCRIPT.format(**places, **secrets))
    environment = {"PYTHON": PYTHON, "HERE": str(HERE), "WS_MESSAGE": WS_MESSAGE.format(**secrets)}
    shell = bench.hold(["/bin/sh", str(script)], env=environment)
    # the other end sees the same bytes again
    screen = Screen()
    pids = ",".join(str(p.pid) for p in (shell, peer, ws, two))
    sight = bench.sight("record", "-p", pids, *options, stdout=screen.terminal)
    bench.release(shell)
    bench.finish(shell)
    stream = sight.stop()

    check(len(stream.select("ssl", "data", peer.pid)) >= 18, "the server's plaintext is not in the stream")
    check(len(stream.select("ssl", "ws_message")) == 4, "the messages of the WebSocket are not in the stream")
    check(len(stream.select("llm", "tool_run")) == 2, "the tool run is not in the stream")
    check(len(stream.select("llm", "request")) >= 3, "the requests to a model are not in the stream")
    check(len(stream.select("process", "exec")) >= 12, "the programs are not in the stream")
    check(screen.close().count(b"\n") >= 100, "the terminal shows too little")
    output = [stream.raw, sight.messages().encode(), screen.shown]
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


# What a program is given is told by its summary as well, twice.
SUMMED_UP = ("bearer", "option", "option2", "form")


def no_planted_secret_is_in_what_run_tells(bench):
    secrets = make_secrets()
    words = ["sh", "-c", "sleep 0.3; :", "sh", "-H", f"Authorization: Bearer {secrets['bearer']}"]
    words += ["--api-key", secrets["option"], f"--password={secrets['option2']}", f"a=b&password={secrets['form']}"]
    told = b""
    for options in (["--json"], []):  # as events, and as a table
        done = subprocess.run([AGENTSIGHT, "run", "-i", "50", *options, "--", *words], env=ENVIRONMENT, cwd=bench.dir,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        told += done.stdout + done.stderr
        check(b"Authorization: Bearer ***" in done.stdout + done.stderr, f"the command is not told: {told}")
    check(b'"type":"summary"' in told, "the summary is not in the output")
    leaks = [name for name in SUMMED_UP if secrets[name][-RUN:].encode() in told]
    check(not leaks, f"in the output: {', '.join(leaks)}")


TESTS = [no_planted_secret_is_in_what_run_tells, no_planted_secret_is_in_any_output, every_secret_is_shown_when_asked_for]
