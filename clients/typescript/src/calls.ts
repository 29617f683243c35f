import {
  create,
  type DescMessage,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type CallOptions as GrpcOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { isHere, target, UsageError } from "./address.js";
import { CancelledError, typed } from "./errors.js";

/** TLS with the daemon. All are PEM; `certificate` and `key` go together (mutual TLS). */
export interface Tls {
  /** The authorities to trust; the machine's where it is left out. */
  ca?: string | Buffer;
  /** The client's own certificate, with its chain. */
  certificate?: string | Buffer;
  /** The key of it. */
  key?: string | Buffer;
  /** The name in the daemon's certificate; the address's host where it is left out. */
  serverName?: string;
}

/** How a client connects, and how long it waits. */
export interface ClientOptions {
  /** `unix:PATH`, `unix:///PATH` or `HOST:PORT`; `defaultAddress()` where it is left out. */
  address?: string;
  /** Milliseconds for each call that answers once: 30,000 where it is left out, 0 for no bound. */
  timeout?: number;
  /** Milliseconds for which a watch that lost the daemon tries to attach again: 60,000. */
  patience?: number;
  /** How to speak TLS; clear text where it is left out. */
  tls?: Tls;
  /** A bearer token to send with each call; without TLS on this machine only. */
  token?: string;
}

/** What any call can be told. */
export interface CallOptions {
  /** Cancels the call. */
  signal?: AbortSignal | undefined;
  /** Milliseconds; the client's `timeout` where it is left out, 0 for no bound. */
  timeout?: number | undefined;
}

// Answers are at most 1 MiB (GetCapabilities); the room is for a daemon that is newer than this.
const MAX_RECEIVE = 16 << 20;

// Calls that may be sent twice: they read, are idempotent, or carry a request ID that makes the second
// one find the first one's result (this package always sends one with what starts or creates).
const SAFE: Record<string, string[]> = {
  ImageService: [
    "ListImages",
    "GetImage",
    "InspectImage",
    "GetImageHistory",
    "ParseReference",
    "PinImage",
    "UnpinImage",
  ],
  ContainerService: [
    "CreateContainer",
    "GetContainer",
    "ListContainers",
    "StartContainer",
    "PauseContainer",
    "StopContainer",
    "HeartbeatContainer",
  ],
  LeaseService: ["CreateLease", "GetLease", "ListLeases", "RenewLease", "DeleteLease"],
  FilesystemService: ["ListFiles", "GetFile", "ListLayers"],
  TransferService: ["GetTransfer", "ListTransfers", "StartTransfer", "CancelTransfer"],
  SystemService: ["GetInfo", "GetCapabilities", "GetDiskUsage"],
};

const SERVICE_CONFIG = JSON.stringify({
  loadBalancingConfig: [],
  methodConfig: [
    {
      name: Object.entries(SAFE).flatMap(([service, methods]) =>
        methods.map((method) => ({ service: `imgd.v1.${service}`, method })),
      ),
      // Bridges a restart's moment only. Somebody waits for the answer, and a daemon that is not there
      // should be said to be not there.
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: "0.1s",
        maxBackoff: "0.5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});

/** A gRPC connection, and how long to wait on it. */
export class Calls {
  readonly timeout: number;
  readonly patience: number;
  private readonly client: Client;
  private readonly metadata = new Metadata();
  // How to end each stream that is open: the end of gRPC's connection waits for them.
  private readonly streams = new Set<() => void>();
  private closed = false;

  constructor(address: string, options: ClientOptions) {
    const where = target(address);
    const { tls, token = "" } = options;
    if (tls && (tls.certificate === undefined) !== (tls.key === undefined)) {
      throw new UsageError("a client's certificate and its key go together");
    }
    if (!/^[!-~]*$/.test(token)) throw new UsageError("a token is printable ASCII without spaces");
    if (token && !tls && !isHere(where)) {
      throw new UsageError(`a token is not sent to ${address} in clear text: give \`tls\`, too`);
    }
    if (token) this.metadata.set("authorization", `Bearer ${token}`);
    this.timeout = options.timeout ?? 30_000;
    this.patience = options.patience ?? 60_000;
    const bytes = (pem: string | Buffer | undefined): Buffer | null =>
      pem === undefined ? null : Buffer.from(pem);
    this.client = new Client(
      where,
      tls
        ? credentials.createSsl(bytes(tls.ca), bytes(tls.key), bytes(tls.certificate))
        : credentials.createInsecure(),
      {
        ...(tls?.serverName ? { "grpc.ssl_target_name_override": tls.serverName } : {}),
        "grpc.service_config": SERVICE_CONFIG,
        "grpc.max_receive_message_length": MAX_RECEIVE,
        // gRPC servers close a connection that pings more often than every five minutes; the daemon
        // permits more, proxies before it may not. Watches need no pings: the daemon sends heartbeats.
        "grpc.keepalive_time_ms": 300_000,
        "grpc.keepalive_timeout_ms": 20_000,
        // A daemon that comes back is found soon; gRPC's own longest wait is two minutes.
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 2_000,
        // The daemon is on this machine or beside it, never behind the way to the web.
        "grpc.enable_http_proxy": 0,
        // Connections of one client are never those of another, which may have other credentials.
        "grpc.use_local_subchannel_pool": 1,
      },
    );
  }

  /** Calls a method that answers once. Throws ImgdError. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return this.answer(options, (grpc, done) =>
      this.client.makeUnaryRequest(
        path(method),
        encoder(method.input),
        decoder(method.output),
        create(method.input, request),
        this.metadata,
        grpc,
        done,
      ),
    );
  }

  /** Sends messages and waits for the one answer. What `requests` throws is thrown. */
  async send<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    let over = false;
    // What is waited for: room for the next message, or the next message. The end of the call ends it.
    let wake = (): void => undefined;
    let call: ClientWritableStream<MessageShape<I>> | undefined;
    const answer = this.answer<MessageShape<O>>({ timeout: 0, ...options }, (grpc, done) => {
      const begun = this.client.makeClientStreamRequest<MessageShape<I>, MessageShape<O>>(
        path(method),
        encoder(method.input),
        decoder(method.output),
        this.metadata,
        grpc,
        (error, response) => {
          over = true;
          wake();
          done(error, response);
        },
      );
      // The answer says why.
      begun.on("error", () => undefined).on("drain", () => wake());
      return (call = begun);
    });
    // It is awaited below; until then nobody is to be told that nobody listens.
    answer.catch(() => undefined);
    const source = requests[Symbol.asyncIterator]();
    try {
      while (!over && call) {
        const next = await new Promise<IteratorResult<MessageInitShape<I>> | undefined>(
          (resolve, reject) => {
            wake = () => over && resolve(undefined);
            source.next().then(resolve, reject);
          },
        );
        if (!next || next.done) break;
        if (over || call.write(create(method.input, next.value))) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (over) resolve();
        });
      }
      call?.end();
    } catch (error) {
      call?.cancel();
      throw error;
    } finally {
      // Nobody waits for a source that has not come with its next piece.
      source.return?.()?.catch(() => undefined);
    }
    return answer;
  }

  /** Opens a stream of answers. Iterating it throws ImgdError; leaving the loop cancels the call. */
  async *receive<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal?: AbortSignal,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    this.check(signal);
    const stream = this.client.makeServerStreamRequest(
      path(method),
      encoder(method.input),
      decoder(method.output),
      create(method.input, request),
      this.metadata,
    ) as ClientReadableStream<MessageShape<O>>;
    const cancel = (): void => stream.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    this.streams.add(cancel);
    try {
      for await (const message of stream) yield message as MessageShape<O>;
    } catch (error) {
      throwIfAborted(signal);
      throw typed(error);
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.streams.delete(cancel);
      stream.on("error", () => undefined);
      stream.cancel();
    }
  }

  /** Ends the connection, and with it every call. */
  close(): void {
    this.closed = true;
    for (const cancel of this.streams) cancel();
    this.client.close();
  }

  private check(signal: AbortSignal | undefined): void {
    if (this.closed) throw new UsageError("this client is closed: make another");
    throwIfAborted(signal);
  }

  private answer<T>(
    options: CallOptions,
    start: (
      grpc: GrpcOptions,
      done: (error: ServiceError | null, response?: T) => void,
    ) => { cancel(): void },
  ): Promise<T> {
    const { signal, timeout = this.timeout } = options;
    this.check(signal);
    return new Promise<T>((resolve, reject) => {
      const grpc: GrpcOptions = timeout > 0 ? { deadline: Date.now() + timeout } : {};
      const cancel = (): void => call.cancel();
      const call = start(grpc, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (error) reject(signal?.aborted ? cancelled() : (typed(error) as Error));
        else resolve(response as T);
      });
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }
}

function cancelled(): CancelledError {
  return new CancelledError("the program cancelled it", status.CANCELLED);
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encoder<M extends DescMessage>(schema: M): (message: MessageShape<M>) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function decoder<M extends DescMessage>(schema: M): (bytes: Buffer) => MessageShape<M> {
  return (bytes) => fromBinary(schema, bytes);
}
