package dev.imgd.client;

import com.google.protobuf.Timestamp;
import dev.imgd.v1.EventServiceGrpc;
import dev.imgd.v1.StoreEvent;
import dev.imgd.v1.WatchEventsRequest;
import dev.imgd.v1.WatchEventsResponse;
import java.lang.ref.Reference;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;

/**
 * What happens in the store, as it happens. It listens from the moment it was made, and attaches
 * again behind the last event when the daemon was away.
 *
 * <p>One thread reads; {@link #close()} may come from any other, and the loop there ends.
 */
public final class EventStream implements Iterable<StoreEvent>, AutoCloseable {
  private final Listening listening;

  EventStream(Connection connection, WatchEventsRequest request) {
    listening = new Listening(connection, request);
    // The first message comes at once, and says where the history stands.
    listening.receive();
    connection.adopt(listening);
    Dropped.CLEANER.register(this, new Drop(listening));
  }

  private record Drop(Listening listening) implements Runnable {
    @Override
    public void run() {
      listening.end();
    }
  }

  /**
   * Returns what {@code after_cursor} of another request goes on behind: the last event that was
   * handed out.
   */
  public long cursor() {
    return listening.waiting.isEmpty()
        ? Math.max(listening.cursor, listening.seen)
        : listening.seen;
  }

  /** Returns the events that are still to come. */
  @Override
  public Iterator<StoreEvent> iterator() {
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        try {
          return listening.advance();
        } finally {
          Reference.reachabilityFence(EventStream.this);
        }
      }

      @Override
      public StoreEvent next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        StoreEvent event = listening.waiting.remove();
        listening.seen = event.getCursor();
        return event;
      }
    };
  }

  /** Stops listening. */
  @Override
  public void close() {
    listening.end();
  }

  /** What outlives the stream's collection: it never refers to the stream. */
  private static final class Listening implements Connection.Leaver {
    private final Connection connection;
    private final Attached<WatchEventsResponse> messages;
    private final Queue<StoreEvent> waiting = new ArrayDeque<>();
    private long cursor = -1;
    private long seen;

    Listening(Connection connection, WatchEventsRequest request) {
      this.connection = connection;
      seen = request.getAfterCursor();
      messages =
          new Attached<>(
              connection.patience,
              false,
              true,
              () -> connection.stream(EventServiceGrpc.getWatchEventsMethod(), again(request)));
    }

    private WatchEventsRequest again(WatchEventsRequest request) {
      if (cursor < 0) {
        return request;
      }
      WatchEventsRequest.Builder wanted = request.toBuilder().setAfterCursor(cursor);
      if (cursor > 0) {
        return wanted.clearSince().build();
      }
      // 0 alone would mean from now on, and something may have happened meanwhile.
      return request.hasSince()
          ? wanted.build()
          : wanted.setSince(Timestamp.getDefaultInstance()).build();
    }

    boolean receive() {
      WatchEventsResponse response = messages.next();
      if (response == null) {
        end();
        return false;
      }
      cursor = response.getCursor();
      waiting.addAll(response.getEventsList());
      return true;
    }

    boolean advance() {
      while (waiting.isEmpty()) {
        if (messages.isClosed()) {
          return false;
        }
        try {
          if (!receive()) {
            return false;
          }
        } catch (CancelledException error) {
          if (messages.isClosed()) {
            return false;
          }
          throw error;
        }
      }
      return true;
    }

    @Override
    public CompletableFuture<?> end() {
      messages.close();
      connection.disown(this);
      return Connection.PARTED;
    }
  }
}
