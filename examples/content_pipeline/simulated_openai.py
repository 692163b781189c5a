"""A simulated OpenAI server on loopback: the shape of the real one, invented answers, no model behind it.

Usage is deterministic: the same request costs the same tokens. As at OpenAI a prompt of 1,024 tokens or more has a
cached part in steps of 128, o-models think within their max_completion_tokens, and the answer names the dated model.
Run it alone with `python -m examples.content_pipeline.simulated_openai`; it prints its address.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from examples.content_pipeline.account import SNAPSHOTS

CREATED = 1_735_689_600
CACHE_FROM, CACHE_STEP, REASONING_STEP = 1024, 128, 64
CHARACTERS_PER_TOKEN = 4

_request_numbers = count(1)


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one chat completion request. Raises KeyError for a model that it does not know."""
    model = SNAPSHOTS[request["model"]]
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()
    return {
        "id": f"chatcmpl-simulated-{digest.hex()[:20]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "simulated",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": _answer(request), "refusal": None},
            }
        ],
        "usage": usage(request, digest),
    }


def usage(request: dict[str, Any], digest: bytes) -> dict[str, Any]:
    """What the request costs in tokens; the digest stands in for what a model would have decided."""
    prompt = sum(4 + len(message["content"]) // CHARACTERS_PER_TOKEN for message in request["messages"])
    cached = prompt * 3 // 4 // CACHE_STEP * CACHE_STEP if prompt >= CACHE_FROM and digest[0] % 4 else 0
    most = request.get("max_completion_tokens", 400)
    thinks = min(REASONING_STEP * (2 + digest[1] % 9), most * 3 // 4 // REASONING_STEP * REASONING_STEP)
    reasoning = thinks if request["model"].startswith("o") else 0
    visible = (most - reasoning) * (128 + digest[2] // 2) // 256
    return {
        "prompt_tokens": prompt,
        "completion_tokens": visible + reasoning,
        "total_tokens": prompt + visible + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _answer(request: dict[str, Any]) -> str:
    return f"[simulated by no model] {request['messages'][-1]['content'][:60]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body leave in two packets; without this Nagle holds the second back for 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v1/chat/completions":
            return self._send(404, _error(f"The simulated server has no {self.path}"))
        try:
            return self._send(200, completion(json.loads(body)))
        except (KeyError, TypeError, ValueError) as error:
            return self._send(400, _error(f"The simulated server cannot answer this: {error!r}"))

    def _send(self, status: int, content: dict[str, Any]) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.send_header("x-request-id", f"req_simulated_{next(_request_numbers):06d}")
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the producer reports."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None, "param": None}}


@contextmanager
def simulated_openai() -> Iterator[str]:
    """The server as a process of its own, so that its work is not counted as the producer's; yields its base URL."""
    command = [sys.executable, "-m", "examples.content_pipeline.simulated_openai"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as server:
        try:
            base_url = server.stdout.readline().strip() if server.stdout else ""
            if not base_url:
                raise RuntimeError("the simulated OpenAI server did not start")
            yield base_url
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated OpenAI chat completions on 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
