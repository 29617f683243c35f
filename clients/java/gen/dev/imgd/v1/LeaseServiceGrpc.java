package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Leases.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class LeaseServiceGrpc {

  private LeaseServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.LeaseService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CreateLeaseRequest,
      dev.imgd.v1.CreateLeaseResponse> getCreateLeaseMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateLease",
      requestType = dev.imgd.v1.CreateLeaseRequest.class,
      responseType = dev.imgd.v1.CreateLeaseResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CreateLeaseRequest,
      dev.imgd.v1.CreateLeaseResponse> getCreateLeaseMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CreateLeaseRequest, dev.imgd.v1.CreateLeaseResponse> getCreateLeaseMethod;
    if ((getCreateLeaseMethod = LeaseServiceGrpc.getCreateLeaseMethod) == null) {
      synchronized (LeaseServiceGrpc.class) {
        if ((getCreateLeaseMethod = LeaseServiceGrpc.getCreateLeaseMethod) == null) {
          LeaseServiceGrpc.getCreateLeaseMethod = getCreateLeaseMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CreateLeaseRequest, dev.imgd.v1.CreateLeaseResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateLease"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CreateLeaseRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CreateLeaseResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LeaseServiceMethodDescriptorSupplier("CreateLease"))
              .build();
        }
      }
    }
    return getCreateLeaseMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetLeaseRequest,
      dev.imgd.v1.GetLeaseResponse> getGetLeaseMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetLease",
      requestType = dev.imgd.v1.GetLeaseRequest.class,
      responseType = dev.imgd.v1.GetLeaseResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetLeaseRequest,
      dev.imgd.v1.GetLeaseResponse> getGetLeaseMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetLeaseRequest, dev.imgd.v1.GetLeaseResponse> getGetLeaseMethod;
    if ((getGetLeaseMethod = LeaseServiceGrpc.getGetLeaseMethod) == null) {
      synchronized (LeaseServiceGrpc.class) {
        if ((getGetLeaseMethod = LeaseServiceGrpc.getGetLeaseMethod) == null) {
          LeaseServiceGrpc.getGetLeaseMethod = getGetLeaseMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetLeaseRequest, dev.imgd.v1.GetLeaseResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetLease"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetLeaseRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetLeaseResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LeaseServiceMethodDescriptorSupplier("GetLease"))
              .build();
        }
      }
    }
    return getGetLeaseMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListLeasesRequest,
      dev.imgd.v1.ListLeasesResponse> getListLeasesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListLeases",
      requestType = dev.imgd.v1.ListLeasesRequest.class,
      responseType = dev.imgd.v1.ListLeasesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListLeasesRequest,
      dev.imgd.v1.ListLeasesResponse> getListLeasesMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListLeasesRequest, dev.imgd.v1.ListLeasesResponse> getListLeasesMethod;
    if ((getListLeasesMethod = LeaseServiceGrpc.getListLeasesMethod) == null) {
      synchronized (LeaseServiceGrpc.class) {
        if ((getListLeasesMethod = LeaseServiceGrpc.getListLeasesMethod) == null) {
          LeaseServiceGrpc.getListLeasesMethod = getListLeasesMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListLeasesRequest, dev.imgd.v1.ListLeasesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListLeases"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListLeasesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListLeasesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LeaseServiceMethodDescriptorSupplier("ListLeases"))
              .build();
        }
      }
    }
    return getListLeasesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.RenewLeaseRequest,
      dev.imgd.v1.RenewLeaseResponse> getRenewLeaseMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RenewLease",
      requestType = dev.imgd.v1.RenewLeaseRequest.class,
      responseType = dev.imgd.v1.RenewLeaseResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.RenewLeaseRequest,
      dev.imgd.v1.RenewLeaseResponse> getRenewLeaseMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.RenewLeaseRequest, dev.imgd.v1.RenewLeaseResponse> getRenewLeaseMethod;
    if ((getRenewLeaseMethod = LeaseServiceGrpc.getRenewLeaseMethod) == null) {
      synchronized (LeaseServiceGrpc.class) {
        if ((getRenewLeaseMethod = LeaseServiceGrpc.getRenewLeaseMethod) == null) {
          LeaseServiceGrpc.getRenewLeaseMethod = getRenewLeaseMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.RenewLeaseRequest, dev.imgd.v1.RenewLeaseResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RenewLease"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.RenewLeaseRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.RenewLeaseResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LeaseServiceMethodDescriptorSupplier("RenewLease"))
              .build();
        }
      }
    }
    return getRenewLeaseMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.DeleteLeaseRequest,
      dev.imgd.v1.DeleteLeaseResponse> getDeleteLeaseMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteLease",
      requestType = dev.imgd.v1.DeleteLeaseRequest.class,
      responseType = dev.imgd.v1.DeleteLeaseResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.DeleteLeaseRequest,
      dev.imgd.v1.DeleteLeaseResponse> getDeleteLeaseMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.DeleteLeaseRequest, dev.imgd.v1.DeleteLeaseResponse> getDeleteLeaseMethod;
    if ((getDeleteLeaseMethod = LeaseServiceGrpc.getDeleteLeaseMethod) == null) {
      synchronized (LeaseServiceGrpc.class) {
        if ((getDeleteLeaseMethod = LeaseServiceGrpc.getDeleteLeaseMethod) == null) {
          LeaseServiceGrpc.getDeleteLeaseMethod = getDeleteLeaseMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.DeleteLeaseRequest, dev.imgd.v1.DeleteLeaseResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteLease"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.DeleteLeaseRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.DeleteLeaseResponse.getDefaultInstance()))
              .setSchemaDescriptor(new LeaseServiceMethodDescriptorSupplier("DeleteLease"))
              .build();
        }
      }
    }
    return getDeleteLeaseMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static LeaseServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LeaseServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LeaseServiceStub>() {
        @java.lang.Override
        public LeaseServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LeaseServiceStub(channel, callOptions);
        }
      };
    return LeaseServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static LeaseServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LeaseServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LeaseServiceBlockingV2Stub>() {
        @java.lang.Override
        public LeaseServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LeaseServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return LeaseServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static LeaseServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LeaseServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LeaseServiceBlockingStub>() {
        @java.lang.Override
        public LeaseServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LeaseServiceBlockingStub(channel, callOptions);
        }
      };
    return LeaseServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static LeaseServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<LeaseServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<LeaseServiceFutureStub>() {
        @java.lang.Override
        public LeaseServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new LeaseServiceFutureStub(channel, callOptions);
        }
      };
    return LeaseServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Leases.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Takes a lease.
     * </pre>
     */
    default void createLease(dev.imgd.v1.CreateLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CreateLeaseResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateLeaseMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns a lease.
     * </pre>
     */
    default void getLease(dev.imgd.v1.GetLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetLeaseResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetLeaseMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists leases in the order of their names.
     * </pre>
     */
    default void listLeases(dev.imgd.v1.ListLeasesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListLeasesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListLeasesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Sets a lease's time anew, from now on.
     * </pre>
     */
    default void renewLease(dev.imgd.v1.RenewLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.RenewLeaseResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRenewLeaseMethod(), responseObserver);
    }

    /**
     * <pre>
     * Gives a lease back. Idempotent.
     * </pre>
     */
    default void deleteLease(dev.imgd.v1.DeleteLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.DeleteLeaseResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteLeaseMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service LeaseService.
   * <pre>
   * Leases.
   * </pre>
   */
  public static abstract class LeaseServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return LeaseServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service LeaseService.
   * <pre>
   * Leases.
   * </pre>
   */
  public static final class LeaseServiceStub
      extends io.grpc.stub.AbstractAsyncStub<LeaseServiceStub> {
    private LeaseServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LeaseServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LeaseServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Takes a lease.
     * </pre>
     */
    public void createLease(dev.imgd.v1.CreateLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CreateLeaseResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateLeaseMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns a lease.
     * </pre>
     */
    public void getLease(dev.imgd.v1.GetLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetLeaseResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetLeaseMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists leases in the order of their names.
     * </pre>
     */
    public void listLeases(dev.imgd.v1.ListLeasesRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListLeasesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListLeasesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Sets a lease's time anew, from now on.
     * </pre>
     */
    public void renewLease(dev.imgd.v1.RenewLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.RenewLeaseResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRenewLeaseMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Gives a lease back. Idempotent.
     * </pre>
     */
    public void deleteLease(dev.imgd.v1.DeleteLeaseRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.DeleteLeaseResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteLeaseMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service LeaseService.
   * <pre>
   * Leases.
   * </pre>
   */
  public static final class LeaseServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<LeaseServiceBlockingV2Stub> {
    private LeaseServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LeaseServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LeaseServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Takes a lease.
     * </pre>
     */
    public dev.imgd.v1.CreateLeaseResponse createLease(dev.imgd.v1.CreateLeaseRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateLeaseMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a lease.
     * </pre>
     */
    public dev.imgd.v1.GetLeaseResponse getLease(dev.imgd.v1.GetLeaseRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetLeaseMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists leases in the order of their names.
     * </pre>
     */
    public dev.imgd.v1.ListLeasesResponse listLeases(dev.imgd.v1.ListLeasesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListLeasesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sets a lease's time anew, from now on.
     * </pre>
     */
    public dev.imgd.v1.RenewLeaseResponse renewLease(dev.imgd.v1.RenewLeaseRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRenewLeaseMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives a lease back. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.DeleteLeaseResponse deleteLease(dev.imgd.v1.DeleteLeaseRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteLeaseMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service LeaseService.
   * <pre>
   * Leases.
   * </pre>
   */
  public static final class LeaseServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<LeaseServiceBlockingStub> {
    private LeaseServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LeaseServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LeaseServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Takes a lease.
     * </pre>
     */
    public dev.imgd.v1.CreateLeaseResponse createLease(dev.imgd.v1.CreateLeaseRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateLeaseMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a lease.
     * </pre>
     */
    public dev.imgd.v1.GetLeaseResponse getLease(dev.imgd.v1.GetLeaseRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetLeaseMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists leases in the order of their names.
     * </pre>
     */
    public dev.imgd.v1.ListLeasesResponse listLeases(dev.imgd.v1.ListLeasesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListLeasesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sets a lease's time anew, from now on.
     * </pre>
     */
    public dev.imgd.v1.RenewLeaseResponse renewLease(dev.imgd.v1.RenewLeaseRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRenewLeaseMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives a lease back. Idempotent.
     * </pre>
     */
    public dev.imgd.v1.DeleteLeaseResponse deleteLease(dev.imgd.v1.DeleteLeaseRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteLeaseMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service LeaseService.
   * <pre>
   * Leases.
   * </pre>
   */
  public static final class LeaseServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<LeaseServiceFutureStub> {
    private LeaseServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected LeaseServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new LeaseServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Takes a lease.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.CreateLeaseResponse> createLease(
        dev.imgd.v1.CreateLeaseRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateLeaseMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns a lease.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetLeaseResponse> getLease(
        dev.imgd.v1.GetLeaseRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetLeaseMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists leases in the order of their names.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListLeasesResponse> listLeases(
        dev.imgd.v1.ListLeasesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListLeasesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Sets a lease's time anew, from now on.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.RenewLeaseResponse> renewLease(
        dev.imgd.v1.RenewLeaseRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRenewLeaseMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Gives a lease back. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.DeleteLeaseResponse> deleteLease(
        dev.imgd.v1.DeleteLeaseRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteLeaseMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_CREATE_LEASE = 0;
  private static final int METHODID_GET_LEASE = 1;
  private static final int METHODID_LIST_LEASES = 2;
  private static final int METHODID_RENEW_LEASE = 3;
  private static final int METHODID_DELETE_LEASE = 4;

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
        case METHODID_CREATE_LEASE:
          serviceImpl.createLease((dev.imgd.v1.CreateLeaseRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CreateLeaseResponse>) responseObserver);
          break;
        case METHODID_GET_LEASE:
          serviceImpl.getLease((dev.imgd.v1.GetLeaseRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetLeaseResponse>) responseObserver);
          break;
        case METHODID_LIST_LEASES:
          serviceImpl.listLeases((dev.imgd.v1.ListLeasesRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListLeasesResponse>) responseObserver);
          break;
        case METHODID_RENEW_LEASE:
          serviceImpl.renewLease((dev.imgd.v1.RenewLeaseRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.RenewLeaseResponse>) responseObserver);
          break;
        case METHODID_DELETE_LEASE:
          serviceImpl.deleteLease((dev.imgd.v1.DeleteLeaseRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.DeleteLeaseResponse>) responseObserver);
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
          getCreateLeaseMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.CreateLeaseRequest,
              dev.imgd.v1.CreateLeaseResponse>(
                service, METHODID_CREATE_LEASE)))
        .addMethod(
          getGetLeaseMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetLeaseRequest,
              dev.imgd.v1.GetLeaseResponse>(
                service, METHODID_GET_LEASE)))
        .addMethod(
          getListLeasesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListLeasesRequest,
              dev.imgd.v1.ListLeasesResponse>(
                service, METHODID_LIST_LEASES)))
        .addMethod(
          getRenewLeaseMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.RenewLeaseRequest,
              dev.imgd.v1.RenewLeaseResponse>(
                service, METHODID_RENEW_LEASE)))
        .addMethod(
          getDeleteLeaseMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.DeleteLeaseRequest,
              dev.imgd.v1.DeleteLeaseResponse>(
                service, METHODID_DELETE_LEASE)))
        .build();
  }

  private static abstract class LeaseServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    LeaseServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.LeaseServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("LeaseService");
    }
  }

  private static final class LeaseServiceFileDescriptorSupplier
      extends LeaseServiceBaseDescriptorSupplier {
    LeaseServiceFileDescriptorSupplier() {}
  }

  private static final class LeaseServiceMethodDescriptorSupplier
      extends LeaseServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    LeaseServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (LeaseServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new LeaseServiceFileDescriptorSupplier())
              .addMethod(getCreateLeaseMethod())
              .addMethod(getGetLeaseMethod())
              .addMethod(getListLeasesMethod())
              .addMethod(getRenewLeaseMethod())
              .addMethod(getDeleteLeaseMethod())
              .build();
        }
      }
    }
    return result;
  }
}
