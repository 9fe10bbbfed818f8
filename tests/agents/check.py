#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Records real agents and clients against model_server.py and compares the stream with what it served.

    check.py [NAME...]      names as `check.py --list` shows them; runs as root

Programs come from tests/agents/fetch.sh (npm) or from the distribution; one that is missing is skipped,
and said. Every check says what it compared.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
AGENTSIGHT = os.environ.get("AGENTSIGHT", os.path.join(ROOT, "agentsight"))
CACHE = os.environ.get("AGENTSIGHT_AGENTS",
                       os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
                                    "agentsight", "agents"))
TEXT = "The tool said: \u201edone\u201c \u2713."
USAGE = {"input_tokens": 1234, "output_tokens": 56, "cache_read_tokens": 789}
PAYLOAD = 300_000
ANSWER = 200_000
SECRET = "sk-ant-api03-PLANTEDSECRET0123456789abcdefghijkl"


class Wrong(Exception):
    pass


class Missing(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Wrong(text)


def wait_for(what, ready, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.02)
    raise Wrong(f"waited {seconds} s for {what}")


def read(path, mode="r"):
    with open(path, mode) as f:
        return f.read()


def certificate(work, authority):
    """Makes @authority, and a file with a key and the certificate it signed: rustls takes no other kind."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=work)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "authority.key", "-out", authority, "-days",
            "2", "-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    with open(os.path.join(work, "leaf.cnf"), "w", encoding="ascii") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", authority, "-CAkey", "authority.key", "-CAcreateserial",
            "-out", "leaf.pem", "-days", "2", "-extfile", "leaf.cnf")
    both = os.path.join(work, "both.pem")
    with open(both, "w", encoding="ascii") as f:
        f.write(read(os.path.join(work, "key.pem")) + read(os.path.join(work, "leaf.pem")))
    return both


# What model_server.py does with /bytes/N, over HTTP/2 and nothing else.
HTTP2_SERVER = """
const http2 = require("http2"), fs = require("fs");
const [dir, pem] = process.argv.slice(1);
const server = http2.createSecureServer({cert: fs.readFileSync(pem), key: fs.readFileSync(pem)});
let count = 0;
server.on("stream", (stream, headers) => {
    const pieces = [];
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => {
        const n = count++, path = headers[":path"], length = Number(path.split("/").pop());
        let answer = "";
        for (let i = 0; answer.length < length; i++)
            answer += `line ${i}\\n`;
        answer = answer.slice(0, length);
        fs.writeFileSync(`${dir}/${n}.request`, Buffer.concat(pieces));
        fs.writeFileSync(`${dir}/${n}.response`, answer);
        fs.writeSync(1, JSON.stringify({n, method: headers[":method"], path}) + "\\n");
        stream.respond({":status": 200});
        stream.end(answer);
    });
});
server.listen(0, "127.0.0.1", () => {
    fs.writeFileSync(`${dir}/port.new`, String(server.address().port));
    fs.renameSync(`${dir}/port.new`, `${dir}/port`);
});
"""


class Server:
    def __init__(self, work, tls=True, hold=False, http2=False):
        self.dir = os.path.join(work, "server")
        os.mkdir(self.dir)
        self.cert = os.path.join(work, "ca.pem")
        arguments = [sys.executable, os.path.join(HERE, "model_server.py"), "--dir", self.dir, "--command",
                     f"echo from-the-tool > {work}/made.txt; sleep 0.1"]
        if http2:
            arguments = [system("node"), "-e", HTTP2_SERVER, self.dir, certificate(work, self.cert)]
        elif tls:
            arguments += ["--cert", certificate(work, self.cert)]
        self.log = os.path.join(work, "server.log")
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(arguments + (["--hold"] if hold else []), stdout=out)
        wait_for("the server", lambda: os.path.exists(os.path.join(self.dir, "port")))
        self.port = int(read(os.path.join(self.dir, "port")))
        self.url = f"http{'s' if tls else ''}://localhost:{self.port}"

    def exchanges(self):
        found = [json.loads(line) for line in open(self.log, encoding="utf-8")]
        for x in found:
            x["sent"] = read(os.path.join(self.dir, f"{x['n']}.request"), "rb")
            x["answer"] = read(os.path.join(self.dir, f"{x['n']}.response"), "rb")
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Tracer:
    def __init__(self, work, program, *arguments):
        self.out, self.err = os.path.join(work, "events.json"), os.path.join(work, "messages")
        # where the agent lies, as for everybody who has installed it
        env = {**os.environ, "PATH": f"{os.path.dirname(program)}:{os.environ['PATH']}"}
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen([AGENTSIGHT, "record", "-v", "-o", self.out, *arguments],
                                            stdout=subprocess.DEVNULL, stderr=err, env=env)
        wait_for("agentsight", lambda: "watching" in read(self.err) or self.process.poll() is not None)
        need(self.process.poll() is None, f"agentsight ended: {read(self.err)}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        self.lines = [json.loads(line) for line in open(self.out, encoding="utf-8")]
        totals = self.lines[-1]["data"]
        need(totals["type"] == "stop", "the last line is no `stop`")
        need(totals["lost"] == 0 and totals["difference"] == 0, f"lost: {totals}")

    def find(self, source, kind):
        return [line for line in self.lines if line["source"] == source and line["data"]["type"] == kind]


def body_of(part):
    import base64
    if "body_base64" in part:
        return base64.b64decode(part["body_base64"])
    return part.get("body", "").encode()


def masked_equal(captured, real):
    """Secrets are masked byte by byte, so lengths stay."""
    if len(captured) != len(real):
        return False
    return all(a == b or a == ord("*") for a, b in zip(captured, real))


def check_http(tracer, server, only=None, requests_too=True):
    requests = {}
    responses = {}
    for line in tracer.find("ssl", "http_request"):
        requests.setdefault((line["data"]["request"]["path"]), []).append(line["data"])
    for line in tracer.find("ssl", "http_response"):
        responses.setdefault((line["data"]["request"]["path"]), []).append(line["data"])
    n = 0
    for x in server.exchanges():
        if only and not re.search(only, x["path"]):
            continue
        if requests_too:
            need(any(masked_equal(body_of(r["request"]), x["sent"]) and r["request"]["method"] == x["method"]
                     for r in requests.get(x["path"], [])),
                 f"no http_request with the {len(x['sent'])} bytes of {x['method']} {x['path']}")
        # what was asked before the tracing began has no path
        answers = responses.get(x["path"], []) + ([] if requests_too else responses.get("", []))
        need(any(masked_equal(body_of(r["response"]), x["answer"]) for r in answers) or x["method"] == "HEAD",
             f"no http_response with the {len(x['answer'])} bytes of {x['path']}")
        n += 1
    need(n, "the server was not asked anything")
    return f"{n} exchanges exact"


def check_llm(tracer, work, tool=True):
    answers = [line["data"] for line in tracer.find("llm", "response")]
    # Gemini counts what it thought beside the output
    need(any(a["text"] == TEXT and all(a["usage"][k] == v + a["usage"].get("reasoning_tokens", 0) *
                                       (k == "output_tokens" and a["provider"] == "gcp.gemini")
                                       for k, v in USAGE.items()) for a in answers),
         f"no llm.response with the text and the tokens: {answers}")
    asked = tracer.find("llm", "request")
    need(asked and all(line["data"]["model"] for line in asked), "no llm.request with a model")
    if not tool:
        return "answer and tokens as served"
    calls = [call for a in answers for call in a["tool_calls"]]
    need(len(calls) == 1 and work in json.dumps(calls[0]["input"]), f"not one tool call: {calls}")
    runs = [line["data"] for line in tracer.find("llm", "tool_run") if line["data"]["state"] == "end"]
    need(len(runs) == 1, f"not one tool run: {runs}")
    run = runs[0]
    need(run["confidence"] >= 90 and {"command_text", "call_id"} & set(run["evidence"]), f"only likely: {run}")
    need("made.txt" in " ".join(run["process"]["argv"]), f"another process: {run}")
    need({"op": "write", "path": f"{work}/made.txt", "bytes": 14} in run.get("files", []),
         f"the file is not told: {run}")
    execs = [line for line in tracer.find("process", "exec") if line["pid"] == run["process"]["pid"]]
    need(execs and execs[0]["exec_id"] == run["process"]["exec_id"], "no exec event of that process")
    return f"answer, tokens, tool call, process {run['process']['pid']} ({', '.join(run['evidence'])}), its file"


def check_http2(tracer):
    seen = [line["data"] for kind in ("http_request", "http_response") for line in tracer.find("ssl", kind)]
    need(all(d["request"]["version"] == "HTTP/2" for d in seen), "not all of it is HTTP/2")
    need(all(d.get("alpn") == "h2" and d.get("server_name") == "localhost" for d in seen),
         "name and protocol of the session are not told")
    streams = {d["stream_id"] for d in seen}
    return f"over HTTP/2 on {len(streams)} connection, agreed upon as told"


def check_no_secret(tracer):
    need(SECRET not in read(tracer.out), "the planted key is in the stream")


def environment(work, **more):
    home = os.path.join(work, "home")
    os.makedirs(home, exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": home, "IS_SANDBOX": "1", **more}


def cached(name, program):
    path = os.path.join(CACHE, name, "package", program)
    if not os.path.exists(path):
        raise Missing(f"{name} is not fetched")
    return path


def system(program):
    path = shutil.which(program)
    if not path:
        raise Missing(f"{program} is not installed")
    return path


# ---- how each is run: argv, environment, name to follow ----

def claude(version):
    def command(server, work):
        env = environment(work, ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY=SECRET,
                          NODE_EXTRA_CA_CERTS=server.cert, DISABLE_AUTOUPDATER="1", DISABLE_TELEMETRY="1",
                          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1")
        return [cached(f"claude-{version}", "claude"), "-p", "please run the command",
                "--dangerously-skip-permissions", "--model", "claude-sonnet-4-5"], env, "claude"
    return command


def codex(version):
    def command(server, work):
        env = environment(work, OPENAI_API_KEY=SECRET, CODEX_HOME=os.path.join(work, "home"),
                          SSL_CERT_FILE=server.cert, CODEX_CA_CERTIFICATE=server.cert)
        with open(os.path.join(work, "home", "config.toml"), "w", encoding="ascii") as f:
            f.write('model = "gpt-5"\nmodel_provider = "local"\n[model_providers.local]\nname = "local"\n'
                    f'base_url = "{server.url}/v1"\nenv_key = "OPENAI_API_KEY"\nwire_api = "responses"\n')
        return [cached(f"codex-{version}", "vendor/x86_64-unknown-linux-musl/bin/codex"), "exec",
                "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
                "please run the command"], env, "codex"
    return command


def gemini(version):
    def command(server, work):
        settings = os.path.join(work, "home", ".gemini")
        os.makedirs(settings)
        with open(os.path.join(settings, "settings.json"), "w", encoding="ascii") as f:
            json.dump({"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
                       "privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False}}, f)
        env = environment(work, GEMINI_API_KEY=SECRET, GOOGLE_GEMINI_BASE_URL=server.url,
                          NODE_EXTRA_CA_CERTS=server.cert, GEMINI_CLI_NO_RELAUNCH="true")
        return [system("node"), cached(f"gemini-{version}", "bundle/gemini.js"), "-m", "gemini-2.5-pro", "-y",
                "-p", "please run the command"], env, "node"
    return command


def bun(version):
    def command(server, work):
        script = os.path.join(work, "client.js")
        with open(script, "w", encoding="ascii") as f:
            f.write(CLIENT_JS)
        env = environment(work, NODE_EXTRA_CA_CERTS=server.cert, URL=server.url,
                          NODE_TLS_REJECT_UNAUTHORIZED="0")
        return [cached(f"bun-{version}", "bin/bun"), script], env, "bun"
    return command


def deno(version):
    def command(server, work):
        script = os.path.join(work, "client.js")
        with open(script, "w", encoding="ascii") as f:
            f.write(CLIENT_JS.replace("process.env.URL", "Deno.env.get('URL')"))
        env = environment(work, URL=server.url, DENO_DIR=os.path.join(work, "home"))
        return [cached(f"deno-{version}", "deno"), "run", "-A", "--cert", server.cert, script], env, "deno"
    return command


CLIENT_JS = f"""
const url = process.env.URL;
const body = "p".repeat({PAYLOAD});
let r = await fetch(url + "/bytes/17", {{method: "POST", body}});
await r.text();
r = await fetch(url + "/bytes/{ANSWER}");
console.log((await r.text()).length);
"""


def node(server, work):
    script = os.path.join(work, "client.mjs")
    with open(script, "w", encoding="ascii") as f:
        f.write(CLIENT_JS)
    return [system("node"), script], environment(work, NODE_EXTRA_CA_CERTS=server.cert, URL=server.url), "node"


def curl(*options):
    def command(server, work):
        body = os.path.join(work, "payload")
        with open(body, "w", encoding="ascii") as f:
            f.write("c" * PAYLOAD)
        return [system("curl"), "-sS", *options, "--cacert", server.cert, "--data-binary", f"@{body}",
                f"{server.url}/bytes/17", "--next", "-sS", "--cacert", server.cert, "-o",
                os.path.join(work, "got"), f"{server.url}/bytes/{ANSWER}"], environment(work), "curl"
    return command


def wget(server, work):
    return [system("wget"), "-q", "--ca-certificate", server.cert, "-O", os.path.join(work, "got"),
            f"{server.url}/bytes/{ANSWER}"], environment(work), "wget"


def python(code, module=None):
    def command(server, work):
        if module and subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], capture_output=True).returncode:
            raise Missing(f"python3-{module} is not installed")
        return ["/usr/bin/python3", "-c", code], environment(
            work, URL=server.url, SSL_CERT_FILE=server.cert, REQUESTS_CA_BUNDLE=server.cert), "python3"
    return command


PYTHON_REQUESTS = f"""
import os, requests
s = requests.Session()
s.post(os.environ["URL"] + "/bytes/17", data=b"r" * {PAYLOAD}).content
s.get(os.environ["URL"] + "/bytes/{ANSWER}").content
"""
PYTHON_HTTPX = f"""
import asyncio, httpx, os
async def main():
    async with httpx.AsyncClient(verify=os.environ["SSL_CERT_FILE"]) as c:
        await asyncio.gather(c.post(os.environ["URL"] + "/bytes/17", content=b"x" * {PAYLOAD}),
                             c.get(os.environ["URL"] + "/bytes/{ANSWER}"))
asyncio.run(main())
"""
PYTHON_ASYNC = f"""
import asyncio, os, ssl, urllib.parse
async def ask(head, body=b""):
    u = urllib.parse.urlparse(os.environ["URL"])
    r, w = await asyncio.open_connection("localhost", u.port, ssl=ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]))
    w.write(head.encode() + b"Host: localhost\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    await w.drain()
    while await r.read(65536):
        pass
    w.close()
async def main():
    await asyncio.gather(ask("POST /bytes/17 HTTP/1.1\\r\\n", b"a" * {PAYLOAD}), ask("GET /bytes/{ANSWER} HTTP/1.1\\r\\n"))
asyncio.run(main())
"""

# name: (command, is it an agent that calls tools, started before the tracer)
CASES = {
    "claude-2.1.330": (claude("2.1.330"), True, False),
    "claude-2.1.330-running": (claude("2.1.330"), True, True),
    "codex-0.169.0": (codex("0.169.0"), True, False),
    "gemini-0.61.0": (gemini("0.61.0"), True, False),
    "bun-1.1.0": (bun("1.1.0"), False, False),
    "bun-1.3.14": (bun("1.3.14"), False, False),
    "bun-1.4.5": (bun("1.4.5"), False, False),
    "deno-2.2.0": (deno("2.2.0"), False, False),
    "deno-2.9.6": (deno("2.9.6"), False, False),
    "node": (node, False, False),
    "curl": (curl("--http1.1"), False, False),
    "curl-http2": (curl("--http2"), False, False),
    "wget": (wget, False, False),
    "python-requests": (python(PYTHON_REQUESTS, "requests"), False, False),
    "python-httpx": (python(PYTHON_HTTPX, "httpx"), False, False),
    "python-asyncio": (python(PYTHON_ASYNC), False, False),
}

HTTP2 = {"curl-http2"}  # against a server that speaks nothing else


def run_case(name, work):
    command, is_agent, running = CASES[name]
    http2 = name in HTTP2
    server = Server(work, hold=running, http2=http2)
    tracer = program = None
    try:
        argv, env, follow = command(server, work)
        where = os.path.join(work, "cwd")
        os.mkdir(where)

        def start():
            with open(os.path.join(work, "program.log"), "wb") as out:
                return subprocess.Popen(argv, env=env, cwd=where, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        if running:
            program = start()
            wait_for("its first request", lambda: os.path.exists(os.path.join(server.dir, "asked")), 60)
            tracer = Tracer(work, argv[0], "-c", follow)
            with open(os.path.join(server.dir, "go"), "w", encoding="ascii"):
                pass
        else:
            tracer = Tracer(work, argv[0], "-c", follow)
            program = start()
        try:
            status = program.wait(timeout=90)
        except subprocess.TimeoutExpired:
            status = "none within 90 s"
        need(status == 0, f"status {status}: " + read(os.path.join(work, "program.log"))[-600:])
        tracer.stop()
        if is_agent:
            said = check_llm(tracer, work)
            check_no_secret(tracer)
            only = r"/v1/(messages|responses|chat)|GenerateContent"
            said += "; " + check_http(tracer, server, only, not running)
        else:
            said = check_http(tracer, server)
        if http2:
            said += "; " + check_http2(tracer)
        return said
    finally:
        for p in (program, tracer and tracer.process):
            if p and p.poll() is None:
                p.kill()
                p.wait()
        server.stop()


def main():
    names = sys.argv[1:] or list(CASES)
    if names == ["--list"]:
        print("\n".join(CASES))
        return 0
    counts = {"ok": 0, "not ok": 0, "skipped": 0}
    for name in names:
        work = tempfile.mkdtemp(prefix="agents-")
        try:
            said, verdict = run_case(name, work), "ok"
        except Missing as e:
            said, verdict = e, "skipped"
        except Wrong as e:
            said, verdict = e, "not ok"
        counts[verdict] += 1
        print(f"{verdict} {name} - {str(said)[:1500]}", flush=True)
        if verdict == "not ok":
            print(f"   kept: {work}", flush=True)
        else:
            shutil.rmtree(work)
    print(f"{counts['ok']} passed, {counts['not ok']} failed, {counts['skipped']} skipped")
    return counts["not ok"] > 0


if __name__ == "__main__":
    sys.exit(main())
