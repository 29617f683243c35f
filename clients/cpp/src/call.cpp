#include "call.hpp"

#include <random>

namespace imgd::detail {
namespace {

std::function<void()> canceller(const std::shared_ptr<grpc::ClientContext>& context) {
  return [weak = std::weak_ptr(context)] {
    if (const auto found = weak.lock()) found->TryCancel();
  };
}

}  // namespace

Context::Context(const Client::Core& core, const CallOptions& options, std::chrono::milliseconds timeout)
    : closing_(core.closing, canceller(context_)) {
  if (options.cancellation) cancelled_.emplace(*options.cancellation, canceller(context_));
  if (const auto time = options.timeout.value_or(timeout); time.count() > 0) {
    context_->set_deadline(std::chrono::system_clock::now() + time);
  }
}

std::string request_id() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::random_device random;
  std::string id;
  for (int word = 0; word < 4; ++word) {
    auto bits = random();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) id += kDigits[bits & 15];
  }
  return id;
}

}  // namespace imgd::detail
