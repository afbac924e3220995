"""A guildcast worker on the kit: answers `interpret` with an echo, and pool requests from a JSON file.

    REDIS_URL=redis://localhost:6379 SERVICES=interpret,pool:0 python worker.py pools.json
"""

import json
import os
import signal
import sys
import time

import guildcast

SERVICES = os.environ.get("SERVICES", "interpret,pool:0").split(",")
PART_SIZE = int(os.environ.get("PART_SIZE", "1000"))
DELAY = int(os.environ.get("DELAY_MS", "0")) / 1000  # pretends that the work takes time

client = guildcast.connect(os.environ.get("REDIS_URL", "redis://localhost:6379"))
worker = guildcast.Worker(
    client, services=SERVICES, part_size=PART_SIZE, on_ready=lambda: print("worker is ready", flush=True))

with open(sys.argv[1], encoding="utf-8") as f:
    pools = json.load(f)


def pool_of(args):
    return pools.get(args.get("guild_id") or "global", {}).get(args["type"], [])


@worker.on("interpret")
def interpret(request):
    args = request.args
    said = args["action"] == 3001 and not args.get("silent")
    message = {"action": 3001, "message_id": args["message_id"] + 1, "content": f"you said: {args.get('content')}"}
    return {"guild_id": args["guild_id"], "actions": [message] if said else []}


@worker.on("fetch")
def fetch(request):
    ids = request.args["ids"]
    data = [entity for entity in pool_of(request.args) if entity["id"] in ids]
    return {"data": data, "nonexistent": [id for id in ids if all(entity["id"] != id for entity in data)]}


@worker.on("search")
def search(request):
    query = request.args["query"].lower()
    names = ("name", "nick", "username")
    found = [e for e in pool_of(request.args) if any(query in (e.get(name) or "").lower() for name in names)]
    return {"data": found[: request.args.get("limit", 25)]}


@worker.on("all")
def everything(request):
    time.sleep(DELAY)
    return {"data": pool_of(request.args)}


signal.signal(signal.SIGTERM, lambda *_: worker.stop())
worker.run()
