import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { Calls } from "./calls.js";
import type { StoreEvent } from "./gen/imgd/v1/event_pb.js";
import {
  EventService,
  type WatchEventsRequest,
  WatchEventsRequestSchema,
  type WatchEventsResponse,
} from "./gen/imgd/v1/event_service_pb.js";
import { attached } from "./streams.js";

/**
 * What happens in the store, in order and without gaps. It listens when it is handed out, and attaches
 * again behind the last event when the daemon was away. One consumer at a time.
 */
export class EventStream implements AsyncIterable<StoreEvent>, AsyncDisposable {
  private readonly aborter = new AbortController();
  private readonly answers: AsyncGenerator<WatchEventsResponse, void, undefined>;
  private readonly waiting: StoreEvent[] = [];
  private position = -1n;
  private seen: bigint;

  private constructor(
    calls: Calls,
    request: WatchEventsRequest,
    private readonly open: Set<AsyncDisposable>,
    signal: AbortSignal | undefined,
  ) {
    this.seen = request.afterCursor;
    open.add(this);
    const over = { once: true, signal: this.aborter.signal };
    signal?.addEventListener("abort", () => this.aborter.abort(), over);
    if (signal?.aborted) this.aborter.abort();
    this.answers = attached(
      {
        attach: (attachment) =>
          calls.receive(EventService.method.watchEvents, this.again(request), attachment),
        patience: calls.patience,
        there: false,
        endsWell: true,
      },
      this.aborter.signal,
    );
  }

  /** @internal */
  static async open(
    calls: Calls,
    request: MessageInitShape<typeof WatchEventsRequestSchema>,
    open: Set<AsyncDisposable>,
    signal?: AbortSignal,
  ): Promise<EventStream> {
    const found = new EventStream(calls, create(WatchEventsRequestSchema, request), open, signal);
    // The first message comes at once, and says where the history stands.
    await found.receive();
    return found;
  }

  /** What to give as `afterCursor` to go on behind the last event that was handed out. */
  get cursor(): bigint {
    return this.waiting.length || this.position < this.seen ? this.seen : this.position;
  }

  [Symbol.asyncIterator](): AsyncIterator<StoreEvent, void, undefined> {
    return {
      next: async () => {
        for (;;) {
          const value = this.waiting.shift();
          if (value) {
            this.seen = value.cursor;
            return { done: false, value };
          }
          if (!(await this.receive())) return { done: true, value: undefined };
        }
      },
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  /** Stops listening. Idempotent. */
  async close(): Promise<void> {
    this.end();
    await this.answers.return();
  }

  /** See `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private end(): void {
    this.aborter.abort();
    this.open.delete(this);
  }

  private async receive(): Promise<boolean> {
    const { done, value } = await this.answers.next().catch((error: unknown) => {
      this.end();
      throw error;
    });
    if (done) {
      this.end();
      return false;
    }
    this.position = value.cursor;
    this.waiting.push(...value.events);
    return true;
  }

  private again(request: WatchEventsRequest): WatchEventsRequest {
    if (this.position < 0n) return request;
    const { since, ...rest } = request;
    if (this.position > 0n) return { ...rest, afterCursor: this.position };
    // 0 alone would mean from now on, and something may have happened meanwhile.
    return { ...rest, afterCursor: 0n, since: since ?? create(TimestampSchema) };
  }
}
