package dev.imgd.client;

import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A call that failed, or a transfer that did not end well. There is a subclass for each gRPC code,
 * one for an image that is in use, and one for a transfer: match on these or on {@link #reason()},
 * never on the text.
 *
 * <p>What the program itself does wrong, such as an address that is none or a call of a closed
 * client, is an {@link IllegalArgumentException} or {@link IllegalStateException}.
 */
public abstract sealed class ImgdException extends RuntimeException
    permits AbortedException,
        AlreadyExistsException,
        CancelledException,
        DataLossException,
        DeadlineExceededException,
        FailedPreconditionException,
        InternalException,
        InvalidArgumentException,
        NotFoundException,
        OutOfRangeException,
        PermissionDeniedException,
        ResourceExhaustedException,
        TransferFailedException,
        UnauthenticatedException,
        UnavailableException,
        UnimplementedException {
  private static final long serialVersionUID = 1;

  private final ErrorDetails details;

  ImgdException(ErrorDetails details) {
    super(details.message(), details.cause());
    this.details = details;
  }

  /** Returns the gRPC code. */
  public Status.Code code() {
    return details.code();
  }

  /**
   * Returns the name of an {@link dev.imgd.v1.ErrorReason} without its prefix, such as {@code
   * IMAGE_NOT_FOUND}; empty where none is known, as for errors of gRPC itself.
   */
  public String reason() {
    return details.reason();
  }

  /** Returns further facts. */
  public Map<String, String> metadata() {
    return details.metadata();
  }

  /** Returns the fields of the request that break a rule. */
  public List<FieldViolation> fields() {
    return details.fields();
  }

  /** Returns what stands in the way. */
  public List<Holder> holders() {
    return details.holders();
  }

  /** Returns the thing that is missing or in conflict. */
  public Optional<Resource> resource() {
    return Optional.ofNullable(details.resource());
  }

  /** Returns after how long trying again makes sense, where something is known about it. */
  public Optional<Duration> retryDelay() {
    return Optional.ofNullable(details.retryDelay());
  }

  @Override
  public String toString() {
    String name = reason().isEmpty() ? code().toString() : reason();
    return "%s: %s (%s)".formatted(getClass().getName(), getMessage(), name);
  }

  /**
   * A field of the request that breaks a rule.
   *
   * @param field its path
   * @param description what is wrong
   */
  public record FieldViolation(String field, String description) implements Serializable {}

  /**
   * Something that stands in the way.
   *
   * @param type CONTAINER, LEASE or PIN
   * @param subject its resource name, such as {@code containers/web}
   * @param description what it does, for people
   */
  public record Holder(String type, String subject, String description) implements Serializable {}

  /**
   * A thing that an error is about.
   *
   * @param type what kind of thing
   * @param name its name
   */
  public record Resource(String type, String name) implements Serializable {}
}
