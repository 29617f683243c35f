package dev.imgd.client;

/** The request breaks a rule; {@link #fields()} says which. */
public final class InvalidArgumentException extends ImgdException {
  private static final long serialVersionUID = 1;

  InvalidArgumentException(ErrorDetails details) {
    super(details);
  }
}
