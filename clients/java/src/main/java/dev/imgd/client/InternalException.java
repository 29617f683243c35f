package dev.imgd.client;

/** The daemon, or what is between, made a mistake. */
public final class InternalException extends ImgdException {
  private static final long serialVersionUID = 1;

  InternalException(ErrorDetails details) {
    super(details);
  }
}
