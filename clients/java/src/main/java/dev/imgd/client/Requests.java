package dev.imgd.client;

import dev.imgd.v1.PullRequest;
import dev.imgd.v1.PushRequest;
import dev.imgd.v1.RegistryEndpoint;
import dev.imgd.v1.StartTransferRequest;
import dev.imgd.v1.StoreEndpoint;
import dev.imgd.v1.TransferDestination;
import dev.imgd.v1.TransferSource;

/** Pulls and pushes as the transfers that they are. */
final class Requests {
  private Requests() {}

  static StartTransferRequest pull(PullRequest request) {
    RegistryEndpoint.Builder source =
        RegistryEndpoint.newBuilder()
            .setReference(request.getReference())
            .setAllTags(request.getAllTags())
            .setIncludeReferrers(request.getIncludeReferrers());
    if (request.hasCredentials()) {
      source.setCredentials(request.getCredentials());
    }
    StoreEndpoint.Builder destination =
        StoreEndpoint.newBuilder().setPolicy(request.getPolicy()).setUnpack(request.getUnpack());
    if (request.hasLease()) {
      destination.setLease(request.getLease());
    }
    StartTransferRequest.Builder start =
        StartTransferRequest.newBuilder()
            .setSource(TransferSource.newBuilder().setRegistry(source))
            .setDestination(TransferDestination.newBuilder().setStore(destination))
            .setRequestId(request.getRequestId());
    if (request.hasPlatforms()) {
      start.setPlatforms(request.getPlatforms());
    }
    if (request.hasLimits()) {
      start.setLimits(request.getLimits());
    }
    return start.build();
  }

  static StartTransferRequest push(PushRequest request) {
    String reference = request.getReference();
    RegistryEndpoint.Builder destination =
        RegistryEndpoint.newBuilder()
            .setReference(reference.isEmpty() ? request.getImage() : reference)
            .setAllTags(request.getAllTags())
            .setIncludeReferrers(request.getIncludeReferrers());
    if (request.hasCredentials()) {
      destination.setCredentials(request.getCredentials());
    }
    StartTransferRequest.Builder start =
        StartTransferRequest.newBuilder()
            .setSource(
                TransferSource.newBuilder()
                    .setStore(StoreEndpoint.newBuilder().setImage(request.getImage())))
            .setDestination(TransferDestination.newBuilder().setRegistry(destination))
            .setRequestId(request.getRequestId());
    if (request.hasPlatforms()) {
      start.setPlatforms(request.getPlatforms());
    }
    if (request.hasLimits()) {
      start.setLimits(request.getLimits());
    }
    return start.build();
  }
}
