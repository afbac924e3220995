import contextlib
import json
import pathlib
import signal
import sys
import threading
import time

import pytest
from conftest import GUILD, Server, eventually

import guildcast

STREAM = "guildcast:requests:pool:0"


@pytest.fixture
def work(kit, server):
    """Runs workers until the test ends; the handlers are the keywords that are methods."""
    with contextlib.ExitStack() as stack:

        def work(**options):
            handlers = {name: options.pop(name) for name in ("fetch", "all", "search", "interpret") if name in options}
            ready = threading.Event()
            worker = kit.Worker(kit.client(server.url), on_ready=ready.set, **options)
            for name, handler in handlers.items():
                worker.on(name)(handler)
            worker.wait = kit.begin(worker.run)
            stack.callback(lambda: (worker.stop(), worker.wait()))
            assert ready.wait(30)
            return worker

        yield work


class Asked:
    """A request put into Redis as a node does, and what is published about it."""

    def __init__(self, server, **fields):
        self.replies = []
        self.client = server.client()
        self.pubsub = self.client.pubsub()
        self.pubsub.subscribe("reply:" + fields.get("id", "r"))
        assert self.pubsub.get_message(timeout=30)["type"] == "subscribe"
        full = {
            "id": "r", "method": "fetch", "args": '{"type":"member","guild_id":"1","ids":["2"]}',
            "reply_to": "reply:" + fields.get("id", "r"), "deadline": str(round(time.time() * 1000) + 60_000), **fields,
        }
        self.entry = self.client.xadd(STREAM, {name: value for name, value in full.items() if value is not None})

    def answers(self):
        while message := self.pubsub.get_message(timeout=0.01):
            self.replies.append(json.loads(message["data"]))
        return self.replies


@pytest.fixture
def ask(server):
    with contextlib.ExitStack() as stack:

        def ask(**fields):
            asked = Asked(server, **fields)
            stack.callback(asked.pubsub.close)
            return asked

        yield ask


def settled(server):
    client = server.client()
    eventually("an empty stream", lambda: not client.xlen(STREAM))
    eventually("nothing pending", lambda: not client.xpending(STREAM, "workers")["pending"])


def test_a_browser_gets_what_a_worker_answers(kit, server, node, browser, work):
    members = [{"id": str(1000 + i), "name": f"member {i}"} for i in range(2500)]

    def fetch(request):
        kind, ids = request.args["type"], request.args["ids"]
        if kind == "channel":
            raise guildcast.RequestError(403, "secret")
        if kind == "role":
            raise RuntimeError("a bug")
        data = [m for m in members if m["id"] in ids]
        return {"data": data, "nonexistent": [id for id in ids if id not in {m["id"] for m in data}]}

    def everything(request):
        yield {"data": members[:1200]}
        yield {"data": members[1200:]}

    def interpret(request):
        said = request.args
        action = {"action": 3001, "message_id": said["message_id"] + 1, "content": "you said " + said["content"]}
        return {"guild_id": said["guild_id"], "actions": [action]}

    if kit.is_async:
        plain, parts = fetch, everything

        async def fetch(request):
            return plain(request)

        async def everything(request):
            for part in parts(request):
                yield part

    worker = work(fetch=fetch, all=everything, interpret=interpret)
    b = browser(node(GUILDCAST_INTERPRETER="worker"))

    def parts_of(id):
        return [e for event, (part, *_) in list(b.heard) if event == "pool_response" and part["_id"] == id
                and part["type"] == "member" for e in part["data"]]

    some = b.ask("pool", _id=1, type="member", guild_id=GUILD, ids=["1001", "7"])
    assert (some["nonexistent"], parts_of(1)) == (["7"], [members[1]])
    b.ask("pool", _id=2, type="member", guild_id=GUILD)
    eventually("all members", lambda: len(parts_of(2)) == len(members))
    assert parts_of(2) == members
    refused = b.ask("pool", _id=3, type="channel", guild_id=GUILD, ids=["1"])
    assert (refused["code"], refused["message"]) == (403, "secret")
    assert b.ask("pool", _id=4, type="role", guild_id=GUILD, ids=["1"])["code"] == 500
    unknown = b.ask("pool", _id=5, type="user", request="search", query="x")
    assert (unknown["code"], unknown["message"]) == (400, "unknown_method")
    b.sio.emit("interpret", {
        "action": 3001, "guild_id": 4211, "message_id": 2, "content": "hi", "allowed_commands": []})
    assert b.event("interpret_response")[0]["actions"][0]["content"] == "you said hi"
    assert worker.stats.answered >= 3 and worker.stats.refused >= 3, worker.stats


def test_a_request_of_a_worker_that_dies_is_served_by_another(kit, server, node, browser, start):
    def run(name):
        source = pathlib.Path(guildcast.__file__).parents[1]
        script = pathlib.Path(__file__).with_name("worker_process.py")
        process = start(sys.executable, script, kit.module.__name__, server.url, name, PYTHONPATH=str(source))
        eventually(lambda: f"{name}: {process.output}", lambda: "ready" in process.output)
        return process

    dying = run("stuck")
    b = browser(node(GUILDCAST_REQUEST_TIMEOUT="30s"))
    answers = []
    b.sio.emit("pool", {"_id": 1, "type": "channel", "guild_id": GUILD, "ids": ["17"], "token": b.token},
               callback=answers.append)
    eventually("the request to be taken", lambda: "took" in dying.output)
    dying.end()
    healthy = run("healthy")
    answer = eventually(lambda: f"an answer: {b.heard}", lambda: answers)[0]
    assert (answer["data"], answer["finished"]) == ([{"id": "17", "name": "healthy"}], True)
    healthy.kill(signal.SIGTERM)
    assert healthy.p.wait(30) == 0
    # The one that stopped has left; the dead one is forgotten later.
    assert len(server.client().xinfo_consumers(STREAM, "workers")) == 1


def test_what_is_late_malformed_or_gone_is_dropped(server, work, ask):
    client = server.client()
    # Another worker has taken a request that the node has then withdrawn.
    client.xgroup_create(STREAM, "workers", "0", mkstream=True)
    gone = ask(id="gone")
    client.xreadgroup("workers", "dead", {STREAM: ">"})
    client.xdel(STREAM, gone.entry)
    worker = work(fetch=lambda request: {"data": []}, claim_after=0.2)
    late = ask(id="late", deadline=str(round(time.time() * 1000) - 1))
    unreadable = [{"id": ""}, {"args": "{"}, {"deadline": "soon"}, {"reply_to": None}, {"method": None}]
    for fields in unreadable:
        ask(**fields)
    good = ask(id="good")
    eventually("an answer", good.answers)
    settled(server)
    assert (gone.answers(), late.answers()) == ([], [])
    assert (worker.stats.expired, worker.stats.malformed, worker.stats.answered) == (1, 5, 1)


def slow_handler(kit):
    """Returns a handler that waits, how often it was called, and what ends it."""
    calls, finish = [], threading.Event()
    if kit.is_async:
        import asyncio

        async def slow(request):
            calls.append(request.id)
            while not finish.is_set():
                await asyncio.sleep(0.01)
            return {"data": [{"id": "2"}]}
    else:
        def slow(request):
            calls.append(request.id)
            finish.wait()
            return {"data": [{"id": "2"}]}

    return slow, calls, finish


def test_a_slow_request_is_not_taken_over_and_is_finished_when_the_worker_stops(kit, server, work, ask):
    slow, calls, finish = slow_handler(kit)
    workers = [work(fetch=slow, claim_after=0.2) for _ in range(2)]
    asked = ask()
    eventually("the request to be handled", lambda: calls)
    time.sleep(1)  # five times as long as what is abandoned
    assert len(calls) == 1
    for worker in workers:
        worker.stop()
    finish.set()
    for worker in workers:
        worker.wait()
    parts = [(r["ok"], r["more"], r["part"], r["result"]) for r in asked.answers()]
    assert parts == [(True, False, 0, {"data": [{"id": "2"}], "nonexistent": []})]
    assert server.client().xinfo_consumers(STREAM, "workers") == []


def test_a_handler_that_misses_the_deadline_holds_nobody_up(kit, server, work, ask):
    slow, calls, finish = slow_handler(kit)
    worker = work(fetch=slow, all=lambda request: {"data": []}, concurrency=2)
    never = ask(id="never", deadline=str(round(time.time() * 1000) + 300))
    other = ask(id="other", method="all")
    eventually("the other answer", other.answers)
    settled(server)
    assert worker.stats.expired == 1
    finish.set()
    worker.stop()
    worker.wait()
    assert never.answers() == []


def test_no_more_requests_are_taken_than_can_be_handled(kit, server, work, ask):
    slow, calls, finish = slow_handler(kit)
    worker = work(fetch=slow, concurrency=3, claim_after=0.4)
    asked = [ask(id=str(i)) for i in range(10)]
    eventually("three requests", lambda: len(calls) == 3)
    client = server.client()
    assert client.xpending(STREAM, "workers")["pending"] == 3
    finish.set()
    eventually("all answers", lambda: all([a.answers() for a in asked]))
    settled(server)
    assert (len(calls), worker.stats.answered) == (10, 10)


def test_a_worker_outlives_redis_also_one_that_comes_back_without_its_memory(server, work, ask):
    work(fetch=lambda request: {"data": []})
    server.process.end()
    server.again()
    first = ask(id="first")
    eventually("an answer", first.answers)
    server.client().flushall()
    second = ask(id="second")
    eventually("an answer after the loss", second.answers)


def test_entities_are_cut_into_parts(server, work, ask):
    work(all=lambda request: {"data": [{"id": str(i)} for i in range(25)]}, part_size=10)
    asked = ask(method="all")
    eventually("the last part", lambda: any(not r["more"] for r in asked.answers()))
    assert [(r["part"], r["more"], len(r["result"]["data"])) for r in asked.replies] == [
        (0, True, 10), (1, True, 10), (2, False, 5)]
    assert len({r["worker"] for r in asked.replies}) == 1


def test_a_worker_that_is_cancelled_ends_at_once(server, ask):
    import asyncio

    import guildcast.asyncio

    async def main():
        client = guildcast.asyncio.connect(server.url)
        ready, took, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        worker = guildcast.asyncio.Worker(client, on_ready=ready.set)

        @worker.on("fetch")
        async def fetch(request):
            took.set()
            try:
                await asyncio.sleep(3600)
            finally:
                cancelled.set()

        running = asyncio.create_task(worker.run())
        await asyncio.wait_for(ready.wait(), 30)
        ask()
        await asyncio.wait_for(took.wait(), 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(cancelled.wait(), 30)
        await client.aclose()

    asyncio.run(main())
    assert server.client().xpending(STREAM, "workers")["pending"] == 1, "it is there for another worker"


@pytest.mark.parametrize("options", [{"protocol": 3}, {"protocol": 2, "decode_responses": True}], ids=str)
def test_clients_of_ones_own(options, server, ask):
    import redis

    ready = threading.Event()
    worker = guildcast.Worker(redis.Redis(port=server.port, **options), on_ready=ready.set)
    worker.on("fetch")(lambda request: {"data": []})
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert ready.wait(30)
    asked = ask()
    eventually("an answer", asked.answers)
    worker.stop()
    thread.join()
