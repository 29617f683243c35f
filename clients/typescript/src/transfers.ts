import type { MessageInitShape } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { CallOptions, Calls } from "./calls.js";
import { CancelledError, ImgdError, TransferFailedError } from "./errors.js";
import {
  type LeaseSpecSchema,
  type PullPolicy,
  type RegistryCredentialsSchema,
  type RegistryEndpointSchema,
  type Transfer,
  type TransferEvent,
  type TransferLimitsSchema,
  TransferState,
} from "./gen/imgd/v1/transfer_pb.js";
import {
  type StartTransferRequestSchema,
  TransferService,
  type WatchTransferResponse,
} from "./gen/imgd/v1/transfer_service_pb.js";
import { attached } from "./streams.js";
import { duration } from "./time.js";

// How long a client waits for the daemon to hear that a pull was left.
const PARTING = 5_000;

/** How a transfer is followed. */
export interface FollowOptions {
  /** Cancels the transfer where it is the caller's own, and ends the iteration. */
  signal?: AbortSignal;
  /** The shortest time between two updates in milliseconds; 100 where it is left out. */
  minInterval?: number;
}

/** What a transfer can be told. */
export interface TransferOptions extends FollowOptions {
  /** Leaves the transfer to itself: leaving the stream does not cancel it. */
  detach?: boolean;
  /** Bounds for this transfer. */
  limits?: MessageInitShape<typeof TransferLimitsSchema>;
  /** `os/architecture[/variant]` each; none for the daemon's own, or those that are stored. */
  platforms?: string[];
  /** Credentials for the registry; the daemon's configuration where they are left out. */
  credentials?: MessageInitShape<typeof RegistryCredentialsSchema>;
  /** For safe retries of the program; made where it is left out. */
  requestId?: string;
  /** Every tag of the repository that the reference, or image, then names. */
  allTags?: boolean;
  /** Also signatures and attestations. */
  includeReferrers?: boolean;
}

/** What a pull can be told. */
export interface PullOptions extends TransferOptions {
  /** Every platform that the index has. */
  allPlatforms?: boolean;
  /** When to ask the registry. */
  policy?: PullPolicy;
  /** Names to give to the image instead of its own. */
  tags?: string[];
  /** Also unpack the layers. */
  unpack?: boolean;
  /** A lease to take in the step that makes the image visible. */
  lease?: MessageInitShape<typeof LeaseSpecSchema>;
}

/** What a push can be told. */
export type PushOptions = TransferOptions;

/**
 * A transfer that is followed: iterate it for events, or ask for its `result()`. One consumer at a time.
 *
 * Its events are snapshots, updates, and exactly one `finished` as the last; heartbeats and kinds that
 * are newer than this client are not passed on. When the connection or the daemon goes away it attaches
 * again, and goes on with a snapshot of how things stand then.
 *
 * A pull or push belongs to whoever started it: leaving the loop early, `close()`, `await using`, the
 * `signal` (which also throws), or closing the client cancels it, unless it is detached. A watch never does.
 */
export class TransferStream implements AsyncIterable<TransferEvent>, AsyncDisposable {
  private readonly aborter = new AbortController();
  private readonly events: AsyncGenerator<TransferEvent, void, undefined>;
  private readonly signal: AbortSignal | undefined;
  private record: Transfer | undefined;
  private closing: Promise<void> | undefined;
  private finished = false;

  /** @internal */
  constructor(
    private readonly calls: Calls,
    /** The transfer's resource name. */
    readonly name: string,
    private owned: boolean,
    private readonly open: Set<AsyncDisposable>,
    options: FollowOptions,
    started?: Transfer,
  ) {
    this.record = started;
    this.signal = options.signal;
    this.events = this.follow(options.minInterval, owned || started !== undefined);
    open.add(this);
    this.signal?.addEventListener("abort", this.abort, { once: true });
    if (this.signal?.aborted) this.abort();
  }

  /** The record: as it was accepted, and after the end with its outcome. Undefined for a young watch. */
  get transfer(): Transfer | undefined {
    return this.record;
  }

  [Symbol.asyncIterator](): AsyncIterator<TransferEvent, void, undefined> {
    return {
      next: () => this.events.next(),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  /**
   * Waits for the end and returns the record with its outcome.
   *
   * @throws {@link TransferFailedError} It did not end well.
   * @throws {@link CancelledError} It was closed before its end.
   */
  async result(): Promise<Transfer> {
    try {
      while (!(await this.events.next()).done);
    } catch (error) {
      await this.close();
      throw error;
    }
    if (!this.finished || !this.record) throw left();
    if (this.record.state !== TransferState.SUCCEEDED) throw new TransferFailedError(this.record);
    return this.record;
  }

  /** From here on, leaving does not cancel the transfer. */
  detach(): void {
    this.owned = false;
  }

  /** Stops following, and cancels a transfer that is the caller's own and has not ended. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.leave();
    return this.closing;
  }

  /** See `close`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private readonly abort = (): void => {
    void this.close();
  };

  private async leave(): Promise<void> {
    this.signal?.removeEventListener("abort", this.abort);
    this.aborter.abort();
    try {
      if (!this.owned) return;
      this.owned = false;
      await this.calls.unary(
        TransferService.method.cancelTransfer,
        { name: this.name },
        { timeout: PARTING },
      );
    } catch (error) {
      // It is over, or the daemon is gone; there is nothing to do about either.
      if (!(error instanceof ImgdError)) throw error;
    } finally {
      this.open.delete(this);
    }
  }

  private async *follow(
    minInterval: number | undefined,
    there: boolean,
  ): AsyncGenerator<TransferEvent, void, undefined> {
    let seen = 0n;
    const messages = attached<WatchTransferResponse>(
      {
        attach: (signal) =>
          this.calls.receive(
            TransferService.method.watchTransfer,
            {
              name: this.name,
              afterSequence: seen,
              ...(minInterval === undefined ? {} : { minInterval: duration(minInterval) }),
            },
            signal,
          ),
        patience: this.calls.patience,
        there,
        endsWell: false,
      },
      this.aborter.signal,
    );
    for await (const { event } of messages) {
      if (!event) continue;
      // Nothing happened while the connection was lost.
      const repeated = event.event.case === "snapshot" && seen !== 0n && event.sequence === seen;
      if (event.sequence > seen) seen = event.sequence;
      if (event.event.case === "finished") {
        this.finished = true;
        this.owned = false;
        this.open.delete(this);
        this.signal?.removeEventListener("abort", this.abort);
        this.record = event.event.value.transfer;
        yield event;
        return;
      }
      if (event.event.case === "update" || (event.event.case === "snapshot" && !repeated)) {
        yield event;
      }
    }
    if (this.signal?.aborted) throw left();
  }
}

function left(): CancelledError {
  return new CancelledError("the transfer was left before its end", status.CANCELLED);
}

/** Transfers of the daemon, whoever started them. */
export class Transfers {
  /** @internal */
  constructor(
    private readonly calls: Calls,
    private readonly open: Set<AsyncDisposable>,
  ) {}

  /** Starts any transfer, as the caller's own. */
  async start(
    request: MessageInitShape<typeof StartTransferRequestSchema>,
    options: FollowOptions & { detach?: boolean } = {},
  ): Promise<TransferStream> {
    const { transfer } = await this.calls.unary(
      TransferService.method.startTransfer,
      { ...request, requestId: request.requestId || crypto.randomUUID() },
      // A cancelled start may have been accepted: the transfer is cancelled then, and not the call.
      {},
    );
    const name = transfer?.name ?? "";
    return new TransferStream(this.calls, name, !options.detach, this.open, options, transfer);
  }

  /** Starts to pull an image, such as `redis:7`. */
  pull(reference: string, options: PullOptions = {}): Promise<TransferStream> {
    const { allPlatforms, policy, tags, unpack, lease } = options;
    return this.start(
      {
        source: {
          source: { case: "registry", value: endpoint(reference, options) },
        },
        destination: {
          destination: {
            case: "store",
            value: {
              ...(tags ? { tags } : {}),
              ...(policy === undefined ? {} : { policy }),
              ...(unpack ? { unpack } : {}),
              ...(lease ? { lease } : {}),
            },
          },
        },
        ...common(options, allPlatforms),
      },
      options,
    );
  }

  /** Starts to push an image of the store, by default to its own name. */
  push(image: string, reference = image, options: PushOptions = {}): Promise<TransferStream> {
    return this.start(
      {
        source: { source: { case: "store", value: { image } } },
        destination: {
          destination: { case: "registry", value: endpoint(reference, options) },
        },
        ...common(options, false),
      },
      options,
    );
  }

  /** Follows a transfer, in whatever state it is. */
  watch(name: string, options: FollowOptions = {}): TransferStream {
    return new TransferStream(this.calls, name, false, this.open, options);
  }

  /** A transfer's record. */
  async get(name: string, options?: CallOptions): Promise<Transfer | undefined> {
    const method = TransferService.method.getTransfer;
    return (await this.calls.unary(method, { name }, options)).transfer;
  }

  /** Transfers, newest first, page by page as they are asked for. */
  async *list(
    states: TransferState[] = [],
    options?: CallOptions,
  ): AsyncGenerator<Transfer, void, undefined> {
    for (let pageToken = ""; ; ) {
      const page = await this.calls.unary(
        TransferService.method.listTransfers,
        { states, pageToken },
        options,
      );
      yield* page.transfers;
      if (!(pageToken = page.nextPageToken)) return;
    }
  }

  /** Cancels a transfer, whoever started it, and returns its record when it has ended. */
  async cancel(name: string, options?: CallOptions): Promise<Transfer | undefined> {
    const method = TransferService.method.cancelTransfer;
    return (await this.calls.unary(method, { name }, options)).transfer;
  }
}

function endpoint(
  reference: string,
  { credentials, allTags = false, includeReferrers = false }: TransferOptions,
): MessageInitShape<typeof RegistryEndpointSchema> {
  return { reference, allTags, includeReferrers, ...(credentials ? { credentials } : {}) };
}

function common(
  options: TransferOptions,
  all = false,
): Pick<MessageInitShape<typeof StartTransferRequestSchema>, "platforms" | "limits" | "requestId"> {
  const { platforms = [], limits, requestId } = options;
  return {
    ...(platforms.length || all ? { platforms: { platforms, all } } : {}),
    ...(limits ? { limits } : {}),
    ...(requestId ? { requestId } : {}),
  };
}
