/**
 * Relays the progress of pulls to a service's own users: GET /pull?image=redis:7 answers with server-sent
 * events. A user who leaves cancels that pull; others that pull the same are not hurt.
 */
import { createServer, type Server } from "node:http";
import { toJsonString } from "@bufbuild/protobuf";
import { TransferEventSchema } from "../src/gen/imgd/v1/transfer_pb.js";
import { Client, ImgdError } from "../src/index.js";

export function relay(imgd: Client): Server {
  return createServer((request, response) => {
    void (async () => {
      const image = new URL(request.url ?? "/", "http://relay").searchParams.get("image") ?? "";
      const gone = new AbortController();
      response.on("close", () => gone.abort());
      try {
        await using pull = await imgd.pull(image, { signal: gone.signal });
        response.writeHead(200, { "Content-Type": "text/event-stream" });
        for await (const event of pull) {
          response.write(
            `id: ${event.sequence}\ndata: ${toJsonString(TransferEventSchema, event)}\n\n`,
          );
        }
      } catch (error) {
        if (!(error instanceof ImgdError)) throw error;
        if (!response.headersSent) response.writeHead(502);
        else response.write(`event: lost\ndata: ${JSON.stringify(error.message)}\n\n`);
      }
      response.end();
    })();
  });
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const imgd = new Client();
  relay(imgd).listen(8080, "127.0.0.1");
}
