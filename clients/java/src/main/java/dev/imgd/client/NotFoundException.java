package dev.imgd.client;

/** There is no such thing; {@link #resource()} says what. */
public final class NotFoundException extends ImgdException {
  private static final long serialVersionUID = 1;

  NotFoundException(ErrorDetails details) {
    super(details);
  }
}
