#pragma once

#include <string>

namespace imgd::detail {

/// What gRPC connects to for unix:PATH, unix:///PATH or HOST:PORT. Throws UsageError for what is none of these.
std::string target(const std::string& address);

/// Whether what is sent to a target stays on this machine.
bool is_here(const std::string& target);

/// Throws UsageError for a folder that anybody else could have made in this user's name, to get what is sent to the
/// socket in it. That it is missing is well.
void check_own(const std::string& folder);

}  // namespace imgd::detail
