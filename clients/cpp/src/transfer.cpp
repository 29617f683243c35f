#include <algorithm>
#include <atomic>
#include <imgd/transfer.hpp>

#include "stream.hpp"

namespace imgd {

class Transfer::Impl : public detail::Leaver {
 public:
  Impl(std::shared_ptr<Client::Core> core, v1::Transfer record, const FollowOptions& options, bool owned, bool there)
      : name(record.name()),
        core_(core),
        stream_(core, {}, core->patience, there, false,
                [this, core, request = watching(record.name(), options)](grpc::ClientContext* context) mutable {
                  request.set_after_sequence(sequence_);
                  return core->transfers->WatchTransfer(context, request);
                }),
        record_(std::move(record)),
        owned_(owned) {}

  // The end of what others hold of it needs shared ownership, which a constructor has not.
  static std::shared_ptr<Impl> make(std::shared_ptr<Client::Core> core, v1::Transfer record,
                                    const FollowOptions& options, bool owned, bool there) {
    auto made = std::make_shared<Impl>(core, std::move(record), options, owned, there);
    if (owned) core->own(made);
    if (options.cancellation) {
      made->cancelled_.emplace(*options.cancellation, [weak = std::weak_ptr(made)] {
        const auto found = weak.lock();
        if (found) found->leave_quietly();
      });
    }
    return made;
  }

  v1::Transfer record() const {
    std::lock_guard lock(mutex_);
    return record_;
  }

  bool advance() {
    while (!finished_) {
      if (!stream_.next(response_)) return false;
      const auto& event = response_.event();
      // Nothing happened while the connection was lost.
      const bool repeated = event.has_snapshot() && sequence_ != 0 && event.sequence() == sequence_;
      sequence_ = std::max(sequence_, event.sequence());
      if (event.has_finished()) {
        finish(event.finished().transfer());
        return true;
      }
      if (event.has_update() || (event.has_snapshot() && !repeated)) return true;
    }
    return false;
  }

  const v1::TransferEvent& current() const { return response_.event(); }

  void detach() {
    std::lock_guard lock(mutex_);
    owned_ = false;
  }

  void leave() override {
    stream_.stop();
    core_->disown(*this);
    // Whoever comes second waits: the client may be closed next.
    std::lock_guard lock(leaving_);
    {
      std::lock_guard owning(mutex_);
      if (!std::exchange(owned_, false)) return;
    }
    v1::CancelTransferRequest request;
    request.set_name(name);
    try {
      detail::call(*core_, core_->transfers, &v1::TransferService::Stub::CancelTransfer, request,
                   {detail::kParting, std::nullopt});
    } catch (const NotFound&) {
      // It is over.
    }
  }

  void leave_quietly() noexcept {
    try {
      leave();
    } catch (const std::exception&) {
      // The daemon is gone, or the client is closed, and nobody is there to hear it.
    }
  }

  const std::string name;

 private:
  static v1::WatchTransferRequest watching(const std::string& name, const FollowOptions& options) {
    v1::WatchTransferRequest request;
    request.set_name(name);
    if (options.min_interval.count() > 0) *request.mutable_min_interval() = detail::duration(options.min_interval);
    return request;
  }

  void finish(const v1::Transfer& transfer) {
    finished_ = true;
    {
      std::lock_guard lock(mutex_);
      record_ = transfer;
      owned_ = false;
    }
    core_->disown(*this);
  }

  const std::shared_ptr<Client::Core> core_;

  // Of the one thread that reads.
  std::int64_t sequence_ = 0;
  bool finished_ = false;
  v1::WatchTransferResponse response_;
  detail::Attached<v1::WatchTransferResponse> stream_;

  mutable std::mutex mutex_;
  v1::Transfer record_;
  bool owned_;
  std::mutex leaving_;
  std::optional<detail::Link> cancelled_;
};

Transfer::Transfer(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Transfer& Transfer::operator=(Transfer&& other) noexcept {
  if (this != &other) {
    leave();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Transfer::~Transfer() { leave(); }

void Transfer::leave() noexcept {
  if (impl_) impl_->leave_quietly();
}

const std::string& Transfer::name() const noexcept { return impl_->name; }

v1::Transfer Transfer::record() const { return impl_->record(); }

bool Transfer::advance() { return impl_->advance(); }

const v1::TransferEvent& Transfer::current() const { return impl_->current(); }

void Transfer::detach() { impl_->detach(); }

void Transfer::cancel() { impl_->leave(); }

v1::Transfer Transfer::wait() {
  try {
    while (advance()) continue;
  } catch (const Error&) {
    leave();
    throw;
  }
  auto found = record();
  if (found.state() != v1::TRANSFER_STATE_SUCCEEDED) throw TransferFailed(std::move(found));
  return found;
}

namespace {

v1::RegistryEndpoint endpoint(const std::string& reference, const TransferOptions& options) {
  v1::RegistryEndpoint found;
  found.set_reference(reference);
  found.set_all_tags(options.all_tags);
  found.set_include_referrers(options.include_referrers);
  if (options.credentials) *found.mutable_credentials() = *options.credentials;
  return found;
}

v1::StartTransferRequest common(const TransferOptions& options, bool all_platforms) {
  v1::StartTransferRequest found;
  if (all_platforms || !options.platforms.empty()) {
    found.mutable_platforms()->set_all(all_platforms);
    for (const auto& platform : options.platforms) found.mutable_platforms()->add_platforms(platform);
  }
  if (options.limits) *found.mutable_limits() = *options.limits;
  found.set_request_id(options.request_id);
  return found;
}

}  // namespace

Transfer Client::pull(const std::string& reference, const PullOptions& options) {
  auto request = common(options, options.all_platforms);
  *request.mutable_source()->mutable_registry() = endpoint(reference, options);
  auto& store = *request.mutable_destination()->mutable_store();
  store.set_policy(options.policy);
  store.set_unpack(options.unpack);
  for (const auto& tag : options.tags) store.add_tags(tag);
  if (options.lease) *store.mutable_lease() = *options.lease;
  return start(std::move(request), options, options.detach);
}

Transfer Client::push(const std::string& image, const std::string& reference, const PushOptions& options) {
  auto request = common(options, false);
  request.mutable_source()->mutable_store()->set_image(image);
  *request.mutable_destination()->mutable_registry() = endpoint(reference.empty() ? image : reference, options);
  return start(std::move(request), options, options.detach);
}

Transfer Client::start(v1::StartTransferRequest request, const FollowOptions& options, bool detach) {
  if (request.request_id().empty()) request.set_request_id(detail::request_id());
  // A start that is cancelled may have been accepted: the transfer is cancelled then, and not the call.
  auto response =
      detail::call(*core_, core_->transfers, &v1::TransferService::Stub::StartTransfer, request, CallOptions{});
  return Transfer(Transfer::Impl::make(core_, std::move(*response.mutable_transfer()), options, !detach, true));
}

Transfer Client::watch(const std::string& name, const FollowOptions& options) {
  v1::Transfer record;
  record.set_name(name);
  return Transfer(Transfer::Impl::make(core_, std::move(record), options, false, false));
}

v1::Transfer Client::get_transfer(const std::string& name, const CallOptions& options) {
  v1::GetTransferRequest request;
  request.set_name(name);
  return detail::call(*core_, core_->transfers, &v1::TransferService::Stub::GetTransfer, request, options).transfer();
}

Pages<v1::Transfer> Client::transfers(std::vector<v1::TransferState> states, CallOptions options) {
  v1::ListTransfersRequest request;
  for (const auto state : states) request.add_states(state);
  return detail::pages<v1::Transfer>(core_, core_->transfers, &v1::TransferService::Stub::ListTransfers,
                                     std::move(request), std::move(options),
                                     [](auto& response) { return response.mutable_transfers(); });
}

v1::Transfer Client::cancel_transfer(const std::string& name, const CallOptions& options) {
  v1::CancelTransferRequest request;
  request.set_name(name);
  return detail::call(*core_, core_->transfers, &v1::TransferService::Stub::CancelTransfer, request, options)
      .transfer();
}

v1::Transfer Client::resume_transfer(const v1::ResumeTransferRequest& request, const CallOptions& options) {
  return detail::call(*core_, core_->transfers, &v1::TransferService::Stub::ResumeTransfer, request, options)
      .transfer();
}

}  // namespace imgd
