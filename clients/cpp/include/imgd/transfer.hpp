#pragma once

#include <imgd/v1/transfer.pb.h>

#include <chrono>
#include <imgd/cancellation.hpp>
#include <imgd/range.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace imgd {

/// How a transfer is followed.
struct FollowOptions {
  /// The shortest time between two updates; 0 for 100 ms.
  std::chrono::milliseconds min_interval{0};
  /// Does what Transfer::cancel does, from elsewhere.
  std::optional<Cancellation> cancellation;
};

/// What every transfer can be told.
struct TransferOptions : FollowOptions {
  /// os/architecture[/variant] each; none for the daemon's own, or those that are stored.
  std::vector<std::string> platforms;
  /// Every tag of the repository that the reference, or image, then names.
  bool all_tags = false;
  /// Also signatures and attestations.
  bool include_referrers = false;
  /// Credentials for the registry; absent for the daemon's configuration.
  std::optional<v1::RegistryCredentials> credentials;
  /// Bounds for this transfer.
  std::optional<v1::TransferLimits> limits;
  /// Leaves the transfer to itself: leaving does not cancel it.
  bool detach = false;
  /// For safe retries of the program; empty for one that is made.
  std::string request_id;
};

/// What a pull can be told.
struct PullOptions : TransferOptions {
  /// Every platform that the index has.
  bool all_platforms = false;
  /// When to ask the registry.
  v1::PullPolicy policy = v1::PULL_POLICY_UNSPECIFIED;
  /// Names to give to the image instead of its own.
  std::vector<std::string> tags;
  /// Also unpack the layers.
  bool unpack = false;
  /// A lease that is taken in the step that makes the image visible.
  std::optional<v1::LeaseSpec> lease;
};

/// What a push can be told.
struct PushOptions : TransferOptions {};

/// A transfer that is followed: a range of its events, or `wait` for its end.
///
/// The events are snapshots, updates, and exactly one finished as the last. Heartbeats and kinds of events that
/// are newer than this client are not passed on. When the connection or the daemon goes away it attaches again,
/// and goes on with a snapshot of how things stand then.
///
/// A pull or push belongs to whoever started it: `cancel`, the end of this object, of the client, or of the
/// `cancellation` in its options cancels it, unless it is detached. A watch never does. Leaving a loop alone
/// leaves the transfer as it is; the loop may be entered again. One thread may read it at a time; all but
/// begin, end and wait may be called from others meanwhile.
class Transfer {
 public:
  using value_type = v1::TransferEvent;
  using iterator = InputIterator<Transfer>;
  class Impl;

  explicit Transfer(std::shared_ptr<Impl> impl) noexcept;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  Transfer(Transfer&&) noexcept = default;
  Transfer& operator=(Transfer&& other) noexcept;
  /// As `cancel`; an error is lost.
  ~Transfer();

  /// The transfer's resource name.
  const std::string& name() const noexcept;
  /// The record: as it was accepted, and after the end with its outcome.
  v1::Transfer record() const;

  /// Waits for the next event. Throws Error when there is none to come; that the transfer failed is none, see
  /// `wait`.
  iterator begin() { return iterator(*this); }
  iterator end() { return {}; }

  /// Waits for the end and returns the record with its outcome. Throws TransferFailed where the transfer did not
  /// end well, Cancelled where it was left before, and Unavailable where the daemon was away for too long.
  v1::Transfer wait();

  /// Leaves the transfer to itself from here on.
  void detach();

  /// Stops following, and cancels a transfer that is its caller's own and has not ended. What was fetched stays
  /// for a while, so that a later pull goes on there. A loop elsewhere ends with Cancelled. Calling it again does
  /// nothing. Throws Error where the daemon could not be told.
  void cancel();

 private:
  friend iterator;
  bool advance();
  const v1::TransferEvent& current() const;
  void leave() noexcept;

  std::shared_ptr<Impl> impl_;
};

}  // namespace imgd
