package dev.imgd.client;

/** Somebody else changed it meanwhile. */
public final class AbortedException extends ImgdException {
  private static final long serialVersionUID = 1;

  AbortedException(ErrorDetails details) {
    super(details);
  }
}
