// The C++ client's conformance executable; see protos/imgd/conformance/v1/client.proto.

#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/util/delimited_message_util.h>
#include <google/protobuf/util/time_util.h>
#include <imgd/conformance/v1/client.pb.h>
#include <openssl/evp.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <imgd/client.hpp>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace pb = imgd::conformance::v1;
namespace v1 = imgd::v1;
using google::protobuf::util::TimeUtil;

// What a program throws to leave a scope.
struct LeftError : std::exception {};

// --- errors ------------------------------------------------------------------------------------

template <class Kind>
bool is(const imgd::Error& error) {
  return dynamic_cast<const Kind*>(&error) != nullptr;
}

pb::ErrorClass class_of(const imgd::Error& error) {
  // The particular ones first.
  static const std::pair<bool (*)(const imgd::Error&), pb::ErrorClass> kClasses[] = {
      {is<imgd::TransferFailed>, pb::ERROR_CLASS_TRANSFER_FAILED},
      {is<imgd::InUse>, pb::ERROR_CLASS_IN_USE},
      {is<imgd::Cancelled>, pb::ERROR_CLASS_CANCELLED},
      {is<imgd::InvalidArgument>, pb::ERROR_CLASS_INVALID_ARGUMENT},
      {is<imgd::DeadlineExceeded>, pb::ERROR_CLASS_DEADLINE_EXCEEDED},
      {is<imgd::NotFound>, pb::ERROR_CLASS_NOT_FOUND},
      {is<imgd::AlreadyExists>, pb::ERROR_CLASS_ALREADY_EXISTS},
      {is<imgd::PermissionDenied>, pb::ERROR_CLASS_PERMISSION_DENIED},
      {is<imgd::ResourceExhausted>, pb::ERROR_CLASS_RESOURCE_EXHAUSTED},
      {is<imgd::FailedPrecondition>, pb::ERROR_CLASS_FAILED_PRECONDITION},
      {is<imgd::Aborted>, pb::ERROR_CLASS_ABORTED},
      {is<imgd::OutOfRange>, pb::ERROR_CLASS_OUT_OF_RANGE},
      {is<imgd::Unimplemented>, pb::ERROR_CLASS_UNIMPLEMENTED},
      {is<imgd::Internal>, pb::ERROR_CLASS_INTERNAL},
      {is<imgd::Unavailable>, pb::ERROR_CLASS_UNAVAILABLE},
      {is<imgd::DataLoss>, pb::ERROR_CLASS_DATA_LOSS},
      {is<imgd::Unauthenticated>, pb::ERROR_CLASS_UNAUTHENTICATED},
  };
  for (const auto& [fits, found] : kClasses) {
    if (fits(error)) return found;
  }
  return pb::ERROR_CLASS_UNSPECIFIED;
}

pb::Error describe(const imgd::Error& error) {
  pb::Error said;
  said.set_error_class(class_of(error));
  said.set_reason(error.reason());
  said.set_message(error.message());
  said.mutable_metadata()->insert(error.metadata().begin(), error.metadata().end());
  for (const auto& one : error.fields()) said.add_fields(one.field);
  for (const auto& one : error.holders()) said.add_holders(one.subject);
  if (!error.resource_type().empty()) said.set_resource(error.resource_type() + "/" + error.resource_name());
  if (error.retry_delay()) {
    *said.mutable_retry_delay() = TimeUtil::NanosecondsToDuration(error.retry_delay()->count());
  }
  return said;
}

// --- bytes -------------------------------------------------------------------------------------

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }

  void update(const std::string& data) { EVP_DigestUpdate(context_.get(), data.data(), data.size()); }

  std::string finish() {
    static constexpr char kDigits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), hash, &size);
    std::string found;
    for (unsigned int index = 0; index < size; ++index) {
      found += kDigits[hash[index] >> 4];
      found += kDigits[hash[index] & 15];
    }
    return found;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// Reads bytes, all of them or so many pieces, into a file or nowhere.
pb::Result drain(imgd::Bytes bytes, const std::string& path, int count) {
  std::ofstream file;
  file.exceptions(std::ios::failbit | std::ios::badbit);
  if (!path.empty()) file.open(path, std::ios::binary);
  Sha256 hash;
  std::int64_t size = 0;
  for (const auto& piece : bytes) {
    hash.update(piece);
    size += static_cast<std::int64_t>(piece.size());
    if (!path.empty()) file << piece;
    if (--count == 0) break;
  }
  pb::Result result;
  result.mutable_bytes()->set_size(size);
  result.mutable_bytes()->set_sha256(hash.finish());
  return result;
}

// A file that throws after so many bytes.
class Failing : public std::streambuf {
 public:
  Failing(std::streambuf* file, std::int64_t limit) : file_(file), left_(limit) {}

 protected:
  std::streamsize xsgetn(char* into, std::streamsize size) override {
    if (left_ == 0) throw LeftError();
    const auto count = file_->sgetn(into, std::min<std::streamsize>(size, left_));
    left_ -= count;
    return count == size ? count : count + xsgetn(into + count, size - count);
  }

 private:
  std::streambuf* file_;
  std::streamsize left_;
};

// --- operations --------------------------------------------------------------------------------

template <class Item>
std::vector<Item> some(imgd::Pages<Item> items, int count) {
  std::vector<Item> found;
  for (const auto& item : items) {
    found.push_back(item);
    if (--count == 0) break;
  }
  return found;
}

class Executor {
 public:
  explicit Executor(imgd::Client& client) : client_(client) {}

  // Does one thing. Errors of the wrapper are results.
  pb::Result operator()(const pb::Operation& operation) {
    try {
      return perform(operation);
    } catch (const imgd::Error& error) {
      pb::Result result;
      *result.mutable_error() = describe(error);
      return result;
    }
  }

 private:
  pb::Result perform(const pb::Operation& operation) {
    pb::Result result;
    switch (operation.operation_case()) {
      case pb::Operation::kPull:
        return pull(operation.pull());
      case pb::Operation::kPush:
        return push(operation.push());
      case pb::Operation::kWatch:
        return follow(client_.watch(operation.watch().transfer()), operation.watch().leave());
      case pb::Operation::kHold:
        return hold(operation.hold());
      case pb::Operation::kSave:
        return drain(client_.save_images(operation.save().request()), operation.save().path(),
                     operation.save().leave().after_messages());
      case pb::Operation::kReadFile:
        return drain(client_.read_file(operation.read_file()), "", 0);
      case pb::Operation::kLoad:
        return load(operation.load());
      case pb::Operation::kEvents:
        return events(operation.events());
      case pb::Operation::kListImages: {
        const auto& wanted = operation.list_images();
        const auto found = some(client_.list_images(wanted.request()), wanted.stop_after());
        result.mutable_images()->mutable_images()->Add(found.begin(), found.end());
        return result;
      }
      case pb::Operation::kListContainers: {
        const auto& wanted = operation.list_containers();
        const auto found = some(client_.containers(wanted.request()), wanted.stop_after());
        result.mutable_containers()->mutable_containers()->Add(found.begin(), found.end());
        return result;
      }
      case pb::Operation::kListFiles:
        result.mutable_files();
        for (const auto& file : client_.files(operation.list_files())) result.mutable_files()->add_paths(file.path());
        return result;
      case pb::Operation::kInspectImage: {
        const auto& wanted = operation.inspect_image();
        *result.mutable_inspected() = client_.inspect_image(wanted.image(), wanted.platform());
        return result;
      }
      case pb::Operation::kTagImage:
        *result.mutable_tagged() = client_.tag_image(operation.tag_image());
        return result;
      case pb::Operation::kUntagImage:
        *result.mutable_image() = client_.untag_image(operation.untag_image().reference());
        return result;
      case pb::Operation::kRemoveImage: {
        const auto& wanted = operation.remove_image();
        *result.mutable_removed() = client_.remove_image(wanted.image(), wanted.force());
        return result;
      }
      case pb::Operation::kPruneImages:
        *result.mutable_pruned() = client_.prune_images(operation.prune_images());
        return result;
      case pb::Operation::kGetInfo:
        *result.mutable_info() = client_.info();
        return result;
      case pb::Operation::kGetImage:
        *result.mutable_image() = client_.get_image(operation.get_image().image());
        return result;
      default:
        result.mutable_unsupported();
        return result;
    }
  }

  pb::Result pull(const pb::PullOperation& wanted) {
    const auto& request = wanted.request();
    imgd::PullOptions options;
    const auto& platforms = request.platforms();
    options.platforms = {platforms.platforms().begin(), platforms.platforms().end()};
    options.all_platforms = platforms.all();
    options.policy = request.policy();
    options.unpack = request.unpack();
    options.detach = request.detach();
    options.all_tags = request.all_tags();
    options.include_referrers = request.include_referrers();
    options.request_id = request.request_id();
    if (request.has_credentials()) options.credentials = request.credentials();
    if (request.has_lease()) options.lease = request.lease();
    if (request.has_limits()) options.limits = request.limits();
    return follow(client_.pull(request.reference(), options), wanted.leave());
  }

  pb::Result push(const pb::PushOperation& wanted) {
    const auto& request = wanted.request();
    imgd::PushOptions options;
    options.detach = request.detach();
    options.all_tags = request.all_tags();
    options.include_referrers = request.include_referrers();
    const auto& platforms = request.platforms();
    options.platforms = {platforms.platforms().begin(), platforms.platforms().end()};
    if (request.has_credentials()) options.credentials = request.credentials();
    if (request.has_limits()) options.limits = request.limits();
    return follow(client_.push(request.image(), request.reference(), options), wanted.leave());
  }

  pb::Result follow(imgd::Transfer transfer, const pb::Leave& leave) {
    pb::Result result;
    auto& seen = *result.mutable_stream();
    seen.set_rising(true);
    std::int64_t last = 0;
    std::thread canceller;
    try {
      for (const auto& event : transfer) {
        seen.set_events(seen.events() + 1);
        seen.set_rising(seen.rising() && event.sequence() > last);
        last = event.sequence();
        if (event.has_snapshot()) seen.set_snapshots(seen.snapshots() + 1);
        if (event.has_finished()) {
          seen.set_finished(seen.finished() + 1);
          *seen.mutable_transfer() = event.finished().transfer();
        }
        if (seen.events() == leave.after_messages()) break;
        if (seen.events() == leave.cancel_after_messages()) {
          canceller = std::thread([&transfer] { transfer.cancel(); });
        }
      }
      if (seen.finished() > 0) transfer.wait();
    } catch (const imgd::Cancelled& error) {
      // Whoever cancels knows it.
      if (!canceller.joinable()) *seen.mutable_error() = describe(error);
    } catch (const imgd::Error& error) {
      *seen.mutable_error() = describe(error);
    }
    if (canceller.joinable()) canceller.join();
    return result;
  }

  pb::Result hold(const pb::HoldOperation& wanted) {
    auto taken = wanted.has_lease() ? client_.hold_lease(wanted.lease()) : client_.hold_container(wanted.container());
    pb::Result result;
    auto& said = *result.mutable_hold();
    said.set_name(taken.name());
    try {
      auto held = std::move(taken);
      for (const auto& operation : wanted.inside()) *said.add_inside() = (*this)(operation);
      if (wanted.leave_by_error()) throw LeftError();
      held.release();
    } catch (const LeftError&) {
    } catch (const imgd::Error& error) {
      *said.mutable_error() = describe(error);
    }
    return result;
  }

  pb::Result load(const pb::LoadOperation& wanted) {
    std::ifstream file(wanted.path(), std::ios::binary);
    Failing failing(file.rdbuf(), wanted.abandon_after_bytes());
    if (wanted.abandon_after_bytes() > 0) file.std::istream::rdbuf(&failing);
    pb::Result result;
    try {
      *result.mutable_loaded() = client_.load_images(file, wanted.request());
    } catch (const LeftError&) {
      result.mutable_bytes()->set_size(wanted.abandon_after_bytes());
    }
    return result;
  }

  pb::Result events(const pb::EventsOperation& wanted) {
    auto stream = client_.events(wanted.request());
    if (wanted.has_once_listening()) (*this)(wanted.once_listening());
    pb::Result result;
    auto& found = *result.mutable_events();
    for (const auto& event : stream) {
      *found.add_events() = event;
      if (found.events_size() == wanted.count()) break;
    }
    return result;
  }

  imgd::Client& client_;
};

imgd::Client connect(const pb::Connection& connection) {
  imgd::ClientOptions options;
  options.address = connection.address();
  options.token = connection.token();
  const auto milliseconds = [](const auto& duration) {
    return std::chrono::milliseconds(TimeUtil::DurationToMilliseconds(duration));
  };
  if (connection.has_timeout()) options.timeout = milliseconds(connection.timeout());
  if (connection.has_patience()) options.patience = milliseconds(connection.patience());
  if (connection.has_tls()) {
    const auto& tls = connection.tls();
    options.tls = imgd::Tls{tls.ca_pem(), tls.certificate_pem(), tls.key_pem(), tls.server_name()};
  }
  return imgd::Client(options);
}

pb::ClientResponse respond(const pb::ClientRequest& request) {
  pb::ClientResponse response;
  response.set_case_name(request.case_name());
  auto& result = *response.mutable_result();
  try {
    auto client = connect(request.connection());
    result = Executor(client)(request.operation());
  } catch (const imgd::UsageError& error) {
    result.mutable_error()->set_error_class(pb::ERROR_CLASS_USAGE);
    result.mutable_error()->set_message(error.what());
  } catch (const std::exception& error) {
    result.set_broken(error.what());
  }
  return response;
}

}  // namespace

int main() {
  google::protobuf::io::FileInputStream input(0);
  for (;;) {
    pb::ClientRequest request;
    bool over = false;
    if (!google::protobuf::util::ParseDelimitedFromZeroCopyStream(&request, &input, &over)) return over ? 0 : 1;
    google::protobuf::util::SerializeDelimitedToOstream(respond(request), &std::cout);
    std::cout.flush();
  }
}
