import signal
import subprocess
import time

import pytest
from conftest import BINARY, GUILD, eventually

import guildcast


def member(n):
    return {"kind": "member", "payload": {"n": n}}


def test_the_script_is_the_nodes():
    assert guildcast.SCRIPT == subprocess.check_output([BINARY, "publish", "--print-script"], text=True)


def test_a_browser_gets_plain_and_durable_events_and_no_others(kit, server, node, browser):
    b = browser(node())
    assert b.ask("spectate", guild_id=GUILD, include_logs=True, positions=True)["success"]
    publisher = kit.Publisher(kit.client(server.url))

    assert kit.do(publisher.publish, GUILD, member(1)) == 1
    position = kit.do(publisher.publish_durably, GUILD, {**member(2), "event": "renamed"})
    kit.do(publisher.publish, GUILD, {"kind": "administrator", "payload": "not for everybody"})
    action = {"id": "1", "guild_id": GUILD, "action_number": 3001, "private": False, "data": {"text": "höllo"}}
    second = kit.do(publisher.publish_durably, GUILD, action, logs=True)

    b.event("log_other")
    assert [h for h in b.heard if h[0] in ("log_pool", "renamed", "log_other")] == [
        ("log_pool", [{"n": 1}, None]), ("renamed", [{"n": 2}, position]), ("log_other", [action, second]),
    ]


@pytest.mark.parametrize("event", [
    None, {}, {"kind": "member"}, {"payload": 1}, {"kind": "", "payload": 1}, {"kind": 1, "payload": 1},
    {**member(1), "event": "connect"}, {**member(1), "event": ""}, {**member(1), "event": "a\n"},
    {**member(1), "private": "yes"}, {**member(1), "private": None}, {**member(1), "privat": True},
    {**member(1), "requires": "VIEW_SETTING"}, {**member(1), "requires": [1.5]}, {**member(1), "requires": [True]},
    {"kind": "member", "payload": float("nan")}, {"kind": "member", "payload": {1, 2}},
    {"kind": "member", "payload": "x" * (4 << 20)},
    {"action_number": 1}, {"id": "1", "action_number": -1}, {"id": "1", "action_number": 1, "guild_id": "2"},
    {"id": "1", "action_number": 1, "kind": "member"},
], ids=lambda event: repr(event)[:50])
def test_what_would_reach_nobody_is_refused(event):
    publisher = guildcast.Publisher(None)
    for publish in (publisher.publish, publisher.publish_durably):
        with pytest.raises(guildcast.InvalidEventError):
            publish(GUILD, event)


def test_wrong_arguments_are_refused():
    publisher = guildcast.Publisher(None)
    with pytest.raises(guildcast.InvalidEventError):
        publisher.publish_durably(GUILD, member(1), idempotency_key='"')
    for guild in ("x", 1, "", "1" * 21):
        with pytest.raises(ValueError):
            publisher.publish(guild, member(1))


def test_a_durable_event_whose_answer_is_lost_comes_once(kit, server, proxy, node, browser):
    b = browser(node())
    b.ask("spectate", guild_id=GUILD, positions=True)
    publisher = kit.Publisher(kit.client(proxy.url))
    before = kit.do(publisher.publish_durably, GUILD, member(0))
    proxy.lose_answer_of("EVALSHA")
    position = kit.do(publisher.publish_durably, GUILD, member(1))
    assert proxy.lost == 1
    last = kit.do(publisher.publish_durably, GUILD, member(1))  # another one, though it looks the same
    proxy.lose_answer_of("EVALSHA")
    action = {"id": "7", "action_number": 1}
    fourth = kit.do(publisher.publish_durably, GUILD, action)
    assert proxy.lost == 2
    b.event("log_pool", lambda payload, _: payload.get("id") == "7")
    assert [args for event, args in b.heard if event == "log_pool"] == [
        [{"n": 0}, before], [{"n": 1}, position], [{"n": 1}, last], [action, fourth],
    ]


def test_a_plain_event_whose_answer_is_lost_is_not_repeated(kit, server, proxy):
    publisher = kit.Publisher(kit.client(proxy.url))
    client = server.client()
    with client.pubsub() as listener:
        listener.subscribe(GUILD)
        assert listener.get_message(timeout=30)["type"] == "subscribe"
        proxy.lose_answer_of("PUBLISH")
        with pytest.raises(guildcast.RedisUnavailableError) as error:
            kit.do(publisher.publish, GUILD, member(1))
        assert error.value.uncertain
        kit.do(publisher.publish, GUILD, member(2))
        heard = [listener.get_message(timeout=30)["data"] for _ in range(2)]
        assert '"n":1' in heard[0] and '"n":2' in heard[1]


def test_an_event_waits_for_a_redis_that_is_restarted_also_one_that_is_frozen(kit, server):
    client = kit.client(server.url)
    client.connection_pool.connection_kwargs["socket_timeout"] = 0.2
    publisher = kit.Publisher(client, retry=guildcast.Retry(timeout=30, attempt_timeout=0.2))
    first = kit.do(publisher.publish_durably, GUILD, member(1))
    server.process.end()
    waiting = kit.begin(publisher.publish_durably, GUILD, member(2))
    server.again()
    second = waiting()
    server.process.kill(signal.SIGSTOP)  # the attempts pile up, each in a connection of its own
    frozen = kit.begin(publisher.publish_durably, GUILD, member(3))
    time.sleep(1)  # for several attempts
    server.process.kill(signal.SIGCONT)
    third = frozen()
    entries = server.client().xrange(f"guildcast:history:{{{GUILD}}}")
    assert [id for id, _ in entries] == [first, second, third]


def test_an_idempotency_key_of_ones_own_holds_across_publishers(kit, server):
    first = kit.do(kit.Publisher(kit.client(server.url)).publish_durably, GUILD, member(1), idempotency_key="order-17")
    other = kit.Publisher(kit.client(server.url))
    kit.do(other.publish_durably, GUILD, member(2))
    assert kit.do(other.publish_durably, GUILD, member(1), idempotency_key="order-17") == first
    assert server.client().xlen(f"guildcast:history:{{{GUILD}}}") == 2


def test_redis_refusals_and_its_absence_have_errors_of_their_own(kit, server):
    publisher = kit.Publisher(kit.client(server.url), retry=guildcast.Retry(timeout=0.3))
    server.client().set(f"guildcast:history:{{{GUILD}}}", "no stream")
    with pytest.raises(guildcast.RedisRefusedError, match="WRONGTYPE"):
        kit.do(publisher.publish_durably, GUILD, member(1))
    server.process.end()
    for publish in (publisher.publish, publisher.publish_durably):
        with pytest.raises(guildcast.RedisUnavailableError):
            kit.do(publish, GUILD, member(1))
    fresh = kit.Publisher(kit.client(server.url), retry=guildcast.Retry(timeout=0.3))
    with pytest.raises(guildcast.RedisUnavailableError) as error:
        kit.do(fresh.publish, GUILD, member(1))
    assert not error.value.uncertain


def test_events_on_sharded_topics_reach_nodes_that_subscribe_to_those(kit, server, node, browser):
    b = browser(node(GUILDCAST_TOPICS="sharded", GUILDCAST_TOPIC_PREFIX="gc:"))
    b.ask("spectate", guild_id=GUILD)
    publisher = kit.Publisher(kit.client(server.url), sharded=True, topic_prefix="gc:")
    assert kit.do(publisher.publish, GUILD, member(1)) == 1
    kit.do(publisher.publish_durably, GUILD, member(2))
    b.event("log_pool", lambda payload: payload["n"] == 2)
