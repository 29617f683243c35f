#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <imgd/hold.hpp>
#include <thread>

#include "call.hpp"

namespace imgd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What a program that is killed leaves behind ends as soon.
constexpr seconds kHeldFor{60};
// How often a lease is renewed within its time.
constexpr int kTurns = 3;
// The daemon waits for three heartbeats.
constexpr seconds kBeat{10};
// After an attempt that failed; sooner than the usual turn.
constexpr milliseconds kAgain{1000};

milliseconds time_of(const google::protobuf::Duration& duration) {
  return milliseconds(google::protobuf::util::TimeUtil::DurationToMilliseconds(duration));
}

}  // namespace

class Hold::Impl : public detail::Leaver {
 public:
  using Action = std::function<void(const CallOptions&)>;

  Impl(std::shared_ptr<Client::Core> core, std::string resource, milliseconds every, Action renew, Action release)
      : name(std::move(resource)),
        core_(std::move(core)),
        every_(std::max(every, milliseconds(100))),
        renew_(std::move(renew)),
        release_(std::move(release)) {}

  static std::shared_ptr<Impl> make(std::shared_ptr<Client::Core> core, std::string name, milliseconds every,
                                    Action renew, Action release) {
    auto made = std::make_shared<Impl>(core, std::move(name), every, std::move(renew), std::move(release));
    made->keeper_ = std::thread([hold = made.get()] { hold->keep(); });  // It ends before its hold.
    core->own(made);
    return made;
  }

  void leave() override {
    std::lock_guard lock(leaving_);
    if (std::exchange(left_, true)) return;
    stop_.cancel();
    keeper_.join();
    core_->disown(*this);
    try {
      release_({detail::kParting, std::nullopt});
    } catch (const std::exception&) {
      end_ = std::current_exception();
    }
    if (lost_) end_ = lost_;
  }

  void release() {
    leave();
    if (end_) std::rethrow_exception(end_);
  }

  const std::string name;
  std::atomic<bool> is_lost = false;

 private:
  void keep() {
    auto wait = every_;
    while (!stop_.wait_for(wait)) {
      try {
        renew_({every_, stop_});
        wait = every_;
      } catch (const NotFound&) {
        lost_ = std::current_exception();
        is_lost = true;
        return;
      } catch (const FailedPrecondition&) {
        // It was stopped: it needs no more signs of life, and holds until it is removed.
        return;
      } catch (const UsageError&) {
        // Its client was closed while it began.
        return;
      } catch (const Error&) {
        wait = std::min(every_, kAgain);
      }
    }
  }

  const std::shared_ptr<Client::Core> core_;
  const milliseconds every_;
  const Action renew_;
  const Action release_;
  const Cancellation stop_;
  std::thread keeper_;
  std::mutex leaving_;
  bool left_ = false;
  // The keeper's until it has ended.
  std::exception_ptr lost_;
  std::exception_ptr end_;
};

Hold::Hold(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Hold& Hold::operator=(Hold&& other) noexcept {
  if (this != &other) {
    leave();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Hold::~Hold() { leave(); }

void Hold::leave() noexcept {
  if (impl_) impl_->leave();
}

const std::string& Hold::name() const noexcept { return impl_->name; }

bool Hold::is_lost() const noexcept { return impl_->is_lost; }

void Hold::release() { impl_->release(); }

Hold Client::hold_lease(v1::CreateLeaseRequest request) {
  if (!request.has_ttl()) *request.mutable_ttl() = detail::duration(kHeldFor);
  v1::RenewLeaseRequest renewal;
  *renewal.mutable_ttl() = request.ttl();
  const auto every = time_of(request.ttl()) / kTurns;
  const auto name = create_lease(std::move(request)).name();
  renewal.set_name(name);
  const auto renew = [core = core_, renewal](const CallOptions& options) {
    detail::call(*core, core->leases, &v1::LeaseService::Stub::RenewLease, renewal, options);
  };
  const auto release = [core = core_, name](const CallOptions& options) {
    v1::DeleteLeaseRequest deletion;
    deletion.set_name(name);
    try {
      detail::call(*core, core->leases, &v1::LeaseService::Stub::DeleteLease, deletion, options);
    } catch (const Error&) {
      // It ends by itself.
    }
  };
  return Hold(Hold::Impl::make(core_, name, every, renew, release));
}

Hold Client::hold_container(v1::CreateContainerRequest request) {
  if (!request.has_heartbeat_interval()) *request.mutable_heartbeat_interval() = detail::duration(kBeat);
  const auto every = time_of(request.heartbeat_interval());
  const auto name = create_container(std::move(request)).container().name();
  const auto renew = [core = core_, name](const CallOptions& options) {
    v1::HeartbeatContainerRequest beat;
    beat.set_name(name);
    detail::call(*core, core->containers, &v1::ContainerService::Stub::HeartbeatContainer, beat, options);
  };
  const auto release = [core = core_, name](const CallOptions& options) {
    v1::RemoveContainerRequest removal;
    removal.set_name(name);
    removal.set_force(true);
    detail::call(*core, core->containers, &v1::ContainerService::Stub::RemoveContainer, removal, options);
  };
  v1::StartContainerRequest start;
  start.set_name(name);
  try {
    detail::call(*core_, core_->containers, &v1::ContainerService::Stub::StartContainer, start, CallOptions{});
  } catch (const Error&) {
    try {
      release({detail::kParting, std::nullopt});
    } catch (const Error&) {
      // The first error says more.
    }
    throw;
  }
  return Hold(Hold::Impl::make(core_, name, every, renew, release));
}

v1::Lease Client::create_lease(v1::CreateLeaseRequest request, const CallOptions& options) {
  if (request.request_id().empty()) request.set_request_id(detail::request_id());
  return detail::call(*core_, core_->leases, &v1::LeaseService::Stub::CreateLease, request, options).lease();
}

void Client::delete_lease(const std::string& name, const CallOptions& options) {
  v1::DeleteLeaseRequest request;
  request.set_name(name);
  detail::call(*core_, core_->leases, &v1::LeaseService::Stub::DeleteLease, request, options);
}

Pages<v1::Lease> Client::leases(CallOptions options) {
  return detail::pages<v1::Lease>(core_, core_->leases, &v1::LeaseService::Stub::ListLeases, v1::ListLeasesRequest(),
                                  std::move(options), [](auto& response) { return response.mutable_leases(); });
}

v1::CreateContainerResponse Client::create_container(v1::CreateContainerRequest request, const CallOptions& options) {
  if (request.request_id().empty()) request.set_request_id(detail::request_id());
  std::optional<milliseconds> timeout;
  if (request.prepare_rootfs() || request.has_bundle()) timeout = milliseconds(0);
  return detail::call(*core_, core_->containers, &v1::ContainerService::Stub::CreateContainer, request, options,
                      timeout);
}

void Client::remove_container(const std::string& name, bool force, const CallOptions& options) {
  v1::RemoveContainerRequest request;
  request.set_name(name);
  request.set_force(force);
  detail::call(*core_, core_->containers, &v1::ContainerService::Stub::RemoveContainer, request, options);
}

Pages<v1::Container> Client::containers(v1::ListContainersRequest request, CallOptions options) {
  return detail::pages<v1::Container>(core_, core_->containers, &v1::ContainerService::Stub::ListContainers,
                                      std::move(request), std::move(options),
                                      [](auto& response) { return response.mutable_containers(); });
}

}  // namespace imgd
