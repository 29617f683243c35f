package dev.imgd.client;

/** The daemon is not there, or not at the moment. */
public final class UnavailableException extends ImgdException {
  private static final long serialVersionUID = 1;

  UnavailableException(ErrorDetails details) {
    super(details);
  }
}
