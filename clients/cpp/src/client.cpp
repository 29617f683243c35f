#include <grpcpp/support/client_interceptor.h>

#include <algorithm>
#include <imgd/client.hpp>

#include "address.hpp"
#include "call.hpp"

namespace imgd {
namespace {

// Answers are at most 1 MiB (GetCapabilities); the room is for a daemon that is newer than this.
constexpr int kMaxReceive = 16 << 20;

// Calls that may be sent twice: they read, are idempotent, or carry a request ID that makes the second one find
// the first one's result (this package always sends one with what starts or creates). The waits bridge a restart's
// moment only: somebody waits for the answer, and a daemon that is not there should be said to be not there.
constexpr const char* kServiceConfig = R"({"methodConfig": [{
  "name": [
    {"service": "imgd.v1.ImageService", "method": "ListImages"},
    {"service": "imgd.v1.ImageService", "method": "GetImage"},
    {"service": "imgd.v1.ImageService", "method": "InspectImage"},
    {"service": "imgd.v1.ImageService", "method": "GetImageHistory"},
    {"service": "imgd.v1.ImageService", "method": "ParseReference"},
    {"service": "imgd.v1.ImageService", "method": "PinImage"},
    {"service": "imgd.v1.ImageService", "method": "UnpinImage"},
    {"service": "imgd.v1.ContainerService", "method": "CreateContainer"},
    {"service": "imgd.v1.ContainerService", "method": "GetContainer"},
    {"service": "imgd.v1.ContainerService", "method": "ListContainers"},
    {"service": "imgd.v1.ContainerService", "method": "StartContainer"},
    {"service": "imgd.v1.ContainerService", "method": "PauseContainer"},
    {"service": "imgd.v1.ContainerService", "method": "StopContainer"},
    {"service": "imgd.v1.ContainerService", "method": "HeartbeatContainer"},
    {"service": "imgd.v1.LeaseService"},
    {"service": "imgd.v1.FilesystemService", "method": "ListFiles"},
    {"service": "imgd.v1.FilesystemService", "method": "GetFile"},
    {"service": "imgd.v1.FilesystemService", "method": "ListLayers"},
    {"service": "imgd.v1.TransferService", "method": "GetTransfer"},
    {"service": "imgd.v1.TransferService", "method": "ListTransfers"},
    {"service": "imgd.v1.TransferService", "method": "StartTransfer"},
    {"service": "imgd.v1.TransferService", "method": "CancelTransfer"},
    {"service": "imgd.v1.SystemService", "method": "GetInfo"},
    {"service": "imgd.v1.SystemService", "method": "GetCapabilities"},
    {"service": "imgd.v1.SystemService", "method": "GetDiskUsage"}
  ],
  "retryPolicy": {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]})";

// Sends a token (RFC 6750). gRPC's own call credentials refuse sockets without TLS.
class Bearer : public grpc::experimental::Interceptor {
 public:
  explicit Bearer(std::string value) : value_(std::move(value)) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", value_);
    }
    methods->Proceed();
  }

 private:
  std::string value_;
};

class BearerFactory : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit BearerFactory(const std::string& token) : value_("Bearer " + token) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo*) override {
    return new Bearer(value_);  // gRPC deletes it.
  }

 private:
  std::string value_;
};

std::shared_ptr<grpc::Channel> connect(const ClientOptions& options) {
  const auto address = options.address.empty() ? default_address() : options.address;
  const auto where = detail::target(address);
  const auto& token = options.token;
  if (!std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; })) {
    throw UsageError("a token is printable ASCII without spaces");
  }
  if (!token.empty() && !options.tls && !detail::is_here(where)) {
    throw UsageError("a token is not sent to " + address + " in clear text: speak TLS");
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReceive);
  arguments.SetServiceConfigJSON(kServiceConfig);
  // gRPC servers close a connection that pings more often than every five minutes; the daemon permits more,
  // proxies before it may not. Watches need no pings: the daemon sends heartbeats.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 300'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  // A daemon that comes back is found soon; gRPC's own are 1 s, 20 s and 120 s.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  // The daemon is on this machine or beside it, never behind the way to the web.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A connection of its own: what another client went through delays nothing here.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto credentials = grpc::InsecureChannelCredentials();
  if (options.tls) {
    const auto& tls = *options.tls;
    if (tls.certificate.empty() != tls.key.empty()) {
      throw UsageError("a client's certificate and its key go together");
    }
    grpc::SslCredentialsOptions wanted;
    wanted.pem_root_certs = tls.ca;
    wanted.pem_cert_chain = tls.certificate;
    wanted.pem_private_key = tls.key;
    credentials = grpc::SslCredentials(wanted);
    if (!tls.server_name.empty()) arguments.SetSslTargetNameOverride(tls.server_name);
  }
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!token.empty()) interceptors.push_back(std::make_unique<BearerFactory>(token));
  return grpc::experimental::CreateCustomChannelWithInterceptors(where, credentials, arguments,
                                                                 std::move(interceptors));
}

}  // namespace

Client::Core::Core(const ClientOptions& options)
    : timeout(options.timeout),
      patience(options.patience),
      channel(connect(options)),
      images(v1::ImageService::NewStub(channel)),
      containers(v1::ContainerService::NewStub(channel)),
      leases(v1::LeaseService::NewStub(channel)),
      transfers(v1::TransferService::NewStub(channel)),
      archives(v1::ArchiveService::NewStub(channel)),
      files(v1::FilesystemService::NewStub(channel)),
      events(v1::EventService::NewStub(channel)),
      registries(v1::RegistryService::NewStub(channel)),
      system(v1::SystemService::NewStub(channel)) {}

void Client::Core::own(const std::shared_ptr<detail::Leaver>& one) {
  std::lock_guard lock(mutex_);
  owned_.emplace(one.get(), one);
}

void Client::Core::disown(const detail::Leaver& one) {
  std::lock_guard lock(mutex_);
  owned_.erase(&one);
}

void Client::Core::close() noexcept {
  std::map<const detail::Leaver*, std::weak_ptr<detail::Leaver>> left;
  {
    std::lock_guard lock(mutex_);
    left.swap(owned_);
  }
  for (const auto& [address, weak] : left) {
    try {
      if (const auto one = weak.lock()) one->leave();
    } catch (const std::exception&) {
      // The daemon is gone, or what was left is; there is nothing to do about either.
    }
  }
  closing.cancel();
}

void Client::Core::check_open() const {
  if (closing.is_cancelled()) throw UsageError("this client is closed: make another");
}

Client::Client(const ClientOptions& options) : core_(std::make_shared<Core>(options)) {}

Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}

Client::~Client() { close(); }

void Client::close() noexcept {
  if (core_) core_->close();
}

std::shared_ptr<grpc::Channel> Client::channel() const { return core_->channel; }

}  // namespace imgd
