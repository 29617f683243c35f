#include "address.hpp"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <imgd/client.hpp>
#include <regex>

namespace imgd {
namespace {

// sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
constexpr std::size_t kMaxSocketPath = 107;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::string default_address() {
  if (auto address = variable("IMGD_ADDRESS"); !address.empty()) return address;
  if (geteuid() == 0) return "unix:///run/imgd/imgd.sock";
  auto folder = variable("XDG_RUNTIME_DIR");
  if (folder.empty()) {
    folder = "/tmp/imgd-" + std::to_string(geteuid());
    detail::check_own(folder);
  }
  return "unix:" + folder + "/imgd.sock";
}

namespace detail {

void check_own(const std::string& folder) {
  struct stat found = {};
  if (lstat(folder.c_str(), &found) != 0 && errno == ENOENT) return;
  if (found.st_uid != geteuid() || !S_ISDIR(found.st_mode) || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw UsageError(folder +
                     " is not this user's alone: somebody else may have made it; set XDG_RUNTIME_DIR, "
                     "or name the daemon's address");
  }
}

std::string target(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) {
    auto path = address.substr(5);
    if (path.rfind("//", 0) == 0) {
      if (path.rfind("///", 0) != 0) throw UsageError("address " + address + ": write unix:PATH or unix:///PATH");
      path.erase(0, 2);
    }
    if (path.empty()) throw UsageError("address " + address + " names no socket");
    if (path.size() > kMaxSocketPath) {
      throw UsageError("address " + address + ": a socket's path has at most 107 bytes");
    }
    return "unix:" + path;
  }
  // An IPv6 address is in brackets.
  static const std::regex host_port(R"(([^\s/:\[\]]+|\[[0-9a-fA-F:.%\w]+\]):([0-9]{1,5}))");
  std::smatch found;
  if (std::regex_match(address, found, host_port)) {
    const int port = std::stoi(found[2]);
    if (0 < port && port < 65536) return address;
  }
  throw UsageError("address " + address + " is neither unix:PATH nor HOST:PORT");
}

bool is_here(const std::string& target) {
  if (target.rfind("unix:", 0) == 0) return true;
  auto host = target.substr(0, target.rfind(':'));
  if (host == "localhost") return true;
  std::array<unsigned char, 16> found = {};
  if (inet_pton(AF_INET, host.c_str(), found.data()) == 1) return found[0] == 127;
  return host.front() == '[' && inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), found.data()) == 1 &&
         found == std::array<unsigned char, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
}

}  // namespace detail
}  // namespace imgd
