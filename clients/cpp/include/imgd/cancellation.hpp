#pragma once

#include <chrono>
#include <memory>

namespace imgd {

namespace detail {
class CancellationState;
class Link;
}  // namespace detail

/// Ends calls and transfers from elsewhere, such as another thread. Copies are one and the same.
class Cancellation {
 public:
  Cancellation();

  /// Ends what was given this, and what will be. Calling it again does nothing.
  void cancel() const;

  /// Whether it was cancelled.
  bool is_cancelled() const noexcept;

  /// Waits until it is cancelled, for so long at the most. Returns whether it is.
  bool wait_for(std::chrono::nanoseconds time) const;

 private:
  friend class detail::Link;
  std::shared_ptr<detail::CancellationState> state_;
};

}  // namespace imgd
