#include "error.hpp"

#include <google/protobuf/util/time_util.h>
#include <imgd/client/details.pb.h>
#include <imgd/v1/errors.pb.h>

#include <string_view>
#include <utility>

namespace imgd {
namespace {

// A reason counts with our domain only.
constexpr std::string_view kDomain = "imgd.dev";
constexpr std::string_view kReasonPrefix = "ERROR_REASON_";

// The codes' names (google/rpc/code.proto), by their numbers.
constexpr const char* kCodes[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

std::string text(const Error::Details& said) {
  std::string name = said.reason.empty() ? kCodes[said.code] : said.reason;
  return said.message.empty() ? name : said.message + " (" + name + ")";
}

grpc::StatusCode known(int code) {
  const bool is_known = code > grpc::StatusCode::OK && code <= grpc::StatusCode::UNAUTHENTICATED;
  return is_known ? static_cast<grpc::StatusCode>(code) : grpc::StatusCode::UNKNOWN;
}

std::chrono::nanoseconds nanoseconds(const google::protobuf::Duration& duration) {
  return std::chrono::nanoseconds(google::protobuf::util::TimeUtil::DurationToNanoseconds(duration));
}

// Empty for a reason that is not said, or newer than this client.
std::string reason_name(v1::ErrorReason reason) {
  if (reason == v1::ERROR_REASON_UNSPECIFIED || !v1::ErrorReason_IsValid(reason)) return "";
  return v1::ErrorReason_Name(reason).substr(kReasonPrefix.size());
}

Error::Details of(const v1::Transfer& transfer) {
  const auto& failure = transfer.outcome().failure();
  Error::Details said;
  said.code = known(failure.code());
  said.reason = reason_name(failure.reason());
  said.message = failure.message();
  said.metadata.insert(failure.metadata().begin(), failure.metadata().end());
  if (said.message.empty()) {
    said.message = transfer.name() + " ended as " + v1::TransferState_Name(transfer.state());
  }
  if (failure.has_retry_delay()) said.retry_delay = nanoseconds(failure.retry_delay());
  return said;
}

// Puts one of a status's details into what is known.
void add(const google::protobuf::Any& detail, Error::Details& said) {
  const auto& url = detail.type_url();
  const auto name = url.substr(url.rfind('/') + 1);
  const auto parse = [&](google::protobuf::Message& message) { return message.ParseFromString(detail.value()); };
  if (name == "google.rpc.ErrorInfo") {
    client::ErrorInfo info;
    if (parse(info) && info.domain() == kDomain) {
      said.reason = info.reason();
      said.metadata = {info.metadata().begin(), info.metadata().end()};
    }
  } else if (name == "google.rpc.RetryInfo") {
    client::RetryInfo info;
    if (parse(info)) said.retry_delay = nanoseconds(info.retry_delay());
  } else if (name == "google.rpc.BadRequest") {
    client::BadRequest request;
    if (!parse(request)) return;
    for (const auto& one : request.field_violations()) said.fields.push_back({one.field(), one.description()});
  } else if (name == "google.rpc.PreconditionFailure") {
    client::PreconditionFailure failure;
    if (!parse(failure)) return;
    for (const auto& one : failure.violations()) {
      said.holders.push_back({one.type(), one.subject(), one.description()});
    }
  } else if (name == "google.rpc.ResourceInfo") {
    client::ResourceInfo info;
    if (!parse(info)) return;
    said.resource_type = info.resource_type();
    said.resource_name = info.resource_name();
  }
}

}  // namespace

Error::Error(Details details)
    : std::runtime_error(text(details)), details_(std::make_shared<const Details>(std::move(details))) {}

TransferFailed::TransferFailed(v1::Transfer transfer)
    : Error(of(transfer)), transfer_(std::make_shared<const v1::Transfer>(std::move(transfer))) {}

namespace detail {

Error::Details details(const grpc::Status& status) {
  Error::Details said;
  said.code = known(status.error_code());
  said.message = status.error_message();
  client::Status more;
  if (more.ParseFromString(status.error_details())) {
    for (const auto& one : more.details()) add(one, said);
  }
  return said;
}

void raise(Error::Details said) {
  switch (said.code) {
    case grpc::StatusCode::CANCELLED:
      throw Cancelled(std::move(said));
    case grpc::StatusCode::INVALID_ARGUMENT:
      throw InvalidArgument(std::move(said));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      throw DeadlineExceeded(std::move(said));
    case grpc::StatusCode::NOT_FOUND:
      throw NotFound(std::move(said));
    case grpc::StatusCode::ALREADY_EXISTS:
      throw AlreadyExists(std::move(said));
    case grpc::StatusCode::PERMISSION_DENIED:
      throw PermissionDenied(std::move(said));
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      throw ResourceExhausted(std::move(said));
    case grpc::StatusCode::FAILED_PRECONDITION:
      if (said.reason == "IMAGE_IN_USE") throw InUse(std::move(said));
      throw FailedPrecondition(std::move(said));
    case grpc::StatusCode::ABORTED:
      throw Aborted(std::move(said));
    case grpc::StatusCode::OUT_OF_RANGE:
      throw OutOfRange(std::move(said));
    case grpc::StatusCode::UNIMPLEMENTED:
      throw Unimplemented(std::move(said));
    case grpc::StatusCode::UNAVAILABLE:
      throw Unavailable(std::move(said));
    case grpc::StatusCode::DATA_LOSS:
      throw DataLoss(std::move(said));
    case grpc::StatusCode::UNAUTHENTICATED:
      throw Unauthenticated(std::move(said));
    default:
      throw Internal(std::move(said));
  }
}

void check(const grpc::Status& status) {
  if (!status.ok()) raise(details(status));
}

void raise_cancelled() {
  Error::Details said;
  said.code = grpc::StatusCode::CANCELLED;
  said.message = "it was left before its end";
  throw Cancelled(std::move(said));
}

}  // namespace detail
}  // namespace imgd
