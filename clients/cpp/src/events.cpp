#include <algorithm>

#include "stream.hpp"

namespace imgd {

class Events::Impl {
 public:
  Impl(const std::shared_ptr<Client::Core>& core, const v1::WatchEventsRequest& request, const CallOptions& options)
      : request_(request),
        seen_(request.after_cursor()),
        stream_(core, options, core->patience, false, true,
                [this, &stub = *core->events](auto* context) { return stub.WatchEvents(context, wanted()); }) {
    // The first message comes at once, and says where the history stands.
    over_ = !receive();
  }

  bool advance() {
    while (next_ == response_.events_size()) {
      if (over_ || (over_ = !receive())) return false;
    }
    ++next_;
    seen_ = current().cursor();
    return true;
  }

  const v1::StoreEvent& current() const { return response_.events(next_ - 1); }

  std::int64_t cursor() const { return next_ < response_.events_size() ? seen_ : std::max(cursor_, seen_); }

  void close() { stream_.stop(); }

 private:
  v1::WatchEventsRequest wanted() const {
    auto wanted = request_;
    if (cursor_ >= 0) {
      wanted.set_after_cursor(cursor_);
      wanted.clear_since();
    }
    if (cursor_ == 0) {
      // 0 alone would mean from now on, and something may have happened meanwhile.
      *wanted.mutable_since() = request_.since();
    }
    return wanted;
  }

  bool receive() {
    // What is received over a failure is lost, and with it the event that `current` speaks of.
    next_ = 0;
    response_.Clear();
    if (!stream_.next(response_)) return false;
    cursor_ = response_.cursor();
    return true;
  }

  const v1::WatchEventsRequest request_;
  std::int64_t cursor_ = -1;
  std::int64_t seen_;
  v1::WatchEventsResponse response_;
  int next_ = 0;
  bool over_ = false;
  detail::Attached<v1::WatchEventsResponse> stream_;
};

Events::Events(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Events::Events(Events&&) noexcept = default;
Events& Events::operator=(Events&&) noexcept = default;
Events::~Events() = default;

bool Events::advance() { return impl_->advance(); }

const v1::StoreEvent& Events::current() const { return impl_->current(); }

std::int64_t Events::cursor() const noexcept { return impl_->cursor(); }

void Events::close() { impl_->close(); }

Events Client::events(const v1::WatchEventsRequest& request, const CallOptions& options) {
  return Events(std::make_unique<Events::Impl>(core_, request, options));
}

}  // namespace imgd
