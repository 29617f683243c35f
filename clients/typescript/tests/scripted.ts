/** A daemon for tests: it says what it is told to say, on a socket. */
import { EventEmitter, once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type sendUnaryData,
  type ServerUnaryCall,
  status,
} from "@grpc/grpc-js";
import { ImageService } from "../src/gen/imgd/v1/image_service_pb.js";
import { LeaseService } from "../src/gen/imgd/v1/lease_service_pb.js";
import { type TransferEventSchema, TransferState } from "../src/gen/imgd/v1/transfer_pb.js";
import {
  type StartTransferRequest,
  TransferService,
} from "../src/gen/imgd/v1/transfer_service_pb.js";
import { Client, type ClientOptions } from "../src/index.js";

type Event = MessageInitShape<typeof TransferEventSchema>;

export const NAME = "transfers/a";

export const snapshot = (sequence: bigint): Event => ({
  sequence,
  event: { case: "snapshot", value: { transfer: { name: NAME } } },
});

export const finished = (sequence: bigint, state = TransferState.SUCCEEDED): Event => ({
  sequence,
  event: {
    case: "finished",
    value: { transfer: { name: NAME, state, outcome: { target: { digest: "sha256:abc" } } } },
  },
});

/** Emits `cancelled`, `left` and `deleted`. */
export class Daemon extends EventEmitter {
  readonly started: StartTransferRequest[] = [];
  cancellations = 0;
  loseLeases = false;

  private constructor(
    readonly address: string,
    private readonly events: Event[],
  ) {
    super();
  }

  static async start(test: TestContext, ...events: Event[]): Promise<Daemon> {
    const folder = mkdtempSync(join(tmpdir(), "imgd-"));
    const daemon = new Daemon(`unix:${folder}/d.sock`, events);
    const server = new Server();
    daemon.serve(server);
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(daemon.address, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    test.after(() => {
      server.forceShutdown();
      rmSync(folder, { recursive: true });
    });
    return daemon;
  }

  client(test: TestContext, options: ClientOptions = {}): Client {
    const found = new Client({ address: this.address, ...options });
    test.after(() => found.close());
    return found;
  }

  private serve(server: Server): void {
    const { startTransfer, cancelTransfer, watchTransfer } = TransferService.method;
    const { createLease, renewLease, deleteLease } = LeaseService.method;
    const unary = (method: DescMethod, answer: (request: never) => object | number): object => ({
      ...wire(method),
      handle: (call: ServerUnaryCall<never, object>, done: sendUnaryData<object>) => {
        const said = answer(call.request);
        if (typeof said === "number") done({ code: said, details: "gone" });
        else done(null, create(method.output, said as never));
      },
    });
    const handlers: [DescMethod, object][] = [
      [
        startTransfer,
        unary(startTransfer, (request) => {
          this.started.push(request);
          return { transfer: { name: NAME } };
        }),
      ],
      [
        cancelTransfer,
        unary(cancelTransfer, () => {
          this.cancellations += 1;
          this.emit("cancelled");
          return {};
        }),
      ],
      [
        createLease,
        unary(createLease, (request: { leaseId: string }) => ({
          lease: { name: `leases/${request.leaseId}` },
        })),
      ],
      [renewLease, unary(renewLease, () => (this.loseLeases ? status.NOT_FOUND : { lease: {} }))],
      [
        deleteLease,
        unary(deleteLease, (request: { name: string }) => {
          this.emit("deleted", request.name);
          return {};
        }),
      ],
      [
        ImageService.method.listImages,
        unary(ImageService.method.listImages, () => ({ images: [{ tags: ["redis:7"] }] })),
      ],
    ];
    for (const [method, handler] of handlers) register(server, method, handler, "unary");
    const watch = (call: ServerWritableStream<unknown, object>): void => {
      for (const event of this.events) call.write(create(watchTransfer.output, { event }));
      if (this.events.at(-1)?.event?.case === "finished") call.end();
      call.on("cancelled", () => this.emit("left"));
    };
    register(server, watchTransfer, { ...wire(watchTransfer), handle: watch }, "serverStream");
  }

  /** Waits for something that was noted before, or comes. */
  async cancelled(): Promise<void> {
    if (!this.cancellations) await once(this, "cancelled");
  }
}

function wire(method: DescMethod): object {
  return {
    deserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
    serialize: (message: never) => Buffer.from(toBinary(method.output, message)),
  };
}

function register(server: Server, method: DescMethod, handler: object, type: string): void {
  const { deserialize, serialize, handle } = handler as {
    deserialize: (bytes: Buffer) => unknown;
    serialize: (message: never) => Buffer;
    handle: never;
  };
  const path = `/${method.parent.typeName}/${method.name}`;
  server.register(path, handle, serialize as never, deserialize, type);
}
