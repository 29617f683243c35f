package dev.imgd.client;

import dev.imgd.v1.ArchiveServiceGrpc;
import dev.imgd.v1.Container;
import dev.imgd.v1.ContainerServiceGrpc;
import dev.imgd.v1.CreateContainerRequest;
import dev.imgd.v1.CreateContainerResponse;
import dev.imgd.v1.CreateLeaseRequest;
import dev.imgd.v1.DeleteLeaseRequest;
import dev.imgd.v1.ExportContainerRequest;
import dev.imgd.v1.ExportContainerResponse;
import dev.imgd.v1.FileInfo;
import dev.imgd.v1.FilesystemServiceGrpc;
import dev.imgd.v1.GetFileRequest;
import dev.imgd.v1.GetInfoResponse;
import dev.imgd.v1.HeartbeatContainerRequest;
import dev.imgd.v1.HistoryEntry;
import dev.imgd.v1.Image;
import dev.imgd.v1.ImageServiceGrpc;
import dev.imgd.v1.ImportImageRequest;
import dev.imgd.v1.InspectImageResponse;
import dev.imgd.v1.Lease;
import dev.imgd.v1.LeaseServiceGrpc;
import dev.imgd.v1.ListContainersRequest;
import dev.imgd.v1.ListContainersResponse;
import dev.imgd.v1.ListFilesRequest;
import dev.imgd.v1.ListFilesResponse;
import dev.imgd.v1.ListImagesRequest;
import dev.imgd.v1.ListImagesResponse;
import dev.imgd.v1.ListLeasesRequest;
import dev.imgd.v1.ListLeasesResponse;
import dev.imgd.v1.ListTagsRequest;
import dev.imgd.v1.ListTagsResponse;
import dev.imgd.v1.ListTransfersRequest;
import dev.imgd.v1.ListTransfersResponse;
import dev.imgd.v1.LoadImagesRequest;
import dev.imgd.v1.LoadImagesResponse;
import dev.imgd.v1.PruneImagesRequest;
import dev.imgd.v1.PruneImagesResponse;
import dev.imgd.v1.PullRequest;
import dev.imgd.v1.PushRequest;
import dev.imgd.v1.ReadFileRequest;
import dev.imgd.v1.ReadFileResponse;
import dev.imgd.v1.RegistryServiceGrpc;
import dev.imgd.v1.RemoveContainerRequest;
import dev.imgd.v1.RemoveImageResponse;
import dev.imgd.v1.RenewLeaseRequest;
import dev.imgd.v1.ResolveReferenceRequest;
import dev.imgd.v1.ResolveReferenceResponse;
import dev.imgd.v1.ResumeTransferRequest;
import dev.imgd.v1.SaveImagesRequest;
import dev.imgd.v1.SaveImagesResponse;
import dev.imgd.v1.StartContainerRequest;
import dev.imgd.v1.StartTransferRequest;
import dev.imgd.v1.TagImageRequest;
import dev.imgd.v1.TagImageResponse;
import dev.imgd.v1.Transfer;
import dev.imgd.v1.TransferServiceGrpc;
import dev.imgd.v1.TransferState;
import dev.imgd.v1.UntagImageRequest;
import dev.imgd.v1.WatchEventsRequest;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * A client of imgd, a container image daemon. Thread-safe; one is enough for a program.
 *
 * <p>Calls that answer once end after the client's timeout. Those that read, and those with a
 * request ID, are sent again within half a second when the daemon can't be reached; others are sent
 * once. All fail with an {@link ImgdException}. An interrupt of the thread cancels what it waits
 * for. {@link #async()} has the same calls as futures.
 */
public final class ImgdClient implements AutoCloseable {
  // What a program that is killed leaves behind ends as soon.
  private static final Duration HELD_FOR = Duration.ofMinutes(1);
  // How often a lease is renewed within its time.
  private static final int TURNS = 3;
  private static final Duration SHORTEST_TURN = Duration.ofMillis(100);
  // The daemon waits for three heartbeats.
  private static final Duration BEAT = Duration.ofSeconds(10);

  private final Connection connection;
  private final AsyncImgdClient async;

  ImgdClient(Connection connection) {
    this.connection = connection;
    async = new AsyncImgdClient(connection, this);
  }

  /**
   * Connects to {@code IMGD_ADDRESS}, else to the system's socket for root, else to the user's own.
   *
   * @throws IllegalArgumentException the address is none
   */
  public static ImgdClient connect() {
    return builder().build();
  }

  /**
   * Connects to {@code unix:PATH}, {@code unix:///PATH} or {@code HOST:PORT}.
   *
   * @throws IllegalArgumentException it is none of these
   */
  public static ImgdClient connect(String address) {
    return builder().address(address).build();
  }

  /** Returns a builder, for TLS, tokens and times. */
  public static ImgdClientBuilder builder() {
    return new ImgdClientBuilder();
  }

  /** Returns the same calls as futures. */
  public AsyncImgdClient async() {
    return async;
  }

  /** Returns the gRPC channel, for services and methods that this class has no words for. */
  public Channel channel() {
    return connection.channel();
  }

  /**
   * Cancels the transfers that are this client's, gives its holds back and ends the connection, and
   * with it every stream. What is called after it throws {@link IllegalStateException}.
   */
  @Override
  public void close() {
    connection.close();
  }

  // --- transfers ---------------------------------------------------------------------------------

  /** Pulls an image. */
  public TransferStream pull(String reference) {
    return pull(PullRequest.newBuilder().setReference(reference).build());
  }

  /**
   * Pulls an image. Closing the stream before its end cancels the pull, unless the request says
   * {@code detach}.
   */
  public TransferStream pull(PullRequest request) {
    return start(
        Requests.pull(request),
        request.hasMinInterval() ? request.getMinInterval() : null,
        request.getDetach());
  }

  /** Pushes an image. Closing the stream before its end cancels the push, likewise. */
  public TransferStream push(PushRequest request) {
    return start(
        Requests.push(request),
        request.hasMinInterval() ? request.getMinInterval() : null,
        request.getDetach());
  }

  private TransferStream start(
      StartTransferRequest request, com.google.protobuf.Duration interval, boolean detach) {
    return new TransferStream(connection, startTransfer(request), interval, true, !detach);
  }

  /** Watches any transfer, from its middle or after its end. Closing this never touches it. */
  public TransferStream watch(String name) {
    connection.checkOpen();
    Transfer record = Transfer.newBuilder().setName(name).build();
    return new TransferStream(connection, record, null, false, false);
  }

  /** Lists transfers, newest first, in these states or in any. */
  public Pages<Transfer> listTransfers(TransferState... states) {
    ListTransfersRequest request =
        ListTransfersRequest.newBuilder().addAllStates(List.of(states)).build();
    return new Pages<>(
        token -> {
          ListTransfersResponse page =
              page(
                  TransferServiceGrpc.getListTransfersMethod(),
                  request.toBuilder().setPageToken(token).build());
          return new Pages.Page<>(page.getTransfersList(), page.getNextPageToken());
        });
  }

  private <Q, R> R page(MethodDescriptor<Q, R> method, Q request) {
    return Connection.await(connection.call(method, request));
  }

  // --- lists -------------------------------------------------------------------------------------

  /** Lists images, newest first, that all filters of {@code key=value} fit. */
  public Pages<Image> listImages(String... filters) {
    return listImages(ListImagesRequest.newBuilder().addAllFilters(List.of(filters)).build());
  }

  /** Lists images, with all that a request can say: the view, and the size of pages. */
  public Pages<Image> listImages(ListImagesRequest request) {
    return new Pages<>(
        token -> {
          ListImagesResponse page =
              page(
                  ImageServiceGrpc.getListImagesMethod(),
                  request.toBuilder().setPageToken(token).build());
          return new Pages.Page<>(page.getImagesList(), page.getNextPageToken());
        });
  }

  /** Lists containers. */
  public Pages<Container> listContainers(ListContainersRequest request) {
    return new Pages<>(
        token -> {
          ListContainersResponse page =
              page(
                  ContainerServiceGrpc.getListContainersMethod(),
                  request.toBuilder().setPageToken(token).build());
          return new Pages.Page<>(page.getContainersList(), page.getNextPageToken());
        });
  }

  /** Lists leases. */
  public Pages<Lease> listLeases(ListLeasesRequest request) {
    return new Pages<>(
        token -> {
          ListLeasesResponse page =
              page(
                  LeaseServiceGrpc.getListLeasesMethod(),
                  request.toBuilder().setPageToken(token).build());
          return new Pages.Page<>(page.getLeasesList(), page.getNextPageToken());
        });
  }

  /** Lists a directory of an image, in the order of paths, without unpacking it. */
  public Pages<FileInfo> listFiles(ListFilesRequest request) {
    return new Pages<>(
        token -> {
          ListFilesResponse page =
              page(
                  FilesystemServiceGrpc.getListFilesMethod(),
                  request.toBuilder().setPageToken(token).build());
          return new Pages.Page<>(page.getFilesList(), page.getNextPageToken());
        });
  }

  /** Lists the tags that a registry has of a repository. */
  public Pages<String> listRemoteTags(ListTagsRequest request) {
    return new Pages<>(
        token -> {
          ListTagsResponse page =
              page(
                  RegistryServiceGrpc.getListTagsMethod(),
                  request.toBuilder().setPageToken(token).build());
          return new Pages.Page<>(page.getTagsList(), page.getNextPageToken());
        });
  }

  // --- calls that answer once
  // ----------------------------------------------------------------------

  /**
   * Returns one image. It is given as a reference, an ID, a repo digest, a unique ID prefix of four
   * digits or more, or a resource name.
   */
  public Image getImage(String image) {
    return Connection.await(async.getImage(image));
  }

  /**
   * Returns an image with its parsed config, for one platform or, empty, the one served by default.
   */
  public InspectImageResponse inspectImage(String image, String platform) {
    return Connection.await(async.inspectImage(image, platform));
  }

  /** Returns the steps that made an image, oldest first. */
  public List<HistoryEntry> imageHistory(String image, String platform) {
    return Connection.await(async.imageHistory(image, platform));
  }

  /**
   * Gives an image one more name; a name in use moves. {@code expected_digest} makes it a compare
   * and swap.
   */
  public TagImageResponse tagImage(TagImageRequest request) {
    return Connection.await(async.tagImage(request));
  }

  /** Takes one name away, and never content. Returns the image that lost it. */
  public Image untagImage(UntagImageRequest request) {
    return Connection.await(async.untagImage(request));
  }

  /**
   * Removes a name or an image, as {@code docker rmi} does. Fails with {@link InUseException} when
   * the image is held.
   */
  public RemoveImageResponse removeImage(String image, boolean force) {
    return Connection.await(async.removeImage(image, force));
  }

  /**
   * Removes dangling images, or with {@code all} every image that nothing holds. It takes as long
   * as there are images: the client's timeout does not apply.
   */
  public PruneImagesResponse pruneImages(PruneImagesRequest request) {
    return Connection.await(async.pruneImages(request));
  }

  /** Keeps an image from prune and collection, until it is unpinned. Both may be repeated. */
  public Image pinImage(String image) {
    return Connection.await(async.pinImage(image));
  }

  /** Takes a pin away. */
  public Image unpinImage(String image) {
    return Connection.await(async.unpinImage(image));
  }

  /**
   * Registers a use of an image, which holds the image until the container is removed. Where a root
   * file system is prepared the client's timeout does not apply: the image may have to be unpacked.
   */
  public CreateContainerResponse createContainer(CreateContainerRequest request) {
    return Connection.await(async.createContainer(request));
  }

  /** Removes a container, with force also one that runs. */
  public void removeContainer(String name, boolean force) {
    Connection.await(async.removeContainer(name, force));
  }

  /** Takes a lease. It holds until its time is over: an hour if nothing is said. */
  public Lease createLease(CreateLeaseRequest request) {
    return Connection.await(async.createLease(request));
  }

  /** Ends a lease. */
  public void deleteLease(String name) {
    Connection.await(async.deleteLease(name));
  }

  /** Returns a transfer's record. */
  public Transfer getTransfer(String name) {
    return Connection.await(async.getTransfer(name));
  }

  /** Starts a transfer that nobody owns: it goes on whoever watches it. */
  public Transfer startTransfer(StartTransferRequest request) {
    return Connection.await(async.startTransfer(request));
  }

  /** Cancels a transfer. One that has ended stays as it is. */
  public Transfer cancelTransfer(String name) {
    return Connection.await(async.cancelTransfer(name));
  }

  /** Starts a transfer that failed or was cancelled again, where it was. */
  public Transfer resumeTransfer(ResumeTransferRequest request) {
    return Connection.await(async.resumeTransfer(request));
  }

  /** Returns a file's attributes. */
  public FileInfo getFile(GetFileRequest request) {
    return Connection.await(async.getFile(request));
  }

  /** Asks a registry what a reference means. */
  public ResolveReferenceResponse resolveReference(ResolveReferenceRequest request) {
    return Connection.await(async.resolveReference(request));
  }

  /** Returns which daemon this is. */
  public GetInfoResponse info() {
    return Connection.await(async.info());
  }

  // --- holds -------------------------------------------------------------------------------------

  /**
   * Takes a lease for as long as a piece of code needs images; its time, a minute if nothing is
   * said, is what remains of it when the program is killed.
   */
  public Hold holdLease(CreateLeaseRequest request) {
    CreateLeaseRequest wanted =
        request.hasTtl() ? request : request.toBuilder().setTtl(proto(HELD_FOR)).build();
    String name = createLease(wanted).getName();
    RenewLeaseRequest renewal =
        RenewLeaseRequest.newBuilder().setName(name).setTtl(wanted.getTtl()).build();
    DeleteLeaseRequest release = DeleteLeaseRequest.newBuilder().setName(name).build();
    Duration turn = java(wanted.getTtl()).dividedBy(TURNS);
    return new Hold(
        connection,
        name,
        turn.compareTo(SHORTEST_TURN) < 0 ? SHORTEST_TURN : turn,
        true,
        limit -> connection.call(LeaseServiceGrpc.getRenewLeaseMethod(), renewal, limit, it -> it),
        limit ->
            connection.call(LeaseServiceGrpc.getDeleteLeaseMethod(), release, limit, it -> it));
  }

  /**
   * Registers a running container, and removes it when it is closed. When the program is killed it
   * counts as exited after three heartbeats, and still holds its image; a lease ends by itself.
   */
  public Hold holdContainer(CreateContainerRequest request) {
    CreateContainerRequest wanted =
        request.hasHeartbeatInterval()
            ? request
            : request.toBuilder().setHeartbeatInterval(proto(BEAT)).build();
    String name = createContainer(wanted).getContainer().getName();
    StartContainerRequest start = StartContainerRequest.newBuilder().setName(name).build();
    HeartbeatContainerRequest beat = HeartbeatContainerRequest.newBuilder().setName(name).build();
    RemoveContainerRequest release =
        RemoveContainerRequest.newBuilder().setName(name).setForce(true).build();
    Function<Duration, CompletableFuture<?>> remove =
        limit ->
            connection.call(
                ContainerServiceGrpc.getRemoveContainerMethod(), release, limit, it -> it);
    try {
      page(ContainerServiceGrpc.getStartContainerMethod(), start);
    } catch (ImgdException failure) {
      Connection.part(remove.apply(Connection.PARTING));
      throw failure;
    }
    return new Hold(
        connection,
        name,
        java(wanted.getHeartbeatInterval()),
        false,
        limit ->
            connection.call(
                ContainerServiceGrpc.getHeartbeatContainerMethod(), beat, limit, it -> it),
        remove);
  }

  private static com.google.protobuf.Duration proto(Duration duration) {
    return com.google.protobuf.Duration.newBuilder()
        .setSeconds(duration.getSeconds())
        .setNanos(duration.getNano())
        .build();
  }

  private static Duration java(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }

  // --- bytes -------------------------------------------------------------------------------------

  /** Saves images as an archive, which is made as it is read. Closing the stream ends it. */
  public InputStream saveImages(SaveImagesRequest request) {
    return new ByteStream<>(
        connection.stream(ArchiveServiceGrpc.getSaveImagesMethod(), request),
        SaveImagesResponse::getData);
  }

  /** Exports all files of a container as an archive, likewise. */
  public InputStream exportContainer(String container) {
    return new ByteStream<>(
        connection.stream(
            ArchiveServiceGrpc.getExportContainerMethod(),
            ExportContainerRequest.newBuilder().setContainer(container).build()),
        ExportContainerResponse::getData);
  }

  /** Reads a file of an image, without unpacking it. */
  public InputStream readFile(ReadFileRequest request) {
    return new ByteStream<>(
        connection.stream(FilesystemServiceGrpc.getReadFileMethod(), request),
        ReadFileResponse::getData);
  }

  /**
   * Loads images from an archive: all of them or none.
   *
   * @throws IOException reading the archive failed; nothing was loaded
   */
  public LoadImagesResponse loadImages(LoadImagesRequest request, InputStream archive)
      throws IOException {
    LoadImagesRequest.Builder next = request.toBuilder();
    return Upload.send(
        connection,
        ArchiveServiceGrpc.getLoadImagesMethod(),
        archive,
        data -> {
          LoadImagesRequest message = next.setData(data).build();
          next.clear();
          return message;
        });
  }

  /**
   * Imports the archive of a root file system as an image.
   *
   * @throws IOException reading the archive failed; nothing was imported
   */
  public Image importImage(ImportImageRequest request, InputStream archive) throws IOException {
    ImportImageRequest.Builder next = request.toBuilder();
    return Upload.send(
            connection,
            ArchiveServiceGrpc.getImportImageMethod(),
            archive,
            data -> {
              ImportImageRequest message = next.setData(data).build();
              next.clear();
              return message;
            })
        .getImage();
  }

  // --- events ------------------------------------------------------------------------------------

  /**
   * Listens to what happens in the store, from now on if the request says nothing else. It listens
   * when this returns.
   */
  public EventStream watchEvents(WatchEventsRequest request) {
    connection.checkOpen();
    return new EventStream(connection, request);
  }
}
