"""What the chat benches share: servers, each a process of its own, and the client that asks them all.

The client is the same for every server and costs little: a thread a request, which notes when each
block came and reads what it says once the answer is over.
"""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

PROJECT_DIR = Path(__file__).resolve().parent.parent
OURS, ENGINE = "this server", "llama-server's engine"
PACKAGE, BARE = "llama-cpp-python's server", "bare loop"
CONTEXT_TOKENS = 8192
PARALLEL = 8
# What this server holds for all chats together; its peers get as much.
POOL_TOKENS = 2 * CONTEXT_TOKENS
TIMEOUT_S = 120.0
WORDS = (
    "harbour train letter garden winter captain bridge music window silver forest market evening river "
    "lantern story mountain kitchen island morning painter doctor village engine ticket summer castle"
).split()
Body = Mapping[str, Any]
T = TypeVar("T")


class Failure(Exception):
    """A request that was refused (`status` says how), or cut off before its end (`status` is 200)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status != 200 else message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, and the moments (`time.perf_counter`) it was asked, began with text, and ended.

    `texts` and `reasons` have an entry for each choice.
    """

    asked: float
    began: float
    ended: float
    num_tokens: int
    texts: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def first_token_s(self) -> float:
        """From asking to the first text."""
        return self.began - self.asked

    @property
    def tokens_per_s(self) -> float:
        """Tokens of the answer over all the time it took."""
        return self.num_tokens / (self.ended - self.asked)


def blocks(
    port: int, path: str, data: bytes, kind: str = "application/json", patience_s: float = TIMEOUT_S
) -> Iterator[tuple[float, bytes]]:
    """An answer as it comes, each block with its moment.

    Raises Failure unless the status is 200, and TimeoutError when `patience_s` is over; the connection
    is closed then, as by a client that hangs up.
    """
    deadline = time.perf_counter() + patience_s
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience_s)
    connection.connect()
    sock = connection.sock
    answer = None
    try:
        connection.request("POST", path, data, {"Content-Type": kind, "Connection": "close"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise Failure(answer.status, answer.read(500).decode("utf-8", "replace"))
        while block := answer.read1():
            now = time.perf_counter()
            yield now, block
            if now >= deadline:
                raise TimeoutError
            sock.settimeout(deadline - now)
    except (http.client.HTTPException, ConnectionError) as error:
        raise Failure(200, f"cut off ({error!r})") from error
    finally:
        if answer:
            answer.close()
        connection.close()


def ask(port: int, body: Body, patience_s: float = TIMEOUT_S) -> Reply:
    """The whole answer of a chat. Raises Failure, also when the end of it is missing; TimeoutError."""
    if body.get("stream"):
        body = {**body, "stream_options": {"include_usage": True}}
    data = json.dumps(body).encode()
    asked = time.perf_counter()
    came = list(blocks(port, "/v1/chat/completions", data, patience_s=patience_s))
    if not came:
        raise Failure(200, "an empty answer")
    num_choices = int(body.get("n", 1))
    if body.get("stream"):
        return _streamed(asked, came, num_choices)
    whole = json.loads(b"".join(block for _, block in came))
    choices = whole["choices"]
    return Reply(
        asked,
        came[-1][0],
        came[-1][0],
        whole["usage"]["completion_tokens"],
        tuple(choice["message"]["content"] or "" for choice in choices),
        tuple(choice["finish_reason"] for choice in choices),
    )


def _streamed(asked: float, came: list[tuple[float, bytes]], num_choices: int) -> Reply:
    """A stream's chunks put together. Tokens as its usage says, else a chunk with text is a token."""
    began, num_chunks, num_tokens, is_done = 0.0, 0, 0, False
    texts, reasons = [""] * num_choices, [""] * num_choices
    for moment, event in _events(came):
        if event == b"[DONE]":
            is_done = True
            continue
        chunk = json.loads(event)
        if "error" in chunk:
            raise Failure(200, f"broken off: {chunk['error'].get('message')}")
        num_tokens = (chunk.get("usage") or {}).get("completion_tokens", num_tokens)
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                began = began or moment
                num_chunks += 1
                texts[choice["index"]] += text
            reasons[choice["index"]] = choice["finish_reason"] or reasons[choice["index"]]
    if not is_done or not all(reasons):
        raise Failure(200, f"cut off after {num_chunks} chunks")
    ended = came[-1][0]
    tokens = num_tokens or num_chunks
    return Reply(asked, began or ended, ended, tokens, tuple(texts), tuple(reasons))


def _events(came: list[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    rest = b""
    for moment, block in came:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield moment, line.removeprefix(b"data:").strip()


def together(deeds: Sequence[Callable[[], T]]) -> list[T]:
    """What each gives, all begun at once. Raises what the first of them raises, when all are over."""
    with ThreadPoolExecutor(len(deeds)) as pool:
        futures = [pool.submit(deed) for deed in deeds]
    return [future.result() for future in futures]


def prose(tag: str, num_words: int) -> str:
    """Words that begin like no other tag's, about a token each."""
    rng = random.Random(tag)
    return f"Entry {tag}. " + " ".join(rng.choice(WORDS) for _ in range(num_words)) + "."


def body(messages: list[dict[str, str]], max_tokens: int, **more: Any) -> Body:
    """A streamed request at temperature 0."""
    fixed = {"model": "gpt-4", "temperature": 0, "stream": True}
    return {**fixed, "messages": messages, "max_tokens": max_tokens, **more}


def chat(system: str, *turns: str) -> list[dict[str, str]]:
    """A conversation; the user has the first word."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(turns)]
    return [{"role": "system", "content": system}, *messages]


def story(tag: str, max_tokens: int, num_words: int = 20) -> Body:
    """A request that no cache helps with and that leads to a long answer."""
    wish = "Write a very long and detailed story, in many chapters, about all of these words: "
    return body(chat(f"{tag}: you tell long stories.", wish + prose(tag, num_words)), max_tokens)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is up."""

    name: str
    port: int
    process: psutil.Process

    def chat(self, body: Body, patience_s: float = TIMEOUT_S) -> Reply:
        """The whole answer; see `ask`."""
        return ask(self.port, body, patience_s)

    def post(self, path: str, data: bytes, kind: str = "application/json") -> bytes:
        """The whole answer of any other request."""
        return b"".join(block for _, block in blocks(self.port, path, data, kind))

    def memory_mb(self) -> float:
        """Resident memory now."""
        return float(self.process.memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        """Seconds of CPU used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def bundled_model() -> Path:
    """The GGUF that comes with the install."""
    from engine_room.catalogue import BUNDLED_ID, Catalogue
    from engine_room.settings import Settings

    return Catalogue(Settings()).chat(BUNDLED_ID).path


@contextmanager
def this_server(model: Path, threads: int, log: Path, *flags: str) -> Iterator[Server]:
    """`openai_api.py` on a free port with data folders of its own; what it logs is in `log`."""
    with tempfile.TemporaryDirectory() as folder:
        models_dir = Path(folder) / "models"
        models_dir.mkdir()
        (models_dir / model.name).symlink_to(model)
        whisper = PROJECT_DIR / "models" / "faster-whisper-base"
        if whisper.is_dir():  # else joined anew, which takes a second
            (models_dir / whisper.name).symlink_to(whisper)
        port = free_port()
        command = [sys.executable, "openai_api.py", "--host=127.0.0.1", f"--port={port}"]
        command += [f"--models-dir={models_dir}", f"--audio-dir={folder}", "--audio-keep-files=0"]
        command += [f"--chat-model={model.stem}", f"--chat-threads={threads}"]
        command += [f"--chat-parallel={PARALLEL}", f"--chat-context-tokens={CONTEXT_TOKENS}"]
        with running([*command, *flags], log) as process:
            yield _ready(OURS, process, port, "/health", b'"ok"')


@contextmanager
def xllamacpp_server(model: Path, threads: int, log: Path) -> Iterator[Server]:
    """llama-server's engine with its own HTTP server; needs `pip install xllamacpp`."""
    command = program("bench.clients", "run_xllamacpp", str(model), str(threads))
    with running(command, log, is_piped=True) as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2] or 0)
        yield _ready(ENGINE, process, port, "/health")


def run_xllamacpp(model: str, threads: str) -> None:
    """Serve until standard input ends; the first line printed is the address."""
    import importlib

    xllamacpp = importlib.import_module(
        "xllamacpp"
    )  # by name: not installed where types are checked
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel, params.n_ctx, params.kv_unified = PARALLEL, POOL_TOKENS, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


@contextmanager
def llama_cpp_server(model: Path, threads: int, log: Path) -> Iterator[Server]:
    """llama-cpp-python's own server; needs the packages of its `server` extra."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--host=127.0.0.1", f"--port={port}"]
    command += [f"--model={model}", f"--n_ctx={CONTEXT_TOKENS}"]
    command += [f"--n_threads={threads}", f"--n_threads_batch={threads}"]
    with running(command, log) as process:
        yield _ready(PACKAGE, process, port, "/v1/models")


def program(module: str, function: str, *arguments: str) -> list[str]:
    """The command that runs a function of ours, given words only, in a process of its own."""
    code = f"import sys; from {module} import {function}; {function}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *arguments]


@contextmanager
def running(
    command: list[str], log: Path, is_piped: bool = False, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A process, ended on the way out. What it prints goes to the log, or its standard output is a pipe,
    as its input always is."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if is_piped else errors,
            stderr=errors,
            text=True,
            env=os.environ | environment,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def _ready(
    name: str, process: subprocess.Popen[str], port: int, path: str, sign: bytes = b""
) -> Server:
    """The server once it answers with this sign. Raises RuntimeError when it does not start."""
    deadline = time.perf_counter() + TIMEOUT_S
    while time.perf_counter() < deadline and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            if answer.status == 200 and sign in body:
                return Server(name, port, psutil.Process(process.pid))
        time.sleep(0.1)
    raise RuntimeError(f"{name} did not start (exit status {process.poll()})")


class Bare:
    """The plainest decode loop in a process of its own, asked like a server."""

    name = BARE

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def chat(self, body: Body) -> Reply:
        """Tokens and times, without any text."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(body), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise Failure(200, "the loop has ended")
        return Reply(*json.loads(line))


@contextmanager
def bare_loop(model: Path, threads: int, log: Path) -> Iterator[Bare]:
    """The loop, its threads sleeping as soon as this server's do."""
    command = program("bench.clients", "run_bare", str(model), str(threads))
    with running(command, log, is_piped=True, GOMP_SPINCOUNT="1000") as process:
        yield Bare(process)


def run_bare(path: str, threads: str) -> None:
    """For each request, a line of JSON: decode a token, take the likeliest, until it is long enough."""
    import llama_cpp as api
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = CONTEXT_TOKENS, CONTEXT_TOKENS, 512
    params.n_threads = params.n_threads_batch = int(threads)
    params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_ENABLED
    context = api.llama_init_from_model(model, params)
    vocab = api.llama_model_get_vocab(model)
    sampler = api.llama_sampler_init_greedy()
    template = api.llama_model_chat_template(model, None).decode()
    prompt_of = Jinja2ChatFormatter(template=template, eos_token="", bos_token="")
    tokens = (api.llama_token * CONTEXT_TOKENS)()
    for line in sys.stdin:
        request = json.loads(line)
        text = prompt_of(messages=request["messages"]).prompt.encode()
        api.llama_memory_clear(api.llama_get_memory(context), True)
        asked, began, made = time.perf_counter(), 0.0, 0
        num = api.llama_tokenize(vocab, text, len(text), tokens, CONTEXT_TOKENS, False, True)
        while made < request["max_tokens"]:
            if code := api.llama_decode(context, api.llama_batch_get_one(tokens, num)):
                raise RuntimeError(f"llama_decode returned {code}")
            tokens[0], num, made = api.llama_sampler_sample(sampler, context, -1), 1, made + 1
            began = began or time.perf_counter()
            if api.llama_vocab_is_eog(vocab, tokens[0]):
                break
        print(json.dumps([asked, began, time.perf_counter(), made]), flush=True)
