"""A guildcast worker with nothing but a Redis client: answers `interpret` with an echo, and pool requests from a JSON file.

    REDIS_URL=redis://localhost:6379 SERVICES=interpret,pool:0 python worker.py ../pools.json

The protocol is described in docs/reference/workers.md.
"""

import json
import os
import sys
import time
import uuid

import redis

STREAMS = ["guildcast:requests:" + s for s in os.environ.get("SERVICES", "interpret,pool:0").split(",")]
GROUP = "workers"
ME = f"python-{uuid.uuid4()}"  # nobody else's name, also not that of this worker's earlier life
CLAIM_AFTER = 2000  # ms without a sign of life, then a request is taken over
PART_SIZE = int(os.environ.get("PART_SIZE", "1000"))  # entities in one part of an answer
DELAY = int(os.environ.get("DELAY_MS", "0")) / 1000  # pretend that the work takes time


class Refusal(Exception):
    """An error for the client: a code as in HTTP and a stable word."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def answer(pools, method, args):
    """Returns the parts of the result."""
    if method == "interpret":
        said = args["action"] == 3001 and not args.get("silent")
        message = {"action": 3001, "message_id": args["message_id"] + 1, "content": f"you said: {args.get('content')}"}
        return [{"guild_id": args["guild_id"], "actions": [message] if said else []}]
    pool = pools.get(args.get("guild_id") or "global", {}).get(args["type"], [])
    if method == "fetch":
        found = [e for e in pool if e["id"] in args["ids"]]
        return [{"data": found, "nonexistent": [i for i in args["ids"] if all(e["id"] != i for e in found)]}]
    if method == "search":
        query = args["query"].lower()
        found = [e for e in pool if any(query in (e.get(k) or "").lower() for k in ("name", "nick", "username"))]
        return [{"data": found[: args.get("limit", 25)], "nonexistent": []}]
    if method == "all":
        starts = range(0, max(len(pool), 1), PART_SIZE)
        return [{"data": pool[i : i + PART_SIZE], "nonexistent": []} for i in starts]
    raise Refusal(400, "unknown_method")


def is_alive(request):
    """Reports whether somebody still waits for the answer."""
    try:
        return bool(request["id"] and request["reply_to"]) and time.time() * 1000 < int(request["deadline"])
    except (KeyError, ValueError):
        return False


def handle(r, pools, stream, entry, request):
    def publish(**message):
        r.publish(request["reply_to"], json.dumps({"id": request["id"], "worker": f"{ME}/{entry}", **message}))

    if is_alive(request):
        time.sleep(DELAY)
        try:
            parts = answer(pools, request["method"], json.loads(request["args"]))
        except Refusal as e:
            publish(ok=False, error={"code": e.code, "message": str(e)})
        except Exception as e:
            print("worker:", repr(e), file=sys.stderr)
            publish(ok=False, error={"code": 500, "message": "internal"})
        else:
            for i, result in enumerate(parts):
                publish(ok=True, result=result, part=i, more=i < len(parts) - 1)
    r.pipeline().xack(stream, GROUP, entry).xdel(stream, entry).execute()


def take(r):
    """Waits for new requests, and takes over those that another worker has left."""
    taken = r.xreadgroup(GROUP, ME, {s: ">" for s in STREAMS}, count=1, block=500)
    taken += [(s, take_over(r, s)) for s in STREAMS]
    return [(stream, entry, request) for stream, entries in taken for entry, request in entries]


def take_over(r, stream):
    """Returns one request that another worker has left.

    Those that are gone from the stream are acknowledged: Redis before 7 would keep them pending for ever.
    """
    while left := r.xpending_range(stream, GROUP, idle=CLAIM_AFTER, min="-", max="+", count=1):
        entry = left[0]["message_id"]
        if not r.xclaim(stream, GROUP, ME, CLAIM_AFTER, [entry], justid=True):
            continue  # somebody was faster
        if found := r.xrange(stream, entry, entry):
            return found
        r.xack(stream, GROUP, entry)
    return []


def join(r):
    """Makes the group where there is none yet. It hears what the stream holds already."""
    for stream in STREAMS:
        try:
            r.xgroup_create(stream, GROUP, "0", mkstream=True)
        except redis.ResponseError as e:
            if not str(e).startswith("BUSYGROUP"):
                raise


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        pools = json.load(f)
    r = redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"), decode_responses=True)
    joined = False
    while True:
        try:
            if not joined:
                join(r)
                joined = True
                print("worker is ready", flush=True)
            for stream, entry, request in take(r):
                handle(r, pools, stream, entry, request)
        except redis.RedisError as e:
            print("worker:", e, file=sys.stderr)
            joined = False  # Redis may have come back without the group
            time.sleep(0.5)


if __name__ == "__main__":
    main()
