package dev.imgd.client;

import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** What an error is made of. Lists and maps are immutable. */
record ErrorDetails(
    Status.Code code,
    String reason,
    String message,
    Map<String, String> metadata,
    List<ImgdException.FieldViolation> fields,
    List<ImgdException.Holder> holders,
    ImgdException.Resource resource,
    Duration retryDelay,
    Throwable cause)
    implements Serializable {

  static ErrorDetails of(Status.Code code, String message, Throwable cause) {
    return new ErrorDetails(code, "", message, Map.of(), List.of(), List.of(), null, null, cause);
  }
}
