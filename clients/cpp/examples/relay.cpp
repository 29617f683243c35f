// Relays the progress of a pull to a user of your own: each event is a line of JSON on the standard output, as a web
// server that starts a program for each request (CGI), or inetd, passes it on. A user who leaves cancels that pull;
// others that pull the same are not hurt.

#include <google/protobuf/util/json_util.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <imgd/client.hpp>
#include <iostream>
#include <string>
#include <thread>

// Cancels when whoever reads the standard output has left, also while nothing is written.
class User {
 public:
  User() = default;
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  ~User() {
    left_.cancel();
    watcher_.join();
  }

  const imgd::Cancellation& left() const { return left_; }

 private:
  void watch() const {
    pollfd output = {STDOUT_FILENO, 0, 0};
    while (!left_.wait_for(std::chrono::milliseconds(100))) {
      if (poll(&output, 1, 0) > 0) left_.cancel();
    }
  }

  const imgd::Cancellation left_;
  std::thread watcher_{[this] { watch(); }};
};

int main(int argc, char** argv) try {
  std::signal(SIGPIPE, SIG_IGN);
  imgd::Client client;
  imgd::PullOptions options;
  options.min_interval = std::chrono::milliseconds(250);
  const User user;
  options.cancellation = user.left();
  auto pull = client.pull(argc > 1 ? argv[1] : "redis:7", options);
  for (const auto& event : pull) {
    std::string line;
    if (!google::protobuf::util::MessageToJsonString(event, &line).ok()) return 1;
    if (!(std::cout << line << std::endl)) return 1;
  }
} catch (const imgd::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
