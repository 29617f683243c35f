package dev.imgd.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.PreconditionFailure;
import com.google.rpc.ResourceInfo;
import com.google.rpc.RetryInfo;
import dev.imgd.v1.ErrorReason;
import dev.imgd.v1.Failure;
import dev.imgd.v1.Transfer;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** Makes exceptions of what gRPC and transfers tell. */
final class Errors {
  // A reason counts with our domain only.
  private static final String DOMAIN = "imgd.dev";
  private static final String REASON_PREFIX = "ERROR_REASON_";

  private Errors() {}

  static ImgdException of(Status status, Metadata trailers) {
    Status.Code code = status.getCode();
    String message = status.getDescription() == null ? "" : status.getDescription();
    String reason = "";
    Map<String, String> metadata = Map.of();
    List<ImgdException.FieldViolation> fields = List.of();
    List<ImgdException.Holder> holders = List.of();
    ImgdException.Resource resource = null;
    Duration retryDelay = null;
    for (Any detail : details(status, trailers)) {
      try {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          if (info.getDomain().equals(DOMAIN)) {
            reason = info.getReason();
            metadata = Map.copyOf(info.getMetadataMap());
          }
        } else if (detail.is(RetryInfo.class)) {
          retryDelay = duration(detail.unpack(RetryInfo.class).getRetryDelay());
        } else if (detail.is(BadRequest.class)) {
          fields =
              detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                  .map(
                      one -> new ImgdException.FieldViolation(one.getField(), one.getDescription()))
                  .toList();
        } else if (detail.is(PreconditionFailure.class)) {
          holders =
              detail.unpack(PreconditionFailure.class).getViolationsList().stream()
                  .map(
                      one ->
                          new ImgdException.Holder(
                              one.getType(), one.getSubject(), one.getDescription()))
                  .toList();
        } else if (detail.is(ResourceInfo.class)) {
          ResourceInfo info = detail.unpack(ResourceInfo.class);
          resource = new ImgdException.Resource(info.getResourceType(), info.getResourceName());
        }
      } catch (InvalidProtocolBufferException ignored) {
        // A detail that can't be read says nothing; the code and the text do.
      }
    }
    return of(
        new ErrorDetails(
            code,
            reason,
            message,
            metadata,
            fields,
            holders,
            resource,
            retryDelay,
            status.getCause()));
  }

  private static List<Any> details(Status status, Metadata trailers) {
    if (trailers == null) {
      return List.of();
    }
    try {
      return StatusProto.fromStatusAndTrailers(status, trailers).getDetailsList();
    } catch (IllegalArgumentException malformed) {
      return List.of();
    }
  }

  private static ImgdException of(ErrorDetails details) {
    return switch (details.code()) {
      case CANCELLED -> new CancelledException(details);
      case INVALID_ARGUMENT -> new InvalidArgumentException(details);
      case DEADLINE_EXCEEDED -> new DeadlineExceededException(details);
      case NOT_FOUND -> new NotFoundException(details);
      case ALREADY_EXISTS -> new AlreadyExistsException(details);
      case PERMISSION_DENIED -> new PermissionDeniedException(details);
      case RESOURCE_EXHAUSTED -> new ResourceExhaustedException(details);
      case FAILED_PRECONDITION ->
          details.reason().equals("IMAGE_IN_USE")
              ? new InUseException(details)
              : new FailedPreconditionException(details);
      case ABORTED -> new AbortedException(details);
      case OUT_OF_RANGE -> new OutOfRangeException(details);
      case UNIMPLEMENTED -> new UnimplementedException(details);
      case UNAVAILABLE -> new UnavailableException(details);
      case DATA_LOSS -> new DataLossException(details);
      case UNAUTHENTICATED -> new UnauthenticatedException(details);
      case OK, UNKNOWN, INTERNAL -> new InternalException(details);
    };
  }

  /** The program itself left, or its thread was interrupted. */
  static CancelledException cancelled(String message, Throwable cause) {
    return new CancelledException(ErrorDetails.of(Status.Code.CANCELLED, message, cause));
  }

  static UnavailableException unavailable(String message) {
    return new UnavailableException(ErrorDetails.of(Status.Code.UNAVAILABLE, message, null));
  }

  /** The error that a transfer's record tells of. */
  static TransferFailedException transferFailed(Transfer transfer) {
    Failure failure = transfer.getOutcome().getFailure();
    Status.Code code = Status.fromCodeValue(failure.getCode()).getCode();
    String message = failure.getMessage();
    if (message.isEmpty()) {
      message = "%s ended as %s".formatted(transfer.getName(), transfer.getState());
    }
    return new TransferFailedException(
        new ErrorDetails(
            code == Status.Code.OK ? Status.Code.UNKNOWN : code,
            reason(failure.getReason()),
            message,
            Map.copyOf(failure.getMetadataMap()),
            List.of(),
            List.of(),
            null,
            failure.hasRetryDelay() ? duration(failure.getRetryDelay()) : null,
            null),
        transfer);
  }

  /** Empty for a reason that is not said, or newer than this client. */
  private static String reason(ErrorReason reason) {
    return switch (reason) {
      case UNRECOGNIZED, ERROR_REASON_UNSPECIFIED -> "";
      default -> reason.name().substring(REASON_PREFIX.length());
    };
  }

  private static Duration duration(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }
}
