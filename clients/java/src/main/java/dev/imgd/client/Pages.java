package dev.imgd.client;

import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * A list that asks for its next page when it is needed. Each iteration begins anew.
 *
 * @param <T> what is listed
 */
public final class Pages<T> implements Iterable<T> {
  private final Function<String, Page<T>> fetch;

  /** Items, and the token of the next page; empty for the last. */
  record Page<T>(List<T> items, String next) {}

  Pages(Function<String, Page<T>> fetch) {
    this.fetch = fetch;
  }

  @Override
  public Iterator<T> iterator() {
    return new Iterator<>() {
      private Iterator<T> items = List.<T>of().iterator();
      private String token = "";
      private boolean last;

      @Override
      public boolean hasNext() {
        // An empty page with a token is no end.
        while (!items.hasNext() && !last) {
          Page<T> page = fetch.apply(token);
          items = page.items().iterator();
          token = page.next();
          last = token.isEmpty();
        }
        return items.hasNext();
      }

      @Override
      public T next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        return items.next();
      }
    };
  }

  /** Returns the items as a stream, which asks for pages as it is read. */
  public Stream<T> stream() {
    return StreamSupport.stream(spliterator(), false);
  }
}
