package dev.imgd.client;

/** There is such a thing already. */
public final class AlreadyExistsException extends ImgdException {
  private static final long serialVersionUID = 1;

  AlreadyExistsException(ErrorDetails details) {
    super(details);
  }
}
