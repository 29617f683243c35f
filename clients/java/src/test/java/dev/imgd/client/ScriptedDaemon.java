package dev.imgd.client;

import dev.imgd.v1.CancelTransferRequest;
import dev.imgd.v1.CancelTransferResponse;
import dev.imgd.v1.CreateLeaseRequest;
import dev.imgd.v1.CreateLeaseResponse;
import dev.imgd.v1.DeleteLeaseRequest;
import dev.imgd.v1.DeleteLeaseResponse;
import dev.imgd.v1.Descriptor;
import dev.imgd.v1.GetImageRequest;
import dev.imgd.v1.GetImageResponse;
import dev.imgd.v1.Image;
import dev.imgd.v1.ImageServiceGrpc;
import dev.imgd.v1.Lease;
import dev.imgd.v1.LeaseServiceGrpc;
import dev.imgd.v1.ListImagesRequest;
import dev.imgd.v1.ListImagesResponse;
import dev.imgd.v1.RenewLeaseRequest;
import dev.imgd.v1.RenewLeaseResponse;
import dev.imgd.v1.StartTransferRequest;
import dev.imgd.v1.StartTransferResponse;
import dev.imgd.v1.Transfer;
import dev.imgd.v1.TransferEvent;
import dev.imgd.v1.TransferServiceGrpc;
import dev.imgd.v1.TransferState;
import dev.imgd.v1.WatchTransferRequest;
import dev.imgd.v1.WatchTransferResponse;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A daemon for tests: it says what it is told to say, on a port of this machine. */
final class ScriptedDaemon implements AutoCloseable {
  /** For what never comes, far above what anything here takes; in seconds. */
  static final long NET = 60;

  /** The transfers that were asked for, in order. */
  final BlockingQueue<StartTransferRequest> started = new LinkedBlockingQueue<>();

  /** The name of each transfer that was cancelled. */
  final BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();

  /** The name of each transfer whose watch was left. */
  final BlockingQueue<String> left = new LinkedBlockingQueue<>();

  /** The name of each lease that was given back. */
  final BlockingQueue<String> deleted = new LinkedBlockingQueue<>();

  /** The name of each image that was asked for, and is never answered, once that call is over. */
  final BlockingQueue<String> abandoned = new LinkedBlockingQueue<>();

  /** How renewing a lease ends; null for well. */
  volatile Status renewals;

  private final Server server;

  /** Unless the last event is the end, a watch then waits until the watcher leaves. */
  ScriptedDaemon(TransferEvent... events) throws IOException {
    server =
        NettyServerBuilder.forAddress(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                InsecureServerCredentials.create())
            .addService(new Transfers(List.of(events)))
            .addService(new Leases())
            .addService(new Images())
            .build()
            .start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  /** Waits for a value. */
  static <T> T get(BlockingQueue<T> from) throws InterruptedException {
    T found = from.poll(NET, TimeUnit.SECONDS);
    if (found == null) {
      throw new AssertionError("it never came");
    }
    return found;
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  /** The first event of a watch. */
  static TransferEvent snapshot(long sequence) {
    TransferEvent.Builder event = TransferEvent.newBuilder().setSequence(sequence);
    event.getSnapshotBuilder().getTransferBuilder().setName("transfers/a");
    return event.build();
  }

  /** The last event of a watch. */
  static TransferEvent finished(long sequence, TransferState state) {
    TransferEvent.Builder event = TransferEvent.newBuilder().setSequence(sequence);
    Transfer.Builder transfer = event.getFinishedBuilder().getTransferBuilder();
    transfer.setName("transfers/a").setState(state);
    transfer.getOutcomeBuilder().setTarget(Descriptor.newBuilder().setDigest("sha256:abc"));
    return event.build();
  }

  private static <T> void answer(StreamObserver<T> observer, T message) {
    observer.onNext(message);
    observer.onCompleted();
  }

  private final class Transfers extends TransferServiceGrpc.TransferServiceImplBase {
    private final List<TransferEvent> events;

    Transfers(List<TransferEvent> events) {
      this.events = events;
    }

    @Override
    public void startTransfer(
        StartTransferRequest request, StreamObserver<StartTransferResponse> observer) {
      started.add(request);
      Transfer transfer = Transfer.newBuilder().setName("transfers/a").build();
      answer(observer, StartTransferResponse.newBuilder().setTransfer(transfer).build());
    }

    @Override
    public void watchTransfer(
        WatchTransferRequest request, StreamObserver<WatchTransferResponse> observer) {
      ((ServerCallStreamObserver<?>) observer)
          .setOnCancelHandler(() -> left.add(request.getName()));
      for (TransferEvent event : events) {
        observer.onNext(WatchTransferResponse.newBuilder().setEvent(event).build());
        if (event.hasFinished()) {
          observer.onCompleted();
        }
      }
    }

    @Override
    public void cancelTransfer(
        CancelTransferRequest request, StreamObserver<CancelTransferResponse> observer) {
      cancelled.add(request.getName());
      answer(observer, CancelTransferResponse.getDefaultInstance());
    }
  }

  private final class Leases extends LeaseServiceGrpc.LeaseServiceImplBase {
    @Override
    public void createLease(
        CreateLeaseRequest request, StreamObserver<CreateLeaseResponse> observer) {
      Lease lease = Lease.newBuilder().setName("leases/" + request.getLeaseId()).build();
      answer(observer, CreateLeaseResponse.newBuilder().setLease(lease).build());
    }

    @Override
    public void renewLease(RenewLeaseRequest request, StreamObserver<RenewLeaseResponse> observer) {
      if (renewals == null) {
        answer(observer, RenewLeaseResponse.getDefaultInstance());
      } else {
        observer.onError(renewals.asException());
      }
    }

    @Override
    public void deleteLease(
        DeleteLeaseRequest request, StreamObserver<DeleteLeaseResponse> observer) {
      deleted.add(request.getName());
      answer(observer, DeleteLeaseResponse.getDefaultInstance());
    }
  }

  private final class Images extends ImageServiceGrpc.ImageServiceImplBase {
    /** Two pages, the first of which is empty. */
    @Override
    public void listImages(ListImagesRequest request, StreamObserver<ListImagesResponse> observer) {
      ListImagesResponse.Builder page = ListImagesResponse.newBuilder();
      if (request.getPageToken().isEmpty()) {
        page.setNextPageToken("more");
      } else {
        page.addImages(Image.newBuilder().addTags("docker.io/library/redis:7"));
      }
      answer(observer, page.build());
    }

    @Override
    public void getImage(GetImageRequest request, StreamObserver<GetImageResponse> observer) {
      ((ServerCallStreamObserver<?>) observer)
          .setOnCancelHandler(() -> abandoned.add(request.getImage()));
    }
  }
}
