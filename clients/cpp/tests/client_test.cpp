#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <imgd/client.hpp>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

#include "address.hpp"
#include "scripted.hpp"

namespace {

using scripted::Daemon;
using scripted::finished;
using scripted::snapshot;

// What is owned is moved, and never copied; copies of an exception must not throw.
static_assert(!std::is_copy_constructible_v<imgd::Client> && std::is_nothrow_move_constructible_v<imgd::Client>);
static_assert(!std::is_copy_constructible_v<imgd::Transfer> && std::is_nothrow_move_constructible_v<imgd::Transfer>);
static_assert(!std::is_copy_constructible_v<imgd::Hold> && std::is_nothrow_move_constructible_v<imgd::Hold>);
static_assert(std::is_nothrow_copy_constructible_v<imgd::TransferFailed>);
static_assert(std::is_base_of_v<imgd::FailedPrecondition, imgd::InUse>);
static_assert(!std::is_base_of_v<imgd::Error, imgd::UsageError>);

imgd::Client connect(const Daemon& daemon) {
  imgd::ClientOptions options;
  options.address = daemon.address();
  return imgd::Client(options);
}

TEST(Pull, IsCancelledByTheEndOfItsScope) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  { const auto pull = client.pull("redis:7"); }
  EXPECT_EQ(daemon.cancelled.next(), "transfers/a");
}

TEST(Pull, IsCancelledByAnExceptionThatPasses) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  const auto relay = [&client] {
    auto pull = client.pull("redis:7");
    for (const auto& event : pull) throw std::runtime_error(event.snapshot().transfer().name());
  };
  EXPECT_THROW(relay(), std::runtime_error);
  daemon.cancelled.next();
  EXPECT_EQ(daemon.left.next(), "watch");
}

TEST(Pull, IsCancelledByTheEndOfItsClient) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  auto pull = client.pull("redis:7");
  imgd::PullOptions options;
  options.detach = true;
  auto detached = client.pull("redis:7", options);
  client.close();
  EXPECT_EQ(daemon.cancelled.waiting(), 1U);
  EXPECT_THROW(pull.wait(), imgd::Cancelled);
  EXPECT_THROW(detached.wait(), imgd::Cancelled);
  EXPECT_THROW(client.pull("redis:7"), imgd::UsageError);
  EXPECT_EQ(daemon.cancelled.waiting(), 1U);
}

TEST(Pull, IsCancelledOnceByWhoeverIsFirstAndTheOthersWait) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  auto pull = client.pull("redis:7");
  std::vector<std::thread> threads;
  for (int count = 0; count < 8; ++count) {
    threads.emplace_back([&] {
      pull.cancel();
      EXPECT_EQ(daemon.cancelled.waiting(), 1U);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(Pull, IsCancelledFromElsewhereInTheMiddleOfALoop) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  imgd::PullOptions options;
  options.cancellation.emplace();
  auto pull = client.pull("redis:7", options);
  std::thread elsewhere;
  const auto read = [&] {
    for (const auto& event : pull) {
      if (event.has_snapshot()) elsewhere = std::thread([&] { options.cancellation->cancel(); });
    }
  };
  EXPECT_THROW(read(), imgd::Cancelled);
  elsewhere.join();
  EXPECT_EQ(daemon.cancelled.waiting(), 1U);
}

TEST(Pull, IsCancelledAtOnceWhereThatWasSaidBefore) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  imgd::PullOptions options;
  options.cancellation.emplace();
  options.cancellation->cancel();
  auto pull = client.pull("redis:7", options);
  EXPECT_EQ(daemon.cancelled.waiting(), 1U);
  EXPECT_THROW(pull.begin(), imgd::Cancelled);
}

TEST(Pull, MovesToWhoTakesIt) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  std::optional<imgd::Transfer> first = client.pull("redis:7");
  auto second = std::move(*first);
  first.reset();
  EXPECT_EQ(daemon.cancelled.waiting(), 0U);
  second = client.pull("redis:8");
  EXPECT_EQ(daemon.cancelled.waiting(), 1U);
}

TEST(Pull, OutlivesTheClientThatMoves) {
  Daemon daemon({snapshot(1), finished(2)});
  auto first = connect(daemon);
  auto pull = first.pull("redis:7");
  const auto second = std::move(first);
  EXPECT_EQ(pull.wait().state(), imgd::v1::TRANSFER_STATE_SUCCEEDED);
  EXPECT_EQ(daemon.cancelled.waiting(), 0U);
}

TEST(Pull, MayBeReadInSeveralLoops) {
  Daemon daemon({snapshot(1), finished(2)});
  auto client = connect(daemon);
  {
    auto pull = client.pull("redis:7");
    for (const auto& event : pull) {
      EXPECT_EQ(event.sequence(), 1);
      break;
    }
    EXPECT_EQ(pull.wait().state(), imgd::v1::TRANSFER_STATE_SUCCEEDED);
    EXPECT_TRUE(pull.begin() == pull.end());
    EXPECT_EQ(pull.record().outcome().target().digest(), "sha256:abc");
  }
  EXPECT_EQ(daemon.cancelled.waiting(), 0U);
}

TEST(Pull, IsARangeForAlgorithms) {
  Daemon daemon({snapshot(1), finished(2)});
  auto client = connect(daemon);
  auto pull = client.pull("redis:7");
  const std::vector<imgd::v1::TransferEvent> events(pull.begin(), pull.end());
  ASSERT_EQ(events.size(), 2U);
  EXPECT_TRUE(events[1].has_finished());
  auto images = client.images();
  auto at = images.begin();
  EXPECT_EQ((*at++).name(), "images/a");
  EXPECT_TRUE(at == images.end());
}

TEST(Pull, HasARequestIdOfItsOwn) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  const auto first = client.pull("redis:7");
  const auto second = client.pull("redis:7");
  imgd::PullOptions options;
  options.request_id = "mine";
  const auto third = client.pull("redis:7", options);
  const auto requests = daemon.requests();
  EXPECT_EQ(requests[0].request_id().size(), 32U);
  EXPECT_NE(requests[0].request_id(), requests[1].request_id());
  EXPECT_EQ(requests[2].request_id(), "mine");
}

TEST(Pull, ThatFailedIsAnErrorOfItsOwn) {
  Daemon daemon({finished(1, imgd::v1::TRANSFER_STATE_FAILED)});
  auto client = connect(daemon);
  auto pull = client.pull("redis:7");
  try {
    pull.wait();
    FAIL() << "it ended well";
  } catch (const imgd::Internal&) {
    FAIL() << "it is a failed call, too";
  } catch (const imgd::TransferFailed& error) {
    EXPECT_EQ(error.transfer().state(), imgd::v1::TRANSFER_STATE_FAILED);
    EXPECT_NE(std::string(error.what()).find("TRANSFER_STATE_FAILED"), std::string::npos) << error.what();
  }
}

TEST(Watch, IsLeftWithoutCancelling) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  {
    auto watch = client.watch("transfers/a");
    EXPECT_TRUE(watch.begin()->has_snapshot());
  }
  EXPECT_EQ(daemon.left.next(), "watch");
  EXPECT_EQ(daemon.cancelled.waiting(), 0U);
}

TEST(Watch, EndsWithItsClient) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  auto watch = client.watch("transfers/a");
  EXPECT_TRUE(watch.begin()->has_snapshot());
  std::thread elsewhere([&client] { client.close(); });
  EXPECT_THROW(watch.wait(), imgd::Cancelled);
  elsewhere.join();
}

TEST(Client, ThatIsClosedSaysSo) {
  Daemon daemon({snapshot(1)});
  auto client = connect(daemon);
  client.close();
  client.close();
  EXPECT_THROW(client.pull("redis:7"), imgd::UsageError);
  EXPECT_THROW(client.watch("transfers/a"), imgd::UsageError);
  EXPECT_THROW(client.get_image("redis:7"), imgd::UsageError);
  auto images = client.images();
  EXPECT_THROW(images.begin(), imgd::UsageError);
  EXPECT_THROW(client.events(), imgd::UsageError);
  EXPECT_THROW(client.hold_lease({}), imgd::UsageError);
  EXPECT_THROW(client.save_images({}), imgd::UsageError);
  std::istringstream archive("abc");
  EXPECT_THROW(client.load_images(archive), imgd::UsageError);
  EXPECT_EQ(daemon.requests().size(), 0U);
}

TEST(Hold, ThatIsLostSaysSo) {
  Daemon daemon;
  daemon.forgets_leases = true;
  auto client = connect(daemon);
  imgd::v1::CreateLeaseRequest request;
  request.set_lease_id("x");
  request.mutable_ttl()->set_nanos(1'000'000);
  auto hold = client.hold_lease(request);
  for (const auto end = std::chrono::steady_clock::now() + scripted::kNet;
       !hold.is_lost() && std::chrono::steady_clock::now() < end;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_TRUE(hold.is_lost());
  EXPECT_THROW(hold.release(), imgd::NotFound);
  EXPECT_THROW(hold.release(), imgd::NotFound);
  EXPECT_EQ(daemon.deleted.waiting(), 1U);
}

TEST(Hold, IsGivenBackByTheEndOfItsScopeOrItsClient) {
  Daemon daemon;
  auto client = connect(daemon);
  imgd::v1::CreateLeaseRequest request;
  request.set_lease_id("x");
  {
    const auto hold = client.hold_lease(request);
    EXPECT_EQ(hold.name(), "leases/x");
  }
  EXPECT_EQ(daemon.deleted.next(), "leases/x");
  request.set_lease_id("y");
  auto hold = client.hold_lease(request);
  client.close();
  EXPECT_EQ(daemon.deleted.next(), "leases/y");
  hold.release();
  EXPECT_EQ(daemon.deleted.waiting(), 0U);
}

TEST(Call, EndsInTimeOrWhenItIsCancelled) {
  Daemon daemon;
  daemon.is_silent = true;
  auto client = connect(daemon);
  imgd::CallOptions options;
  options.timeout = std::chrono::milliseconds(1);
  auto images = client.images({}, options);
  EXPECT_THROW(images.begin(), imgd::DeadlineExceeded);
  options.timeout = std::chrono::milliseconds(0);
  options.cancellation.emplace();
  std::thread elsewhere([&options] { options.cancellation->cancel(); });
  auto others = client.images({}, options);
  EXPECT_THROW(others.begin(), imgd::Cancelled);
  elsewhere.join();
}

TEST(Bytes, ThatAreLeftEndTheCall) {
  Daemon daemon;
  auto client = connect(daemon);
  {
    auto bytes = client.save_images({});
    EXPECT_EQ(*bytes.begin(), "some");
  }
  EXPECT_EQ(daemon.left.next(), "save");
  auto bytes = client.save_images({});
  std::thread elsewhere([&bytes] { bytes.close(); });
  EXPECT_THROW(bytes.read_all(), imgd::Cancelled);
  elsewhere.join();
}

class Broken : public std::streambuf {
  int_type underflow() override { throw std::out_of_range("the program's own"); }
};

TEST(Load, PassesOnWhatTheArchiveThrows) {
  Daemon daemon;
  auto client = connect(daemon);
  Broken buffer;
  std::istream broken(&buffer);
  EXPECT_THROW(client.load_images(broken), std::out_of_range);
  // The call may have ended before the daemon heard of it. A whole one is not said to be broken.
  std::istringstream archive("archive");
  client.load_images(archive);
  std::string last = daemon.loaded.next();
  if (last == "broken") last = daemon.loaded.next();
  EXPECT_EQ(last, "whole");
  EXPECT_EQ(daemon.loaded.waiting(), 0U);
  archive.setstate(std::ios::failbit);
  EXPECT_THROW(client.load_images(archive), imgd::UsageError);
}

imgd::Client at(const std::string& address, const std::string& token = {}) {
  imgd::ClientOptions options;
  options.address = address;
  options.token = token;
  return imgd::Client(options);
}

TEST(Address, IsLookedAtBeforeAnyCall) {
  for (const auto& address :
       {std::string("x"), std::string("unix:"), std::string("unix://x"), std::string("http://127.0.0.1:1"),
        std::string("127.0.0.1"), std::string("127.0.0.1:0"), std::string("127.0.0.1:65536"), std::string("::1:80"),
        std::string("a b:1"), std::string("127.0.0.1:1\n"), "unix:/" + std::string(107, 'x')}) {
    EXPECT_THROW(at(address), imgd::UsageError) << address;
  }
  for (const auto& address :
       {std::string("unix:/x"), std::string("unix:///x"), std::string("unix:x"), std::string("127.0.0.1:1"),
        std::string("[::1]:1"), std::string("host:65535"), "unix:/" + std::string(106, 'x')}) {
    EXPECT_NO_THROW(at(address)) << address;
  }
}

TEST(Address, IsThatOfTheEnvironment) {
  setenv("IMGD_ADDRESS", "unix:/somewhere", 1);
  EXPECT_EQ(imgd::default_address(), "unix:/somewhere");
  setenv("IMGD_ADDRESS", "nowhere", 1);
  EXPECT_THROW(imgd::Client(), imgd::UsageError);
  unsetenv("IMGD_ADDRESS");
  setenv("XDG_RUNTIME_DIR", "/run/user/x", 1);
  EXPECT_EQ(imgd::default_address(), geteuid() == 0 ? "unix:///run/imgd/imgd.sock" : "unix:/run/user/x/imgd.sock");
  unsetenv("XDG_RUNTIME_DIR");
}

TEST(Address, OfASharedFolderIsTheUsersAlone) {
  auto pattern = (std::filesystem::temp_directory_path() / "imgd-cpp-XXXXXX").string();
  const std::filesystem::path folder = mkdtemp(pattern.data());
  EXPECT_NO_THROW(imgd::detail::check_own(folder));
  EXPECT_NO_THROW(imgd::detail::check_own(folder / "missing"));
  std::filesystem::create_directory_symlink(folder, folder / "link");
  EXPECT_THROW(imgd::detail::check_own(folder / "link"), imgd::UsageError);
  for (const mode_t mode : {0720, 0702}) {
    chmod(folder.c_str(), mode);
    EXPECT_THROW(imgd::detail::check_own(folder), imgd::UsageError) << mode;
  }
  chmod(folder.c_str(), 0700);
  std::filesystem::remove_all(folder);
}

TEST(Token, StaysOnThisMachineInClearText) {
  for (const auto* here : {"unix:/x", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"}) {
    EXPECT_NO_THROW(at(here, "t")) << here;
  }
  for (const auto* elsewhere : {"10.0.0.1:1", "host:1", "[::2]:1", "localhost.example:1", "127.0.0.1.example:1"}) {
    EXPECT_THROW(at(elsewhere, "t"), imgd::UsageError) << elsewhere;
  }
  for (const auto* token : {"two words", "line\n", "uml\xc3\xa4ut"}) {
    EXPECT_THROW(at("unix:/x", token), imgd::UsageError) << token;
  }
}

TEST(Tls, NeedsACertificateAndItsKey) {
  imgd::ClientOptions options;
  options.address = "unix:/x";
  options.tls.emplace().certificate = "one";
  EXPECT_THROW(imgd::Client{options}, imgd::UsageError);
}

}  // namespace
