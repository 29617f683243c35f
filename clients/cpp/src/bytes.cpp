#include <istream>
#include <ostream>

#include "stream.hpp"

namespace imgd {
namespace {

// A message stays below 1 MiB with its framing.
constexpr std::size_t kChunk = (1 << 20) - 1024;

}  // namespace

class Bytes::Impl {
 public:
  virtual ~Impl() = default;
  virtual bool advance() = 0;
  virtual void close() = 0;

  std::string piece;
};

namespace {

template <class Response>
class Reading : public Bytes::Impl {
 public:
  Reading(std::shared_ptr<Client::Core> core, const CallOptions& options,
          typename detail::Attached<Response>::Attach attach)
      // Without patience: what came can't be told apart from what comes again.
      : stream_(std::move(core), options, std::chrono::nanoseconds(0), false, true, std::move(attach)) {
    // What is refused is refused here.
    over_ = !read();
  }

  bool advance() override {
    if (!std::exchange(has_first_, false)) over_ = over_ || !read();
    return !over_;
  }

  void close() override { stream_.stop(); }

 private:
  bool read() {
    do {
      if (!stream_.next(response_)) return false;
    } while (response_.data().empty());
    piece.swap(*response_.mutable_data());
    return true;
  }

  Response response_;
  detail::Attached<Response> stream_;
  bool has_first_ = true;
  bool over_ = false;
};

template <class Stub, class Request, class Response>
Bytes open(const std::shared_ptr<Client::Core>& core, const std::unique_ptr<Stub>& stub,
           std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(grpc::ClientContext*, const Request&),
           const Request& request, const CallOptions& options) {
  return Bytes(std::make_unique<Reading<Response>>(
      core, options, [&stub, method, request](auto* context) { return ((*stub).*method)(context, request); }));
}

// Streams what an archive has, and returns the daemon's answer.
template <class Stub, class Request, class Response>
Response send(const Client::Core& core, const std::unique_ptr<Stub>& stub,
              std::unique_ptr<grpc::ClientWriter<Request>> (Stub::*method)(grpc::ClientContext*, Response*),
              std::istream& archive, Request message, const CallOptions& options) {
  if (!archive) throw UsageError("the archive is a stream that failed before");
  core.check_open();
  const detail::Context context(core, options, std::chrono::milliseconds(0));
  Response response;
  const auto writer = ((*stub).*method)(context.get(), &response);
  try {
    for (bool first = true;; first = false) {
      auto& data = *message.mutable_data();
      data.resize(kChunk);
      // Past the stream's own state, so that what its buffer throws comes through.
      data.resize(archive.rdbuf()->sgetn(data.data(), kChunk));
      const bool last = data.size() < kChunk;
      // The daemon may have answered already: the answer says why.
      if ((first || !data.empty()) && !writer->Write(message)) break;
      if (last) break;
      message.Clear();
    }
  } catch (...) {
    context.get()->TryCancel();
    writer->Finish();
    throw;
  }
  writer->WritesDone();
  detail::check(writer->Finish());
  return response;
}

}  // namespace

Bytes::Bytes(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Bytes::Bytes(Bytes&&) noexcept = default;
Bytes& Bytes::operator=(Bytes&&) noexcept = default;
Bytes::~Bytes() = default;

bool Bytes::advance() { return impl_->advance(); }

const std::string& Bytes::current() const { return impl_->piece; }

void Bytes::close() { impl_->close(); }

void Bytes::write_to(std::ostream& out) {
  for (const auto& piece : *this) {
    if (!out.write(piece.data(), static_cast<std::streamsize>(piece.size()))) return;
  }
}

std::string Bytes::read_all() {
  std::string all;
  for (const auto& piece : *this) all += piece;
  return all;
}

Bytes Client::save_images(const v1::SaveImagesRequest& request, const CallOptions& options) {
  return open(core_, core_->archives, &v1::ArchiveService::Stub::SaveImages, request, options);
}

Bytes Client::export_container(const std::string& container, const CallOptions& options) {
  v1::ExportContainerRequest request;
  request.set_container(container);
  return open(core_, core_->archives, &v1::ArchiveService::Stub::ExportContainer, request, options);
}

Bytes Client::read_file(const v1::ReadFileRequest& request, const CallOptions& options) {
  return open(core_, core_->files, &v1::FilesystemService::Stub::ReadFile, request, options);
}

v1::LoadImagesResponse Client::load_images(std::istream& archive, const v1::LoadImagesRequest& request,
                                           const CallOptions& options) {
  return send(*core_, core_->archives, &v1::ArchiveService::Stub::LoadImages, archive, request, options);
}

v1::Image Client::import_image(std::istream& archive, const v1::ImportImageRequest& request,
                               const CallOptions& options) {
  return send(*core_, core_->archives, &v1::ArchiveService::Stub::ImportImage, archive, request, options).image();
}

}  // namespace imgd
