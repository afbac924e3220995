"""Emits into the cluster from Python, with the PyPI package socket-io-emitter.

    emit.py REDIS_PORT ROOM EVENT [JSON ARGUMENT...]
"""

import json
import sys

import redis
from socket_io_emitter import Emitter

port, room, event, *args = sys.argv[1:]
client = redis.Redis(host="127.0.0.1", port=int(port))
Emitter({"client": client}).To(room).Emit(event, *(json.loads(a) for a in args))
