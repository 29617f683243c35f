package dev.imgd.client;

import com.google.protobuf.ByteString;
import java.io.InputStream;
import java.lang.ref.Reference;
import java.util.Objects;
import java.util.function.Function;

/** The bytes of a call that answers with pieces. Its errors are ImgdExceptions. */
final class ByteStream<R> extends InputStream {
  private final Messages<R> messages;
  private final Function<R, ByteString> data;
  private ByteString piece = ByteString.EMPTY;
  private int position;
  private boolean over;

  /** Waits for the first piece: what is wrong with the request is said here. */
  ByteStream(Messages<R> messages, Function<R, ByteString> data) {
    this.messages = messages;
    this.data = data;
    fill();
    Dropped.CLEANER.register(this, messages::cancel);
  }

  private boolean fill() {
    try {
      while (!over && position == piece.size()) {
        R message = messages.next();
        over = message == null;
        piece = over ? ByteString.EMPTY : data.apply(message);
        position = 0;
      }
      return !over;
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  @Override
  public int read() {
    return fill() ? piece.byteAt(position++) & 0xff : -1;
  }

  @Override
  public int read(byte[] into, int offset, int length) {
    Objects.checkFromIndexSize(offset, length, into.length);
    if (length == 0) {
      return 0;
    }
    if (!fill()) {
      return -1;
    }
    int count = Math.min(length, piece.size() - position);
    piece.substring(position, position + count).copyTo(into, offset);
    position += count;
    return count;
  }

  @Override
  public int available() {
    return piece.size() - position;
  }

  @Override
  public void close() {
    messages.cancel();
  }
}
