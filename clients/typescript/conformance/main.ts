/** The TypeScript client's conformance executable; see protos/imgd/conformance/v1/client.proto. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { writeSync } from "node:fs";
import { once } from "node:events";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { sizeDelimitedDecodeStream, sizeDelimitedEncode } from "@bufbuild/protobuf/wire";
import {
  type ClientRequest,
  ClientRequestSchema,
  ClientResponseSchema,
  type Connection,
  ErrorClass,
  type ErrorSchema,
  type HoldOperation,
  type Leave,
  type LoadOperation,
  type Operation,
  type PullOperation,
  type PushOperation,
  ResultSchema,
  type SaveOperation,
} from "../src/gen/imgd/conformance/v1/client_pb.js";
import * as imgd from "../src/index.js";
import { duration, milliseconds } from "../src/time.js";

type Result = NonNullable<MessageInitShape<typeof ResultSchema>["result"]>;

// The particular ones first.
const CLASSES: [abstract new (...arguments_: never[]) => Error, ErrorClass][] = [
  [imgd.UsageError, ErrorClass.USAGE],
  [imgd.TransferFailedError, ErrorClass.TRANSFER_FAILED],
  [imgd.InUseError, ErrorClass.IN_USE],
  [imgd.FailedPreconditionError, ErrorClass.FAILED_PRECONDITION],
  [imgd.CancelledError, ErrorClass.CANCELLED],
  [imgd.InvalidArgumentError, ErrorClass.INVALID_ARGUMENT],
  [imgd.DeadlineExceededError, ErrorClass.DEADLINE_EXCEEDED],
  [imgd.NotFoundError, ErrorClass.NOT_FOUND],
  [imgd.AlreadyExistsError, ErrorClass.ALREADY_EXISTS],
  [imgd.PermissionDeniedError, ErrorClass.PERMISSION_DENIED],
  [imgd.ResourceExhaustedError, ErrorClass.RESOURCE_EXHAUSTED],
  [imgd.AbortedError, ErrorClass.ABORTED],
  [imgd.OutOfRangeError, ErrorClass.OUT_OF_RANGE],
  [imgd.UnimplementedError, ErrorClass.UNIMPLEMENTED],
  [imgd.InternalError, ErrorClass.INTERNAL],
  [imgd.UnavailableError, ErrorClass.UNAVAILABLE],
  [imgd.DataLossError, ErrorClass.DATA_LOSS],
  [imgd.UnauthenticatedError, ErrorClass.UNAUTHENTICATED],
];

/** An error as the wrapper gave it. What it has no class for is thrown again. */
function describe(error: unknown): MessageInitShape<typeof ErrorSchema> {
  const errorClass = CLASSES.find(([kind]) => error instanceof kind)?.[1];
  if (errorClass === undefined) throw error;
  const { message } = error as Error;
  if (!(error instanceof imgd.ImgdError)) return { errorClass, message };
  return {
    errorClass,
    message,
    reason: error.reason,
    metadata: { ...error.metadata },
    fields: error.fields.map((one) => one.field),
    holders: error.holders.map((one) => one.subject),
    resource: error.resource ? `${error.resource.type}/${error.resource.name}` : "",
    ...(error.retryDelay === undefined ? {} : { retryDelay: duration(error.retryDelay) }),
  };
}

function connect(connection: Connection): imgd.Client {
  const { address, tls, token, timeout, patience } = connection;
  return new imgd.Client({
    address,
    token,
    ...(timeout ? { timeout: milliseconds(timeout) } : {}),
    ...(patience ? { patience: milliseconds(patience) } : {}),
    ...(tls
      ? {
          tls: {
            ...(tls.caPem ? { ca: tls.caPem } : {}),
            ...(tls.certificatePem ? { certificate: tls.certificatePem, key: tls.keyPem } : {}),
            ...(tls.serverName ? { serverName: tls.serverName } : {}),
          },
        }
      : {}),
  });
}

/** Does one thing. Errors of the wrapper are results. */
async function perform(client: imgd.Client, operation: Operation): Promise<Result> {
  try {
    return await attempt(client, operation);
  } catch (error) {
    return { case: "error", value: describe(error) };
  }
}

async function attempt(client: imgd.Client, { operation }: Operation): Promise<Result> {
  switch (operation.case) {
    case "pull":
      return pull(client, operation.value);
    case "push":
      return push(client, operation.value);
    case "watch":
      return follow(client.watch(operation.value.transfer), operation.value.leave);
    case "hold":
      return hold(client, operation.value);
    case "save":
      return save(client, operation.value);
    case "load":
      return load(client, operation.value);
    case "listImages": {
      const { request, stopAfter } = operation.value;
      const { filters = [], pageSize = 0 } = request ?? {};
      const images = await some(client.images.list({ filters, pageSize }), stopAfter);
      return { case: "images", value: { images } };
    }
    case "listContainers": {
      const { request, stopAfter } = operation.value;
      const { pageSize = 0, image = "" } = request ?? {};
      const containers = await some(client.containers.list({ pageSize, image }), stopAfter);
      return { case: "containers", value: { containers } };
    }
    case "inspectImage": {
      const { image, platform } = operation.value;
      return { case: "inspected", value: await client.images.inspect(image, platform) };
    }
    case "tagImage": {
      const { image, tag, expectedDigest } = operation.value;
      const more = expectedDigest === undefined ? {} : { expectedDigest };
      return { case: "tagged", value: await client.images.tag(image, tag, more) };
    }
    case "untagImage":
      return { case: "image", value: await client.images.untag(operation.value.reference) };
    case "removeImage": {
      const { image, force } = operation.value;
      return { case: "removed", value: await client.images.remove(image, force) };
    }
    case "pruneImages": {
      const { all, dryRun, filters } = operation.value;
      return { case: "pruned", value: await client.images.prune({ all, dryRun, filters }) };
    }
    case "getImage":
      return { case: "image", value: await client.images.get(operation.value.image) };
    case "getInfo":
      return { case: "info", value: await client.info() };
    case "listFiles": {
      const { tree, path, pageSize, recursive, pattern } = operation.value;
      const request = { path, pageSize, recursive, pattern, ...(tree ? { tree } : {}) };
      const files = await some(client.files.list(request), 0);
      return { case: "files", value: { paths: files.map((file) => file.path) } };
    }
    case "readFile": {
      const { tree, path } = operation.value;
      return drain(client.files.read({ path, ...(tree ? { tree } : {}) }), "", 0);
    }
    case "events": {
      const { request, onceListening, count } = operation.value;
      await using stream = await client.events({
        afterCursor: request?.afterCursor ?? 0n,
        filters: request?.filters ?? [],
      });
      if (onceListening) await perform(client, onceListening);
      return { case: "events", value: { events: await some(stream, count) } };
    }
    default:
      return { case: "unsupported", value: {} };
  }
}

async function some<T>(items: AsyncIterable<T>, count: number): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) if (found.push(item) === count) break;
  return found;
}

async function pull(client: imgd.Client, { request, leave }: PullOperation): Promise<Result> {
  if (!request) throw new TypeError("no request");
  const aborter = new AbortController();
  const { policy, unpack, detach, requestId, credentials, lease, limits, platforms } = request;
  const stream = await client.pull(request.reference, {
    signal: aborter.signal,
    platforms: platforms?.platforms ?? [],
    allPlatforms: platforms?.all ?? false,
    policy,
    unpack,
    detach,
    requestId,
    ...(credentials ? { credentials } : {}),
    ...(lease ? { lease } : {}),
    ...(limits ? { limits } : {}),
  });
  return follow(stream, leave, aborter);
}

async function push(client: imgd.Client, { request, leave }: PushOperation): Promise<Result> {
  if (!request) throw new TypeError("no request");
  const aborter = new AbortController();
  const { image, reference, detach, allTags, includeReferrers } = request;
  const stream = await client.push(image, reference || undefined, {
    signal: aborter.signal,
    detach,
    allTags,
    includeReferrers,
  });
  return follow(stream, leave, aborter);
}

async function follow(
  stream: imgd.TransferStream,
  leave: Leave | undefined,
  aborter?: AbortController,
): Promise<Result> {
  let events = 0n;
  let finished = 0n;
  let snapshots = 0n;
  let rising = true;
  let last = 0n;
  let error: MessageInitShape<typeof ErrorSchema> | undefined;
  try {
    for await (const event of stream) {
      events += 1n;
      rising &&= event.sequence > last;
      last = event.sequence;
      if (event.event.case === "snapshot") snapshots += 1n;
      if (event.event.case === "finished") finished += 1n;
      if (events === BigInt(leave?.afterMessages ?? 0)) break;
      if (events === BigInt(leave?.cancelAfterMessages ?? 0)) {
        setImmediate(() => (aborter ? aborter.abort() : void stream.close()));
      }
    }
    if (finished) await stream.result();
  } catch (failure) {
    // Whoever aborts a signal knows it.
    if (!aborter?.signal.aborted) error = describe(failure);
  }
  await stream.close();
  return {
    case: "stream",
    value: {
      events,
      finished,
      snapshots,
      rising,
      ...(finished && stream.transfer ? { transfer: stream.transfer } : {}),
      ...(error ? { error } : {}),
    },
  };
}

class Left extends Error {}

async function hold(client: imgd.Client, wanted: HoldOperation): Promise<Result> {
  let held: imgd.Hold;
  if (wanted.hold.case === "lease") {
    const { images, leaseId, ttl } = wanted.hold.value;
    const more = { leaseId, ...(ttl ? { ttl: milliseconds(ttl) } : {}) };
    held = await client.leases.hold(images, more);
  } else {
    const { image = "", containerId = "", labels = {} } = wanted.hold.value ?? {};
    held = await client.containers.hold(image, { containerId, labels });
  }
  const inside: MessageInitShape<typeof ResultSchema>[] = [];
  let error: MessageInitShape<typeof ErrorSchema> | undefined;
  try {
    await using _ = held;
    for (const operation of wanted.inside) {
      inside.push({ result: await perform(client, operation) });
    }
    if (wanted.leaveByError) throw new Left();
  } catch (failure) {
    if (!(failure instanceof Left)) error = describe(failure);
  }
  return { case: "hold", value: { name: held.name, inside, ...(error ? { error } : {}) } };
}

function save(client: imgd.Client, { request, path, leave }: SaveOperation): Promise<Result> {
  const { images = [], format = 0, platforms } = request ?? {};
  const more = { format, ...(platforms ? { platforms } : {}) };
  return drain(client.archives.save(images, more), path, leave?.afterMessages ?? 0);
}

/** Reads bytes, all of them or so many pieces, into a file or nowhere. */
async function drain(
  pieces: AsyncIterable<Uint8Array>,
  path: string,
  count: number,
): Promise<Result> {
  const hash = createHash("sha256");
  const file = createWriteStream(path || "/dev/null");
  let size = 0n;
  let read = 0;
  try {
    for await (const piece of pieces) {
      hash.update(piece);
      size += BigInt(piece.length);
      if (!file.write(piece)) await once(file, "drain");
      if (++read === count) break;
    }
  } finally {
    file.end();
    await once(file, "close");
  }
  return { case: "bytes", value: { size, sha256: hash.digest("hex") } };
}

async function load(client: imgd.Client, wanted: LoadOperation): Promise<Result> {
  const abandon = Number(wanted.abandonAfterBytes);
  const file = createReadStream(wanted.path, abandon ? { end: abandon - 1 } : {});
  async function* source(): AsyncGenerator<Uint8Array> {
    for await (const piece of file) yield piece as Uint8Array;
    if (abandon) throw new Left();
  }
  try {
    const loaded = await client.archives.load(source(), { tags: wanted.request?.tags ?? [] });
    return { case: "loaded", value: loaded };
  } catch (error) {
    if (!(error instanceof Left)) throw error;
    return { case: "bytes", value: { size: wanted.abandonAfterBytes } };
  }
}

async function respond(request: ClientRequest): Promise<Result> {
  const { connection, operation } = request;
  try {
    if (!connection || !operation) throw new TypeError("an empty request");
    await using client = connect(connection);
    return await perform(client, operation);
  } catch (error) {
    if (error instanceof imgd.UsageError) return { case: "error", value: describe(error) };
    return { case: "broken", value: String(error instanceof Error ? error.stack : error) };
  }
}

for await (const request of sizeDelimitedDecodeStream(ClientRequestSchema, process.stdin)) {
  const result = { result: await respond(request) };
  const response = create(ClientResponseSchema, { caseName: request.caseName, result });
  const bytes = sizeDelimitedEncode(ClientResponseSchema, response);
  for (let written = 0; written < bytes.length; ) written += writeSync(1, bytes, written);
}
