#pragma once

#include <grpcpp/grpcpp.h>
#include <imgd/v1/archive_service.grpc.pb.h>
#include <imgd/v1/image_service.grpc.pb.h>
#include <imgd/v1/lease_service.grpc.pb.h>
#include <imgd/v1/transfer_service.grpc.pb.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace scripted {

// For what never comes, far above what anything here takes.
constexpr std::chrono::minutes kNet{2};

// What a daemon was told, in order.
class Told {
 public:
  void add(std::string what);
  // Waits for the next; throws std::runtime_error where nothing comes.
  std::string next();
  std::size_t waiting();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> said_;
};

// A daemon for tests: it says what it is told to say, on a socket, until its end.
class Daemon final : private imgd::v1::TransferService::Service,
                     private imgd::v1::LeaseService::Service,
                     private imgd::v1::ImageService::Service,
                     private imgd::v1::ArchiveService::Service {
 public:
  // The events are what a watch is told. Unless the last is the end, it then waits until the watcher leaves.
  explicit Daemon(std::vector<imgd::v1::TransferEvent> events = {});
  ~Daemon() override;

  const std::string& address() const { return address_; }
  std::vector<imgd::v1::StartTransferRequest> requests();

  Told cancelled;  // Names of transfers.
  Told left;       // "watch", "list" and "save", for each that was left.
  Told deleted;    // Names of leases.
  Told loaded;     // "whole" or "broken", for each load.
  // Renewals of leases find none.
  std::atomic<bool> forgets_leases = false;
  // Lists are not answered.
  std::atomic<bool> is_silent = false;

 private:
  grpc::Status StartTransfer(grpc::ServerContext*, const imgd::v1::StartTransferRequest*,
                             imgd::v1::StartTransferResponse*) override;
  grpc::Status WatchTransfer(grpc::ServerContext*, const imgd::v1::WatchTransferRequest*,
                             grpc::ServerWriter<imgd::v1::WatchTransferResponse>*) override;
  grpc::Status CancelTransfer(grpc::ServerContext*, const imgd::v1::CancelTransferRequest*,
                              imgd::v1::CancelTransferResponse*) override;
  grpc::Status CreateLease(grpc::ServerContext*, const imgd::v1::CreateLeaseRequest*,
                           imgd::v1::CreateLeaseResponse*) override;
  grpc::Status RenewLease(grpc::ServerContext*, const imgd::v1::RenewLeaseRequest*,
                          imgd::v1::RenewLeaseResponse*) override;
  grpc::Status DeleteLease(grpc::ServerContext*, const imgd::v1::DeleteLeaseRequest*,
                           imgd::v1::DeleteLeaseResponse*) override;
  grpc::Status ListImages(grpc::ServerContext*, const imgd::v1::ListImagesRequest*,
                          imgd::v1::ListImagesResponse*) override;
  grpc::Status SaveImages(grpc::ServerContext*, const imgd::v1::SaveImagesRequest*,
                          grpc::ServerWriter<imgd::v1::SaveImagesResponse>*) override;
  grpc::Status LoadImages(grpc::ServerContext*, grpc::ServerReader<imgd::v1::LoadImagesRequest>*,
                          imgd::v1::LoadImagesResponse*) override;
  grpc::Status until_left(grpc::ServerContext* context, const char* what);

  const std::vector<imgd::v1::TransferEvent> events_;
  std::string folder_;
  std::string address_;
  std::mutex mutex_;
  std::vector<imgd::v1::StartTransferRequest> requests_;
  std::unique_ptr<grpc::Server> server_;
};

imgd::v1::TransferEvent snapshot(std::int64_t sequence);
imgd::v1::TransferEvent finished(std::int64_t sequence,
                                 imgd::v1::TransferState state = imgd::v1::TRANSFER_STATE_SUCCEEDED);

}  // namespace scripted
