#!/usr/bin/env python3
"""A whole key-value store that speaks JSON alone. In memory."""

import asyncio, base64, itertools, json, re, sys

import nats

MAX_BUCKET, MAX_KEY, MAX_VALUE, MOST = 128, 1024, 1024 * 1024, 2**63 - 1
PAGE, PAGE_BYTES = 1000, 256 * 1024


class Refused(Exception):
    """Holds a case of the interface's `error`."""


def other(text):
    return Refused({"other": text})


class Store:
    def __init__(self):
        # Of each bucket the entries by key: where it stands in listings, and its bytes.
        self.buckets, self.places = {}, itertools.count()

    def entries(self, bucket, *keys):
        if len(bucket.encode()) > MAX_BUCKET or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in bucket):
            raise Refused("no-such-store")
        for size in (len(key.encode()) for key in keys):
            if size > MAX_KEY:
                raise other(f"a key of {size} bytes is over the limit of {MAX_KEY} bytes")
        return self.buckets.setdefault(bucket, {})

    def get(self, bucket, key):
        entry = self.entries(bucket, key).get(key)
        return entry and base64.b64encode(entry[1]).decode()

    def set(self, bucket, key, value):
        self.set_many(bucket, [[key, value]])

    def delete(self, bucket, key):
        self.entries(bucket, key).pop(key, None)

    def exists(self, bucket, key):
        return key in self.entries(bucket, key)

    def list_keys(self, bucket, cursor):
        keys, size = [], 0
        for place, key in sorted((place, key) for key, (place, _) in self.entries(bucket).items()):
            if place < (cursor or 0):
                continue
            if len(keys) >= PAGE or size >= PAGE_BYTES:
                return {"keys": keys, "cursor": place}
            keys.append(key)
            size += len(key.encode())
        return {"keys": keys, "cursor": None}

    def increment(self, bucket, key, delta):
        entry = self.entries(bucket, key).get(key)
        text = (entry[1] if entry else b"0").decode(errors="replace")
        if not re.fullmatch("0|-?[1-9][0-9]*", text) or not -MOST - 1 <= int(text) <= MOST:
            raise other(f"the value of {json.dumps(key)} is not a whole number")
        if (total := int(text) + delta) > MOST:
            raise other(f"incrementing {json.dumps(key)} would exceed {MOST}")
        if total < 0:
            raise other(f"the value of {json.dumps(key)} is below zero")
        self.set(bucket, key, base64.b64encode(str(total).encode()))
        return total

    def get_many(self, bucket, keys):
        return [self.get(bucket, key) for key in keys]

    def set_many(self, bucket, pairs):
        entries = self.entries(bucket, *(key for key, _ in pairs))
        values = [(key, base64.b64decode(value)) for key, value in pairs]
        for size in (len(value) for _, value in values):
            if size > MAX_VALUE:
                raise other(f"a value of {size} bytes is over the limit of {MAX_VALUE} bytes")
        for key, value in values:
            place = entries[key][0] if key in entries else next(self.places)
            entries[key] = (place, value)

    def delete_many(self, bucket, keys):
        for key in keys:
            self.delete(bucket, key)


FUNCTIONS = ["get", "set", "delete", "exists", "list-keys", "increment", "get-many", "set-many", "delete-many"]


async def main():
    start, store = json.loads(sys.stdin.readline())["start"], Store()
    nc = await nats.connect(start["nats"]["urls"])

    async def answer(message):
        headers = message.headers or {}
        if not message.reply:
            return
        function = headers.get("lattice-function", "").partition("#")[2]
        status, reply = "ok", None
        if function in FUNCTIONS and headers.get("content-type") == "application/json":
            try:
                reply = {"ok": getattr(store, function.replace("-", "_"))(*json.loads(message.data))}
            except Refused as refused:
                reply = {"err": refused.args[0]}
        elif "lattice-probe" not in headers:
            status = "not-served"
        await nc.publish(message.reply, json.dumps(reply).encode(), headers={"lattice-status": status})

    unit = start["unit"].replace("/", ".")
    await nc.subscribe(f"lattice.{start['lattice']}.call.{unit}.{start['instance']}.>", cb=answer)
    for _ in range(2):  # The first ping overtakes the subscription.
        await nc.flush()
    print(json.dumps({"health": "ready", "content_types": ["application/json"]}), flush=True)
    while (line := await asyncio.to_thread(sys.stdin.readline)) and json.loads(line) != "drain":
        pass
    try:
        await asyncio.wait_for(nc.drain(), 10)
    except Exception:
        pass  # NATS is gone, too; so is whoever could be answered.


asyncio.run(main())
