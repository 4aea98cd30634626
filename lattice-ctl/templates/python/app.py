"""Answers HTTP requests."""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = request.path_with_query() or "/"
        print(f"a request for {path}")
        respond(response_out, 200, "Hello from {{name}}!\n")


def respond(out: ResponseOutparam, status: int, text: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain; charset=utf-8")]))
    response.set_status_code(status)
    outgoing = response.body()
    ResponseOutparam.set(out, Ok(response))
    data = text.encode()
    # The stream is a child of the body and has to be gone before the body is finished.
    with outgoing.write() as stream:
        for start in range(0, len(data), 4096):  # what it takes at once
            stream.blocking_write_and_flush(data[start : start + 4096])
    OutgoingBody.finish(outgoing, None)
