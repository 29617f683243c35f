#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <imgd/cancellation.hpp>
#include <map>
#include <memory>
#include <mutex>

namespace imgd::detail {

class CancellationState {
 public:
  void cancel();
  bool is_cancelled();
  bool wait_for(std::chrono::nanoseconds time);
  /// Returns 0 where it was cancelled before.
  std::uint64_t add(std::function<void()> action);
  void remove(std::uint64_t id);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::function<void()>> actions_;
};

/// Does something when a cancellation is cancelled, at once where it was, until the end of this object. It may
/// still run then, in the thread that cancels: an action holds what it needs.
class Link {
 public:
  Link(const Cancellation& cancellation, std::function<void()> action);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link();

 private:
  std::shared_ptr<CancellationState> state_;
  std::uint64_t id_;
};

}  // namespace imgd::detail
