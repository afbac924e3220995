"""What the tests run against: real Redis servers, real nodes, and browsers; and both kits under one name."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import importlib
import inspect
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
import redis
import socketio

ROOT = pathlib.Path(__file__).parents[3]
BINARY = os.environ.get("GUILDCAST_BINARY", str(ROOT / "bin" / "guildcast"))
GUILD = "607637793107345431"
SECRET = b"a secret of the tests of 32 bytes!"


def eventually(what, check, patience=30.0):
    """Waits until check returns something true, which it returns."""
    end = time.monotonic() + patience
    while not (found := check()):
        assert time.monotonic() < end, f"waited in vain for {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Process:
    """A program that runs until the test ends."""

    def __init__(self, *command, **env):
        self.p = subprocess.Popen(
            [str(part) for part in command], env={**os.environ, **env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.p.stdout:
            self.output += line

    def kill(self, how=signal.SIGKILL):
        self.p.send_signal(how)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        code = self.p.wait()
        self._reader.join()
        self.p.stdout.close()
        return code


@pytest.fixture
def start():
    """Starts programs."""
    with contextlib.ExitStack() as stack:

        def start(*command, **env):
            process = Process(*command, **env)
            stack.callback(process.end)
            return process

        yield start


class Server:
    """A Redis of one's own."""

    def __init__(self, start, dir, *args):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._start = lambda: start(
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
            "--appendfsync", "always", "--dir", dir, *args)
        self.again()

    def again(self):
        self.process = self._start()
        eventually(lambda: f"redis-server: {self.process.output}", lambda: accepts(self.port))

    def client(self, **options):
        return redis.Redis(port=self.port, decode_responses=True, **options)


@pytest.fixture
def server(start, tmp_path):
    return Server(start, tmp_path)


@pytest.fixture
def node(start, server):
    """Starts nodes on the server, and returns their URLs."""

    def run(**env):
        address = f"127.0.0.1:{free_port()}"
        process = start(
            BINARY, "serve", GUILDCAST_ADDR=address, GUILDCAST_REDIS=server.url,
            GUILDCAST_JWT_SECRET=SECRET.decode(), GUILDCAST_LOG="json", **env)

        def ready():
            assert process.p.poll() is None, process.output
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(f"http://{address}/readyz", timeout=5).status == 200

        eventually("a node", ready)
        return f"http://{address}"

    return run


def token(**claims):
    now = int(time.time())
    full = {"sub": "214037134477230080", "iat": now, "exp": now + 3600, "guilds": {GUILD: 6}, **claims}

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, full))
    return (head + b"." + encode(hmac.digest(SECRET, head, hashlib.sha256))).decode()


class Browser:
    """A browser's socket, elevated. It remembers what it heard."""

    def __init__(self, url, **claims):
        self.token = token(**claims)
        self.heard = []
        self.sio = socketio.Client(reconnection=False)
        self.sio.on("*", lambda event, *args: self.heard.append((event, list(args))))
        self.sio.connect(url, auth={"token": self.token})
        self.elevation = self.event("request_elevation_return")[0]
        assert self.elevation["success"], self.elevation

    def event(self, name, matches=lambda *args: True):
        return eventually(lambda: f"{name} in {self.heard}", lambda: next(
            ((args,) for event, args in list(self.heard) if event == name and matches(*args)), None))[0]

    def ask(self, event, **payload):
        return self.sio.call(event, {"token": self.token, **payload}, timeout=30)


@pytest.fixture
def browser():
    """Opens browsers."""
    with contextlib.ExitStack() as stack:

        def open(url, **claims):
            b = Browser(url, **claims)
            stack.callback(b.sio.disconnect)
            return b

        yield open


class Kit:
    """The kit, or its form for asyncio, which runs on a loop of its own: do(method, ...) calls either."""

    def __init__(self, name):
        self.module = importlib.import_module(name)
        self.is_async = name.endswith("asyncio")
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.clients = []

    def __getattr__(self, name):
        return getattr(self.module, name)

    def do(self, method, *args, **kwargs):
        return self.begin(method, *args, **kwargs)()

    def begin(self, method, *args, **kwargs):
        """Calls, and returns what waits for the result."""
        if self.is_async:
            async def call():
                answer = method(*args, **kwargs)
                return await answer if inspect.isawaitable(answer) else answer

            return asyncio.run_coroutine_threadsafe(call(), self.loop).result
        results = []

        def run():
            try:
                results.append((method(*args, **kwargs), None))
            except BaseException as error:
                results.append((None, error))

        thread = threading.Thread(target=run)
        thread.start()

        def result():
            thread.join()
            value, error = results[0]
            if error is not None:
                raise error
            return value

        return result

    def client(self, url):
        client = self.do(self.module.connect, url)
        self.clients.append(client)
        return client

    def close(self):
        for client in self.clients:
            self.do(client.aclose if self.is_async else client.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(params=["guildcast", "guildcast.asyncio"])
def kit(request):
    kit = Kit(request.param)
    yield kit
    kit.close()


class Proxy:
    """Stands between a client and a Redis.

    After lose_answer_of(word), the first command that holds the word reaches Redis, and the connection is cut in place
    of its answer.
    """

    def __init__(self, port):
        self.port = port
        self.word = None
        self.lost = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def lose_answer_of(self, word):
        self.word = word.encode()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
                cut = threading.Event()
                threading.Thread(target=self._forth, args=(near, far, cut), daemon=True).start()
                threading.Thread(target=self._back, args=(near, far, cut), daemon=True).start()

    def _forth(self, near, far, cut):
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                if self.word and self.word in data:
                    self.word = None
                    cut.set()
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def _back(self, near, far, cut):
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                if cut.is_set():
                    self.lost += 1
                    break
                near.sendall(data)
        for s in (near, far):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.listener.close()
