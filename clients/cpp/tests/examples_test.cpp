// The examples run, as they were built with the installed package, and README shows the one that does.

#include <gtest/gtest.h>
#include <stdio.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "scripted.hpp"

namespace {

using scripted::Daemon;
using scripted::finished;
using scripted::snapshot;

std::string text(const std::string& name) {
  std::ifstream file(std::string(IMGD_SOURCE) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A running example. What it says is read line by line.
class Example {
 public:
  Example(const std::string& name, const Daemon& daemon) {
    const char* folder = std::getenv("IMGD_EXAMPLES");
    if (folder == nullptr) throw std::runtime_error("IMGD_EXAMPLES names no folder: run this with `tasks test`");
    const auto command = "IMGD_ADDRESS=" + daemon.address() + " '" + folder + "/" + name + "' redis:7 2>&1";
    output_ = popen(command.c_str(), "r");
    if (output_ == nullptr) throw std::runtime_error("it can't be run: " + command);
  }
  Example(const Example&) = delete;
  Example& operator=(const Example&) = delete;
  ~Example() {
    if (output_ != nullptr) leave();
  }

  std::string line() {
    std::string said;
    for (int one = fgetc(output_); one != EOF; one = fgetc(output_)) {
      said += static_cast<char>(one);
      if (one == '\n') break;
    }
    return said;
  }

  std::string rest() {
    std::string said;
    for (auto next = line(); !next.empty(); next = line()) said += next;
    return said;
  }

  // Stops reading, and waits for its end.
  int leave() { return pclose(std::exchange(output_, nullptr)); }

 private:
  FILE* output_;
};

TEST(Examples, AreShownInTheReadme) {
  const auto example = text("examples/pull.cpp");
  ASSERT_NE(example, "");
  EXPECT_NE(text("README.md").find("```cpp\n" + example + "```\n"), std::string::npos);
}

TEST(Examples, Pull) {
  Daemon daemon({snapshot(1), finished(2)});
  Example pull("pull", daemon);
  EXPECT_EQ(pull.rest(), "pulled sha256:abc\nredis:7  0\n");
  EXPECT_EQ(pull.leave(), 0);
  EXPECT_EQ(daemon.requests().at(0).source().registry().reference(), "redis:7");
}

TEST(Examples, PullSaysWhatFailed) {
  Daemon daemon({finished(1, imgd::v1::TRANSFER_STATE_FAILED)});
  Example pull("pull", daemon);
  EXPECT_EQ(pull.rest(), ": transfers/a ended as TRANSFER_STATE_FAILED\n");
  EXPECT_NE(pull.leave(), 0);
}

TEST(Examples, RelayPassesEveryEventOn) {
  Daemon daemon({snapshot(1), finished(2)});
  Example relay("relay", daemon);
  EXPECT_NE(relay.line().find("\"snapshot\""), std::string::npos);
  EXPECT_NE(relay.line().find("\"TRANSFER_STATE_SUCCEEDED\""), std::string::npos);
  EXPECT_EQ(relay.rest(), "");
  EXPECT_EQ(relay.leave(), 0);
}

TEST(Examples, RelayCancelsForAUserWhoLeaves) {
  Daemon daemon({snapshot(1)});
  Example relay("relay", daemon);
  EXPECT_NE(relay.line().find("\"snapshot\""), std::string::npos);
  relay.leave();
  EXPECT_EQ(daemon.cancelled.next(), "transfers/a");
}

}  // namespace
