/**
 * The client of imgd, a container image daemon.
 *
 * Methods take and return the messages of imgd.v1 (`@imgd/client/v1/…`). Every failure is an `ImgdError`;
 * what the program itself does wrong is a `UsageError`.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { defaultAddress } from "./address.js";
import { Archives, Files } from "./bytes.js";
import { type CallOptions, Calls, type ClientOptions } from "./calls.js";
import { EventStream } from "./events.js";
import type { WatchEventsRequestSchema } from "./gen/imgd/v1/event_service_pb.js";
import {
  type ListTagsRequestSchema,
  RegistryService,
  type ResolveReferenceRequestSchema,
  type ResolveReferenceResponse,
} from "./gen/imgd/v1/registry_service_pb.js";
import { type GetInfoResponse, SystemService } from "./gen/imgd/v1/system_service_pb.js";
import { Containers, Leases } from "./holds.js";
import { Images } from "./images.js";
import {
  type FollowOptions,
  type PullOptions,
  type PushOptions,
  Transfers,
  type TransferStream,
} from "./transfers.js";

export { defaultAddress, UsageError } from "./address.js";
export type { Archives, Files, Source } from "./bytes.js";
export type { CallOptions, ClientOptions, Tls } from "./calls.js";
export * from "./errors.js";
export type { EventStream } from "./events.js";
export type { Containers, Hold, Leases } from "./holds.js";
export type { Images } from "./images.js";
export type {
  FollowOptions,
  PullOptions,
  PushOptions,
  TransferOptions,
  Transfers,
  TransferStream,
} from "./transfers.js";

/** A connection to the daemon. It connects at its first use. Close it, or `await using` it. */
export class Client implements AsyncDisposable {
  /** Where the daemon is. */
  readonly address: string;
  /** The images of the store. */
  readonly images: Images;
  /** Registered uses of images. */
  readonly containers: Containers;
  /** Expiring holds on images and blobs. */
  readonly leases: Leases;
  /** Transfers, whoever started them. */
  readonly transfers: Transfers;
  /** Images as archives. */
  readonly archives: Archives;
  /** The files of images. */
  readonly files: Files;
  private readonly calls: Calls;
  // What ends with the client.
  private readonly open = new Set<AsyncDisposable>();

  /**
   * @throws {@link UsageError} The address is malformed, or a token would leave this machine in clear text.
   */
  constructor(options: ClientOptions = {}) {
    this.address = options.address ?? defaultAddress();
    this.calls = new Calls(this.address, options);
    this.images = new Images(this.calls);
    this.containers = new Containers(this.calls, this.open);
    this.leases = new Leases(this.calls, this.open);
    this.transfers = new Transfers(this.calls, this.open);
    this.archives = new Archives(this.calls);
    this.files = new Files(this.calls);
  }

  /** Starts to pull an image, such as `redis:7`. It is the caller's own: leaving it cancels it. */
  pull(reference: string, options?: PullOptions): Promise<TransferStream> {
    return this.transfers.pull(reference, options);
  }

  /** Starts to push an image of the store, by default to its own name. It is the caller's own. */
  push(image: string, reference?: string, options?: PushOptions): Promise<TransferStream> {
    return this.transfers.push(image, reference, options);
  }

  /** Follows a transfer, in whatever state it is. Leaving does not touch the transfer. */
  watch(name: string, options?: FollowOptions): TransferStream {
    return this.transfers.watch(name, options);
  }

  /** Listens to what happens in the store, from now on if the request says nothing else. */
  events(
    request: MessageInitShape<typeof WatchEventsRequestSchema> = {},
    signal?: AbortSignal,
  ): Promise<EventStream> {
    return EventStream.open(this.calls, request, this.open, signal);
  }

  /** Which daemon this is. */
  info(options?: CallOptions): Promise<GetInfoResponse> {
    return this.calls.unary(SystemService.method.getInfo, {}, options);
  }

  /** The tags of a repository in its registry, pulling nothing. */
  async *remoteTags(
    request: Omit<MessageInitShape<typeof ListTagsRequestSchema>, "pageToken" | "$typeName">,
    options?: CallOptions,
  ): AsyncGenerator<string, void, undefined> {
    for (let pageToken = ""; ; ) {
      const method = RegistryService.method.listTags;
      const page = await this.calls.unary(method, { ...request, pageToken }, options);
      yield* page.tags;
      if (!(pageToken = page.nextPageToken)) return;
    }
  }

  /** Asks a registry what a reference points at. */
  resolve(
    request: MessageInitShape<typeof ResolveReferenceRequestSchema>,
    options?: CallOptions,
  ): Promise<ResolveReferenceResponse> {
    return this.calls.unary(RegistryService.method.resolveReference, request, options);
  }

  /** Cancels the pulls that are this client's, gives its holds back, and ends the connection. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.open].map((one) => one[Symbol.asyncDispose]()));
    this.calls.close();
  }

  /** See `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
