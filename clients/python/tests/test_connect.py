import re
import time

import pytest
import redis
from conftest import GUILD, ROOT, Server, accepts, eventually, free_port

import guildcast


def everything(kit, url, server, caplog):
    """Uses each part of the kit over one connection, without a warning."""
    client = kit.client(url)
    looker = redis.Redis(port=server.port)
    publisher, pools = kit.Publisher(client), kit.Pools(client)
    with looker.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(GUILD, "socket.io#/#", "guildcast:revoke", "reply")
        listener.get_message(timeout=30)
        for n in range(5):
            kit.do(publisher.publish, GUILD, {"kind": "member", "payload": n})
        kit.do(pools.update, publisher, GUILD, "member", {"id": "1"})
        kit.do(pools.set_online, GUILD, "1")
        kit.do(kit.Emitter(client).emit, "hello")
        kit.do(kit.revoke, client, jti="x")
        worker = kit.Worker(client)
        worker.on("all")(lambda request: {"data": []})
        wait = kit.begin(worker.run)
        looker.xadd("guildcast:requests:pool:0", {
            "id": "1", "method": "all", "args": "{}", "reply_to": "reply",
            "deadline": str(round(time.time() * 1000) + 60_000)})
        heard = []

        def all_heard():
            if message := listener.get_message(timeout=0.1):
                heard.append(message["channel"].decode())
            return len(heard) >= 9

        try:
            eventually(lambda: f"everything: {heard}", all_heard)
        finally:
            worker.stop()
            wait()
    assert [r.message for r in caplog.records if r.name == "guildcast.worker"] == []
    assert sorted(heard) == sorted([GUILD] * 6 + ["guildcast:revoke", "reply", "socket.io#/#"])


def test_a_redis_cluster(kit, start, tmp_path, caplog):
    server = Server(start, tmp_path, "--cluster-enabled", "yes", "--cluster-port", free_port())
    looker = redis.Redis(port=server.port)
    looker.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    eventually("the cluster", lambda: looker.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    everything(kit, f"redis+cluster://127.0.0.1:{server.port}", server, caplog)


def test_sentinel_also_when_it_makes_the_replica_the_primary(kit, server, start, tmp_path, caplog):
    (tmp_path / "replica").mkdir()
    replica = Server(start, tmp_path / "replica", "--replicaof", "127.0.0.1", server.port)
    port = free_port()
    file = tmp_path / "sentinel.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor bot 127.0.0.1 {server.port} 1\n"
        "sentinel down-after-milliseconds bot 500\nsentinel failover-timeout bot 5000\n")
    start("redis-server", file, "--sentinel")
    eventually("the sentinel", lambda: accepts(port))
    sentinels = f"redis+sentinel://127.0.0.1:{port}/bot"
    everything(kit, sentinels, server, caplog)

    asker = redis.Redis(port=port, decode_responses=True)
    eventually("the replica to be known", lambda: "'master-link-status': 'ok'" in str(asker.sentinel_slaves("bot")))
    publisher = kit.Publisher(kit.client(sentinels), retry=guildcast.Retry(timeout=60))
    before = kit.do(publisher.publish_durably, GUILD, {"kind": "member", "payload": 1})
    heir, key = replica.client(), f"guildcast:history:{{{GUILD}}}"
    eventually("the event to be replicated", lambda: heir.xlen(key) == 2)
    server.process.end()
    after = kit.do(publisher.publish_durably, GUILD, {"kind": "member", "payload": 2})
    assert [id for id, _ in heir.xrange(key)][1:] == [before, after]


def test_the_rights_that_the_documents_give_are_enough(kit, server, caplog):
    page = (ROOT / "docs" / "reference" / "redis.md").read_text()
    for user in ("worker", "publisher"):
        command = re.search(rf"^ACL SETUSER {user} [^`]*", page, re.M)[0]
        server.client().execute_command(*command.replace("\\\n", " ").split())
    publisher = kit.Publisher(kit.client(f"redis://publisher:password@127.0.0.1:{server.port}"))
    kit.do(publisher.publish, GUILD, {"kind": "member", "payload": 1})
    client = kit.client(f"redis://worker:password@127.0.0.1:{server.port}")
    pools = kit.Pools(client)
    kit.do(pools.replace, GUILD, "member", [{"id": "1"}])
    kit.do(pools.update, publisher, GUILD, "member", {"id": "1"})
    kit.do(pools.delete, publisher, GUILD, "member", "1")
    kit.do(pools.set_online, GUILD, "1")
    kit.do(pools.set_offline, GUILD, "1")
    worker = kit.Worker(client)
    worker.on("all")(lambda request: {"data": []})
    wait = kit.begin(worker.run)
    time.sleep(1.5)  # a few rounds of everything
    worker.stop()
    wait()
    assert [r.message for r in caplog.records if r.name == "guildcast.worker"] == []


def test_passwords_and_databases(kit, server):
    server.client().execute_command("ACL", "SETUSER", "bot", "on", ">p@ss/word", "~*", "&*", "+@all")
    client = kit.client(f"redis://bot:p%40ss%2Fword@127.0.0.1:{server.port}/3")
    kit.do(kit.Pools(client).put, GUILD, "member", {"id": "1"})
    assert server.client(db=3).hlen(f"guildcast:pool:{{{GUILD}}}:member") == 1


@pytest.mark.parametrize("wrong", [
    "", "http://x", "redis://a:secret@h,i", "redis://h/x", "redis+sentinel://secret@h", "redis+cluster://h/1",
    "redis://h:port", "redis://h/1/2", "redis://user:sec/ret@h",
])
def test_wrong_urls(kit, wrong):
    with pytest.raises(ValueError) as error:
        kit.connect(wrong)
    assert "secret" not in str(error.value)
