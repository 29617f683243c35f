package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Moves images between registries, the store, archives and directories.
 * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
 * speaks of the watching alone.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class TransferServiceGrpc {

  private TransferServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.TransferService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.StartTransferRequest,
      dev.imgd.v1.StartTransferResponse> getStartTransferMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StartTransfer",
      requestType = dev.imgd.v1.StartTransferRequest.class,
      responseType = dev.imgd.v1.StartTransferResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.StartTransferRequest,
      dev.imgd.v1.StartTransferResponse> getStartTransferMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.StartTransferRequest, dev.imgd.v1.StartTransferResponse> getStartTransferMethod;
    if ((getStartTransferMethod = TransferServiceGrpc.getStartTransferMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getStartTransferMethod = TransferServiceGrpc.getStartTransferMethod) == null) {
          TransferServiceGrpc.getStartTransferMethod = getStartTransferMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.StartTransferRequest, dev.imgd.v1.StartTransferResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StartTransfer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StartTransferRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StartTransferResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("StartTransfer"))
              .build();
        }
      }
    }
    return getStartTransferMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.WatchTransferRequest,
      dev.imgd.v1.WatchTransferResponse> getWatchTransferMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchTransfer",
      requestType = dev.imgd.v1.WatchTransferRequest.class,
      responseType = dev.imgd.v1.WatchTransferResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.WatchTransferRequest,
      dev.imgd.v1.WatchTransferResponse> getWatchTransferMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.WatchTransferRequest, dev.imgd.v1.WatchTransferResponse> getWatchTransferMethod;
    if ((getWatchTransferMethod = TransferServiceGrpc.getWatchTransferMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getWatchTransferMethod = TransferServiceGrpc.getWatchTransferMethod) == null) {
          TransferServiceGrpc.getWatchTransferMethod = getWatchTransferMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.WatchTransferRequest, dev.imgd.v1.WatchTransferResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchTransfer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.WatchTransferRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.WatchTransferResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("WatchTransfer"))
              .build();
        }
      }
    }
    return getWatchTransferMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetTransferRequest,
      dev.imgd.v1.GetTransferResponse> getGetTransferMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetTransfer",
      requestType = dev.imgd.v1.GetTransferRequest.class,
      responseType = dev.imgd.v1.GetTransferResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetTransferRequest,
      dev.imgd.v1.GetTransferResponse> getGetTransferMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetTransferRequest, dev.imgd.v1.GetTransferResponse> getGetTransferMethod;
    if ((getGetTransferMethod = TransferServiceGrpc.getGetTransferMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getGetTransferMethod = TransferServiceGrpc.getGetTransferMethod) == null) {
          TransferServiceGrpc.getGetTransferMethod = getGetTransferMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetTransferRequest, dev.imgd.v1.GetTransferResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetTransfer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetTransferRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetTransferResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("GetTransfer"))
              .build();
        }
      }
    }
    return getGetTransferMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListTransfersRequest,
      dev.imgd.v1.ListTransfersResponse> getListTransfersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListTransfers",
      requestType = dev.imgd.v1.ListTransfersRequest.class,
      responseType = dev.imgd.v1.ListTransfersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListTransfersRequest,
      dev.imgd.v1.ListTransfersResponse> getListTransfersMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListTransfersRequest, dev.imgd.v1.ListTransfersResponse> getListTransfersMethod;
    if ((getListTransfersMethod = TransferServiceGrpc.getListTransfersMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getListTransfersMethod = TransferServiceGrpc.getListTransfersMethod) == null) {
          TransferServiceGrpc.getListTransfersMethod = getListTransfersMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListTransfersRequest, dev.imgd.v1.ListTransfersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListTransfers"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListTransfersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListTransfersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("ListTransfers"))
              .build();
        }
      }
    }
    return getListTransfersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CancelTransferRequest,
      dev.imgd.v1.CancelTransferResponse> getCancelTransferMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CancelTransfer",
      requestType = dev.imgd.v1.CancelTransferRequest.class,
      responseType = dev.imgd.v1.CancelTransferResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CancelTransferRequest,
      dev.imgd.v1.CancelTransferResponse> getCancelTransferMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CancelTransferRequest, dev.imgd.v1.CancelTransferResponse> getCancelTransferMethod;
    if ((getCancelTransferMethod = TransferServiceGrpc.getCancelTransferMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getCancelTransferMethod = TransferServiceGrpc.getCancelTransferMethod) == null) {
          TransferServiceGrpc.getCancelTransferMethod = getCancelTransferMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CancelTransferRequest, dev.imgd.v1.CancelTransferResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CancelTransfer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CancelTransferRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CancelTransferResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("CancelTransfer"))
              .build();
        }
      }
    }
    return getCancelTransferMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ResumeTransferRequest,
      dev.imgd.v1.ResumeTransferResponse> getResumeTransferMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ResumeTransfer",
      requestType = dev.imgd.v1.ResumeTransferRequest.class,
      responseType = dev.imgd.v1.ResumeTransferResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ResumeTransferRequest,
      dev.imgd.v1.ResumeTransferResponse> getResumeTransferMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ResumeTransferRequest, dev.imgd.v1.ResumeTransferResponse> getResumeTransferMethod;
    if ((getResumeTransferMethod = TransferServiceGrpc.getResumeTransferMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getResumeTransferMethod = TransferServiceGrpc.getResumeTransferMethod) == null) {
          TransferServiceGrpc.getResumeTransferMethod = getResumeTransferMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ResumeTransferRequest, dev.imgd.v1.ResumeTransferResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ResumeTransfer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ResumeTransferRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ResumeTransferResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("ResumeTransfer"))
              .build();
        }
      }
    }
    return getResumeTransferMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.DeleteTransferRequest,
      dev.imgd.v1.DeleteTransferResponse> getDeleteTransferMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteTransfer",
      requestType = dev.imgd.v1.DeleteTransferRequest.class,
      responseType = dev.imgd.v1.DeleteTransferResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.DeleteTransferRequest,
      dev.imgd.v1.DeleteTransferResponse> getDeleteTransferMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.DeleteTransferRequest, dev.imgd.v1.DeleteTransferResponse> getDeleteTransferMethod;
    if ((getDeleteTransferMethod = TransferServiceGrpc.getDeleteTransferMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getDeleteTransferMethod = TransferServiceGrpc.getDeleteTransferMethod) == null) {
          TransferServiceGrpc.getDeleteTransferMethod = getDeleteTransferMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.DeleteTransferRequest, dev.imgd.v1.DeleteTransferResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteTransfer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.DeleteTransferRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.DeleteTransferResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("DeleteTransfer"))
              .build();
        }
      }
    }
    return getDeleteTransferMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.PullRequest,
      dev.imgd.v1.PullResponse> getPullMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Pull",
      requestType = dev.imgd.v1.PullRequest.class,
      responseType = dev.imgd.v1.PullResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.PullRequest,
      dev.imgd.v1.PullResponse> getPullMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.PullRequest, dev.imgd.v1.PullResponse> getPullMethod;
    if ((getPullMethod = TransferServiceGrpc.getPullMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getPullMethod = TransferServiceGrpc.getPullMethod) == null) {
          TransferServiceGrpc.getPullMethod = getPullMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.PullRequest, dev.imgd.v1.PullResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Pull"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PullRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PullResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("Pull"))
              .build();
        }
      }
    }
    return getPullMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.PushRequest,
      dev.imgd.v1.PushResponse> getPushMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Push",
      requestType = dev.imgd.v1.PushRequest.class,
      responseType = dev.imgd.v1.PushResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.PushRequest,
      dev.imgd.v1.PushResponse> getPushMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.PushRequest, dev.imgd.v1.PushResponse> getPushMethod;
    if ((getPushMethod = TransferServiceGrpc.getPushMethod) == null) {
      synchronized (TransferServiceGrpc.class) {
        if ((getPushMethod = TransferServiceGrpc.getPushMethod) == null) {
          TransferServiceGrpc.getPushMethod = getPushMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.PushRequest, dev.imgd.v1.PushResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Push"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PushRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PushResponse.getDefaultInstance()))
              .setSchemaDescriptor(new TransferServiceMethodDescriptorSupplier("Push"))
              .build();
        }
      }
    }
    return getPushMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static TransferServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TransferServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TransferServiceStub>() {
        @java.lang.Override
        public TransferServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TransferServiceStub(channel, callOptions);
        }
      };
    return TransferServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static TransferServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TransferServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TransferServiceBlockingV2Stub>() {
        @java.lang.Override
        public TransferServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TransferServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return TransferServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static TransferServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TransferServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TransferServiceBlockingStub>() {
        @java.lang.Override
        public TransferServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TransferServiceBlockingStub(channel, callOptions);
        }
      };
    return TransferServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static TransferServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<TransferServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<TransferServiceFutureStub>() {
        @java.lang.Override
        public TransferServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new TransferServiceFutureStub(channel, callOptions);
        }
      };
    return TransferServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Moves images between registries, the store, archives and directories.
   * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
   * speaks of the watching alone.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Accepts a transfer and returns at once. What is wrong with the request itself is answered here;
     * what goes wrong later is in the outcome.
     * </pre>
     */
    default void startTransfer(dev.imgd.v1.StartTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StartTransferResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStartTransferMethod(), responseObserver);
    }

    /**
     * <pre>
     * Watches a transfer, in any state, any number of times: a snapshot, updates, one `finished`, OK.
     * When the daemon stops, ends UNAVAILABLE / SHUTTING_DOWN with RetryInfo; attach again then.
     * </pre>
     */
    default void watchTransfer(dev.imgd.v1.WatchTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.WatchTransferResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchTransferMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns a transfer's record.
     * </pre>
     */
    default void getTransfer(dev.imgd.v1.GetTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetTransferResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetTransferMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists transfers, newest first.
     * </pre>
     */
    default void listTransfers(dev.imgd.v1.ListTransfersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListTransfersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListTransfersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Cancels a transfer and returns when it has ended. What it fetched stays for a while, so that a
     * later one goes on there. Others that share its work are not hurt. One that has ended stays as
     * it is. Idempotent.
     * </pre>
     */
    default void cancelTransfer(dev.imgd.v1.CancelTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CancelTransferResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCancelTransferMethod(), responseObserver);
    }

    /**
     * <pre>
     * Runs an interrupted, failed or cancelled transfer again, with what is already here.
     * </pre>
     */
    default void resumeTransfer(dev.imgd.v1.ResumeTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ResumeTransferResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResumeTransferMethod(), responseObserver);
    }

    /**
     * <pre>
     * Forgets the record of a transfer that has ended (TRANSFER_STATE while it runs), and lets go of
     * what it left unfinished.
     * </pre>
     */
    default void deleteTransfer(dev.imgd.v1.DeleteTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.DeleteTransferResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteTransferMethod(), responseObserver);
    }

    /**
     * <pre>
     * Pulls and watches in one call, for simple callers. Leaving it cancels this pull, resumably,
     * unless `detach` is set; others that pull the same are not hurt.
     * </pre>
     */
    default void pull(dev.imgd.v1.PullRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PullResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPullMethod(), responseObserver);
    }

    /**
     * <pre>
     * Pushes and watches in one call. Leaving it cancels, as with Pull.
     * </pre>
     */
    default void push(dev.imgd.v1.PushRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PushResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPushMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service TransferService.
   * <pre>
   * Moves images between registries, the store, archives and directories.
   * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
   * speaks of the watching alone.
   * </pre>
   */
  public static abstract class TransferServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return TransferServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service TransferService.
   * <pre>
   * Moves images between registries, the store, archives and directories.
   * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
   * speaks of the watching alone.
   * </pre>
   */
  public static final class TransferServiceStub
      extends io.grpc.stub.AbstractAsyncStub<TransferServiceStub> {
    private TransferServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TransferServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TransferServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Accepts a transfer and returns at once. What is wrong with the request itself is answered here;
     * what goes wrong later is in the outcome.
     * </pre>
     */
    public void startTransfer(dev.imgd.v1.StartTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StartTransferResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStartTransferMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Watches a transfer, in any state, any number of times: a snapshot, updates, one `finished`, OK.
     * When the daemon stops, ends UNAVAILABLE / SHUTTING_DOWN with RetryInfo; attach again then.
     * </pre>
     */
    public void watchTransfer(dev.imgd.v1.WatchTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.WatchTransferResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchTransferMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns a transfer's record.
     * </pre>
     */
    public void getTransfer(dev.imgd.v1.GetTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetTransferResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetTransferMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists transfers, newest first.
     * </pre>
     */
    public void listTransfers(dev.imgd.v1.ListTransfersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListTransfersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListTransfersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Cancels a transfer and returns when it has ended. What it fetched stays for a while, so that a
     * later one goes on there. Others that share its work are not hurt. One that has ended stays as
     * it is. Idempotent.
     * </pre>
     */
    public void cancelTransfer(dev.imgd.v1.CancelTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CancelTransferResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCancelTransferMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Runs an interrupted, failed or cancelled transfer again, with what is already here.
     * </pre>
     */
    public void resumeTransfer(dev.imgd.v1.ResumeTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ResumeTransferResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResumeTransferMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Forgets the record of a transfer that has ended (TRANSFER_STATE while it runs), and lets go of
     * what it left unfinished.
     * </pre>
     */
    public void deleteTransfer(dev.imgd.v1.DeleteTransferRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.DeleteTransferResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteTransferMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Pulls and watches in one call, for simple callers. Leaving it cancels this pull, resumably,
     * unless `detach` is set; others that pull the same are not hurt.
     * </pre>
     */
    public void pull(dev.imgd.v1.PullRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PullResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getPullMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Pushes and watches in one call. Leaving it cancels, as with Pull.
     * </pre>
     */
    public void push(dev.imgd.v1.PushRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PushResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getPushMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service TransferService.
   * <pre>
   * Moves images between registries, the store, archives and directories.
   * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
   * speaks of the watching alone.
   * </pre>
   */
  public static final class TransferServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<TransferServiceBlockingV2Stub> {
    private TransferServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TransferServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TransferServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Accepts a transfer and returns at once. What is wrong with the request itself is answered here;
     * what goes wrong later is in the outcome.
     * </pre>
     */
    public dev.imgd.v1.StartTransferResponse startTransfer(dev.imgd.v1.StartTransferRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStartTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Watches a transfer, in any state, any number of times: a snapshot, updates, one `finished`, OK.
     * When the daemon stops, ends UNAVAILABLE / SHUTTING_DOWN with RetryInfo; attach again then.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.WatchTransferResponse>
        watchTransfer(dev.imgd.v1.WatchTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a transfer's record.
     * </pre>
     */
    public dev.imgd.v1.GetTransferResponse getTransfer(dev.imgd.v1.GetTransferRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists transfers, newest first.
     * </pre>
     */
    public dev.imgd.v1.ListTransfersResponse listTransfers(dev.imgd.v1.ListTransfersRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListTransfersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Cancels a transfer and returns when it has ended. What it fetched stays for a while, so that a
     * later one goes on there. Others that share its work are not hurt. One that has ended stays as
     * it is. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.CancelTransferResponse cancelTransfer(dev.imgd.v1.CancelTransferRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCancelTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Runs an interrupted, failed or cancelled transfer again, with what is already here.
     * </pre>
     */
    public dev.imgd.v1.ResumeTransferResponse resumeTransfer(dev.imgd.v1.ResumeTransferRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResumeTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Forgets the record of a transfer that has ended (TRANSFER_STATE while it runs), and lets go of
     * what it left unfinished.
     * </pre>
     */
    public dev.imgd.v1.DeleteTransferResponse deleteTransfer(dev.imgd.v1.DeleteTransferRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Pulls and watches in one call, for simple callers. Leaving it cancels this pull, resumably,
     * unless `detach` is set; others that pull the same are not hurt.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.PullResponse>
        pull(dev.imgd.v1.PullRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getPullMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Pushes and watches in one call. Leaving it cancels, as with Pull.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.PushResponse>
        push(dev.imgd.v1.PushRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getPushMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service TransferService.
   * <pre>
   * Moves images between registries, the store, archives and directories.
   * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
   * speaks of the watching alone.
   * </pre>
   */
  public static final class TransferServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<TransferServiceBlockingStub> {
    private TransferServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TransferServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TransferServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Accepts a transfer and returns at once. What is wrong with the request itself is answered here;
     * what goes wrong later is in the outcome.
     * </pre>
     */
    public dev.imgd.v1.StartTransferResponse startTransfer(dev.imgd.v1.StartTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStartTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Watches a transfer, in any state, any number of times: a snapshot, updates, one `finished`, OK.
     * When the daemon stops, ends UNAVAILABLE / SHUTTING_DOWN with RetryInfo; attach again then.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.WatchTransferResponse> watchTransfer(
        dev.imgd.v1.WatchTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a transfer's record.
     * </pre>
     */
    public dev.imgd.v1.GetTransferResponse getTransfer(dev.imgd.v1.GetTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists transfers, newest first.
     * </pre>
     */
    public dev.imgd.v1.ListTransfersResponse listTransfers(dev.imgd.v1.ListTransfersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListTransfersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Cancels a transfer and returns when it has ended. What it fetched stays for a while, so that a
     * later one goes on there. Others that share its work are not hurt. One that has ended stays as
     * it is. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.CancelTransferResponse cancelTransfer(dev.imgd.v1.CancelTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCancelTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Runs an interrupted, failed or cancelled transfer again, with what is already here.
     * </pre>
     */
    public dev.imgd.v1.ResumeTransferResponse resumeTransfer(dev.imgd.v1.ResumeTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResumeTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Forgets the record of a transfer that has ended (TRANSFER_STATE while it runs), and lets go of
     * what it left unfinished.
     * </pre>
     */
    public dev.imgd.v1.DeleteTransferResponse deleteTransfer(dev.imgd.v1.DeleteTransferRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteTransferMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Pulls and watches in one call, for simple callers. Leaving it cancels this pull, resumably,
     * unless `detach` is set; others that pull the same are not hurt.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.PullResponse> pull(
        dev.imgd.v1.PullRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getPullMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Pushes and watches in one call. Leaving it cancels, as with Pull.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.PushResponse> push(
        dev.imgd.v1.PushRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getPushMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service TransferService.
   * <pre>
   * Moves images between registries, the store, archives and directories.
   * A transfer that fails is no failed call: its failure is in its outcome. The status of a watch
   * speaks of the watching alone.
   * </pre>
   */
  public static final class TransferServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<TransferServiceFutureStub> {
    private TransferServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected TransferServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new TransferServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Accepts a transfer and returns at once. What is wrong with the request itself is answered here;
     * what goes wrong later is in the outcome.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.StartTransferResponse> startTransfer(
        dev.imgd.v1.StartTransferRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStartTransferMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns a transfer's record.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetTransferResponse> getTransfer(
        dev.imgd.v1.GetTransferRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetTransferMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists transfers, newest first.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListTransfersResponse> listTransfers(
        dev.imgd.v1.ListTransfersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListTransfersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Cancels a transfer and returns when it has ended. What it fetched stays for a while, so that a
     * later one goes on there. Others that share its work are not hurt. One that has ended stays as
     * it is. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.CancelTransferResponse> cancelTransfer(
        dev.imgd.v1.CancelTransferRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCancelTransferMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Runs an interrupted, failed or cancelled transfer again, with what is already here.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ResumeTransferResponse> resumeTransfer(
        dev.imgd.v1.ResumeTransferRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResumeTransferMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Forgets the record of a transfer that has ended (TRANSFER_STATE while it runs), and lets go of
     * what it left unfinished.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.DeleteTransferResponse> deleteTransfer(
        dev.imgd.v1.DeleteTransferRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteTransferMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_START_TRANSFER = 0;
  private static final int METHODID_WATCH_TRANSFER = 1;
  private static final int METHODID_GET_TRANSFER = 2;
  private static final int METHODID_LIST_TRANSFERS = 3;
  private static final int METHODID_CANCEL_TRANSFER = 4;
  private static final int METHODID_RESUME_TRANSFER = 5;
  private static final int METHODID_DELETE_TRANSFER = 6;
  private static final int METHODID_PULL = 7;
  private static final int METHODID_PUSH = 8;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_START_TRANSFER:
          serviceImpl.startTransfer((dev.imgd.v1.StartTransferRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.StartTransferResponse>) responseObserver);
          break;
        case METHODID_WATCH_TRANSFER:
          serviceImpl.watchTransfer((dev.imgd.v1.WatchTransferRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.WatchTransferResponse>) responseObserver);
          break;
        case METHODID_GET_TRANSFER:
          serviceImpl.getTransfer((dev.imgd.v1.GetTransferRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetTransferResponse>) responseObserver);
          break;
        case METHODID_LIST_TRANSFERS:
          serviceImpl.listTransfers((dev.imgd.v1.ListTransfersRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListTransfersResponse>) responseObserver);
          break;
        case METHODID_CANCEL_TRANSFER:
          serviceImpl.cancelTransfer((dev.imgd.v1.CancelTransferRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CancelTransferResponse>) responseObserver);
          break;
        case METHODID_RESUME_TRANSFER:
          serviceImpl.resumeTransfer((dev.imgd.v1.ResumeTransferRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ResumeTransferResponse>) responseObserver);
          break;
        case METHODID_DELETE_TRANSFER:
          serviceImpl.deleteTransfer((dev.imgd.v1.DeleteTransferRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.DeleteTransferResponse>) responseObserver);
          break;
        case METHODID_PULL:
          serviceImpl.pull((dev.imgd.v1.PullRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.PullResponse>) responseObserver);
          break;
        case METHODID_PUSH:
          serviceImpl.push((dev.imgd.v1.PushRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.PushResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getStartTransferMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.StartTransferRequest,
              dev.imgd.v1.StartTransferResponse>(
                service, METHODID_START_TRANSFER)))
        .addMethod(
          getWatchTransferMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.WatchTransferRequest,
              dev.imgd.v1.WatchTransferResponse>(
                service, METHODID_WATCH_TRANSFER)))
        .addMethod(
          getGetTransferMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetTransferRequest,
              dev.imgd.v1.GetTransferResponse>(
                service, METHODID_GET_TRANSFER)))
        .addMethod(
          getListTransfersMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListTransfersRequest,
              dev.imgd.v1.ListTransfersResponse>(
                service, METHODID_LIST_TRANSFERS)))
        .addMethod(
          getCancelTransferMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.CancelTransferRequest,
              dev.imgd.v1.CancelTransferResponse>(
                service, METHODID_CANCEL_TRANSFER)))
        .addMethod(
          getResumeTransferMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ResumeTransferRequest,
              dev.imgd.v1.ResumeTransferResponse>(
                service, METHODID_RESUME_TRANSFER)))
        .addMethod(
          getDeleteTransferMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.DeleteTransferRequest,
              dev.imgd.v1.DeleteTransferResponse>(
                service, METHODID_DELETE_TRANSFER)))
        .addMethod(
          getPullMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.PullRequest,
              dev.imgd.v1.PullResponse>(
                service, METHODID_PULL)))
        .addMethod(
          getPushMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.PushRequest,
              dev.imgd.v1.PushResponse>(
                service, METHODID_PUSH)))
        .build();
  }

  private static abstract class TransferServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    TransferServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.TransferServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("TransferService");
    }
  }

  private static final class TransferServiceFileDescriptorSupplier
      extends TransferServiceBaseDescriptorSupplier {
    TransferServiceFileDescriptorSupplier() {}
  }

  private static final class TransferServiceMethodDescriptorSupplier
      extends TransferServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    TransferServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (TransferServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new TransferServiceFileDescriptorSupplier())
              .addMethod(getStartTransferMethod())
              .addMethod(getWatchTransferMethod())
              .addMethod(getGetTransferMethod())
              .addMethod(getListTransfersMethod())
              .addMethod(getCancelTransferMethod())
              .addMethod(getResumeTransferMethod())
              .addMethod(getDeleteTransferMethod())
              .addMethod(getPullMethod())
              .addMethod(getPushMethod())
              .build();
        }
      }
    }
    return result;
  }
}
