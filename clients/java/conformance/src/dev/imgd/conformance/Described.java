package dev.imgd.conformance;

import com.google.protobuf.Duration;
import dev.imgd.client.AbortedException;
import dev.imgd.client.AlreadyExistsException;
import dev.imgd.client.CancelledException;
import dev.imgd.client.DataLossException;
import dev.imgd.client.DeadlineExceededException;
import dev.imgd.client.FailedPreconditionException;
import dev.imgd.client.ImgdException;
import dev.imgd.client.InUseException;
import dev.imgd.client.InternalException;
import dev.imgd.client.InvalidArgumentException;
import dev.imgd.client.NotFoundException;
import dev.imgd.client.OutOfRangeException;
import dev.imgd.client.PermissionDeniedException;
import dev.imgd.client.ResourceExhaustedException;
import dev.imgd.client.TransferFailedException;
import dev.imgd.client.UnauthenticatedException;
import dev.imgd.client.UnavailableException;
import dev.imgd.client.UnimplementedException;
import dev.imgd.conformance.v1.Error;
import dev.imgd.conformance.v1.ErrorClass;
import dev.imgd.conformance.v1.Result;
import java.util.LinkedHashMap;
import java.util.Map;

/** Errors of the wrapper as the runner wants them. */
final class Described {
  // In the order of trying: the particular ones first.
  private static final Map<Class<? extends Exception>, ErrorClass> CLASSES = new LinkedHashMap<>();

  static {
    CLASSES.put(IllegalArgumentException.class, ErrorClass.ERROR_CLASS_USAGE);
    CLASSES.put(IllegalStateException.class, ErrorClass.ERROR_CLASS_USAGE);
    CLASSES.put(TransferFailedException.class, ErrorClass.ERROR_CLASS_TRANSFER_FAILED);
    CLASSES.put(InUseException.class, ErrorClass.ERROR_CLASS_IN_USE);
    CLASSES.put(CancelledException.class, ErrorClass.ERROR_CLASS_CANCELLED);
    CLASSES.put(InvalidArgumentException.class, ErrorClass.ERROR_CLASS_INVALID_ARGUMENT);
    CLASSES.put(DeadlineExceededException.class, ErrorClass.ERROR_CLASS_DEADLINE_EXCEEDED);
    CLASSES.put(NotFoundException.class, ErrorClass.ERROR_CLASS_NOT_FOUND);
    CLASSES.put(AlreadyExistsException.class, ErrorClass.ERROR_CLASS_ALREADY_EXISTS);
    CLASSES.put(PermissionDeniedException.class, ErrorClass.ERROR_CLASS_PERMISSION_DENIED);
    CLASSES.put(ResourceExhaustedException.class, ErrorClass.ERROR_CLASS_RESOURCE_EXHAUSTED);
    CLASSES.put(FailedPreconditionException.class, ErrorClass.ERROR_CLASS_FAILED_PRECONDITION);
    CLASSES.put(AbortedException.class, ErrorClass.ERROR_CLASS_ABORTED);
    CLASSES.put(OutOfRangeException.class, ErrorClass.ERROR_CLASS_OUT_OF_RANGE);
    CLASSES.put(UnimplementedException.class, ErrorClass.ERROR_CLASS_UNIMPLEMENTED);
    CLASSES.put(InternalException.class, ErrorClass.ERROR_CLASS_INTERNAL);
    CLASSES.put(UnavailableException.class, ErrorClass.ERROR_CLASS_UNAVAILABLE);
    CLASSES.put(DataLossException.class, ErrorClass.ERROR_CLASS_DATA_LOSS);
    CLASSES.put(UnauthenticatedException.class, ErrorClass.ERROR_CLASS_UNAUTHENTICATED);
  }

  private Described() {}

  static Result result(Exception failure) {
    if (failure instanceof ImgdException
        || failure instanceof IllegalArgumentException
        || failure instanceof IllegalStateException) {
      return Result.newBuilder().setError(error(failure)).build();
    }
    failure.printStackTrace();
    return Result.newBuilder().setBroken(failure.toString()).build();
  }

  static Error error(Exception failure) {
    Error.Builder said = Error.newBuilder().setMessage(String.valueOf(failure.getMessage()));
    CLASSES.entrySet().stream()
        .filter(one -> one.getKey().isInstance(failure))
        .findFirst()
        .ifPresent(one -> said.setErrorClass(one.getValue()));
    if (failure instanceof ImgdException found) {
      said.setReason(found.reason()).putAllMetadata(found.metadata());
      found.fields().forEach(one -> said.addFields(one.field()));
      found.holders().forEach(one -> said.addHolders(one.subject()));
      found.resource().ifPresent(one -> said.setResource(one.type() + "/" + one.name()));
      found
          .retryDelay()
          .ifPresent(
              one ->
                  said.setRetryDelay(
                      Duration.newBuilder().setSeconds(one.getSeconds()).setNanos(one.getNano())));
    }
    return said.build();
  }
}
