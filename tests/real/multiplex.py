# SPDX-License-Identifier: MIT
"""Many conversations at once, and conversations that are no longer HTTP: who said what is not mixed up."""

import json
import subprocess

import ws_peer
from exchanges import pairs_of, shown
from real import HERE, PYTHON, check, check_equal, need

STREAMS = 1000
DELAYS_S = {"/v1/messages": 0.05, "/v1/chat/completions": 0.15}  # until the first byte of an answer
TEXT = "The tool said: \u201edone\u201c \u2713."  # see model_server.py

# It answers when all have asked, the last one first: with the path and what it was sent.
H2_SERVER = """
const http2 = require("http2"), fs = require("fs");
const [cert, key, count] = process.argv.slice(2);
const server = http2.createSecureServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key),
	settings: {maxConcurrentStreams: 4000}});
const waiting = [];
server.on("stream", (stream, headers) => {
	const pieces = [];
	stream.on("data", (piece) => pieces.push(piece));
	stream.on("end", () => {
		waiting.push([stream, headers[":path"] + " " + Buffer.concat(pieces)]);
		if (waiting.length < count)
			return;
		for (const [stream, text] of waiting.reverse()) {
			stream.respond({":status": 200, "x-length": String(text.length)});
			stream.end(text);
		}
	});
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""

H2_CLIENT = """
const http2 = require("http2"), fs = require("fs");
const [port, count] = process.argv.slice(2);
fs.readSync(0, Buffer.alloc(1));
const session = http2.connect("https://127.0.0.1:" + port,
	{rejectUnauthorized: false, peerMaxConcurrentStreams: 4000});
let left = Number(count), wrong = 0;
session.once("remoteSettings", () => {
	for (let i = 0; i < count; i++) {
		const path = "/number/" + i, text = ("body of " + i + ";").repeat(1 + i % 50);
		const stream = session.request({":method": "POST", ":path": path, "x-number": String(i)});
		let answer = "";
		stream.on("data", (piece) => { answer += piece; });
		stream.on("end", () => {
			wrong += answer !== path + " " + text;
			if (--left === 0)
				session.close(() => process.exit(wrong ? 1 : 0));
		});
		stream.end(text);
	}
});
"""


def h2_body(i):
    return f"body of {i};" * (1 + i % 50)


def a_thousand_streams_of_one_connection_are_kept_apart(bench):
    node = need("node")
    argv = [node, bench.script("server.js", H2_SERVER), *bench.certificate(), str(STREAMS)]
    server = bench.spawn(argv, stdout=subprocess.PIPE)
    port = server.stdout.readline().decode().strip()
    client = bench.spawn([node, bench.script("client.js", H2_CLIENT), port, str(STREAMS)], stdin=subprocess.PIPE)
    sight = bench.sight("ssl", "--no-redact", "-p", f"{client.pid},{server.pid}")
    bench.release(client)
    bench.finish(client)
    stream = sight.stop()

    for pid in (client.pid, server.pid):
        pairs = pairs_of(stream, pid).values()
        check_equal(len(pairs), STREAMS, "exchanges")
        check_equal(len({q["stream_id"] for q, _ in pairs}), 1, "connections")
        seen = set()
        for request, response in pairs:
            path, i = request["request"]["path"], int(request["request"]["headers"]["x-number"])
            seen.add(i)
            answer = f"{path} {h2_body(i)}".encode()
            check_equal(path, f"/number/{i}", "path")
            check_equal(request["request"]["version"], "HTTP/2", "version")
            check_equal(shown(request["request"]), h2_body(i).encode(), "body of the request")
            check_equal(response["request"]["path"], path, "path in the response")
            check_equal(response["response"]["headers"]["x-length"], str(len(answer)), "length in the response")
            check_equal(shown(response["response"]), answer, "body of the response")
        check_equal(seen, set(range(STREAMS)), "numbers")


# ---- two event streams on one thread ----

# It waits until both have asked, and then speaks to them in turns.
SSE_SERVER = """
import asyncio, json, ssl, sys
sys.path.insert(0, sys.argv[1])
import model_server as models
delays = json.loads(sys.argv[4])
asked = {}

async def serve(reader, writer):
    head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
    length = next(int(l.split(":")[1]) for l in head.split("\\r\\n") if l.lower().startswith("content-length"))
    body = json.loads(await reader.readexactly(length))
    path = head.split(" ")[1]
    stream = models.anthropic_stream if path == "/v1/messages" else models.chat_stream
    asked[path] = writer, list(stream(body))
    if len(asked) == 2:
        await speak()

async def begin(path):
    await asyncio.sleep(delays[path])
    writer, _ = asked[path]
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n")
    await writer.drain()

async def speak():
    await asyncio.gather(*map(begin, asked))
    pieces = {path: list(events) for path, (_, events) in asked.items()}
    while any(pieces.values()):
        for path, rest in pieces.items():
            if rest:
                asked[path][0].write(rest.pop(0))
                await asked[path][0].drain()
                await asyncio.sleep(0.02)
    for path, (writer, events) in asked.items():
        print(json.dumps({"path": path, "body": b"".join(events).decode()}), flush=True)
        writer.close()

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[2:4])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

SSE_CLIENT = """
import asyncio, json, ssl, sys
sys.stdin.readline()

async def ask(context, path, model):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]), ssl=context)
    body = json.dumps({"model": model, "max_tokens": 9, "stream": True, "messages": [
        {"role": "user", "content": "question to " + model}]}).encode()
    writer.write(b"POST %s HTTP/1.1\\r\\nHost: h\\r\\nContent-Type: application/json\\r\\n"
                 b"Content-Length: %d\\r\\n\\r\\n%s" % (path.encode(), len(body), body))
    await reader.read()
    writer.close()

async def main():
    context = ssl._create_unverified_context()
    await asyncio.gather(ask(context, "/v1/messages", "claude-one"), ask(context, "/v1/chat/completions", "gpt-two"))

asyncio.run(main())
"""


def check_answer(stream, pid, model, path, text):
    """One of the two: its bytes, its times and what was made of it."""
    asked = stream.only("llm", "request", pid, model=model)["data"]
    answer = stream.only("llm", "response", pid, model=model)["data"]
    [(_, response)] = [p for p in pairs_of(stream, pid).values() if p[0]["request"]["path"] == path]
    delay_ns = int(DELAYS_S[path] * 1e9)
    check_equal(shown(response["response"]), text.encode(), f"body of {path}")
    check(delay_ns <= response["first_byte_ns"] < delay_ns + 20_000_000_000, f"first byte: {response['first_byte_ns']}")
    check_equal(asked["prompt"], "question to " + model, "prompt")
    check_equal(answer["text"], TEXT, "answer")
    check_equal(answer["usage"]["output_tokens"], 56, "tokens")
    first = answer["time_to_first_token_ns"]
    check(delay_ns <= first < answer["duration_ns"], f"time to the first token: {first} of {answer['duration_ns']}")


def two_event_streams_on_one_thread_are_kept_apart(bench):
    argv = [PYTHON, "-I", "-c", SSE_SERVER, HERE.parent / "agents", *bench.certificate(), json.dumps(DELAYS_S)]
    server = bench.spawn(argv, stdout=subprocess.PIPE)
    port = server.stdout.readline().decode().strip()
    client = bench.spawn([PYTHON, "-I", "-c", SSE_CLIENT, port], stdin=subprocess.PIPE)
    sight = bench.sight("record", "--no-redact", "-p", f"{client.pid},{server.pid}")
    bench.release(client)
    bench.finish(client)
    told = [json.loads(server.stdout.readline()) for _ in DELAYS_S]
    stream = sight.stop()

    reads = stream.select("ssl", "data", client.pid, direction="read")
    order = [e["data"]["stream_id"] for e in reads]
    check_equal(len({e["tid"] for e in reads}), 1, "threads of the client")
    turns = sum(a != b for a, b in zip(order, order[1:]))
    check(turns >= 8, f"the streams took only {turns} turns")
    text = {t["path"]: t["body"] for t in told}
    for pid in (client.pid, server.pid):
        check_answer(stream, pid, "claude-one", "/v1/messages", text["/v1/messages"])
        check_answer(stream, pid, "gpt-two", "/v1/chat/completions", text["/v1/chat/completions"])


# ---- WebSocket ----


def messages_of(stream, pid):
    return [
        (e["data"]["direction"], shown(dict(body_bytes=e["data"]["len"], **renamed(e["data"]))))
        for e in stream.select("ssl", "ws_message", pid)
    ]


def renamed(data):
    return {"body" + key[4:]: data[key] for key in ("data", "data_base64") if key in data}


def check_websocket(bench, *options):
    """Both ends know what is sent; each of them saw the same from its own side."""
    script = HERE / "ws_peer.py"
    server = bench.spawn([PYTHON, "-I", script, *bench.certificate(), *options], stdout=subprocess.PIPE)
    port = server.stdout.readline().decode().strip()
    client = bench.spawn([PYTHON, "-I", script, port, *options], stdin=subprocess.PIPE)
    sight = bench.sight("ssl", "--no-redact", "-p", f"{client.pid},{server.pid}")
    bench.release(client)
    bench.finish(client)
    bench.finish(server)
    stream = sight.stop()

    for pid, sent, received in ((client.pid, "write", "read"), (server.pid, "read", "write")):
        got = messages_of(stream, pid)
        want = [pair for m in ws_peer.MESSAGES for pair in ((sent, m), (received, ws_peer.answer(m)))]
        check_equal([(d, len(m)) for d, m in got], [(d, len(m)) for d, m in want], "messages")
        check(got == want, "the bytes of a message are others")
        check_equal({e["data"]["request"]["path"] for e in stream.select("ssl", "ws_message", pid)}, {"/chat?a=1"}, "path")


def messages_of_a_websocket_are_exact(bench):
    check_websocket(bench, "plain")


def compressed_messages_of_a_websocket_are_exact(bench):
    check_websocket(bench)


TESTS = [
    a_thousand_streams_of_one_connection_are_kept_apart,
    two_event_streams_on_one_thread_are_kept_apart,
    messages_of_a_websocket_are_exact,
    compressed_messages_of_a_websocket_are_exact,
]
