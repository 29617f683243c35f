package dev.imgd.client;

/** A bound is reached: a rate, a size, or the disk. */
public final class ResourceExhaustedException extends ImgdException {
  private static final long serialVersionUID = 1;

  ResourceExhaustedException(ErrorDetails details) {
    super(details);
  }
}
