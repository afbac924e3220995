"""A worker as a process of its own, to be killed: KIT REDIS_URL NAME. "stuck" takes requests and never answers."""

import asyncio
import importlib
import inspect
import signal
import sys
import time

kit_name, url, name = sys.argv[1:]
kit = importlib.import_module(kit_name)
worker = kit.Worker(kit.connect(url), on_ready=lambda: print("ready", flush=True))


@worker.on("fetch")
def fetch(request):
    print("took", flush=True)
    if name == "stuck":
        time.sleep(3600)
    return {"data": [{"id": id, "name": name} for id in request.args["ids"]]}


signal.signal(signal.SIGTERM, lambda *_: worker.stop())
running = worker.run()
if inspect.iscoroutine(running):
    asyncio.run(running)
print("stopped", flush=True)
