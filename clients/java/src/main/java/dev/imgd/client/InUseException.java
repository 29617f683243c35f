package dev.imgd.client;

/** The image is held; {@link #holders()} says by what. */
public final class InUseException extends FailedPreconditionException {
  private static final long serialVersionUID = 1;

  InUseException(ErrorDetails details) {
    super(details);
  }
}
