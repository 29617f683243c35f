package dev.imgd.client;

/** The state of things does not permit it. */
public sealed class FailedPreconditionException extends ImgdException permits InUseException {
  private static final long serialVersionUID = 1;

  FailedPreconditionException(ErrorDetails details) {
    super(details);
  }
}
