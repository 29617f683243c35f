package dev.imgd.client;

/** The caller may not do this. */
public final class PermissionDeniedException extends ImgdException {
  private static final long serialVersionUID = 1;

  PermissionDeniedException(ErrorDetails details) {
    super(details);
  }
}
