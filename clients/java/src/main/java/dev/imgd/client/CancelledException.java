package dev.imgd.client;

/** The call was cancelled: by the program, or by a daemon that stops. */
public final class CancelledException extends ImgdException {
  private static final long serialVersionUID = 1;

  CancelledException(ErrorDetails details) {
    super(details);
  }
}
