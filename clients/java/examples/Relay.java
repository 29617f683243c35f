import com.google.protobuf.util.JsonFormat;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.imgd.client.ImgdClient;
import dev.imgd.client.ImgdException;
import dev.imgd.client.TransferStream;
import dev.imgd.v1.TransferEvent;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Relays the progress of pulls to a service's own users: {@code GET /pull?redis:7} answers with
 * server-sent events. A user who leaves cancels that pull; others that pull the same are not hurt.
 */
public final class Relay {
  private static final ScheduledExecutorService BEATS = Executors.newScheduledThreadPool(1);

  /** Takes the port to listen at, and how often to look whether a user is still there, in ms. */
  public static void main(String[] arguments) throws IOException {
    int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 8080;
    long beat = arguments.length > 1 ? Long.parseLong(arguments[1]) : 5000;
    ImgdClient imgd = ImgdClient.connect();
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext("/pull", exchange -> relay(imgd, exchange, beat));
    server.start();
    System.out.println("listening at port " + server.getAddress().getPort());
  }

  private static void relay(ImgdClient imgd, HttpExchange exchange, long beat) throws IOException {
    String query = exchange.getRequestURI().getRawQuery();
    String image = URLDecoder.decode(query == null ? "" : query, StandardCharsets.UTF_8);
    try (exchange;
        TransferStream pull = imgd.pull(image)) {
      exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
      exchange.sendResponseHeaders(200, 0);
      OutputStream user = exchange.getResponseBody();
      // Only who writes notices that a user left: a comment now and then. Closing ends the loop.
      var beats =
          BEATS.scheduleWithFixedDelay(
              () -> {
                try {
                  send(user, ":\n\n");
                } catch (IOException left) {
                  pull.close();
                  throw new IllegalStateException(left);
                }
              },
              beat,
              beat,
              TimeUnit.MILLISECONDS);
      try {
        for (TransferEvent event : pull) {
          // Without line breaks, which would end a server-sent event's field.
          String json = JsonFormat.printer().omittingInsignificantWhitespace().print(event);
          send(user, "id: %d\ndata: %s\n\n".formatted(event.getSequence(), json));
        }
      } catch (ImgdException error) {
        send(user, "event: lost\ndata: %s\n\n".formatted(error.reason()));
      } finally {
        beats.cancel(false);
      }
    } catch (ImgdException error) {
      exchange.sendResponseHeaders(502, -1);
    }
  }

  private static void send(OutputStream user, String text) throws IOException {
    synchronized (user) {
      user.write(text.getBytes(StandardCharsets.UTF_8));
      user.flush();
    }
  }
}
