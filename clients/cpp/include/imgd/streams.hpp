#pragma once

#include <imgd/v1/event.pb.h>

#include <cstdint>
#include <imgd/range.hpp>
#include <iosfwd>
#include <memory>
#include <string>

namespace imgd {

/// Bytes of the daemon as they come: a range of pieces, none of them empty. What came before an error is not
/// whole. The end of this object ends the call.
class Bytes {
 public:
  using value_type = std::string;
  using iterator = InputIterator<Bytes>;
  class Impl;

  explicit Bytes(std::unique_ptr<Impl> impl) noexcept;
  Bytes(Bytes&&) noexcept;
  Bytes& operator=(Bytes&&) noexcept;
  ~Bytes();

  iterator begin() { return iterator(*this); }
  iterator end() { return {}; }

  /// Writes what is left to a stream, until its end or until the stream fails, which is the stream's to tell.
  void write_to(std::ostream& out);
  /// Returns what is left.
  std::string read_all();
  /// Ends the call, from any thread. A loop elsewhere ends with Cancelled.
  void close();

 private:
  friend iterator;
  bool advance();
  const std::string& current() const;

  std::unique_ptr<Impl> impl_;
};

/// What happens in the store, as a range. It attaches again behind the last event when the daemon was away. The
/// end of this object ends the call.
class Events {
 public:
  using value_type = v1::StoreEvent;
  using iterator = InputIterator<Events>;
  class Impl;

  explicit Events(std::unique_ptr<Impl> impl) noexcept;
  Events(Events&&) noexcept;
  Events& operator=(Events&&) noexcept;
  ~Events();

  iterator begin() { return iterator(*this); }
  iterator end() { return {}; }

  /// What `after_cursor` of another request goes on behind: the last event that was handed out.
  std::int64_t cursor() const noexcept;
  /// Stops listening, from any thread. A loop elsewhere ends with Cancelled.
  void close();

 private:
  friend iterator;
  bool advance();
  const v1::StoreEvent& current() const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace imgd
