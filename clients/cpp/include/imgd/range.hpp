#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace imgd {

/// An input iterator over a range that is read once, as it comes. It is invalid once the range is moved.
template <class Range>
class InputIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = typename Range::value_type;
  using difference_type = std::ptrdiff_t;
  using pointer = const value_type*;
  using reference = const value_type&;

  /// The end.
  InputIterator() = default;

  /// The next item of a range, or the end. Throws what reading throws.
  explicit InputIterator(Range& range) : range_(&range) { ++*this; }

  reference operator*() const { return range_->current(); }
  pointer operator->() const { return &range_->current(); }

  InputIterator& operator++() {
    if (!range_->advance()) range_ = nullptr;
    return *this;
  }

  /// Its value outlives the step.
  auto operator++(int) {
    struct Passed {
      value_type value;
      const value_type& operator*() const { return value; }
    };
    Passed passed{**this};
    ++*this;
    return passed;
  }

  friend bool operator==(const InputIterator& one, const InputIterator& other) { return one.range_ == other.range_; }
  friend bool operator!=(const InputIterator& one, const InputIterator& other) { return !(one == other); }

 private:
  Range* range_ = nullptr;
};

/// A list of the daemon, page by page as its items are asked for: `for (const auto& image : client.images())`.
/// It is read once; a loop that is entered again goes on behind the last item.
template <class Item>
class Pages {
 public:
  using value_type = Item;
  using iterator = InputIterator<Pages>;

  /// Returns a page, and puts the next one's token, empty at the end, in the place of its own.
  using Fetch = std::function<std::vector<Item>(std::string& token)>;

  explicit Pages(Fetch fetch) : fetch_(std::move(fetch)) {}
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  Pages(Pages&&) noexcept = default;
  Pages& operator=(Pages&&) noexcept = default;

  iterator begin() { return iterator(*this); }
  iterator end() { return {}; }

 private:
  friend iterator;

  bool advance() {
    // An empty page with a token is no end.
    while (next_ == items_.size()) {
      if (over_) return false;
      items_ = fetch_(token_);
      next_ = 0;
      over_ = token_.empty();
    }
    ++next_;
    return true;
  }

  const Item& current() const { return items_[next_ - 1]; }

  Fetch fetch_;
  std::vector<Item> items_;
  std::size_t next_ = 0;
  std::string token_;
  bool over_ = false;
};

}  // namespace imgd
