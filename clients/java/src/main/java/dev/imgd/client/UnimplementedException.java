package dev.imgd.client;

/** The daemon can't do this. */
public final class UnimplementedException extends ImgdException {
  private static final long serialVersionUID = 1;

  UnimplementedException(ErrorDetails details) {
    super(details);
  }
}
