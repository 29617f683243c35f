package dev.imgd.client;

import com.google.protobuf.Duration;
import dev.imgd.v1.CancelTransferRequest;
import dev.imgd.v1.Transfer;
import dev.imgd.v1.TransferEvent;
import dev.imgd.v1.TransferServiceGrpc;
import dev.imgd.v1.TransferState;
import dev.imgd.v1.WatchTransferRequest;
import dev.imgd.v1.WatchTransferResponse;
import java.lang.ref.Reference;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;

/**
 * What happens to a transfer, as it happens: a snapshot, updates, and exactly one {@code finished}
 * at the end. When the connection or the daemon goes away it attaches again, and goes on with a
 * snapshot.
 *
 * <p>A pull or push belongs to whoever started it: closing it before its end cancels it, and so
 * does losing it, when it is collected. Others that pull the same are not hurt. Closing a watch, or
 * what is detached, cancels nothing.
 *
 * <p>One thread reads; {@link #close()} may come from any other, and the loop there ends.
 */
public final class TransferStream implements Iterable<TransferEvent>, AutoCloseable {
  private final Following following;
  // Of the thread that reads: what hasNext found and next did not take yet.
  private TransferEvent waiting;

  TransferStream(
      Connection connection, Transfer record, Duration interval, boolean there, boolean owned) {
    following = new Following(connection, record, interval, there, owned);
    connection.adopt(following);
    Dropped.CLEANER.register(this, new Drop(following));
  }

  private record Drop(Following following) implements Runnable {
    @Override
    public void run() {
      following.end();
    }
  }

  /** Returns the transfer's resource name. */
  public String name() {
    return following.name;
  }

  /** Returns the newest record that is known: the one of the start, or after the end the last. */
  public Transfer record() {
    return following.record();
  }

  /**
   * Returns the events that are left. A loop that was left may be entered again: it goes on where
   * it was. It ends without an error when the stream is closed.
   */
  @Override
  public Iterator<TransferEvent> iterator() {
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return advance();
      }

      @Override
      public TransferEvent next() {
        if (!advance()) {
          throw new NoSuchElementException();
        }
        TransferEvent event = waiting;
        waiting = null;
        return event;
      }
    };
  }

  private boolean advance() {
    try {
      if (waiting == null) {
        waiting = following.next();
      }
      return waiting != null;
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Waits for the end, passing over the events that are left.
   *
   * @return the record of a transfer that succeeded
   * @throws TransferFailedException it ended otherwise
   * @throws CancelledException the stream was closed before the end
   */
  public Transfer result() {
    while (advance()) {
      waiting = null;
    }
    if (!following.finished) {
      throw Errors.cancelled("the stream was left before its end", null);
    }
    Transfer record = record();
    if (record.getState() != TransferState.TRANSFER_STATE_SUCCEEDED) {
      throw Errors.transferFailed(record);
    }
    return record;
  }

  /** Leaves the transfer to itself: closing this does not cancel it any more. */
  public void detach() {
    following.detach();
  }

  /**
   * Stops following, and cancels the transfer if it is the caller's own and has not ended; waits
   * for up to 5 s until the daemon has heard of it.
   */
  @Override
  public void close() {
    Connection.part(following.end());
  }

  /** What outlives the stream's collection: it never refers to the stream. */
  private static final class Following implements Connection.Leaver {
    private final Connection connection;
    private final String name;
    private final Attached<WatchTransferResponse> events;

    // Of the thread that reads.
    private long sequence;
    private volatile boolean finished;

    private Transfer record;
    private boolean owned;
    private CompletableFuture<?> parting = Connection.PARTED;

    Following(
        Connection connection, Transfer record, Duration interval, boolean there, boolean owned) {
      this.connection = connection;
      this.record = record;
      this.owned = owned;
      name = record.getName();
      WatchTransferRequest.Builder request = WatchTransferRequest.newBuilder().setName(name);
      if (interval != null) {
        request.setMinInterval(interval);
      }
      events =
          new Attached<>(
              connection.patience,
              there,
              false,
              () ->
                  connection.stream(
                      TransferServiceGrpc.getWatchTransferMethod(),
                      request.setAfterSequence(sequence).build()));
    }

    synchronized Transfer record() {
      return record;
    }

    synchronized void detach() {
      owned = false;
    }

    /** Null at the end, and once it was left. */
    TransferEvent next() {
      while (!finished && !events.isClosed()) {
        TransferEvent event;
        try {
          event = events.next().getEvent();
        } catch (CancelledException error) {
          if (events.isClosed()) {
            return null;
          }
          throw error;
        }
        // Nothing happened while the connection was lost.
        boolean repeated = event.hasSnapshot() && sequence != 0 && event.getSequence() == sequence;
        sequence = Math.max(sequence, event.getSequence());
        if (event.hasFinished()) {
          finish(event.getFinished().getTransfer());
          return event;
        }
        if ((event.hasSnapshot() || event.hasUpdate()) && !repeated) {
          return event;
        }
      }
      return null;
    }

    private void finish(Transfer last) {
      synchronized (this) {
        finished = true;
        record = last;
        owned = false;
      }
      end();
    }

    /** Whoever comes second gets the same: the client may be closed next. */
    @Override
    public synchronized CompletableFuture<?> end() {
      events.close();
      connection.disown(this);
      if (owned) {
        owned = false;
        CancelTransferRequest request = CancelTransferRequest.newBuilder().setName(name).build();
        parting =
            connection.call(
                TransferServiceGrpc.getCancelTransferMethod(),
                request,
                Connection.PARTING,
                answer -> answer);
      }
      return parting;
    }
  }
}
