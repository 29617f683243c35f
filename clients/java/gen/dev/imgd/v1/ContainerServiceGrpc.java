package dev.imgd.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Containers: what keeps an image from being removed.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ContainerServiceGrpc {

  private ContainerServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "imgd.v1.ContainerService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CreateContainerRequest,
      dev.imgd.v1.CreateContainerResponse> getCreateContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateContainer",
      requestType = dev.imgd.v1.CreateContainerRequest.class,
      responseType = dev.imgd.v1.CreateContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CreateContainerRequest,
      dev.imgd.v1.CreateContainerResponse> getCreateContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CreateContainerRequest, dev.imgd.v1.CreateContainerResponse> getCreateContainerMethod;
    if ((getCreateContainerMethod = ContainerServiceGrpc.getCreateContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getCreateContainerMethod = ContainerServiceGrpc.getCreateContainerMethod) == null) {
          ContainerServiceGrpc.getCreateContainerMethod = getCreateContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CreateContainerRequest, dev.imgd.v1.CreateContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CreateContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CreateContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("CreateContainer"))
              .build();
        }
      }
    }
    return getCreateContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.GetContainerRequest,
      dev.imgd.v1.GetContainerResponse> getGetContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetContainer",
      requestType = dev.imgd.v1.GetContainerRequest.class,
      responseType = dev.imgd.v1.GetContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.GetContainerRequest,
      dev.imgd.v1.GetContainerResponse> getGetContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.GetContainerRequest, dev.imgd.v1.GetContainerResponse> getGetContainerMethod;
    if ((getGetContainerMethod = ContainerServiceGrpc.getGetContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getGetContainerMethod = ContainerServiceGrpc.getGetContainerMethod) == null) {
          ContainerServiceGrpc.getGetContainerMethod = getGetContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.GetContainerRequest, dev.imgd.v1.GetContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.GetContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("GetContainer"))
              .build();
        }
      }
    }
    return getGetContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.ListContainersRequest,
      dev.imgd.v1.ListContainersResponse> getListContainersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListContainers",
      requestType = dev.imgd.v1.ListContainersRequest.class,
      responseType = dev.imgd.v1.ListContainersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.ListContainersRequest,
      dev.imgd.v1.ListContainersResponse> getListContainersMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.ListContainersRequest, dev.imgd.v1.ListContainersResponse> getListContainersMethod;
    if ((getListContainersMethod = ContainerServiceGrpc.getListContainersMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getListContainersMethod = ContainerServiceGrpc.getListContainersMethod) == null) {
          ContainerServiceGrpc.getListContainersMethod = getListContainersMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.ListContainersRequest, dev.imgd.v1.ListContainersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListContainers"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListContainersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.ListContainersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("ListContainers"))
              .build();
        }
      }
    }
    return getListContainersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.StartContainerRequest,
      dev.imgd.v1.StartContainerResponse> getStartContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StartContainer",
      requestType = dev.imgd.v1.StartContainerRequest.class,
      responseType = dev.imgd.v1.StartContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.StartContainerRequest,
      dev.imgd.v1.StartContainerResponse> getStartContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.StartContainerRequest, dev.imgd.v1.StartContainerResponse> getStartContainerMethod;
    if ((getStartContainerMethod = ContainerServiceGrpc.getStartContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getStartContainerMethod = ContainerServiceGrpc.getStartContainerMethod) == null) {
          ContainerServiceGrpc.getStartContainerMethod = getStartContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.StartContainerRequest, dev.imgd.v1.StartContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StartContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StartContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StartContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("StartContainer"))
              .build();
        }
      }
    }
    return getStartContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.PauseContainerRequest,
      dev.imgd.v1.PauseContainerResponse> getPauseContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PauseContainer",
      requestType = dev.imgd.v1.PauseContainerRequest.class,
      responseType = dev.imgd.v1.PauseContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.PauseContainerRequest,
      dev.imgd.v1.PauseContainerResponse> getPauseContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.PauseContainerRequest, dev.imgd.v1.PauseContainerResponse> getPauseContainerMethod;
    if ((getPauseContainerMethod = ContainerServiceGrpc.getPauseContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getPauseContainerMethod = ContainerServiceGrpc.getPauseContainerMethod) == null) {
          ContainerServiceGrpc.getPauseContainerMethod = getPauseContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.PauseContainerRequest, dev.imgd.v1.PauseContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PauseContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PauseContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.PauseContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("PauseContainer"))
              .build();
        }
      }
    }
    return getPauseContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.StopContainerRequest,
      dev.imgd.v1.StopContainerResponse> getStopContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StopContainer",
      requestType = dev.imgd.v1.StopContainerRequest.class,
      responseType = dev.imgd.v1.StopContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.StopContainerRequest,
      dev.imgd.v1.StopContainerResponse> getStopContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.StopContainerRequest, dev.imgd.v1.StopContainerResponse> getStopContainerMethod;
    if ((getStopContainerMethod = ContainerServiceGrpc.getStopContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getStopContainerMethod = ContainerServiceGrpc.getStopContainerMethod) == null) {
          ContainerServiceGrpc.getStopContainerMethod = getStopContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.StopContainerRequest, dev.imgd.v1.StopContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StopContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StopContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.StopContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("StopContainer"))
              .build();
        }
      }
    }
    return getStopContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.HeartbeatContainerRequest,
      dev.imgd.v1.HeartbeatContainerResponse> getHeartbeatContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "HeartbeatContainer",
      requestType = dev.imgd.v1.HeartbeatContainerRequest.class,
      responseType = dev.imgd.v1.HeartbeatContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.HeartbeatContainerRequest,
      dev.imgd.v1.HeartbeatContainerResponse> getHeartbeatContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.HeartbeatContainerRequest, dev.imgd.v1.HeartbeatContainerResponse> getHeartbeatContainerMethod;
    if ((getHeartbeatContainerMethod = ContainerServiceGrpc.getHeartbeatContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getHeartbeatContainerMethod = ContainerServiceGrpc.getHeartbeatContainerMethod) == null) {
          ContainerServiceGrpc.getHeartbeatContainerMethod = getHeartbeatContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.HeartbeatContainerRequest, dev.imgd.v1.HeartbeatContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "HeartbeatContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.HeartbeatContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.HeartbeatContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("HeartbeatContainer"))
              .build();
        }
      }
    }
    return getHeartbeatContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.RemoveContainerRequest,
      dev.imgd.v1.RemoveContainerResponse> getRemoveContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RemoveContainer",
      requestType = dev.imgd.v1.RemoveContainerRequest.class,
      responseType = dev.imgd.v1.RemoveContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.RemoveContainerRequest,
      dev.imgd.v1.RemoveContainerResponse> getRemoveContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.RemoveContainerRequest, dev.imgd.v1.RemoveContainerResponse> getRemoveContainerMethod;
    if ((getRemoveContainerMethod = ContainerServiceGrpc.getRemoveContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getRemoveContainerMethod = ContainerServiceGrpc.getRemoveContainerMethod) == null) {
          ContainerServiceGrpc.getRemoveContainerMethod = getRemoveContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.RemoveContainerRequest, dev.imgd.v1.RemoveContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RemoveContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.RemoveContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.RemoveContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("RemoveContainer"))
              .build();
        }
      }
    }
    return getRemoveContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.DiffContainerRequest,
      dev.imgd.v1.DiffContainerResponse> getDiffContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DiffContainer",
      requestType = dev.imgd.v1.DiffContainerRequest.class,
      responseType = dev.imgd.v1.DiffContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.DiffContainerRequest,
      dev.imgd.v1.DiffContainerResponse> getDiffContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.DiffContainerRequest, dev.imgd.v1.DiffContainerResponse> getDiffContainerMethod;
    if ((getDiffContainerMethod = ContainerServiceGrpc.getDiffContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getDiffContainerMethod = ContainerServiceGrpc.getDiffContainerMethod) == null) {
          ContainerServiceGrpc.getDiffContainerMethod = getDiffContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.DiffContainerRequest, dev.imgd.v1.DiffContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DiffContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.DiffContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.DiffContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("DiffContainer"))
              .build();
        }
      }
    }
    return getDiffContainerMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.imgd.v1.CommitContainerRequest,
      dev.imgd.v1.CommitContainerResponse> getCommitContainerMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CommitContainer",
      requestType = dev.imgd.v1.CommitContainerRequest.class,
      responseType = dev.imgd.v1.CommitContainerResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.imgd.v1.CommitContainerRequest,
      dev.imgd.v1.CommitContainerResponse> getCommitContainerMethod() {
    io.grpc.MethodDescriptor<dev.imgd.v1.CommitContainerRequest, dev.imgd.v1.CommitContainerResponse> getCommitContainerMethod;
    if ((getCommitContainerMethod = ContainerServiceGrpc.getCommitContainerMethod) == null) {
      synchronized (ContainerServiceGrpc.class) {
        if ((getCommitContainerMethod = ContainerServiceGrpc.getCommitContainerMethod) == null) {
          ContainerServiceGrpc.getCommitContainerMethod = getCommitContainerMethod =
              io.grpc.MethodDescriptor.<dev.imgd.v1.CommitContainerRequest, dev.imgd.v1.CommitContainerResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CommitContainer"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CommitContainerRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.imgd.v1.CommitContainerResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ContainerServiceMethodDescriptorSupplier("CommitContainer"))
              .build();
        }
      }
    }
    return getCommitContainerMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ContainerServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContainerServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContainerServiceStub>() {
        @java.lang.Override
        public ContainerServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContainerServiceStub(channel, callOptions);
        }
      };
    return ContainerServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ContainerServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContainerServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContainerServiceBlockingV2Stub>() {
        @java.lang.Override
        public ContainerServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContainerServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ContainerServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ContainerServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContainerServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContainerServiceBlockingStub>() {
        @java.lang.Override
        public ContainerServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContainerServiceBlockingStub(channel, callOptions);
        }
      };
    return ContainerServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ContainerServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ContainerServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ContainerServiceFutureStub>() {
        @java.lang.Override
        public ContainerServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ContainerServiceFutureStub(channel, callOptions);
        }
      };
    return ContainerServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Containers: what keeps an image from being removed.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Registers a use of an image, and prepares its root file system when asked.
     * </pre>
     */
    default void createContainer(dev.imgd.v1.CreateContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CreateContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns a container.
     * </pre>
     */
    default void getContainer(dev.imgd.v1.GetContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists containers, newest first.
     * </pre>
     */
    default void listContainers(dev.imgd.v1.ListContainersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListContainersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListContainersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Records that a container runs.
     * </pre>
     */
    default void startContainer(dev.imgd.v1.StartContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StartContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStartContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Records that a container is paused or goes on.
     * </pre>
     */
    default void pauseContainer(dev.imgd.v1.PauseContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PauseContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPauseContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Records that a container stopped.
     * </pre>
     */
    default void stopContainer(dev.imgd.v1.StopContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StopContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStopContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Says that a container's owner lives. A record that asked for a heartbeat counts as exited when
     * none comes for three intervals.
     * </pre>
     */
    default void heartbeatContainer(dev.imgd.v1.HeartbeatContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.HeartbeatContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getHeartbeatContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Removes a container's record and files, and lets the image go. A running one needs force.
     * </pre>
     */
    default void removeContainer(dev.imgd.v1.RemoveContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.RemoveContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRemoveContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams what a container changed, in the order of paths.
     * </pre>
     */
    default void diffContainer(dev.imgd.v1.DiffContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.DiffContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDiffContainerMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes a new image of a container's changes: one layer more, unless there are none. A running
     * container is refused, unless that is allowed; what is started meanwhile fails the commit.
     * </pre>
     */
    default void commitContainer(dev.imgd.v1.CommitContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CommitContainerResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCommitContainerMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ContainerService.
   * <pre>
   * Containers: what keeps an image from being removed.
   * </pre>
   */
  public static abstract class ContainerServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ContainerServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ContainerService.
   * <pre>
   * Containers: what keeps an image from being removed.
   * </pre>
   */
  public static final class ContainerServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ContainerServiceStub> {
    private ContainerServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContainerServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContainerServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Registers a use of an image, and prepares its root file system when asked.
     * </pre>
     */
    public void createContainer(dev.imgd.v1.CreateContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CreateContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns a container.
     * </pre>
     */
    public void getContainer(dev.imgd.v1.GetContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.GetContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists containers, newest first.
     * </pre>
     */
    public void listContainers(dev.imgd.v1.ListContainersRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.ListContainersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListContainersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Records that a container runs.
     * </pre>
     */
    public void startContainer(dev.imgd.v1.StartContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StartContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStartContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Records that a container is paused or goes on.
     * </pre>
     */
    public void pauseContainer(dev.imgd.v1.PauseContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.PauseContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPauseContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Records that a container stopped.
     * </pre>
     */
    public void stopContainer(dev.imgd.v1.StopContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.StopContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getStopContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Says that a container's owner lives. A record that asked for a heartbeat counts as exited when
     * none comes for three intervals.
     * </pre>
     */
    public void heartbeatContainer(dev.imgd.v1.HeartbeatContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.HeartbeatContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getHeartbeatContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Removes a container's record and files, and lets the image go. A running one needs force.
     * </pre>
     */
    public void removeContainer(dev.imgd.v1.RemoveContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.RemoveContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRemoveContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams what a container changed, in the order of paths.
     * </pre>
     */
    public void diffContainer(dev.imgd.v1.DiffContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.DiffContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getDiffContainerMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes a new image of a container's changes: one layer more, unless there are none. A running
     * container is refused, unless that is allowed; what is started meanwhile fails the commit.
     * </pre>
     */
    public void commitContainer(dev.imgd.v1.CommitContainerRequest request,
        io.grpc.stub.StreamObserver<dev.imgd.v1.CommitContainerResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCommitContainerMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ContainerService.
   * <pre>
   * Containers: what keeps an image from being removed.
   * </pre>
   */
  public static final class ContainerServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ContainerServiceBlockingV2Stub> {
    private ContainerServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContainerServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContainerServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Registers a use of an image, and prepares its root file system when asked.
     * </pre>
     */
    public dev.imgd.v1.CreateContainerResponse createContainer(dev.imgd.v1.CreateContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a container.
     * </pre>
     */
    public dev.imgd.v1.GetContainerResponse getContainer(dev.imgd.v1.GetContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists containers, newest first.
     * </pre>
     */
    public dev.imgd.v1.ListContainersResponse listContainers(dev.imgd.v1.ListContainersRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListContainersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Records that a container runs.
     * </pre>
     */
    public dev.imgd.v1.StartContainerResponse startContainer(dev.imgd.v1.StartContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStartContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Records that a container is paused or goes on.
     * </pre>
     */
    public dev.imgd.v1.PauseContainerResponse pauseContainer(dev.imgd.v1.PauseContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPauseContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Records that a container stopped.
     * </pre>
     */
    public dev.imgd.v1.StopContainerResponse stopContainer(dev.imgd.v1.StopContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getStopContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Says that a container's owner lives. A record that asked for a heartbeat counts as exited when
     * none comes for three intervals.
     * </pre>
     */
    public dev.imgd.v1.HeartbeatContainerResponse heartbeatContainer(dev.imgd.v1.HeartbeatContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getHeartbeatContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes a container's record and files, and lets the image go. A running one needs force.
     * </pre>
     */
    public dev.imgd.v1.RemoveContainerResponse removeContainer(dev.imgd.v1.RemoveContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRemoveContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams what a container changed, in the order of paths.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.imgd.v1.DiffContainerResponse>
        diffContainer(dev.imgd.v1.DiffContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getDiffContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a new image of a container's changes: one layer more, unless there are none. A running
     * container is refused, unless that is allowed; what is started meanwhile fails the commit.
     * </pre>
     */
    public dev.imgd.v1.CommitContainerResponse commitContainer(dev.imgd.v1.CommitContainerRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCommitContainerMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ContainerService.
   * <pre>
   * Containers: what keeps an image from being removed.
   * </pre>
   */
  public static final class ContainerServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ContainerServiceBlockingStub> {
    private ContainerServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContainerServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContainerServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Registers a use of an image, and prepares its root file system when asked.
     * </pre>
     */
    public dev.imgd.v1.CreateContainerResponse createContainer(dev.imgd.v1.CreateContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a container.
     * </pre>
     */
    public dev.imgd.v1.GetContainerResponse getContainer(dev.imgd.v1.GetContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists containers, newest first.
     * </pre>
     */
    public dev.imgd.v1.ListContainersResponse listContainers(dev.imgd.v1.ListContainersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListContainersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Records that a container runs.
     * </pre>
     */
    public dev.imgd.v1.StartContainerResponse startContainer(dev.imgd.v1.StartContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStartContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Records that a container is paused or goes on.
     * </pre>
     */
    public dev.imgd.v1.PauseContainerResponse pauseContainer(dev.imgd.v1.PauseContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPauseContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Records that a container stopped.
     * </pre>
     */
    public dev.imgd.v1.StopContainerResponse stopContainer(dev.imgd.v1.StopContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getStopContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Says that a container's owner lives. A record that asked for a heartbeat counts as exited when
     * none comes for three intervals.
     * </pre>
     */
    public dev.imgd.v1.HeartbeatContainerResponse heartbeatContainer(dev.imgd.v1.HeartbeatContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getHeartbeatContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Removes a container's record and files, and lets the image go. A running one needs force.
     * </pre>
     */
    public dev.imgd.v1.RemoveContainerResponse removeContainer(dev.imgd.v1.RemoveContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRemoveContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams what a container changed, in the order of paths.
     * </pre>
     */
    public java.util.Iterator<dev.imgd.v1.DiffContainerResponse> diffContainer(
        dev.imgd.v1.DiffContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getDiffContainerMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a new image of a container's changes: one layer more, unless there are none. A running
     * container is refused, unless that is allowed; what is started meanwhile fails the commit.
     * </pre>
     */
    public dev.imgd.v1.CommitContainerResponse commitContainer(dev.imgd.v1.CommitContainerRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCommitContainerMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ContainerService.
   * <pre>
   * Containers: what keeps an image from being removed.
   * </pre>
   */
  public static final class ContainerServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ContainerServiceFutureStub> {
    private ContainerServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ContainerServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ContainerServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Registers a use of an image, and prepares its root file system when asked.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.CreateContainerResponse> createContainer(
        dev.imgd.v1.CreateContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns a container.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.GetContainerResponse> getContainer(
        dev.imgd.v1.GetContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists containers, newest first.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.ListContainersResponse> listContainers(
        dev.imgd.v1.ListContainersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListContainersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Records that a container runs.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.StartContainerResponse> startContainer(
        dev.imgd.v1.StartContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStartContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Records that a container is paused or goes on.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.PauseContainerResponse> pauseContainer(
        dev.imgd.v1.PauseContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPauseContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Records that a container stopped.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.StopContainerResponse> stopContainer(
        dev.imgd.v1.StopContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getStopContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Says that a container's owner lives. A record that asked for a heartbeat counts as exited when
     * none comes for three intervals.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.HeartbeatContainerResponse> heartbeatContainer(
        dev.imgd.v1.HeartbeatContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getHeartbeatContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Removes a container's record and files, and lets the image go. A running one needs force.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.RemoveContainerResponse> removeContainer(
        dev.imgd.v1.RemoveContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRemoveContainerMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes a new image of a container's changes: one layer more, unless there are none. A running
     * container is refused, unless that is allowed; what is started meanwhile fails the commit.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.imgd.v1.CommitContainerResponse> commitContainer(
        dev.imgd.v1.CommitContainerRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCommitContainerMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_CREATE_CONTAINER = 0;
  private static final int METHODID_GET_CONTAINER = 1;
  private static final int METHODID_LIST_CONTAINERS = 2;
  private static final int METHODID_START_CONTAINER = 3;
  private static final int METHODID_PAUSE_CONTAINER = 4;
  private static final int METHODID_STOP_CONTAINER = 5;
  private static final int METHODID_HEARTBEAT_CONTAINER = 6;
  private static final int METHODID_REMOVE_CONTAINER = 7;
  private static final int METHODID_DIFF_CONTAINER = 8;
  private static final int METHODID_COMMIT_CONTAINER = 9;

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
        case METHODID_CREATE_CONTAINER:
          serviceImpl.createContainer((dev.imgd.v1.CreateContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CreateContainerResponse>) responseObserver);
          break;
        case METHODID_GET_CONTAINER:
          serviceImpl.getContainer((dev.imgd.v1.GetContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.GetContainerResponse>) responseObserver);
          break;
        case METHODID_LIST_CONTAINERS:
          serviceImpl.listContainers((dev.imgd.v1.ListContainersRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.ListContainersResponse>) responseObserver);
          break;
        case METHODID_START_CONTAINER:
          serviceImpl.startContainer((dev.imgd.v1.StartContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.StartContainerResponse>) responseObserver);
          break;
        case METHODID_PAUSE_CONTAINER:
          serviceImpl.pauseContainer((dev.imgd.v1.PauseContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.PauseContainerResponse>) responseObserver);
          break;
        case METHODID_STOP_CONTAINER:
          serviceImpl.stopContainer((dev.imgd.v1.StopContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.StopContainerResponse>) responseObserver);
          break;
        case METHODID_HEARTBEAT_CONTAINER:
          serviceImpl.heartbeatContainer((dev.imgd.v1.HeartbeatContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.HeartbeatContainerResponse>) responseObserver);
          break;
        case METHODID_REMOVE_CONTAINER:
          serviceImpl.removeContainer((dev.imgd.v1.RemoveContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.RemoveContainerResponse>) responseObserver);
          break;
        case METHODID_DIFF_CONTAINER:
          serviceImpl.diffContainer((dev.imgd.v1.DiffContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.DiffContainerResponse>) responseObserver);
          break;
        case METHODID_COMMIT_CONTAINER:
          serviceImpl.commitContainer((dev.imgd.v1.CommitContainerRequest) request,
              (io.grpc.stub.StreamObserver<dev.imgd.v1.CommitContainerResponse>) responseObserver);
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
          getCreateContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.CreateContainerRequest,
              dev.imgd.v1.CreateContainerResponse>(
                service, METHODID_CREATE_CONTAINER)))
        .addMethod(
          getGetContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.GetContainerRequest,
              dev.imgd.v1.GetContainerResponse>(
                service, METHODID_GET_CONTAINER)))
        .addMethod(
          getListContainersMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.ListContainersRequest,
              dev.imgd.v1.ListContainersResponse>(
                service, METHODID_LIST_CONTAINERS)))
        .addMethod(
          getStartContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.StartContainerRequest,
              dev.imgd.v1.StartContainerResponse>(
                service, METHODID_START_CONTAINER)))
        .addMethod(
          getPauseContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.PauseContainerRequest,
              dev.imgd.v1.PauseContainerResponse>(
                service, METHODID_PAUSE_CONTAINER)))
        .addMethod(
          getStopContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.StopContainerRequest,
              dev.imgd.v1.StopContainerResponse>(
                service, METHODID_STOP_CONTAINER)))
        .addMethod(
          getHeartbeatContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.HeartbeatContainerRequest,
              dev.imgd.v1.HeartbeatContainerResponse>(
                service, METHODID_HEARTBEAT_CONTAINER)))
        .addMethod(
          getRemoveContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.RemoveContainerRequest,
              dev.imgd.v1.RemoveContainerResponse>(
                service, METHODID_REMOVE_CONTAINER)))
        .addMethod(
          getDiffContainerMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.imgd.v1.DiffContainerRequest,
              dev.imgd.v1.DiffContainerResponse>(
                service, METHODID_DIFF_CONTAINER)))
        .addMethod(
          getCommitContainerMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.imgd.v1.CommitContainerRequest,
              dev.imgd.v1.CommitContainerResponse>(
                service, METHODID_COMMIT_CONTAINER)))
        .build();
  }

  private static abstract class ContainerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ContainerServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.imgd.v1.ContainerServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ContainerService");
    }
  }

  private static final class ContainerServiceFileDescriptorSupplier
      extends ContainerServiceBaseDescriptorSupplier {
    ContainerServiceFileDescriptorSupplier() {}
  }

  private static final class ContainerServiceMethodDescriptorSupplier
      extends ContainerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ContainerServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ContainerServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ContainerServiceFileDescriptorSupplier())
              .addMethod(getCreateContainerMethod())
              .addMethod(getGetContainerMethod())
              .addMethod(getListContainersMethod())
              .addMethod(getStartContainerMethod())
              .addMethod(getPauseContainerMethod())
              .addMethod(getStopContainerMethod())
              .addMethod(getHeartbeatContainerMethod())
              .addMethod(getRemoveContainerMethod())
              .addMethod(getDiffContainerMethod())
              .addMethod(getCommitContainerMethod())
              .build();
        }
      }
    }
    return result;
  }
}
