#pragma once

#include <grpcpp/support/status_code_enum.h>
#include <imgd/v1/transfer.pb.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace imgd {

/// What the program itself did wrong, found before any call: a malformed address, say, or a client that is closed.
class UsageError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// A field of the request that breaks a rule.
struct FieldViolation {
  std::string field;
  std::string description;
};

/// Something that stands in the way: a CONTAINER, LEASE or PIN and its resource name.
struct Holder {
  std::string type;
  std::string subject;
  std::string description;
};

/// A failed call, or a transfer that did not end well. There is a class below it for each gRPC code, one for
/// an image that is in use, and one for a transfer. Match those, or the reason, and never the text.
class Error : public std::runtime_error {
 public:
  /// What is known of an error.
  struct Details {
    grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
    std::string message;
    std::string reason;
    std::map<std::string, std::string> metadata;
    std::vector<FieldViolation> fields;
    std::vector<Holder> holders;
    std::string resource_type;
    std::string resource_name;
    std::optional<std::chrono::nanoseconds> retry_delay;
  };

  explicit Error(Details details);

  /// The gRPC code.
  grpc::StatusCode code() const noexcept { return details_->code; }
  /// The name of an ErrorReason without its prefix, such as IMAGE_NOT_FOUND; empty where none is known, as for
  /// errors of gRPC itself.
  const std::string& reason() const noexcept { return details_->reason; }
  /// What happened, to what, and what to do next. It is for people.
  const std::string& message() const noexcept { return details_->message; }
  /// Further facts.
  const std::map<std::string, std::string>& metadata() const noexcept { return details_->metadata; }
  /// The fields of the request that break a rule.
  const std::vector<FieldViolation>& fields() const noexcept { return details_->fields; }
  /// What stands in the way.
  const std::vector<Holder>& holders() const noexcept { return details_->holders; }
  /// What kind of thing is missing or in conflict; empty where nothing is.
  const std::string& resource_type() const noexcept { return details_->resource_type; }
  /// Its name.
  const std::string& resource_name() const noexcept { return details_->resource_name; }
  /// After how long trying again makes sense; absent where nothing is known about it.
  const std::optional<std::chrono::nanoseconds>& retry_delay() const noexcept { return details_->retry_delay; }

 private:
  // Copies of an exception must not throw.
  std::shared_ptr<const Details> details_;
};

class Cancelled : public Error {
  using Error::Error;
};
class InvalidArgument : public Error {
  using Error::Error;
};
class DeadlineExceeded : public Error {
  using Error::Error;
};
class NotFound : public Error {
  using Error::Error;
};
class AlreadyExists : public Error {
  using Error::Error;
};
class PermissionDenied : public Error {
  using Error::Error;
};
class ResourceExhausted : public Error {
  using Error::Error;
};
class FailedPrecondition : public Error {
  using Error::Error;
};
/// The image is held; `holders()` are by what.
class InUse : public FailedPrecondition {
  using FailedPrecondition::FailedPrecondition;
};
class Aborted : public Error {
  using Error::Error;
};
class OutOfRange : public Error {
  using Error::Error;
};
class Unimplemented : public Error {
  using Error::Error;
};
/// INTERNAL and UNKNOWN.
class Internal : public Error {
  using Error::Error;
};
class Unavailable : public Error {
  using Error::Error;
};
class DataLoss : public Error {
  using Error::Error;
};
class Unauthenticated : public Error {
  using Error::Error;
};

/// A transfer that ended other than well. The calls about it did not fail.
class TransferFailed : public Error {
 public:
  explicit TransferFailed(v1::Transfer transfer);

  /// Its record.
  const v1::Transfer& transfer() const noexcept { return *transfer_; }

 private:
  std::shared_ptr<const v1::Transfer> transfer_;
};

}  // namespace imgd
