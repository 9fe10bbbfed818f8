#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A server that speaks the interfaces of language models, over TLS or plain text, on loopback.

    model_server.py --dir DIR [--cert PEM] [--command COMMAND] [--hold]

With --hold no request is answered before DIR/go exists; DIR/asked tells that one has come. Any path
/bytes/N gives N bytes, and a request with a body there its length.
The first request of a conversation that offers a tool is answered with a call of it (COMMAND), the one
that reports the result with a text. DIR gets, numbered, what was received (N.request) and what was
sent (N.response), and `port`. One JSON line per exchange on standard output says what was counted.
"""
import argparse
import http.server
import json
import os
import socketserver
import ssl
import sys
import threading
import time

TEXT = ["The ", "tool ", "said: ", "„done“ ", "\u2713."]
THOUGHT = ["Let me ", "think."]
USAGE = {"input": 1234, "output": 56, "cache_read": 789, "cache_write": 12}

options = None
lock = threading.Lock()
counter = 0


def sse(event, data):
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


# ---- Anthropic ----

def anthropic_tool(body):
    names = [t.get("name") for t in body.get("tools", [])]
    for name in ("Bash", "bash", "shell"):
        if name in names:
            return name
    return None


def anthropic_has_result(body):
    return any(isinstance(m.get("content"), list) and
               any(c.get("type") == "tool_result" for c in m["content"])
               for m in body.get("messages", []))


def anthropic_blocks(body):
    tool = anthropic_tool(body)
    if tool and not anthropic_has_result(body):
        text = json.dumps({"command": options.command, "description": "the test's command"})
        cut = [text[i:i + 7] for i in range(0, len(text), 7)]
        return [("thinking", THOUGHT), ("text", ["I will ", "run it."]),
                (("tool", "toolu_test_1", tool), cut)], "tool_use"
    return [("text", TEXT)], "end_turn"


def anthropic_stream(body):
    blocks, stop = anthropic_blocks(body)
    usage = {"input_tokens": USAGE["input"], "cache_creation_input_tokens": USAGE["cache_write"],
             "cache_read_input_tokens": USAGE["cache_read"], "output_tokens": 1}
    yield sse("message_start", {"type": "message_start", "message": {
        "id": "msg_test", "type": "message", "role": "assistant", "model": body.get("model", "?"),
        "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}})
    yield sse("ping", {"type": "ping"})
    for i, (kind, pieces) in enumerate(blocks):
        start, delta, key = {
            "thinking": ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
            "text": ({"type": "text", "text": ""}, "text_delta", "text"),
        }.get(kind, (None, "input_json_delta", "partial_json"))
        if start is None:
            start = {"type": "tool_use", "id": kind[1], "name": kind[2], "input": {}}
        yield sse("content_block_start", {"type": "content_block_start", "index": i, "content_block": start})
        for piece in pieces:
            yield sse("content_block_delta", {"type": "content_block_delta", "index": i,
                                              "delta": {"type": delta, key: piece}})
        yield sse("content_block_stop", {"type": "content_block_stop", "index": i})
    yield sse("message_delta", {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None},
                                "usage": {"output_tokens": USAGE["output"]}})
    yield sse("message_stop", {"type": "message_stop"})


def anthropic_whole(body):
    blocks, stop = anthropic_blocks(body)
    content = []
    for kind, pieces in blocks:
        if kind == "text":
            content.append({"type": "text", "text": "".join(pieces)})
        elif kind == "thinking":
            content.append({"type": "thinking", "thinking": "".join(pieces), "signature": ""})
        else:
            content.append({"type": "tool_use", "id": kind[1], "name": kind[2],
                            "input": json.loads("".join(pieces))})
    return {"id": "msg_test", "type": "message", "role": "assistant", "model": body.get("model", "?"),
            "content": content, "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": USAGE["input"], "output_tokens": USAGE["output"],
                      "cache_creation_input_tokens": USAGE["cache_write"],
                      "cache_read_input_tokens": USAGE["cache_read"]}}


# ---- OpenAI ----

def openai_tool(body):
    names = [t.get("name") or t.get("function", {}).get("name") for t in body.get("tools", [])]
    for name in ("exec_command", "shell", "shell_command", "bash", "run_shell_command"):
        if name in names:
            return name
    return None


def openai_arguments(tool):
    if tool == "shell":
        return json.dumps({"command": ["bash", "-lc", options.command]})
    return json.dumps({"cmd" if tool == "exec_command" else "command": options.command})


def chat_stream(body):
    base = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": body.get("model", "?")}

    def chunk(delta, finish=None):
        return sse(None, {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    tool = openai_tool(body)
    done = any(m.get("role") == "tool" for m in body.get("messages", []))
    yield chunk({"role": "assistant", "content": ""})
    if tool and not done:
        text = openai_arguments(tool)
        yield chunk({"tool_calls": [{"index": 0, "id": "call_test_1", "type": "function",
                                     "function": {"name": tool, "arguments": ""}}]})
        for i in range(0, len(text), 9):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": text[i:i + 9]}}]})
        yield chunk({}, "tool_calls")
    else:
        for piece in TEXT:
            yield chunk({"content": piece})
        yield chunk({}, "stop")
    yield sse(None, {**base, "choices": [], "usage": {
        "prompt_tokens": USAGE["input"], "completion_tokens": USAGE["output"],
        "total_tokens": USAGE["input"] + USAGE["output"],
        "prompt_tokens_details": {"cached_tokens": USAGE["cache_read"]}}})
    yield b"data: [DONE]\n\n"


def responses_output(body):
    tool = openai_tool(body)
    done = any(i.get("type") in ("function_call_output", "custom_tool_call_output")
               for i in body.get("input", []) if isinstance(i, dict))
    if tool and not done:
        return {"type": "function_call", "id": "fc_test", "call_id": "call_test_1", "name": tool,
                "arguments": openai_arguments(tool), "status": "completed"}
    return {"type": "message", "id": "msg_test", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "".join(TEXT), "annotations": []}]}


def responses_events(body):
    base = {"id": "resp_test", "object": "response", "created_at": 1, "model": body.get("model", "?")}
    item = responses_output(body)
    number = 0

    def event(kind, **more):
        nonlocal number
        number += 1
        return {"type": kind, "sequence_number": number, **more}

    yield event("response.created", response={**base, "status": "in_progress", "output": []})
    if item["type"] == "message":
        empty = {**item, "content": [], "status": "in_progress"}
        yield event("response.output_item.added", output_index=0, item=empty)
        yield event("response.content_part.added", item_id=item["id"], output_index=0, content_index=0,
                    part={"type": "output_text", "text": "", "annotations": []})
        for piece in TEXT:
            yield event("response.output_text.delta", item_id=item["id"], output_index=0, content_index=0,
                        delta=piece)
        yield event("response.output_text.done", item_id=item["id"], output_index=0, content_index=0,
                    text="".join(TEXT))
    else:
        yield event("response.output_item.added", output_index=0,
                    item={**item, "arguments": "", "status": "in_progress"})
        text = item["arguments"]
        for i in range(0, len(text), 9):
            yield event("response.function_call_arguments.delta", item_id=item["id"], output_index=0,
                        delta=text[i:i + 9])
        yield event("response.function_call_arguments.done", item_id=item["id"], output_index=0, arguments=text)
    yield event("response.output_item.done", output_index=0, item=item)
    yield event("response.completed", response={**base, "status": "completed", "output": [item], "usage": {
        "input_tokens": USAGE["input"], "output_tokens": USAGE["output"],
        "input_tokens_details": {"cached_tokens": USAGE["cache_read"]},
        "output_tokens_details": {"reasoning_tokens": 7},
        "total_tokens": USAGE["input"] + USAGE["output"]}})


def responses_stream(body):
    for data in responses_events(body):
        yield sse(data["type"], data)


# ---- Gemini ----

def gemini_parts(body):
    declared = [f.get("name") for t in body.get("tools", []) for f in t.get("functionDeclarations", [])]
    done = any("functionResponse" in p for c in body.get("contents", []) for p in c.get("parts", []))
    if "run_shell_command" in declared and not done:
        return [{"functionCall": {"name": "run_shell_command", "args": {"command": options.command}}}]
    return [{"text": piece} for piece in TEXT]


def gemini_stream(body):
    parts = gemini_parts(body)
    for i, part in enumerate(parts):
        answer = {"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}],
                  "modelVersion": "gemini-test", "responseId": "r1"}
        if i == len(parts) - 1:
            answer["candidates"][0]["finishReason"] = "STOP"
            answer["usageMetadata"] = {
                "promptTokenCount": USAGE["input"], "candidatesTokenCount": USAGE["output"],
                "cachedContentTokenCount": USAGE["cache_read"], "thoughtsTokenCount": 7,
                "totalTokenCount": USAGE["input"] + USAGE["output"] + 7}
        yield sse(None, answer)


# ---- HTTP ----

def pattern(n):
    line = b"".join(b"%07d\n" % i for i in range(n // 8 + 1))
    return line[:n]


def wait_until_released():
    with open(os.path.join(options.dir, "asked"), "w", encoding="ascii"):
        pass
    while not os.path.exists(os.path.join(options.dir, "go")):
        time.sleep(0.02)


def answer_to(path, body):
    """Content type and pieces."""
    path = path.split("?")[0]
    if path.startswith("/bytes/"):
        return "text/plain", [pattern(int(path.rsplit("/", 1)[1]))]
    if path.endswith("/messages/count_tokens"):
        return "application/json", [json.dumps({"input_tokens": USAGE["input"]}).encode()]
    if path.endswith("/messages"):
        if body.get("stream"):
            return "text/event-stream", anthropic_stream(body)
        return "application/json", [json.dumps(anthropic_whole(body)).encode()]
    if path.endswith("/chat/completions"):
        return "text/event-stream", chat_stream(body)
    if path.endswith("/responses"):
        return "text/event-stream", responses_stream(body)
    if ":streamGenerateContent" in path:
        return "text/event-stream", gemini_stream(body)
    if ":generateContent" in path:
        whole = {"candidates": [{"content": {"parts": [{"text": "ok"}], "role": "model"}, "finishReason": "STOP"}],
                 "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}
        return "application/json", [json.dumps(whole).encode()]
    return "application/json", [b"{}"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self):
        global counter
        raw = self.read_body()
        if options.hold:
            wait_until_released()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        kind, pieces = answer_to(self.path, body if isinstance(body, dict) else {})
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = b""
        for piece in pieces:
            sent += piece
            if self.command != "HEAD":
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
        with lock:
            n, counter = counter, counter + 1
        for name, data in (("request", raw), ("response", sent)):
            with open(os.path.join(options.dir, f"{n}.{name}"), "wb") as f:
                f.write(data)
        if self.command != "HEAD":
            self.wfile.write(b"0\r\n\r\n")  # who has this finds the files
        print(json.dumps({"n": n, "method": self.command, "path": self.path, "request": len(raw),
                          "response": len(sent)}), flush=True)

    do_GET = do_POST = do_HEAD = do_PUT = answer


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context:
            # the handshake is made by the thread that serves the connection
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, *_):
        pass


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--cert", help="PEM with certificate and key; without it plain text")
    parser.add_argument("--command", default="echo done")
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    server = Server(("127.0.0.1", options.port), Handler)
    if options.cert:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(options.cert)
    with open(os.path.join(options.dir, "port.new"), "w", encoding="ascii") as f:
        f.write(str(server.server_address[1]))
    os.rename(os.path.join(options.dir, "port.new"), os.path.join(options.dir, "port"))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
