"""Answers HTTP, to show that a host runs components of other toolchains than Rust's."""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = request.path_with_query() or "/"
        headers = Fields.from_list([("content-type", b"text/plain; charset=utf-8")])
        response = OutgoingResponse(headers)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        # The stream is a child of the body and has to be gone before the body is finished.
        with body.write() as stream:
            stream.blocking_write_and_flush(f"Hello from Python, {path}\n".encode())
        OutgoingBody.finish(body, None)
