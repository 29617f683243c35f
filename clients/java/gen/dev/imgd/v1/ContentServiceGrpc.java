package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Content by digest: manifests, configs, layers and whatever artifacts hold.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ContentServiceGrpc {

  private ContentServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.ContentService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetBlobRequest,
      dev.imgd.v1.GetBlobResponse> getGetBlobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetBlob",
      requestType = dev.imgd.v1.GetBlobRequest.class,
      responseType = dev.imgd.v1.GetBlobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetBlobRequest,
      dev.imgd.v1.GetBlobResponse> getGetBlobMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetBlobRequest, dev.imgd.v1.GetBlobResponse> getGetBlobMethod;
    if ((getGetBlobMethod = ContentServiceGrpc.getGetBlobMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getGetBlobMethod = ContentServiceGrpc.getGetBlobMethod) == null) {
          ContentServiceGrpc.getGetBlobMethod = getGetBlobMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetBlobRequest, dev.imgd.v1.GetBlobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetBlob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetBlobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetBlobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("GetBlob"))
              .build();
        }
      }
    }
    return getGetBlobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListBlobsRequest,
      dev.imgd.v1.ListBlobsResponse> getListBlobsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListBlobs",
      requestType = dev.imgd.v1.ListBlobsRequest.class,
      responseType = dev.imgd.v1.ListBlobsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListBlobsRequest,
      dev.imgd.v1.ListBlobsResponse> getListBlobsMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListBlobsRequest, dev.imgd.v1.ListBlobsResponse> getListBlobsMethod;
    if ((getListBlobsMethod = ContentServiceGrpc.getListBlobsMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getListBlobsMethod = ContentServiceGrpc.getListBlobsMethod) == null) {
          ContentServiceGrpc.getListBlobsMethod = getListBlobsMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListBlobsRequest, dev.imgd.v1.ListBlobsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListBlobs"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListBlobsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListBlobsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("ListBlobs"))
              .build();
        }
      }
    }
    return getListBlobsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ReadBlobRequest,
      dev.imgd.v1.ReadBlobResponse> getReadBlobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadBlob",
      requestType = dev.imgd.v1.ReadBlobRequest.class,
      responseType = dev.imgd.v1.ReadBlobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ReadBlobRequest,
      dev.imgd.v1.ReadBlobResponse> getReadBlobMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ReadBlobRequest, dev.imgd.v1.ReadBlobResponse> getReadBlobMethod;
    if ((getReadBlobMethod = ContentServiceGrpc.getReadBlobMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getReadBlobMethod = ContentServiceGrpc.getReadBlobMethod) == null) {
          ContentServiceGrpc.getReadBlobMethod = getReadBlobMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ReadBlobRequest, dev.imgd.v1.ReadBlobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadBlob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ReadBlobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ReadBlobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("ReadBlob"))
              .build();
        }
      }
    }
    return getReadBlobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.StartUploadRequest,
      dev.imgd.v1.StartUploadResponse> getStartUploadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StartUpload",
      requestType = dev.imgd.v1.StartUploadRequest.class,
      responseType = dev.imgd.v1.StartUploadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.StartUploadRequest,
      dev.imgd.v1.StartUploadResponse> getStartUploadMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.StartUploadRequest, dev.imgd.v1.StartUploadResponse> getStartUploadMethod;
    if ((getStartUploadMethod = ContentServiceGrpc.getStartUploadMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getStartUploadMethod = ContentServiceGrpc.getStartUploadMethod) == null) {
          ContentServiceGrpc.getStartUploadMethod = getStartUploadMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.StartUploadRequest, dev.imgd.v1.StartUploadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StartUpload"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StartUploadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StartUploadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("StartUpload"))
              .build();
        }
      }
    }
    return getStartUploadMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.WriteBlobRequest,
      dev.imgd.v1.WriteBlobResponse> getWriteBlobMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WriteBlob",
      requestType = dev.imgd.v1.WriteBlobRequest.class,
      responseType = dev.imgd.v1.WriteBlobResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.WriteBlobRequest,
      dev.imgd.v1.WriteBlobResponse> getWriteBlobMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.WriteBlobRequest, dev.imgd.v1.WriteBlobResponse> getWriteBlobMethod;
    if ((getWriteBlobMethod = ContentServiceGrpc.getWriteBlobMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getWriteBlobMethod = ContentServiceGrpc.getWriteBlobMethod) == null) {
          ContentServiceGrpc.getWriteBlobMethod = getWriteBlobMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.WriteBlobRequest, dev.imgd.v1.WriteBlobResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WriteBlob"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.WriteBlobRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.WriteBlobResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("WriteBlob"))
              .build();
        }
      }
    }
    return getWriteBlobMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetUploadRequest,
      dev.imgd.v1.GetUploadResponse> getGetUploadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetUpload",
      requestType = dev.imgd.v1.GetUploadRequest.class,
      responseType = dev.imgd.v1.GetUploadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetUploadRequest,
      dev.imgd.v1.GetUploadResponse> getGetUploadMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetUploadRequest, dev.imgd.v1.GetUploadResponse> getGetUploadMethod;
    if ((getGetUploadMethod = ContentServiceGrpc.getGetUploadMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getGetUploadMethod = ContentServiceGrpc.getGetUploadMethod) == null) {
          ContentServiceGrpc.getGetUploadMethod = getGetUploadMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetUploadRequest, dev.imgd.v1.GetUploadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetUpload"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetUploadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetUploadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("GetUpload"))
              .build();
        }
      }
    }
    return getGetUploadMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.AbortUploadRequest,
      dev.imgd.v1.AbortUploadResponse> getAbortUploadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "AbortUpload",
      requestType = dev.imgd.v1.AbortUploadRequest.class,
      responseType = dev.imgd.v1.AbortUploadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.AbortUploadRequest,
      dev.imgd.v1.AbortUploadResponse> getAbortUploadMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.AbortUploadRequest, dev.imgd.v1.AbortUploadResponse> getAbortUploadMethod;
    if ((getAbortUploadMethod = ContentServiceGrpc.getAbortUploadMethod) == null) {
      synchronized (ContentServiceGrpc.class) {
        if ((getAbortUploadMethod = ContentServiceGrpc.getAbortUploadMethod) == null) {
          ContentServiceGrpc.getAbortUploadMethod = getAbortUploadMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.AbortUploadRequest, dev.imgd.v1.AbortUploadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "AbortUpload"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.AbortUploadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.AbortUploadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContentServiceMethodDescriptorSupplier("AbortUpload"))
              .build();
        }
      }
    }
    return getAbortUploadMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ContentServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContentServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContentServiceStub>() {
        @java.lang.Override
        public ContentServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContentServiceStub(channel, callOptions);
        }
      };
    return ContentServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ContentServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContentServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContentServiceBlockingV2Stub>() {
        @java.lang.Override
        public ContentServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContentServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ContentServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ContentServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContentServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContentServiceBlockingStub>() {
        @java.lang.Override
        public ContentServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContentServiceBlockingStub(channel, callOptions);
        }
      };
    return ContentServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ContentServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContentServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContentServiceFutureStub>() {
        @java.lang.Override
        public ContentServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContentServiceFutureStub(channel, callOptions);
        }
      };
    return ContentServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Content by digest: manifests, configs, layers and whatever artifacts hold.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Returns a blob's size and times. NOT_FOUND / BLOB_NOT_FOUND when it is not stored.
     * </pre>
     */
    default void getBlob(dev.imgd.v1.GetBlobRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetBlobResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetBlobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists blobs in the order of their digests.
     * </pre>
     */
    default void listBlobs(dev.imgd.v1.ListBlobsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListBlobsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListBlobsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams a blob, or a range of it.
     * </pre>
     */
    default void readBlob(dev.imgd.v1.ReadBlobRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ReadBlobResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadBlobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Starts or continues an upload; says so when the blob is already here.
     * </pre>
     */
    default void startUpload(dev.imgd.v1.StartUploadRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StartUploadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStartUploadMethod(), responseObserver);
    }

    /**
     * <pre>
     * Writes an upload. The first message names it; each one carries its absolute offset. The blob
     * appears when `finish` arrives, its size and digest fit, and it is durable; the answer comes
     * after that. A broken stream leaves the upload where it was.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.imgd.v1.WriteBlobRequest> writeBlob(
        io.grpc.stub.StreamObserver<dev.imgd.v1.WriteBlobResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getWriteBlobMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns an upload: where to continue.
     * </pre>
     */
    default void getUpload(dev.imgd.v1.GetUploadRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetUploadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetUploadMethod(), responseObserver);
    }

    /**
     * <pre>
     * Gives an upload up. Idempotent.
     * </pre>
     */
    default void abortUpload(dev.imgd.v1.AbortUploadRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.AbortUploadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAbortUploadMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ContentService.
   * <pre>
   * Content by digest: manifests, configs, layers and whatever artifacts hold.
   * </pre>
   */
  public static abstract class ContentServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ContentServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ContentService.
   * <pre>
   * Content by digest: manifests, configs, layers and whatever artifacts hold.
   * </pre>
   */
  public static final class ContentServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ContentServiceStub> {
    private ContentServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContentServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContentServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns a blob's size and times. NOT_FOUND / BLOB_NOT_FOUND when it is not stored.
     * </pre>
     */
    public void getBlob(dev.imgd.v1.GetBlobRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetBlobResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetBlobMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists blobs in the order of their digests.
     * </pre>
     */
    public void listBlobs(dev.imgd.v1.ListBlobsRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListBlobsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListBlobsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams a blob, or a range of it.
     * </pre>
     */
    public void readBlob(dev.imgd.v1.ReadBlobRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ReadBlobResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getReadBlobMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Starts or continues an upload; says so when the blob is already here.
     * </pre>
     */
    public void startUpload(dev.imgd.v1.StartUploadRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StartUploadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStartUploadMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Writes an upload. The first message names it; each one carries its absolute offset. The blob
     * appears when `finish` arrives, its size and digest fit, and it is durable; the answer comes
     * after that. A broken stream leaves the upload where it was.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.imgd.v1.WriteBlobRequest> writeBlob(
        io.grpc.stub.StreamObserver<dev.imgd.v1.WriteBlobResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getWriteBlobMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Returns an upload: where to continue.
     * </pre>
     */
    public void getUpload(dev.imgd.v1.GetUploadRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetUploadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetUploadMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Gives an upload up. Idempotent.
     * </pre>
     */
    public void abortUpload(dev.imgd.v1.AbortUploadRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.AbortUploadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAbortUploadMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ContentService.
   * <pre>
   * Content by digest: manifests, configs, layers and whatever artifacts hold.
   * </pre>
   */
  public static final class ContentServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ContentServiceBlockingV2Stub> {
    private ContentServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContentServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContentServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns a blob's size and times. NOT_FOUND / BLOB_NOT_FOUND when it is not stored.
     * </pre>
     */
    public dev.imgd.v1.GetBlobResponse getBlob(dev.imgd.v1.GetBlobRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetBlobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists blobs in the order of their digests.
     * </pre>
     */
    public dev.imgd.v1.ListBlobsResponse listBlobs(dev.imgd.v1.ListBlobsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListBlobsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a blob, or a range of it.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.ReadBlobResponse>
        readBlob(dev.imgd.v1.ReadBlobRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getReadBlobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Starts or continues an upload; says so when the blob is already here.
     * </pre>
     */
    public dev.imgd.v1.StartUploadResponse startUpload(dev.imgd.v1.StartUploadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStartUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Writes an upload. The first message names it; each one carries its absolute offset. The blob
     * appears when `finish` arrives, its size and digest fit, and it is durable; the answer comes
     * after that. A broken stream leaves the upload where it was.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.imgd.v1.WriteBlobRequest, dev.imgd.v1.WriteBlobResponse>
        writeBlob() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getWriteBlobMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Returns an upload: where to continue.
     * </pre>
     */
    public dev.imgd.v1.GetUploadResponse getUpload(dev.imgd.v1.GetUploadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives an upload up. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.AbortUploadResponse abortUpload(dev.imgd.v1.AbortUploadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAbortUploadMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ContentService.
   * <pre>
   * Content by digest: manifests, configs, layers and whatever artifacts hold.
   * </pre>
   */
  public static final class ContentServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ContentServiceBlockingStub> {
    private ContentServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContentServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContentServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns a blob's size and times. NOT_FOUND / BLOB_NOT_FOUND when it is not stored.
     * </pre>
     */
    public dev.imgd.v1.GetBlobResponse getBlob(dev.imgd.v1.GetBlobRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetBlobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists blobs in the order of their digests.
     * </pre>
     */
    public dev.imgd.v1.ListBlobsResponse listBlobs(dev.imgd.v1.ListBlobsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListBlobsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams a blob, or a range of it.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.ReadBlobResponse> readBlob(
        dev.imgd.v1.ReadBlobRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getReadBlobMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Starts or continues an upload; says so when the blob is already here.
     * </pre>
     */
    public dev.imgd.v1.StartUploadResponse startUpload(dev.imgd.v1.StartUploadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStartUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns an upload: where to continue.
     * </pre>
     */
    public dev.imgd.v1.GetUploadResponse getUpload(dev.imgd.v1.GetUploadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives an upload up. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.AbortUploadResponse abortUpload(dev.imgd.v1.AbortUploadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAbortUploadMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ContentService.
   * <pre>
   * Content by digest: manifests, configs, layers and whatever artifacts hold.
   * </pre>
   */
  public static final class ContentServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ContentServiceFutureStub> {
    private ContentServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContentServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContentServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns a blob's size and times. NOT_FOUND / BLOB_NOT_FOUND when it is not stored.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetBlobResponse> getBlob(
        dev.imgd.v1.GetBlobRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetBlobMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists blobs in the order of their digests.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListBlobsResponse> listBlobs(
        dev.imgd.v1.ListBlobsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListBlobsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Starts or continues an upload; says so when the blob is already here.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.StartUploadResponse> startUpload(
        dev.imgd.v1.StartUploadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStartUploadMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns an upload: where to continue.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetUploadResponse> getUpload(
        dev.imgd.v1.GetUploadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetUploadMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Gives an upload up. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.AbortUploadResponse> abortUpload(
        dev.imgd.v1.AbortUploadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAbortUploadMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_BLOB = 0;
  private static final int METHODID_LIST_BLOBS = 1;
  private static final int METHODID_READ_BLOB = 2;
  private static final int METHODID_START_UPLOAD = 3;
  private static final int METHODID_GET_UPLOAD = 4;
  private static final int METHODID_ABORT_UPLOAD = 5;
  private static final int METHODID_WRITE_BLOB = 6;

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
        case METHODID_GET_BLOB:
          serviceImpl.getBlob((dev.imgd.v1.GetBlobRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetBlobResponse>) responseObserver);
          break;
        case METHODID_LIST_BLOBS:
          serviceImpl.listBlobs((dev.imgd.v1.ListBlobsRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListBlobsResponse>) responseObserver);
          break;
        case METHODID_READ_BLOB:
          serviceImpl.readBlob((dev.imgd.v1.ReadBlobRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ReadBlobResponse>) responseObserver);
          break;
        case METHODID_START_UPLOAD:
          serviceImpl.startUpload((dev.imgd.v1.StartUploadRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.StartUploadResponse>) responseObserver);
          break;
        case METHODID_GET_UPLOAD:
          serviceImpl.getUpload((dev.imgd.v1.GetUploadRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetUploadResponse>) responseObserver);
          break;
        case METHODID_ABORT_UPLOAD:
          serviceImpl.abortUpload((dev.imgd.v1.AbortUploadRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.AbortUploadResponse>) responseObserver);
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
        case METHODID_WRITE_BLOB:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.writeBlob(
              (io.grpc.stub.StreamObserver<dev.imgd.v1.WriteBlobResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getGetBlobMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetBlobRequest,
              dev.imgd.v1.GetBlobResponse>(
                service, METHODID_GET_BLOB)))
        .addMethod(
          getListBlobsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListBlobsRequest,
              dev.imgd.v1.ListBlobsResponse>(
                service, METHODID_LIST_BLOBS)))
        .addMethod(
          getReadBlobMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.ReadBlobRequest,
              dev.imgd.v1.ReadBlobResponse>(
                service, METHODID_READ_BLOB)))
        .addMethod(
          getStartUploadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.StartUploadRequest,
              dev.imgd.v1.StartUploadResponse>(
                service, METHODID_START_UPLOAD)))
        .addMethod(
          getWriteBlobMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.WriteBlobRequest,
              dev.imgd.v1.WriteBlobResponse>(
                service, METHODID_WRITE_BLOB)))
        .addMethod(
          getGetUploadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetUploadRequest,
              dev.imgd.v1.GetUploadResponse>(
                service, METHODID_GET_UPLOAD)))
        .addMethod(
          getAbortUploadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.AbortUploadRequest,
              dev.imgd.v1.AbortUploadResponse>(
                service, METHODID_ABORT_UPLOAD)))
        .build();
  }

  private static abstract class ContentServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ContentServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.ContentServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ContentService");
    }
  }

  private static final class ContentServiceFileDescriptorSupplier
      extends ContentServiceBaseDescriptorSupplier {
    ContentServiceFileDescriptorSupplier() {}
  }

  private static final class ContentServiceMethodDescriptorSupplier
      extends ContentServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ContentServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ContentServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ContentServiceFileDescriptorSupplier())
              .addMethod(getGetBlobMethod())
              .addMethod(getListBlobsMethod())
              .addMethod(getReadBlobMethod())
              .addMethod(getStartUploadMethod())
              .addMethod(getWriteBlobMethod())
              .addMethod(getGetUploadMethod())
              .addMethod(getAbortUploadMethod())
              .build();
        }
      }
    }
    return result;
  }
}
