#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/grpcpp.h>
#include <imgd/v1/archive_service.grpc.pb.h>
#include <imgd/v1/container_service.grpc.pb.h>
#include <imgd/v1/event_service.grpc.pb.h>
#include <imgd/v1/filesystem_service.grpc.pb.h>
#include <imgd/v1/image_service.grpc.pb.h>
#include <imgd/v1/lease_service.grpc.pb.h>
#include <imgd/v1/registry_service.grpc.pb.h>
#include <imgd/v1/system_service.grpc.pb.h>
#include <imgd/v1/transfer_service.grpc.pb.h>

#include <chrono>
#include <imgd/client.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cancellation.hpp"
#include "error.hpp"

namespace imgd {

namespace detail {

/// How long a client waits for the daemon to hear that a pull was left, or a hold given back.
constexpr std::chrono::seconds kParting{5};

/// What has to be told to the daemon when it is left.
class Leaver {
 public:
  virtual ~Leaver() = default;
  /// Leaves it. Whoever comes second waits until it is left.
  virtual void leave() = 0;
};

}  // namespace detail

/// What a client's objects share, and what outlives it in them.
class Client::Core {
 public:
  explicit Core(const ClientOptions& options);

  void own(const std::shared_ptr<detail::Leaver>& one);
  void disown(const detail::Leaver& one);
  void close() noexcept;
  /// Throws UsageError once it is closed: what begins then is no call that was cancelled.
  void check_open() const;

  const std::chrono::milliseconds timeout;
  const std::chrono::milliseconds patience;
  const std::shared_ptr<grpc::Channel> channel;
  /// Ends every call.
  const Cancellation closing;

  const std::unique_ptr<v1::ImageService::Stub> images;
  const std::unique_ptr<v1::ContainerService::Stub> containers;
  const std::unique_ptr<v1::LeaseService::Stub> leases;
  const std::unique_ptr<v1::TransferService::Stub> transfers;
  const std::unique_ptr<v1::ArchiveService::Stub> archives;
  const std::unique_ptr<v1::FilesystemService::Stub> files;
  const std::unique_ptr<v1::EventService::Stub> events;
  const std::unique_ptr<v1::RegistryService::Stub> registries;
  const std::unique_ptr<v1::SystemService::Stub> system;

 private:
  std::mutex mutex_;
  // Transfers that are their caller's own, and holds.
  std::map<const detail::Leaver*, std::weak_ptr<detail::Leaver>> owned_;
};

namespace detail {

/// Makes a call safe to be sent twice.
std::string request_id();

inline google::protobuf::Duration duration(std::chrono::nanoseconds time) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(time.count());
}

/// A call's context, which ends with the client and with what its caller says.
class Context {
 public:
  /// The time is what `options` says, else `timeout`; 0 for no bound.
  Context(const Client::Core& core, const CallOptions& options, std::chrono::milliseconds timeout);

  grpc::ClientContext* get() const { return context_.get(); }

 private:
  // Shared with whoever cancels just when it ends.
  std::shared_ptr<grpc::ClientContext> context_ = std::make_shared<grpc::ClientContext>();
  Link closing_;
  std::optional<Link> cancelled_;
};

/// Makes a call that answers once.
template <class Stub, class Request, class Response>
Response call(const Client::Core& core, const std::unique_ptr<Stub>& stub,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request,
              const CallOptions& options, std::optional<std::chrono::milliseconds> timeout = std::nullopt) {
  core.check_open();
  const Context context(core, options, timeout.value_or(core.timeout));
  Response response;
  check(((*stub).*method)(context.get(), request, &response));
  return response;
}

/// Makes the pages of a list: `items` are a response's.
template <class Item, class Stub, class Request, class Response, class Items>
Pages<Item> pages(std::shared_ptr<Client::Core> core, const std::unique_ptr<Stub>& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), Request request,
                  CallOptions options, Items items) {
  return Pages<Item>([core = std::move(core), &stub, method, request = std::move(request),
                      options = std::move(options), items](std::string& token) mutable {
    request.set_page_token(token);
    auto response = call(*core, stub, method, request, options);
    token = response.next_page_token();
    auto* found = items(response);
    return std::vector<Item>(std::make_move_iterator(found->begin()), std::make_move_iterator(found->end()));
  });
}

}  // namespace detail
}  // namespace imgd
