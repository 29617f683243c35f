package dev.imgd.client;

/** What is stored is damaged. */
public final class DataLossException extends ImgdException {
  private static final long serialVersionUID = 1;

  DataLossException(ErrorDetails details) {
    super(details);
  }
}
