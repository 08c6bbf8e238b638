"""A completion server that speaks as vLLM, llama.cpp or SGLang, for small torch models and any fault."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

MODEL = "tiny/large"
FAULTS: Mapping[str, str] = {  # -> what the error must name
    "refused": "cannot be reached",
    "hang": "EFT_BASE_ANSWER_S",
    "slow": "EFT_BASE_ANSWER_S",
    "401": "EFT_BASE_KEY",
    "404": "/v1",
    "429": "HTTP 429",
    "500": "HTTP 500",
    "307": "HTTP 307",
    "400": "too hot",
    "garbage": "JSON",
    "deep": "JSON",
    "other json": "docs/deploying.md",
    "cut": "broke off",
    "few": "--max-logprobs -1",
    "limit": "--max-logprobs -1",
    "unequal": "--max-logprobs -1",
    "text keys": "docs/deploying.md",
    "more": "model has changed",
    "nan": "NaN",
    "infinite": "NaN",
    "beyond float32": "NaN",
    "huge number": "docs/deploying.md",
    "huge id": "docs/deploying.md",
}


class Completions:
    """The server. `fault` strikes the next `strikes` requests for completions."""

    def __init__(self, models: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        """`models` map (1, tokens) to logits (1, tokens, width), by their names."""
        self.models = models
        self.fault, self.strikes = "", 0
        self.asked: list[dict[str, Any]] = []  # every body of a completion
        self.keys: list[str | None] = []  # the key of every request
        self.max_model_len: int | None = 129
        self.max_logprobs = -1  # as vLLM's option; -1: no limit
        self.answers_by_id = True  # knows logprob_token_ids
        self.speaks = "vllm"  # or as "llamacpp" or "sglang" do, of its first model
        self.tokenize: Callable[[str], object] | None = None
        self.answer_on = threading.Event()  # ends what hangs
        self.open: list[socket.socket] = []
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
        for connection in self.open:
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def strike(self, fault: str, times: int = 10**9) -> None:
        self.fault, self.strikes = fault, times
        if fault == "refused":
            self.stop()

    def heal(self) -> None:
        if self.fault == "refused":
            self.start()
        self.answer_on.set()
        self.fault, self.strikes = "", 0
        self.answer_on = threading.Event()

    @torch.inference_mode()
    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        model = self.models[body["model"]]
        choices = []
        for index, prompt in enumerate(body["prompt"]):
            row = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
            ids = self.listed(row, body)
            table = {
                f"token_id:{i}": max(value, -9999.0) for i, value in zip(ids, row[ids].tolist(), strict=True)
            }
            choices.append({"index": index, "text": "?", "logprobs": {"top_logprobs": [table]}})
        return {"object": "text_completion", "choices": choices[::-1]}  # the order may be any

    @torch.inference_mode()
    def llama_completion(self, body: dict[str, Any]) -> object:
        """The answers to several prompts as a list, to one prompt as itself."""
        model = next(iter(self.models.values()))
        answers = []
        for index, prompt in enumerate(body["prompt"]):
            row = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
            ids = row.topk(min(len(row), body["n_probs"])).indices.tolist()
            top = [{"id": i, "token": "?", "bytes": [63], "logprob": float(row[i])} for i in ids]
            answers.append({"index": index, "completion_probabilities": [{"id": 0, "top_logprobs": top}]})
        return answers if len(answers) > 1 else answers[0]

    @torch.inference_mode()
    def sglang_generation(self, body: dict[str, Any]) -> list[object]:
        model = next(iter(self.models.values()))
        answers: list[object] = []
        for prompt in body["input_ids"]:
            row = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
            top = row.topk(min(len(row), body.get("top_logprobs_num", 0))).indices.tolist()
            lists = {
                "output_top_logprobs": top,
                "output_token_ids_logprobs": body.get("token_ids_logprob", []),
            }
            tables = {name: [[[float(row[i]), i, None] for i in ids]] for name, ids in lists.items()}
            answers.append({"text": "?", "meta_info": tables})
        return answers

    def listed(self, row: Tensor, body: dict[str, Any]) -> list[int]:
        """The ids whose log-probs are sent: all, those asked for by id, or the likeliest ones."""
        sampled = int(row.argmax())  # vLLM adds it
        if self.answers_by_id and (ids := body.get("logprob_token_ids")):
            return [*dict.fromkeys([*ids, sampled])]
        count = len(row) if body["logprobs"] == -1 else min(len(row), body["logprobs"])
        return [*dict.fromkeys([*row.topk(count).indices.tolist(), sampled])]

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or a body waits 40 ms for what follows its headers

            def setup(self) -> None:
                super().setup()
                server.open.append(self.connection)

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                server.keys.append(self.headers.get("Authorization"))
                if self.path == "/v1/models":
                    self.send({"data": [server.about(name) for name in server.models]})
                elif self.path == "/version":
                    self.send({"version": "0.32.0"})
                else:
                    self.send({"error": "no such page"}, 404)

            def do_POST(self) -> None:
                server.keys.append(self.headers.get("Authorization"))
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/tokenize" and server.tokenize:
                    text = body["content" if server.speaks == "llamacpp" else "prompt"]
                    self.send({"tokens": server.tokenize(text)})
                elif self.path == "/completion" and server.speaks == "llamacpp":
                    server.asked.append(body)
                    self.send(server.llama_completion(body))
                elif self.path == "/generate" and server.speaks == "sglang":
                    server.asked.append(body)
                    self.send(server.sglang_generation(body))
                elif self.path == "/v1/completions":
                    server.asked.append(body)
                    with suppress(OSError):  # the client has gone
                        server.answer(self, body)
                else:
                    self.send({"error": "no such page"}, 404)

            def send(self, content: object, code: int = 200, location: str = "") -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(data)

        return Handler

    def about(self, name: str) -> dict[str, Any]:
        if self.speaks == "llamacpp":
            width = self.models[name](torch.tensor([[0]])).shape[-1]
            return {
                "id": name,
                "owned_by": "llamacpp",
                "meta": {"n_vocab": width, "n_ctx": self.max_model_len},
            }
        facts = {"id": name, "owned_by": self.speaks, "max_model_len": self.max_model_len}
        return {key: value for key, value in facts.items() if value is not None}

    def answer(self, handler: Any, body: dict[str, Any]) -> None:
        """Answer a request for completions, or strike."""
        fault = self.fault if self.strikes > 0 else ""
        self.strikes -= 1
        if fault == "hang":
            self.answer_on.wait(60)
            handler.close_connection = True
        elif fault == "limit" or -1 < self.max_logprobs < body["logprobs"] % 10**6:  # as vLLM says it
            asked, most = body["logprobs"], max(0, self.max_logprobs)
            message = f"Requested sample logprobs of {asked}, which is greater than max allowed: {most}"
            handler.send({"error": {"message": message, "code": 400}}, 400)
        elif fault.isdecimal():
            handler.send({"error": {"message": "too hot"}}, int(fault), "http://127.0.0.2:1/elsewhere")
        elif fault in ("garbage", "deep"):
            handler.send(b"<html>Please log in</html>" if fault == "garbage" else b"[" * 100_000)
        elif fault in ("cut", "slow"):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000")
            handler.end_headers()
            handler.wfile.write(b"{")
            while fault == "slow" and not self.answer_on.wait(0.01):
                handler.wfile.write(b" ")
            handler.close_connection = True
        else:
            answer = {"choices": 3} if fault == "other json" else self.completion(body)
            if fault and fault != "other json":
                _spoil(answer, fault)
            handler.send(answer)


def _spoil(answer: dict[str, Any], fault: str) -> None:
    """Make the first text's log-probs wrong, or those of all texts."""
    first = answer["choices"][-1]["logprobs"]["top_logprobs"][0]
    likeliest = sorted(first, key=lambda key: -first[key])
    for choice in answer["choices"] if fault in ("few", "more", "text keys") else answer["choices"][-1:]:
        (table,) = choice["logprobs"]["top_logprobs"]
        if fault == "few":
            choice["logprobs"]["top_logprobs"] = [{key: table[key] for key in likeliest[:5]}]
        elif fault == "text keys":
            choice["logprobs"]["top_logprobs"] = [{f" word{i}": v for i, v in enumerate(table.values())}]
        elif fault in ("more", "unequal"):
            table[f"token_id:{len(table)}"] = -50.0
            if fault == "unequal" and len(answer["choices"]) == 1:
                answer["choices"] = [{**choice, "logprobs": {"top_logprobs": [{"token_id:5": -1.0}]}}]
        elif fault == "huge id":
            table[f"token_id:{10**20}"] = table.pop(likeliest[0])
        else:
            table[likeliest[0]] = _ODD[fault]


_ODD: Mapping[str, object] = {
    "nan": None,
    "infinite": float("inf"),
    "beyond float32": 1e308,
    "huge number": 10**400,
}


@cache
def loaded(folder: Path) -> Callable[[Tensor], Tensor]:
    """The logits of the weights in this folder: (1, tokens) -> (1, tokens, width)."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logits(tokens: Tensor) -> Tensor:
        found: Tensor = model(input_ids=tokens, use_cache=False).logits
        return found

    return logits


@contextmanager
def serving(folder: Path, roles: Mapping[str, str]) -> Iterator[Completions]:
    """A server of these models: name -> role, whose weights are in the family's folder."""
    server = Completions({name: loaded(folder / role) for name, role in roles.items()})
    yield server
    server.heal()
    server.stop()
