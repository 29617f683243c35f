#pragma once

#include <functional>
#include <random>

#include "call.hpp"

namespace imgd::detail {

/// Decides when to try again: delays that double up to a bound, each drawn from its upper half, so that a thousand
/// watchers of one daemon do not come back in the same moment.
class Patience {
 public:
  explicit Patience(std::chrono::nanoseconds limit) : limit_(limit) {}

  /// Something worked.
  void reset() {
    failures_ = 0;
    since_.reset();
  }

  /// How long to wait, at least what the daemon asked for; absent when patience is over.
  std::optional<std::chrono::nanoseconds> next(std::optional<std::chrono::nanoseconds> asked) {
    using std::chrono::milliseconds;
    using std::chrono::nanoseconds;
    const auto now = std::chrono::steady_clock::now();
    if (!since_) since_ = now;
    const nanoseconds left = *since_ + limit_ - now;
    if (left <= nanoseconds(0)) return std::nullopt;
    const nanoseconds longest = std::min<nanoseconds>(milliseconds(5000), milliseconds(100) * (1 << failures_));
    if (failures_ < 10) ++failures_;
    std::uniform_int_distribution<nanoseconds::rep> draw(longest.count() / 2, longest.count());
    // A daemon that asks for more than this is not believed.
    const auto wanted = std::min<nanoseconds>(asked.value_or(nanoseconds(0)), std::chrono::seconds(60));
    return std::min(std::max(nanoseconds(draw(random_)), wanted), left);
  }

 private:
  std::chrono::nanoseconds limit_;
  int failures_ = 0;
  std::optional<std::chrono::steady_clock::time_point> since_;
  std::minstd_rand random_{std::random_device()()};
};

/// Reads a stream that attaches again when the connection is lost. `next` is one thread's at a time.
template <class Response>
class Attached {
 public:
  using Attach = std::function<std::unique_ptr<grpc::ClientReader<Response>>(grpc::ClientContext*)>;

  /// What never was there fails at once. A stream that ends well is over with `ends_well`, else that is a lost
  /// connection too.
  Attached(std::shared_ptr<Client::Core> core, CallOptions options, std::chrono::nanoseconds patience, bool there,
           bool ends_well, Attach attach)
      : core_(std::move(core)),
        options_(std::move(options)),
        attach_(std::move(attach)),
        there_(there),
        ends_well_(ends_well),
        patience_(patience),
        closing_(core_->closing, [stop = stop_] { stop.cancel(); }) {
    core_->check_open();
    if (options_.cancellation) cancelled_.emplace(*options_.cancellation, [stop = stop_] { stop.cancel(); });
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;

  ~Attached() {
    stop_.cancel();
    if (!reader_) return;
    // gRPC wants to be asked how it ended.
    Response rest;
    while (reader_->Read(&rest)) continue;
    reader_->Finish();
  }

  /// Ends it, from any thread.
  void stop() const { stop_.cancel(); }

  /// Waits for the next message; false at the end. Throws Error, Cancelled where it was stopped.
  bool next(Response& into) {
    for (;;) {
      if (stop_.is_cancelled()) raise_cancelled();
      if (!reader_) {
        context_.emplace(*core_, CallOptions{options_.timeout, stop_}, std::chrono::milliseconds(0));
        reader_ = attach_(context_->get());
      }
      if (reader_->Read(&into)) {
        there_ = true;
        patience_.reset();
        return true;
      }
      auto status = reader_->Finish();
      reader_.reset();
      if (stop_.is_cancelled()) raise_cancelled();
      if (status.ok()) {
        if (ends_well_) return false;
        status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream ended before its end");
      }
      pause(details(status));
    }
  }

 private:
  // Waits until the next attempt, or throws the error where there is to be none.
  void pause(Error::Details said) {
    // A server that stops under its streams ends some of them with a bare CANCELLED.
    const bool lost = said.code == grpc::StatusCode::UNAVAILABLE ||
                      (said.code == grpc::StatusCode::CANCELLED && said.reason.empty());
    if (!lost || (!there_ && !said.retry_delay)) raise(std::move(said));
    const auto delay = patience_.next(said.retry_delay);
    if (!delay) raise(std::move(said));
    if (stop_.wait_for(*delay)) raise_cancelled();
  }

  const std::shared_ptr<Client::Core> core_;
  const CallOptions options_;
  const Attach attach_;
  bool there_;
  const bool ends_well_;
  Patience patience_;
  const Cancellation stop_;
  const Link closing_;
  std::optional<Link> cancelled_;
  std::optional<Context> context_;
  std::unique_ptr<grpc::ClientReader<Response>> reader_;
};

}  // namespace imgd::detail
