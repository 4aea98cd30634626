#!/usr/bin/env python3
"""Keeps the book of examples/ledger/wit in SQLite. Written from docs/wire.md; needs nats-py (pip install nats-py)."""

import asyncio, json, re, sqlite3, sys

import nats

INTERFACE, VERSION = "acme:ledger/book", "1.0.0"


class Refused(Exception):
    """A call that brings no result: the code and the text of docs/wire.md."""


class Book:
    def __init__(self, config):
        # The working directory stays. SQLite lets an old and a new instance share it while one replaces the other.
        self.db = sqlite3.connect(f"{config.get('currency', 'EUR')}.db", isolation_level=None)
        self.db.execute("create table if not exists entries"
                        " (number integer primary key, account text, amount integer, note text)")

    def post(self, entry):
        row = entry["account"], int(entry["amount"]), entry.get("note")
        with self.db:
            self.db.execute("begin immediate")
            has = self.balance(entry["account"]).get("ok", 0)
            if row[1] < 0 and has + row[1] < 0:
                return {"err": {"overdrawn": has}}
            return {"ok": self.db.execute("insert into entries (account, amount, note) values (?, ?, ?)", row).lastrowid}

    def balance(self, account):
        has, = self.db.execute("select sum(amount) from entries where account = ?", (account,)).fetchone()
        return {"err": "no-such-account"} if has is None else {"ok": has}

    def history(self, account, limit):
        newest = "select account, amount, note from entries where account = ? order by number desc limit ?"
        rows = self.db.execute(newest, (account, int(limit)))
        entries = [{"account": account, "amount": amount, "note": note} for account, amount, note in rows]
        return self.balance(account) if "err" in self.balance(account) else {"ok": entries}


def call(book, headers, payload, limit):
    """The reply's payload. Calls of a book are short: there is no time to cancel one, or to miss its deadline."""
    if headers.get("lattice-protocol") != "1":
        raise Refused("bad-message", f"protocol {headers.get('lattice-protocol')}; this provider speaks 1")
    if "lattice-function" not in headers or not headers.get("lattice-deadline", "").isdigit():
        raise Refused("bad-message", "lattice-function and lattice-deadline must be there")
    name, _, function = headers["lattice-function"].partition("#")
    interface, _, version = name.partition("@")
    if interface != INTERFACE or version not in ("", VERSION) or function not in ("post", "balance", "history"):
        raise Refused("not-served", headers["lattice-function"])
    if headers.get("content-type") != "application/json":
        raise Refused("bad-message", "this provider reads application/json alone")
    if "lattice-payload" in headers:
        raise Refused("too-large", f"{headers['lattice-payload'].split()[-1]} {limit} a call's message")
    try:
        reply = json.dumps(getattr(book, function)(*json.loads(payload))).encode()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise Refused("bad-message", f"{function}: {error!r}")
    if len(reply) > limit:
        raise Refused("too-large", f"{len(reply)} {limit} an answer's message")
    return reply


def check(config):
    """What is wrong with the settings, or None."""
    currency = config.get("currency", "EUR")
    if not (isinstance(currency, str) and re.fullmatch("[A-Z]{3}", currency)):
        return f"currency: {currency!r} is none; one is EUR"


async def main():
    order = json.loads(sys.stdin.readline())
    if "check" in order:
        wrong = check(order["check"]["config"])
        return print(json.dumps({"checked": {"wrong": wrong}}), flush=True)
    start = order["start"]
    if wrong := check(start["config"]):
        return print(json.dumps({"failed": {"reason": wrong}}), flush=True)
    book, to = Book(start["config"]), start["nats"]
    nc = await nats.connect(to["urls"], user=to["user"], password=to["password"], token=to["token"],
                            user_credentials=to["creds"], nkeys_seed=to["nkey"], max_reconnect_attempts=-1)

    async def answer(message):
        headers = message.headers or {}
        if not message.reply:
            return  # lattice-cancel, of a call that was answered before this was read.
        try:
            probe = "lattice-probe" in headers and "lattice-function" not in headers
            status, reply = "ok", b"" if probe else call(book, headers, message.data, nc.max_payload - 1024)
        except Refused as refused:
            status, reply = refused.args[0], refused.args[1].encode()[:4096]
        except Exception as error:
            status, reply = "trap", repr(error).encode()[:4096]
        await nc.publish(message.reply, reply, headers={"lattice-status": status})

    unit = start["unit"].replace("/", ".")
    await nc.subscribe(f"lattice.{start['lattice']}.call.{unit}.{start['instance']}.>", cb=answer)
    for _ in range(2):  # The server knows of the subscription before anybody is told to call: the first ping overtakes it.
        await nc.flush()
    print(json.dumps({"health": "ready", "content_types": ["application/json"]}), flush=True)
    while (line := await asyncio.to_thread(sys.stdin.readline)) and json.loads(line) != "drain":
        pass
    try:
        await asyncio.wait_for(nc.drain(), 10)
    except Exception:
        pass  # NATS is gone, too; so is whoever could be answered.


asyncio.run(main())
