#pragma once

#include <memory>
#include <string>

namespace imgd {

/// A lease or a container that keeps an image, is renewed meanwhile, also across a restart of the daemon, and is
/// given back at the end of this object.
class Hold {
 public:
  class Impl;

  explicit Hold(std::shared_ptr<Impl> impl) noexcept;
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  Hold(Hold&&) noexcept = default;
  Hold& operator=(Hold&& other) noexcept;
  /// As `release`; an error is lost.
  ~Hold();

  /// The resource name of the lease or container.
  const std::string& name() const noexcept;

  /// Whether it holds no more, though it was not released: somebody else ended it.
  bool is_lost() const noexcept;

  /// Gives it back. Throws Error where that failed, and NotFound where somebody else had ended it before; calling
  /// it again does the same and no more.
  void release();

 private:
  void leave() noexcept;

  std::shared_ptr<Impl> impl_;
};

}  // namespace imgd
