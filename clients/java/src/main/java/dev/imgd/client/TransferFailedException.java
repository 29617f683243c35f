package dev.imgd.client;

import dev.imgd.v1.Transfer;

/**
 * A transfer that did not end well: its outcome, no failed call. The image may be missing, the
 * registry may have refused, or somebody may have cancelled it.
 */
public final class TransferFailedException extends ImgdException {
  private static final long serialVersionUID = 1;

  private final Transfer transfer;

  TransferFailedException(ErrorDetails details, Transfer transfer) {
    super(details);
    this.transfer = transfer;
  }

  /** Returns the transfer's record, whose outcome says what failed and on which side. */
  public Transfer transfer() {
    return transfer;
  }
}
