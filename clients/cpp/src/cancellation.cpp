#include "cancellation.hpp"

#include <utility>

namespace imgd {

Cancellation::Cancellation() : state_(std::make_shared<detail::CancellationState>()) {}

void Cancellation::cancel() const { state_->cancel(); }

bool Cancellation::is_cancelled() const noexcept { return state_->is_cancelled(); }

bool Cancellation::wait_for(std::chrono::nanoseconds time) const { return state_->wait_for(time); }

namespace detail {

void CancellationState::cancel() {
  std::map<std::uint64_t, std::function<void()>> actions;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    actions.swap(actions_);
  }
  changed_.notify_all();
  // Without the lock: an action may take its time, or remove its own link.
  for (auto& [id, action] : actions) action();
}

bool CancellationState::is_cancelled() {
  std::lock_guard lock(mutex_);
  return cancelled_;
}

bool CancellationState::wait_for(std::chrono::nanoseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return cancelled_; });
}

std::uint64_t CancellationState::add(std::function<void()> action) {
  std::lock_guard lock(mutex_);
  if (cancelled_) return 0;
  actions_.emplace(++last_, std::move(action));
  return last_;
}

void CancellationState::remove(std::uint64_t id) {
  std::function<void()> last;  // What it holds may end with it, and that without the lock.
  std::lock_guard lock(mutex_);
  if (const auto found = actions_.find(id); found != actions_.end()) {
    last.swap(found->second);
    actions_.erase(found);
  }
}

Link::Link(const Cancellation& cancellation, std::function<void()> action)
    : state_(cancellation.state_), id_(state_->add(action)) {
  if (id_ == 0) action();
}

Link::~Link() { state_->remove(id_); }

}  // namespace detail
}  // namespace imgd
