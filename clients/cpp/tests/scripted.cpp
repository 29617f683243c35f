#include "scripted.hpp"

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <thread>
#include <utility>

namespace scripted {

namespace v1 = imgd::v1;

namespace {

constexpr const char* kName = "transfers/a";

}  // namespace

void Told::add(std::string what) {
  {
    std::lock_guard lock(mutex_);
    said_.push_back(std::move(what));
  }
  changed_.notify_all();
}

std::string Told::next() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kNet, [this] { return !said_.empty(); })) throw std::runtime_error("it never came");
  auto found = std::move(said_.front());
  said_.pop_front();
  return found;
}

std::size_t Told::waiting() {
  std::lock_guard lock(mutex_);
  return said_.size();
}

Daemon::Daemon(std::vector<v1::TransferEvent> events) : events_(std::move(events)) {
  auto pattern = (std::filesystem::temp_directory_path() / "imgd-cpp-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for a socket");
  folder_ = pattern;
  address_ = "unix:" + folder_ + "/d.sock";
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::TransferService::Service*>(this));
  builder.RegisterService(static_cast<v1::LeaseService::Service*>(this));
  builder.RegisterService(static_cast<v1::ImageService::Service*>(this));
  builder.RegisterService(static_cast<v1::ArchiveService::Service*>(this));
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("no server on " + address_);
}

Daemon::~Daemon() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
  std::filesystem::remove_all(folder_);
}

std::vector<v1::StartTransferRequest> Daemon::requests() {
  std::lock_guard lock(mutex_);
  return requests_;
}

grpc::Status Daemon::StartTransfer(grpc::ServerContext*, const v1::StartTransferRequest* request,
                                   v1::StartTransferResponse* response) {
  std::lock_guard lock(mutex_);
  requests_.push_back(*request);
  response->mutable_transfer()->set_name(kName);
  return grpc::Status::OK;
}

grpc::Status Daemon::WatchTransfer(grpc::ServerContext* context, const v1::WatchTransferRequest*,
                                   grpc::ServerWriter<v1::WatchTransferResponse>* writer) {
  for (const auto& event : events_) {
    v1::WatchTransferResponse response;
    *response.mutable_event() = event;
    writer->Write(response);
    if (event.has_finished()) return grpc::Status::OK;
  }
  return until_left(context, "watch");
}

grpc::Status Daemon::CancelTransfer(grpc::ServerContext*, const v1::CancelTransferRequest* request,
                                    v1::CancelTransferResponse*) {
  cancelled.add(request->name());
  return grpc::Status::OK;
}

grpc::Status Daemon::CreateLease(grpc::ServerContext*, const v1::CreateLeaseRequest* request,
                                 v1::CreateLeaseResponse* response) {
  response->mutable_lease()->set_name("leases/" + request->lease_id());
  return grpc::Status::OK;
}

grpc::Status Daemon::RenewLease(grpc::ServerContext*, const v1::RenewLeaseRequest*, v1::RenewLeaseResponse*) {
  return forgets_leases ? grpc::Status(grpc::StatusCode::NOT_FOUND, "gone") : grpc::Status::OK;
}

grpc::Status Daemon::DeleteLease(grpc::ServerContext*, const v1::DeleteLeaseRequest* request,
                                 v1::DeleteLeaseResponse*) {
  deleted.add(request->name());
  return grpc::Status::OK;
}

grpc::Status Daemon::ListImages(grpc::ServerContext* context, const v1::ListImagesRequest*,
                                v1::ListImagesResponse* response) {
  if (is_silent) return until_left(context, "list");
  auto& image = *response->add_images();
  image.set_name("images/a");
  image.add_tags("redis:7");
  return grpc::Status::OK;
}

grpc::Status Daemon::SaveImages(grpc::ServerContext* context, const v1::SaveImagesRequest*,
                                grpc::ServerWriter<v1::SaveImagesResponse>* writer) {
  v1::SaveImagesResponse response;
  response.set_data("some");
  writer->Write(response);
  return until_left(context, "save");
}

grpc::Status Daemon::LoadImages(grpc::ServerContext* context, grpc::ServerReader<v1::LoadImagesRequest>* reader,
                                v1::LoadImagesResponse*) {
  v1::LoadImagesRequest request;
  while (reader->Read(&request)) continue;
  loaded.add(context->IsCancelled() ? "broken" : "whole");
  return grpc::Status::OK;
}

grpc::Status Daemon::until_left(grpc::ServerContext* context, const char* what) {
  // gRPC tells nobody who is not asynchronous.
  while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  left.add(what);
  return grpc::Status::CANCELLED;
}

v1::TransferEvent snapshot(std::int64_t sequence) {
  v1::TransferEvent event;
  event.set_sequence(sequence);
  event.mutable_snapshot()->mutable_transfer()->set_name(kName);
  return event;
}

v1::TransferEvent finished(std::int64_t sequence, v1::TransferState state) {
  v1::TransferEvent event;
  event.set_sequence(sequence);
  auto& transfer = *event.mutable_finished()->mutable_transfer();
  transfer.set_name(kName);
  transfer.set_state(state);
  transfer.mutable_outcome()->mutable_target()->set_digest("sha256:abc");
  return event;
}

}  // namespace scripted
