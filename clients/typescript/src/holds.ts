import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Calls } from "./calls.js";
import { FailedPreconditionError, ImgdError, NotFoundError } from "./errors.js";
import type { Container } from "./gen/imgd/v1/container_pb.js";
import {
  ContainerService,
  type CreateContainerRequestSchema,
  type CreateContainerResponse,
  type ListContainersRequestSchema,
} from "./gen/imgd/v1/container_service_pb.js";
import type { Lease } from "./gen/imgd/v1/lease_pb.js";
import { type CreateLeaseRequestSchema, LeaseService } from "./gen/imgd/v1/lease_service_pb.js";
import { must } from "./images.js";
import { duration, pause } from "./time.js";

// Milliseconds. What a program that is killed leaves behind ends as soon.
const HELD = 60_000;
// How often a lease is renewed within its time.
const TURNS = 3;
// The daemon waits for three heartbeats.
const BEAT = 10_000;
// After an attempt that failed; sooner than the usual turn.
const AGAIN = 1_000;
// How long a client waits for the daemon to hear that a hold is given back.
const PARTING = 5_000;

type Wanted<T> = Omit<T, "$typeName" | "$unknown">;

/**
 * A lease or a container that keeps an image, is renewed meanwhile, also across a restart of the daemon,
 * and is given back by `await using`, `close()`, or closing the client.
 */
export class Hold implements AsyncDisposable {
  /** Why it holds no more, though it was not closed; undefined while it holds. */
  lost: ImgdError | undefined;
  private readonly aborter = new AbortController();
  private readonly kept: Promise<void>;
  private closing: Promise<void> | undefined;

  /** @internal */
  constructor(
    /** The resource name of the lease or container. */
    readonly name: string,
    private readonly every: number,
    private readonly renew: (options: CallOptions) => Promise<unknown>,
    private readonly release: () => Promise<unknown>,
    private readonly open: Set<AsyncDisposable>,
  ) {
    open.add(this);
    this.kept = this.keep();
  }

  /** Gives it back. Throws where somebody else ended the hold before. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.leave();
    return this.closing;
  }

  /** See `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async leave(): Promise<void> {
    this.aborter.abort();
    await this.kept;
    this.open.delete(this);
    if (this.lost) throw this.lost;
    await this.release();
  }

  private async keep(): Promise<void> {
    const { signal } = this.aborter;
    for (let wait = this.every; ; ) {
      try {
        await pause(wait, signal);
        await this.renew({ signal, timeout: this.every });
        wait = this.every;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof NotFoundError) this.lost = error;
        // It was stopped: it needs no more signs of life, and holds until it is removed.
        if (error instanceof NotFoundError || error instanceof FailedPreconditionError) return;
        wait = Math.min(this.every, AGAIN);
      }
    }
  }
}

/** Expiring holds on images and blobs. */
export class Leases {
  /** @internal */
  constructor(
    private readonly calls: Calls,
    private readonly open: Set<AsyncDisposable>,
  ) {}

  /** Takes a lease. It holds until its time is over: an hour if nothing is said. */
  async create(
    request: Wanted<MessageInitShape<typeof CreateLeaseRequestSchema>>,
    options?: CallOptions,
  ): Promise<Lease> {
    const requestId = request.requestId || crypto.randomUUID();
    const method = LeaseService.method.createLease;
    return must((await this.calls.unary(method, { ...request, requestId }, options)).lease);
  }

  /**
   * Takes a lease for as long as a piece of code needs images. `ttl`, in milliseconds, is what remains of
   * it when the program is killed: a minute if nothing is said.
   */
  async hold(
    images: string[],
    more: { leaseId?: string; ttl?: number; labels?: Record<string, string> } = {},
    options?: CallOptions,
  ): Promise<Hold> {
    const { ttl: time = HELD, ...rest } = more;
    const ttl = duration(time);
    const { name } = await this.create({ ...rest, images, ttl }, options);
    const { renewLease, deleteLease } = LeaseService.method;
    return new Hold(
      name,
      Math.max(time / TURNS, 100),
      (call) => this.calls.unary(renewLease, { name, ttl }, call),
      // It ends by itself.
      () => this.calls.unary(deleteLease, { name }, { timeout: PARTING }).catch(() => undefined),
      this.open,
    );
  }

  /** Ends a lease. Idempotent. */
  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.calls.unary(LeaseService.method.deleteLease, { name }, options);
  }

  /** Leases, page by page as they are asked for. */
  async *list(options?: CallOptions): AsyncGenerator<Lease, void, undefined> {
    for (let pageToken = ""; ; ) {
      const page = await this.calls.unary(LeaseService.method.listLeases, { pageToken }, options);
      yield* page.leases;
      if (!(pageToken = page.nextPageToken)) return;
    }
  }
}

/** Registered uses of images. A container goes by its resource name, or its ID alone. */
export class Containers {
  /** @internal */
  constructor(
    private readonly calls: Calls,
    private readonly open: Set<AsyncDisposable>,
  ) {}

  /**
   * Registers a use of an image, which holds the image until the container is removed. Where a root file
   * system is prepared the client's timeout does not apply: the image may have to be unpacked.
   */
  create(
    request: Wanted<MessageInitShape<typeof CreateContainerRequestSchema>>,
    options: CallOptions = {},
  ): Promise<CreateContainerResponse> {
    const requestId = request.requestId || crypto.randomUUID();
    const patient = request.prepareRootfs || request.bundle ? { timeout: 0, ...options } : options;
    const method = ContainerService.method.createContainer;
    return this.calls.unary(method, { ...request, requestId }, patient);
  }

  /**
   * Registers a running container, and removes it when it is closed. When the program is killed it counts
   * as exited after three heartbeats, and still holds its image; a lease ends by itself.
   */
  async hold(
    image: string,
    more: { containerId?: string; labels?: Record<string, string>; platform?: string } = {},
    options?: CallOptions,
  ): Promise<Hold> {
    const heartbeatInterval = duration(BEAT);
    const { container } = await this.create({ ...more, image, heartbeatInterval }, options);
    const { name } = must(container);
    const release = (): Promise<void> => this.remove(name, true, { timeout: PARTING });
    const { startContainer, heartbeatContainer } = ContainerService.method;
    try {
      await this.calls.unary(startContainer, { name }, options);
    } catch (error) {
      await release().catch(() => undefined);
      throw error;
    }
    const renew = (call: CallOptions): Promise<unknown> =>
      this.calls.unary(heartbeatContainer, { name }, call);
    return new Hold(name, BEAT, renew, release, this.open);
  }

  /** Removes a container, with `force` also one that runs. */
  async remove(name: string, force = false, options?: CallOptions): Promise<void> {
    await this.calls.unary(ContainerService.method.removeContainer, { name, force }, options);
  }

  /** Containers, page by page as they are asked for. */
  async *list(
    request: Wanted<MessageInitShape<typeof ListContainersRequestSchema>> = {},
    options?: CallOptions,
  ): AsyncGenerator<Container, void, undefined> {
    for (let pageToken = ""; ; ) {
      const method = ContainerService.method.listContainers;
      const page = await this.calls.unary(method, { ...request, pageToken }, options);
      yield* page.containers;
      if (!(pageToken = page.nextPageToken)) return;
    }
  }
}
