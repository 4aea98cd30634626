#!/usr/bin/env python3
"""A key-value store that speaks JSON alone and can count: as much of it as a counter needs. In memory."""

import asyncio, json, sys

import nats


async def main():
    start, counts = json.loads(sys.stdin.readline())["start"], {}
    nc = await nats.connect(start["nats"]["urls"])

    async def answer(message):
        headers = message.headers or {}
        if not message.reply:
            return
        function = headers.get("lattice-function", "").partition("#")[2]
        status, reply = "ok", None
        if function == "increment" and headers.get("content-type") == "application/json":
            bucket, key, delta = json.loads(message.data)
            counts[bucket, key] = counts.get((bucket, key), 0) + delta
            reply = {"ok": counts[bucket, key]}
        elif "lattice-probe" not in headers:
            status = "not-served"
        await nc.publish(message.reply, json.dumps(reply).encode(), headers={"lattice-status": status})

    unit = start["unit"].replace("/", ".")
    await nc.subscribe(f"lattice.{start['lattice']}.call.{unit}.{start['instance']}.>", cb=answer)
    await nc.flush()
    print(json.dumps({"health": "ready", "content_types": ["application/json"]}), flush=True)
    while (line := await asyncio.to_thread(sys.stdin.readline)) and json.loads(line) != "drain":
        pass
    await nc.drain()


asyncio.run(main())
