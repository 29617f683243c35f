import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError, status as codes } from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { ErrorReason } from "./gen/imgd/v1/errors_pb.js";
import { type Transfer, TransferState } from "./gen/imgd/v1/transfer_pb.js";
import { milliseconds } from "./time.js";

// A reason counts with our domain only.
const DOMAIN = "imgd.dev";

/** A field of the request that breaks a rule. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** Something that stands in the way: a `CONTAINER`, `LEASE` or `PIN` and its resource name. */
export interface Holder {
  readonly type: string;
  readonly subject: string;
  readonly description: string;
}

/** What is known of a failure beside its code and text. */
export interface ErrorFacts {
  reason?: string;
  metadata?: Readonly<Record<string, string>>;
  fields?: readonly FieldViolation[];
  holders?: readonly Holder[];
  resource?: { readonly type: string; readonly name: string };
  retryDelay?: number;
}

/** A failed call, or a transfer that did not end well. Match its class or `reason`, never its text. */
export class ImgdError extends Error {
  /** The gRPC code. */
  readonly code: codes;
  /** The name of an `ErrorReason`, such as `IMAGE_NOT_FOUND`; empty where none is known. */
  readonly reason: string;
  /** Further facts. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields of the request that are wrong. */
  readonly fields: readonly FieldViolation[];
  /** What stands in the way. */
  readonly holders: readonly Holder[];
  /** The thing that is missing or in conflict. */
  readonly resource: { readonly type: string; readonly name: string } | undefined;
  /** Milliseconds after which trying again makes sense; undefined where nothing is known about it. */
  readonly retryDelay: number | undefined;

  constructor(message: string, code: codes, facts: ErrorFacts = {}) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.reason = facts.reason ?? "";
    this.metadata = facts.metadata ?? {};
    this.fields = facts.fields ?? [];
    this.holders = facts.holders ?? [];
    this.resource = facts.resource;
    this.retryDelay = facts.retryDelay;
  }
}

/** CANCELLED: somebody wanted it to end. */
export class CancelledError extends ImgdError {}
/** INVALID_ARGUMENT: the request breaks a rule; `fields` says which. */
export class InvalidArgumentError extends ImgdError {}
/** DEADLINE_EXCEEDED: it took too long. */
export class DeadlineExceededError extends ImgdError {}
/** NOT_FOUND: there is no such thing. */
export class NotFoundError extends ImgdError {}
/** ALREADY_EXISTS: there is one of that name. */
export class AlreadyExistsError extends ImgdError {}
/** PERMISSION_DENIED: the caller may not do this. */
export class PermissionDeniedError extends ImgdError {}
/** RESOURCE_EXHAUSTED: no room, or too much at once. */
export class ResourceExhaustedError extends ImgdError {}
/** FAILED_PRECONDITION: the state of things does not permit this. */
export class FailedPreconditionError extends ImgdError {}
/** The image is held; `holders` names who holds it. */
export class InUseError extends FailedPreconditionError {}
/** ABORTED: something else got in between; start over. */
export class AbortedError extends ImgdError {}
/** OUT_OF_RANGE: an offset or cursor is past what is there. */
export class OutOfRangeError extends ImgdError {}
/** UNIMPLEMENTED: this daemon can't do that. */
export class UnimplementedError extends ImgdError {}
/** INTERNAL or UNKNOWN: a defect of the daemon; the message holds an incident ID. */
export class InternalError extends ImgdError {}
/** UNAVAILABLE: the daemon, or a registry, can't be reached now. */
export class UnavailableError extends ImgdError {}
/** DATA_LOSS: bytes are not what they should be. */
export class DataLossError extends ImgdError {}
/** UNAUTHENTICATED: credentials are missing or wrong. */
export class UnauthenticatedError extends ImgdError {}

/** A transfer ended other than well. */
export class TransferFailedError extends ImgdError {
  /** Its record. */
  readonly transfer: Transfer;

  constructor(transfer: Transfer) {
    const failure = transfer.outcome?.failure;
    const state = TransferState[transfer.state]?.toLowerCase() ?? "in an unknown state";
    super(failure?.message || `${transfer.name} is ${state}`, failure?.code || codes.UNKNOWN, {
      reason: failure?.reason ? (ErrorReason[failure.reason] ?? "") : "",
      metadata: failure?.metadata ?? {},
      ...(failure?.retryDelay ? { retryDelay: milliseconds(failure.retryDelay) } : {}),
    });
    this.transfer = transfer;
  }
}

const CLASSES: Partial<Record<codes, typeof ImgdError>> = {
  [codes.CANCELLED]: CancelledError,
  [codes.UNKNOWN]: InternalError,
  [codes.INVALID_ARGUMENT]: InvalidArgumentError,
  [codes.DEADLINE_EXCEEDED]: DeadlineExceededError,
  [codes.NOT_FOUND]: NotFoundError,
  [codes.ALREADY_EXISTS]: AlreadyExistsError,
  [codes.PERMISSION_DENIED]: PermissionDeniedError,
  [codes.RESOURCE_EXHAUSTED]: ResourceExhaustedError,
  [codes.FAILED_PRECONDITION]: FailedPreconditionError,
  [codes.ABORTED]: AbortedError,
  [codes.OUT_OF_RANGE]: OutOfRangeError,
  [codes.UNIMPLEMENTED]: UnimplementedError,
  [codes.INTERNAL]: InternalError,
  [codes.UNAVAILABLE]: UnavailableError,
  [codes.DATA_LOSS]: DataLossError,
  [codes.UNAUTHENTICATED]: UnauthenticatedError,
};

/** The typed form of what a call raised. What is no error of gRPC stays as it is. */
export function typed(error: unknown): unknown {
  if (!isServiceError(error)) return error;
  const facts = read(error.metadata);
  const kind =
    facts.reason === "IMAGE_IN_USE" ? InUseError : (CLASSES[error.code] ?? InternalError);
  return new kind(error.details, error.code, facts);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

/** What the details of a status say. */
function read(metadata: Metadata): ErrorFacts {
  const facts: ErrorFacts = {};
  for (const raw of metadata.get("grpc-status-details-bin")) {
    try {
      const details = fromBinary(StatusSchema, raw as Buffer).details;
      for (const detail of details) Object.assign(facts, fact(detail));
    } catch {
      // Somebody between us and the daemon cut it; the code is known in any case.
    }
  }
  return facts;
}

function fact(detail: Any): ErrorFacts {
  const info = anyUnpack(detail, ErrorInfoSchema);
  if (info) return info.domain === DOMAIN ? { reason: info.reason, metadata: info.metadata } : {};
  const retry = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
  if (retry) return { retryDelay: milliseconds(retry) };
  const bad = anyUnpack(detail, BadRequestSchema);
  if (bad) return { fields: bad.fieldViolations };
  const preconditions = anyUnpack(detail, PreconditionFailureSchema);
  if (preconditions) return { holders: preconditions.violations };
  const resource = anyUnpack(detail, ResourceInfoSchema);
  if (resource) return { resource: { type: resource.resourceType, name: resource.resourceName } };
  return {};
}
