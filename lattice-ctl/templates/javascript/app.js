// Answers HTTP requests.

import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.12";

export const incomingHandler = {
  handle(request, out) {
    const path = request.pathWithQuery() ?? "/";
    console.log(`a request for ${path}`);
    respond(out, 200, "Hello from {{name}}!\n");
  },
};

function respond(out, status, text) {
  const type = new TextEncoder().encode("text/plain; charset=utf-8");
  const response = new OutgoingResponse(Fields.fromList([["content-type", type]]));
  response.setStatusCode(status);
  const body = response.body();
  ResponseOutparam.set(out, { tag: "ok", val: response });
  const data = new TextEncoder().encode(text);
  const stream = body.write();
  // What it takes at once is 4 KiB.
  for (let start = 0; start < data.length; start += 4096) {
    stream.blockingWriteAndFlush(data.subarray(start, start + 4096));
  }
  // The stream is a child of the body and has to be gone before the body is finished.
  stream[Symbol.dispose]();
  OutgoingBody.finish(body, undefined);
}
