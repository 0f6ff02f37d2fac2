"""A server on this machine that speaks OpenAI's chat completions: it says the user's words back, or does as it is told.

It is as strict as the real ones in what matters here: a key, a model's name, the names of the parameters.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core.messages import Message, Text
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.echo import EchoEngine

MODEL = "parrot"
DONE = "[DONE]"


@dataclass(frozen=True)
class Refuse:
    """Answer with a status and no stream."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Stream:
    """Stream these events, then end as it is told: the connection whole, cut, or open for ever."""

    events: tuple[str, ...]
    then: str = "end"
    content_type: str = "text/event-stream"


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ChatServer:
    """Each request takes one entry of the script, and echoes when there is none."""

    script: deque[Refuse | Stream] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    key: str | None = None
    usage: bool = True
    port: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    together: int = 0
    """The first answer waits until there are so many requests."""
    left: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released whenever a client leaves a stream that goes on."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which may carry many requests."""
        try:
            while asked := await _read(reader):
                self.asked.append(asked)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                while self.in_flight < self.together:
                    await asyncio.sleep(0.001)
                self.together = 0
                try:
                    await self._answer(asked, reader, writer)
                finally:
                    self.in_flight -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.release()
        finally:
            writer.close()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        what = self.script.popleft() if self.script else self._refusal(asked) or Stream(())
        if isinstance(what, Refuse):
            body = what.body if isinstance(what.body, bytes) else json.dumps(what.body).encode()
            _head(writer, what.status, *what.headers, ("Content-Length", str(len(body))))
            writer.write(body)
            await writer.drain()
            return
        _head(writer, 200, ("Content-Type", what.content_type), ("Transfer-Encoding", "chunked"))
        events = what.events if what.events or what.then != "end" else [one async for one in self._echo(asked.body)]
        for event in events:
            _chunk(writer, f"data: {event}\n\n".encode())
            await writer.drain()
        if what.then == "cut":
            raise ConnectionError
        if what.then == "wait" and not await reader.read(1):
            raise ConnectionError
        _chunk(writer, b"")
        await writer.drain()

    def _refusal(self, asked: Asked) -> Refuse | None:
        if self.key is not None and asked.headers.get("authorization") != f"Bearer {self.key}":
            said = f"Incorrect API key provided: {asked.headers.get('authorization', '').removeprefix('Bearer ')}."
            return Refuse(401, {"error": {"message": said, "code": "invalid_api_key"}})
        if asked.path != "/v1/chat/completions":
            return Refuse(404, {"detail": "Not Found"})
        if asked.body["model"] != MODEL:
            return Refuse(404, {"error": {"message": f"The model `{asked.body['model']}` does not exist."}})
        return None

    async def _echo(self, body: dict[str, Any]) -> AsyncIterator[str]:
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        messages = tuple(Message(one["role"], (Text(one["content"]),)) for one in body["messages"])
        ends = {name: tuple(body.get(name, ())) for name in ("stop", "stop_token_ids")}
        sampling = Sampling(max_tokens=limit, **ends)
        how = {"logprobs": body.get("logprobs", False), "shape": _shape(body)}
        request = Request(Prompt(messages), Schedule(sampling), **how)
        yield chunk({"role": "assistant", "content": ""})
        async for token in EchoEngine().generate(request):
            yield chunk({"content": token.text}, **_beside(token, body))
            if token.finish:
                yield chunk({}, finish_reason=token.finish.reason)
                used = token.finish.usage
        if self.usage:
            yield usage(used.prompt_tokens or 0, used.completion_tokens or 0)
        yield DONE


def _shape(body: dict[str, Any]) -> Shape | None:
    """As OpenAI's servers read one, and vLLM's."""
    if form := body.get("response_format"):
        assert form["type"] == "json_schema"
        assert form["json_schema"].keys() == {"name", "strict", "schema"}
        return Shape.of_schema(form["json_schema"]["schema"])
    match body.get("structured_outputs"):
        case {"choice": choices}:
            return Shape(choices=tuple(choices))
        case {"regex": regex}:
            return Shape(regex=regex)
    return None


def _beside(token: Token, body: dict[str, Any]) -> dict[str, Any]:
    """Ids and log-probabilities, for those that ask."""
    told: dict[str, Any] = {"token_ids": [token.id]} if body.get("return_token_ids") else {}
    if body.get("logprobs"):
        told["logprobs"] = {"content": [{"token": token.text, "logprob": token.logprob}]}
    return told


def chunk(delta: dict[str, Any], **beside: Any) -> str:
    return json.dumps({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **beside}]})


def usage(prompt: int, completion: int, **beside: Any) -> str:
    return json.dumps({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **beside}})


def whole(text: str, reason: str = "stop") -> Stream:
    """An answer in one piece."""
    return Stream((chunk({"content": text}), chunk({}, finish_reason=reason), usage(1, 1), DONE))


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(first.split()[1], headers, json.loads(body))


def _head(writer: asyncio.StreamWriter, status: int, *headers: tuple[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers)]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


@contextmanager
def serving(**how: Any) -> Iterator[ChatServer]:
    """A server on a free port, in a thread of its own, gone at the end."""
    server, begun, over = ChatServer(**how), threading.Event(), list[Callable[[], object]]()

    async def live() -> None:
        ended = asyncio.Event()
        listener = await asyncio.start_server(server.serve, "127.0.0.1", server.port)
        server.port = listener.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        over.append(lambda: loop.call_soon_threadsafe(ended.set))
        begun.set()
        await ended.wait()
        listener.close()

    thread = threading.Thread(target=asyncio.run, args=(live(),), daemon=True)
    thread.start()
    assert begun.wait(10)
    try:
        yield server
    finally:
        over[0]()
        thread.join(10)
