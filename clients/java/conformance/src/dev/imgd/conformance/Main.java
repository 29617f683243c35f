package dev.imgd.conformance;

import dev.imgd.client.ImgdClient;
import dev.imgd.client.ImgdClientBuilder;
import dev.imgd.conformance.v1.ClientRequest;
import dev.imgd.conformance.v1.ClientResponse;
import dev.imgd.conformance.v1.Connection;
import dev.imgd.conformance.v1.Result;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** The Java client's conformance executable; see protos/imgd/conformance/v1/client.proto. */
public final class Main {
  private Main() {}

  /** Answers requests until the input ends. */
  public static void main(String[] arguments) throws IOException {
    try (OutputStream output = new FileOutputStream(FileDescriptor.out)) {
      // What else is printed must not get between the messages.
      System.setOut(System.err);
      for (ClientRequest request = ClientRequest.parseDelimitedFrom(System.in);
          request != null;
          request = ClientRequest.parseDelimitedFrom(System.in)) {
        ClientResponse.newBuilder()
            .setCaseName(request.getCaseName())
            .setResult(respond(request))
            .build()
            .writeDelimitedTo(output);
        output.flush();
      }
    }
  }

  private static Result respond(ClientRequest request) {
    try (ImgdClient client = connect(request.getConnection())) {
      return new Executor(client).run(request.getOperation());
    } catch (RuntimeException | IOException failure) {
      return Described.result(failure);
    }
  }

  private static ImgdClient connect(Connection connection) throws IOException {
    ImgdClientBuilder builder = ImgdClient.builder().address(connection.getAddress());
    if (!connection.getToken().isEmpty()) {
      builder.token(connection.getToken());
    }
    if (connection.hasTimeout()) {
      builder.timeout(java(connection.getTimeout()));
    }
    if (connection.hasPatience()) {
      builder.patience(java(connection.getPatience()));
    }
    if (connection.hasTls()) {
      Connection.Tls wanted = connection.getTls();
      TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
      if (!wanted.getCaPem().isEmpty()) {
        tls.trustManager(stream(wanted.getCaPem()));
      }
      if (!wanted.getCertificatePem().isEmpty()) {
        tls.keyManager(stream(wanted.getCertificatePem()), stream(wanted.getKeyPem()));
      }
      builder.tls(tls.build());
      if (!wanted.getServerName().isEmpty()) {
        builder.serverName(wanted.getServerName());
      }
    }
    return builder.build();
  }

  private static InputStream stream(String pem) {
    return new ByteArrayInputStream(pem.getBytes(StandardCharsets.US_ASCII));
  }

  private static Duration java(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }
}
