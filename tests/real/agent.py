#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A small agent: agent.py INTERFACE URL CERTIFICATE. Asks a model, runs the command it calls a tool for,
reports the result, prints the last answer. INTERFACE: anthropic, chat, responses, gemini."""
import http.client
import json
import re
import ssl
import subprocess
import sys
import urllib.parse

KEY = "sk-ant-api03-PLANTEDSECRET0123456789abcdefghijkl"
TOOL = {"name": "bash", "description": "runs", "input_schema": {}, "parameters": {}}


def ask(connection, path, headers, body):
    connection.request("POST", path, json.dumps(body, indent=1), {"content-type": "application/json", **headers})
    response = connection.getresponse()
    text = response.read().decode()
    return [json.loads(m) for m in re.findall(r"^data: (\{.*)$", text, re.M)]


def run(command):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True).stdout


def anthropic(c):
    messages = [{"role": "user", "content": "please run it"}]
    for _ in range(2):
        events = ask(c, "/v1/messages", {"x-api-key": KEY}, {
            "model": "claude-test", "max_tokens": 100, "stream": True, "tools": [TOOL], "messages": messages})
        text = "".join(e["delta"].get("partial_json", "") for e in events if e["type"] == "content_block_delta")
        if not text:
            return
        result = run(json.loads(text)["command"])
        messages += [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "toolu_test_1", "name": "bash", "input": json.loads(text)}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_test_1", "content": result}]}]


def chat(c):
    messages = [{"role": "user", "content": "please run it"}]
    for _ in range(2):
        events = ask(c, "/v1/chat/completions", {"authorization": "Bearer " + KEY}, {
            "model": "gpt-test", "stream": True, "stream_options": {"include_usage": True},
            "tools": [{"type": "function", "function": TOOL}], "messages": messages})
        calls = [t for e in events for ch in e["choices"] for t in ch["delta"].get("tool_calls", [])]
        if not calls:
            return
        text = "".join(t["function"]["arguments"] for t in calls)
        result = run(json.loads(text)["command"])
        messages += [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_test_1", "type": "function", "function": {"name": "bash", "arguments": text}}]},
            {"role": "tool", "tool_call_id": "call_test_1", "content": result}]


def responses(c):
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "please run it"}]}]
    for _ in range(2):
        events = ask(c, "/v1/responses", {"authorization": "Bearer " + KEY}, {
            "model": "gpt-test", "stream": True, "tools": [{"type": "function", **TOOL}], "input": items})
        done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
        if done[0]["type"] != "function_call":
            return
        result = run(json.loads(done[0]["arguments"])["command"])
        items += [done[0], {"type": "function_call_output", "call_id": "call_test_1", "output": result}]


def gemini(c):
    contents = [{"role": "user", "parts": [{"text": "please run it"}]}]
    for _ in range(2):
        events = ask(c, "/v1beta/models/gemini-test:streamGenerateContent?alt=sse", {"x-goog-api-key": KEY}, {
            "contents": contents, "tools": [{"functionDeclarations": [{"name": "run_shell_command"}]}]})
        calls = [p["functionCall"] for e in events for p in e["candidates"][0]["content"]["parts"]
                 if "functionCall" in p]
        if not calls:
            return
        result = run(calls[0]["args"]["command"])
        contents += [{"role": "model", "parts": [{"functionCall": calls[0]}]},
                     {"role": "user", "parts": [{"functionResponse": {
                         "name": "run_shell_command", "response": {"output": result}}}]}]


def main():
    url = urllib.parse.urlparse(sys.argv[2])
    if url.scheme == "https":
        c = http.client.HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(cafile=sys.argv[3]))
    else:
        c = http.client.HTTPConnection(url.hostname, url.port)
    globals()[sys.argv[1]](c)


main()
