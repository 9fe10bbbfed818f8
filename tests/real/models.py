# SPDX-License-Identifier: MIT
"""Calls of language models, their tool calls, and what those did: a small agent against a small server."""

import json
import pathlib
import subprocess

from real import PYTHON, check, check_equal, wait_until

HERE = pathlib.Path(__file__).parent
TEXT = "The tool said: \u201edone\u201c \u2713."
SECRET = b"PLANTEDSECRET"


class ModelServer:
    def __init__(self, bench, command=None):
        certificate, key = bench.certificate()
        both = bench.dir / "both.pem"
        both.write_bytes(pathlib.Path(key).read_bytes() + pathlib.Path(certificate).read_bytes())
        self.certificate = certificate
        self.dir = bench.dir / "server"
        self.dir.mkdir()
        self.made = bench.dir / "made.txt"
        self.process = bench.spawn([PYTHON, HERE.parent / "agents/model_server.py", "--dir", self.dir, "--cert", both,
                                    "--command", command or f"echo from-the-tool > {self.made}"], stdout=subprocess.PIPE)
        wait_until("the server", (self.dir / "port").exists)
        self.url = f"https://localhost:{(self.dir / 'port').read_text()}"

    def file(self, n, what):
        return (self.dir / f"{n}.{what}").read_bytes()


def follow(bench, interface, provider, model, output_tokens=56):
    server = ModelServer(bench)
    agent = bench.hold([PYTHON, HERE / "agent.py", interface, server.url, server.certificate])
    sight = bench.sight("record", "-p", str(agent.pid))
    bench.release(agent)
    bench.finish(agent)
    stream = sight.stop()

    for n, request in enumerate(stream.select("ssl", "http_request", agent.pid)):
        check_equal(request["data"]["request"]["body"].encode(), server.file(n, "request"), "body of a request")
    for n, response in enumerate(stream.select("ssl", "http_response", agent.pid)):
        check_equal(response["data"]["response"]["body"].encode(), server.file(n, "response"), "body of a response")

    asked = [e["data"] for e in stream.select("llm", "request", agent.pid)]
    check_equal([(a["provider"], a["model"], a["stream"]) for a in asked], [(provider, model, True)] * 2, "requests")
    check_equal(asked[0]["prompt"], "please run it", "prompt")
    first, last = [e["data"] for e in stream.select("llm", "response", agent.pid)]
    check_equal(last["text"], TEXT, "answer")
    check_equal([last["usage"][k] for k in ("input_tokens", "output_tokens", "cache_read_tokens")],
                [1234, output_tokens, 789], "tokens")
    [call] = first["tool_calls"]
    check_equal(call["input"]["command"], f"echo from-the-tool > {server.made}", "command")
    check(0 < first["time_to_first_token_ns"] <= first["duration_ns"], "time to the first token")

    start, end = [e["data"] for e in stream.select("llm", "tool_run", agent.pid)]
    check_equal((start["state"], end["state"]), ("start", "end"), "states")
    check_equal((end["id"], end["name"]), (call["id"], call["name"]), "which call")
    run = stream.only("process", "exec", end["process"]["pid"])
    check_equal(run["exec_id"], end["process"]["exec_id"], "process")
    check_equal(run["data"]["argv"], end["process"]["argv"], "arguments")
    check(end["confidence"] >= 95 and "command_text" in end["evidence"], f"evidence: {end['evidence']}")
    check_equal(end["files"], [{"op": "write", "path": str(server.made), "bytes": 14}], "files")
    check_equal((end["exit_code"], end["reported"]), (0, True), "end of the call")
    check(SECRET not in stream.raw, "the key is in the stream")
    return first, json.loads(server.file(0, "request"))


def a_tool_call_of_Anthropic_is_followed_to_its_process_and_file(bench):
    first, _ = follow(bench, "anthropic", "anthropic", "claude-test")
    check_equal(first["usage"]["cache_write_tokens"], 12, "tokens written to the cache")
    check_equal(first["reasoning"], "Let me think.", "reasoning")
    check_equal(first["stop_reason"], "tool_use", "stop reason")


def a_tool_call_of_chat_completions_is_followed_to_its_process_and_file(bench):
    follow(bench, "chat", "openai_compatible", "gpt-test")


def a_tool_call_of_responses_is_followed_to_its_process_and_file(bench):
    follow(bench, "responses", "openai_compatible", "gpt-test")


def a_tool_call_of_Gemini_is_followed_to_its_process_and_file(bench):
    # Gemini counts thoughts beside the candidates
    follow(bench, "gemini", "gcp.gemini", "gemini-test", output_tokens=56 + 7)


TESTS = [
    a_tool_call_of_Anthropic_is_followed_to_its_process_and_file,
    a_tool_call_of_chat_completions_is_followed_to_its_process_and_file,
    a_tool_call_of_responses_is_followed_to_its_process_and_file,
    a_tool_call_of_Gemini_is_followed_to_its_process_and_file,
]
