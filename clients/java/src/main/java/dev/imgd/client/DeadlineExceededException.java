package dev.imgd.client;

/** The daemon took longer than the call's time. */
public final class DeadlineExceededException extends ImgdException {
  private static final long serialVersionUID = 1;

  DeadlineExceededException(ErrorDetails details) {
    super(details);
  }
}
