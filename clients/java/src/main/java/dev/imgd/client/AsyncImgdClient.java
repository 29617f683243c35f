package dev.imgd.client;

import dev.imgd.v1.CancelTransferRequest;
import dev.imgd.v1.CancelTransferResponse;
import dev.imgd.v1.ContainerServiceGrpc;
import dev.imgd.v1.CreateContainerRequest;
import dev.imgd.v1.CreateContainerResponse;
import dev.imgd.v1.CreateLeaseRequest;
import dev.imgd.v1.CreateLeaseResponse;
import dev.imgd.v1.DeleteLeaseRequest;
import dev.imgd.v1.DeleteLeaseResponse;
import dev.imgd.v1.FileInfo;
import dev.imgd.v1.FilesystemServiceGrpc;
import dev.imgd.v1.GetFileRequest;
import dev.imgd.v1.GetFileResponse;
import dev.imgd.v1.GetImageHistoryRequest;
import dev.imgd.v1.GetImageHistoryResponse;
import dev.imgd.v1.GetImageRequest;
import dev.imgd.v1.GetImageResponse;
import dev.imgd.v1.GetInfoRequest;
import dev.imgd.v1.GetInfoResponse;
import dev.imgd.v1.GetTransferRequest;
import dev.imgd.v1.GetTransferResponse;
import dev.imgd.v1.HistoryEntry;
import dev.imgd.v1.Image;
import dev.imgd.v1.ImageServiceGrpc;
import dev.imgd.v1.InspectImageRequest;
import dev.imgd.v1.InspectImageResponse;
import dev.imgd.v1.Lease;
import dev.imgd.v1.LeaseServiceGrpc;
import dev.imgd.v1.PinImageRequest;
import dev.imgd.v1.PinImageResponse;
import dev.imgd.v1.PruneImagesRequest;
import dev.imgd.v1.PruneImagesResponse;
import dev.imgd.v1.PullRequest;
import dev.imgd.v1.PushRequest;
import dev.imgd.v1.RegistryServiceGrpc;
import dev.imgd.v1.RemoveContainerRequest;
import dev.imgd.v1.RemoveContainerResponse;
import dev.imgd.v1.RemoveImageRequest;
import dev.imgd.v1.RemoveImageResponse;
import dev.imgd.v1.ResolveReferenceRequest;
import dev.imgd.v1.ResolveReferenceResponse;
import dev.imgd.v1.ResumeTransferRequest;
import dev.imgd.v1.ResumeTransferResponse;
import dev.imgd.v1.StartTransferRequest;
import dev.imgd.v1.StartTransferResponse;
import dev.imgd.v1.SystemServiceGrpc;
import dev.imgd.v1.TagImageRequest;
import dev.imgd.v1.TagImageResponse;
import dev.imgd.v1.Transfer;
import dev.imgd.v1.TransferEvent;
import dev.imgd.v1.TransferServiceGrpc;
import dev.imgd.v1.UnpinImageRequest;
import dev.imgd.v1.UnpinImageResponse;
import dev.imgd.v1.UntagImageRequest;
import dev.imgd.v1.UntagImageResponse;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * The calls of an {@link ImgdClient} as futures, which end exceptionally with an {@link
 * ImgdException}. Cancelling a future cancels its call.
 */
public final class AsyncImgdClient {
  private final Connection connection;
  private final ImgdClient client;

  AsyncImgdClient(Connection connection, ImgdClient client) {
    this.connection = connection;
    this.client = client;
  }

  /** Makes a call safe to be sent twice. */
  static String requestId() {
    return UUID.randomUUID().toString();
  }

  /**
   * Pulls to the end, in a thread of its own that also runs {@code progress}. Cancelling the future
   * cancels the pull, unless it is detached; so does what {@code progress} throws.
   */
  public CompletableFuture<Transfer> pull(
      PullRequest request, Consumer<? super TransferEvent> progress) {
    return follow(() -> client.pull(request), progress);
  }

  /** Pushes to the end, likewise. */
  public CompletableFuture<Transfer> push(
      PushRequest request, Consumer<? super TransferEvent> progress) {
    return follow(() -> client.push(request), progress);
  }

  private static CompletableFuture<Transfer> follow(
      Supplier<TransferStream> start, Consumer<? super TransferEvent> progress) {
    CompletableFuture<Transfer> result = new CompletableFuture<>();
    Thread reader =
        new Thread(
            () -> {
              try (TransferStream stream = start.get()) {
                stream.forEach(progress);
                result.complete(stream.result());
              } catch (Throwable failure) { // Whatever it is, somebody waits for it.
                result.completeExceptionally(failure);
              }
            },
            "imgd-transfer");
    reader.setDaemon(true);
    reader.start();
    result.whenComplete(
        (transfer, failure) -> {
          if (result.isCancelled()) {
            reader.interrupt();
          }
        });
    return result;
  }

  /** See {@link ImgdClient#getImage}. */
  public CompletableFuture<Image> getImage(String image) {
    return connection.call(
        ImageServiceGrpc.getGetImageMethod(),
        GetImageRequest.newBuilder().setImage(image).build(),
        GetImageResponse::getImage);
  }

  /** See {@link ImgdClient#inspectImage}. */
  public CompletableFuture<InspectImageResponse> inspectImage(String image, String platform) {
    return connection.call(
        ImageServiceGrpc.getInspectImageMethod(),
        InspectImageRequest.newBuilder().setImage(image).setPlatform(platform).build());
  }

  /** See {@link ImgdClient#imageHistory}. */
  public CompletableFuture<List<HistoryEntry>> imageHistory(String image, String platform) {
    return connection.call(
        ImageServiceGrpc.getGetImageHistoryMethod(),
        GetImageHistoryRequest.newBuilder().setImage(image).setPlatform(platform).build(),
        GetImageHistoryResponse::getEntriesList);
  }

  /** See {@link ImgdClient#tagImage}. */
  public CompletableFuture<TagImageResponse> tagImage(TagImageRequest request) {
    return connection.call(ImageServiceGrpc.getTagImageMethod(), request);
  }

  /** See {@link ImgdClient#untagImage}. */
  public CompletableFuture<Image> untagImage(UntagImageRequest request) {
    return connection.call(
        ImageServiceGrpc.getUntagImageMethod(), request, UntagImageResponse::getImage);
  }

  /** See {@link ImgdClient#removeImage}. */
  public CompletableFuture<RemoveImageResponse> removeImage(String image, boolean force) {
    return connection.call(
        ImageServiceGrpc.getRemoveImageMethod(),
        RemoveImageRequest.newBuilder().setImage(image).setForce(force).build());
  }

  /** See {@link ImgdClient#pruneImages}. */
  public CompletableFuture<PruneImagesResponse> pruneImages(PruneImagesRequest request) {
    return connection.call(
        ImageServiceGrpc.getPruneImagesMethod(), request, null, answer -> answer);
  }

  /** See {@link ImgdClient#pinImage}. */
  public CompletableFuture<Image> pinImage(String image) {
    return connection.call(
        ImageServiceGrpc.getPinImageMethod(),
        PinImageRequest.newBuilder().setImage(image).build(),
        PinImageResponse::getImage);
  }

  /** See {@link ImgdClient#unpinImage}. */
  public CompletableFuture<Image> unpinImage(String image) {
    return connection.call(
        ImageServiceGrpc.getUnpinImageMethod(),
        UnpinImageRequest.newBuilder().setImage(image).build(),
        UnpinImageResponse::getImage);
  }

  /** See {@link ImgdClient#createContainer}. */
  public CompletableFuture<CreateContainerResponse> createContainer(
      CreateContainerRequest request) {
    CreateContainerRequest wanted =
        request.getRequestId().isEmpty()
            ? request.toBuilder().setRequestId(requestId()).build()
            : request;
    if (wanted.getPrepareRootfs() || wanted.hasBundle()) {
      return connection.call(
          ContainerServiceGrpc.getCreateContainerMethod(), wanted, null, answer -> answer);
    }
    return connection.call(ContainerServiceGrpc.getCreateContainerMethod(), wanted);
  }

  /** See {@link ImgdClient#removeContainer}. */
  public CompletableFuture<RemoveContainerResponse> removeContainer(String name, boolean force) {
    return connection.call(
        ContainerServiceGrpc.getRemoveContainerMethod(),
        RemoveContainerRequest.newBuilder().setName(name).setForce(force).build());
  }

  /** See {@link ImgdClient#createLease}. */
  public CompletableFuture<Lease> createLease(CreateLeaseRequest request) {
    CreateLeaseRequest wanted =
        request.getRequestId().isEmpty()
            ? request.toBuilder().setRequestId(requestId()).build()
            : request;
    return connection.call(
        LeaseServiceGrpc.getCreateLeaseMethod(), wanted, CreateLeaseResponse::getLease);
  }

  /** See {@link ImgdClient#deleteLease}. */
  public CompletableFuture<DeleteLeaseResponse> deleteLease(String name) {
    return connection.call(
        LeaseServiceGrpc.getDeleteLeaseMethod(),
        DeleteLeaseRequest.newBuilder().setName(name).build());
  }

  /** See {@link ImgdClient#getTransfer}. */
  public CompletableFuture<Transfer> getTransfer(String name) {
    return connection.call(
        TransferServiceGrpc.getGetTransferMethod(),
        GetTransferRequest.newBuilder().setName(name).build(),
        GetTransferResponse::getTransfer);
  }

  /** See {@link ImgdClient#startTransfer}. */
  public CompletableFuture<Transfer> startTransfer(StartTransferRequest request) {
    StartTransferRequest wanted =
        request.getRequestId().isEmpty()
            ? request.toBuilder().setRequestId(requestId()).build()
            : request;
    return connection.call(
        TransferServiceGrpc.getStartTransferMethod(), wanted, StartTransferResponse::getTransfer);
  }

  /** See {@link ImgdClient#cancelTransfer}. */
  public CompletableFuture<Transfer> cancelTransfer(String name) {
    return connection.call(
        TransferServiceGrpc.getCancelTransferMethod(),
        CancelTransferRequest.newBuilder().setName(name).build(),
        CancelTransferResponse::getTransfer);
  }

  /** See {@link ImgdClient#resumeTransfer}. */
  public CompletableFuture<Transfer> resumeTransfer(ResumeTransferRequest request) {
    return connection.call(
        TransferServiceGrpc.getResumeTransferMethod(),
        request,
        ResumeTransferResponse::getTransfer);
  }

  /** See {@link ImgdClient#getFile}. */
  public CompletableFuture<FileInfo> getFile(GetFileRequest request) {
    return connection.call(
        FilesystemServiceGrpc.getGetFileMethod(), request, GetFileResponse::getFile);
  }

  /** See {@link ImgdClient#resolveReference}. */
  public CompletableFuture<ResolveReferenceResponse> resolveReference(
      ResolveReferenceRequest request) {
    return connection.call(RegistryServiceGrpc.getResolveReferenceMethod(), request);
  }

  /** See {@link ImgdClient#info}. */
  public CompletableFuture<GetInfoResponse> info() {
    return connection.call(
        SystemServiceGrpc.getGetInfoMethod(), GetInfoRequest.getDefaultInstance());
  }
}
