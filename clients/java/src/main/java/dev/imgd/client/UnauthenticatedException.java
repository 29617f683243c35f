package dev.imgd.client;

/** The caller did not say, or not prove, who it is. */
public final class UnauthenticatedException extends ImgdException {
  private static final long serialVersionUID = 1;

  UnauthenticatedException(ErrorDetails details) {
    super(details);
  }
}
