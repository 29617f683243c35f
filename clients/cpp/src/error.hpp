#pragma once

#include <grpcpp/support/status.h>

#include <imgd/error.hpp>

namespace imgd::detail {

/// What a failed call's status says.
Error::Details details(const grpc::Status& status);

/// Throws the class of error that fits.
[[noreturn]] void raise(Error::Details details);

/// Throws what a status says, unless it is well.
void check(const grpc::Status& status);

/// Throws Cancelled.
[[noreturn]] void raise_cancelled();

}  // namespace imgd::detail
