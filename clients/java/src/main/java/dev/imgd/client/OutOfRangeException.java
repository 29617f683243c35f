package dev.imgd.client;

/** A position that is not there, such as a cursor that the history has no more. */
public final class OutOfRangeException extends ImgdException {
  private static final long serialVersionUID = 1;

  OutOfRangeException(ErrorDetails details) {
    super(details);
  }
}
