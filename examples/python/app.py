"""A list of things to do, in JSON over HTTP, in a key-value store that the manifest links `wasi:keyvalue` to."""

import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import atomics, batch, store
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Delete,
    Method_Get,
    Method_Post,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

MAX_BODY = 10_000
PREFIX = "todo."


class Refused(Exception):
    """A request that cannot be answered as it was meant: the status and why."""


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        try:
            status, value = answer(request)
        except Refused as refused:
            status, value = refused.args[0], {"error": refused.args[1]}
        except Err as error:  # what an import has answered: here always the store
            status, value = 503, {"error": getattr(error.value, "value", type(error.value).__name__)}
        respond(response_out, status, value)


def answer(request: IncomingRequest):
    """Status and value of the answer."""
    path = (request.path_with_query() or "/").split("?")[0].strip("/")
    with store.open("default") as bucket:
        match request.method(), path:
            case Method_Get(), "":
                return 200, items(bucket)
            case Method_Post(), "":
                return 201, add(bucket, body(request))
            case Method_Delete(), number if number.isdecimal() and number.isascii():
                if not bucket.exists(PREFIX + number):
                    raise Refused(404, f"there is no {number}")
                bucket.delete(PREFIX + number)
                return 200, items(bucket)
    raise Refused(404, 'GET / and POST / with {"text": "..."}; DELETE /NUMBER')


def items(bucket: store.Bucket) -> list[dict]:
    """All that is to be done. Keys come page by page, and their values in one call for a page."""
    found, cursor = [], None
    while True:
        page = bucket.list_keys(cursor)
        keys = [key for key in page.keys if key.startswith(PREFIX)]
        found += [json.loads(pair[1]) for pair in batch.get_many(bucket, keys) if pair]
        cursor = page.cursor
        if cursor is None:
            return sorted(found, key=lambda item: item["number"])


def add(bucket: store.Bucket, text: bytes) -> dict:
    """The store counts, so that two calls at the same time never get the same number."""
    try:
        what = json.loads(text)["text"]
    except (ValueError, TypeError, KeyError):
        what = None
    if not isinstance(what, str) or not what:
        raise Refused(400, 'send {"text": "..."}')
    item = {"number": atomics.increment(bucket, "given", 1), "text": what}
    bucket.set(f"{PREFIX}{item['number']}", json.dumps(item).encode())
    return item


def body(request: IncomingRequest) -> bytes:
    """The whole body. A stream ends by raising."""
    text = b""
    with request.consume() as incoming, incoming.stream() as stream:
        while True:
            try:
                text += stream.blocking_read(MAX_BODY)
            except Err:
                return text
            if len(text) > MAX_BODY:
                raise Refused(400, f"at most {MAX_BODY} bytes")


def respond(out: ResponseOutparam, status: int, value) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"application/json")]))
    response.set_status_code(status)
    outgoing = response.body()
    ResponseOutparam.set(out, Ok(response))
    text = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    # The stream is a child of the body and has to be gone before the body is finished.
    with outgoing.write() as stream:
        for start in range(0, len(text), 4096):  # what it takes at once
            stream.blocking_write_and_flush(text[start : start + 4096])
    OutgoingBody.finish(outgoing, None)
