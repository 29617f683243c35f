package dev.imgd.client;

import io.grpc.ChannelCredentials;
import java.time.Duration;

/** Says where the daemon is, and how it is spoken to. */
public final class ImgdClientBuilder {
  private String address;
  private ChannelCredentials tls;
  private String serverName;
  private String token;
  // Longer than any call takes that answers once and does not wait for a disk or a registry.
  private Duration timeout = Duration.ofSeconds(30);
  // How long a daemon may take to come back, an update of the machine included.
  private Duration patience = Duration.ofSeconds(60);

  ImgdClientBuilder() {}

  /** Sets {@code unix:PATH}, {@code unix:///PATH} or {@code HOST:PORT}. */
  public ImgdClientBuilder address(String address) {
    this.address = address;
    return this;
  }

  /**
   * Speaks TLS: {@link io.grpc.TlsChannelCredentials} with the machine's authorities or one's own,
   * and with a certificate for mutual TLS.
   */
  public ImgdClientBuilder tls(ChannelCredentials tls) {
    this.tls = tls;
    return this;
  }

  /** Sets the name expected in the daemon's certificate, where it is not the address's host. */
  public ImgdClientBuilder serverName(String serverName) {
    this.serverName = serverName;
    return this;
  }

  /** Sends a bearer token with each call; never in clear text to another machine. */
  public ImgdClientBuilder token(String token) {
    this.token = token;
    return this;
  }

  /** Sets the time of calls that answer once; 30 s by default. */
  public ImgdClientBuilder timeout(Duration timeout) {
    this.timeout = timeout;
    return this;
  }

  /** Sets how long a stream that lost the daemon tries to attach again; 60 s by default. */
  public ImgdClientBuilder patience(Duration patience) {
    this.patience = patience;
    return this;
  }

  /**
   * Makes the client. It connects with its first call.
   *
   * @throws IllegalArgumentException the address is none, or the token would be sent in clear text
   *     to another machine, or can't be sent
   */
  public ImgdClient build() {
    String chosen = address == null || address.isEmpty() ? Address.byDefault() : address;
    Address where = Address.parse(chosen);
    if (token != null) {
      if (token.isEmpty() || !token.chars().allMatch(one -> ' ' < one && one <= '~')) {
        throw new IllegalArgumentException("a token is printable ASCII without spaces");
      }
      if (tls == null && !where.isHere()) {
        throw new IllegalArgumentException(
            "a token is not sent to " + chosen + " in clear text: speak TLS");
      }
    }
    return new ImgdClient(new Connection(where, tls, serverName, token, timeout, patience));
  }
}
