#pragma once

#include <imgd/v1/archive_service.pb.h>
#include <imgd/v1/container_service.pb.h>
#include <imgd/v1/event_service.pb.h>
#include <imgd/v1/filesystem_service.pb.h>
#include <imgd/v1/image_service.pb.h>
#include <imgd/v1/lease_service.pb.h>
#include <imgd/v1/registry_service.pb.h>
#include <imgd/v1/system_service.pb.h>
#include <imgd/v1/transfer_service.pb.h>

#include <chrono>
#include <imgd/cancellation.hpp>
#include <imgd/error.hpp>
#include <imgd/hold.hpp>
#include <imgd/range.hpp>
#include <imgd/streams.hpp>
#include <imgd/transfer.hpp>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grpc {
class Channel;
}

/// The C++ client of imgd, a container image daemon. Its methods take and return the messages of imgd::v1.
namespace imgd {

/// TLS with the daemon. All are PEM.
struct Tls {
  /// The authorities to trust; empty for the machine's.
  std::string ca;
  /// The client's own certificate with its chain, and its key, for mutual TLS. Both or neither.
  std::string certificate;
  std::string key;
  /// The name in the daemon's certificate; empty for the address's host.
  std::string server_name;
};

/// How a client reaches the daemon.
struct ClientOptions {
  /// unix:PATH, unix:///PATH or HOST:PORT; empty for `default_address()`.
  std::string address;
  /// Absent for clear text.
  std::optional<Tls> tls;
  /// A bearer token to send with each call; without TLS on this machine only. Empty for none.
  std::string token;
  /// Bounds each call that answers once and is given no time of its own; 0 for no bound. Prune and what else
  /// waits for a disk are not bounded by it.
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
  /// For how long a watch that lost the daemon tries to attach again.
  std::chrono::milliseconds patience = std::chrono::seconds(60);
};

/// Where the daemon listens: IMGD_ADDRESS, else the system's socket for root, else the user's own, in
/// XDG_RUNTIME_DIR or without one in /tmp/imgd-UID. Throws UsageError where that folder is not the user's alone:
/// somebody else could have put it there, to get what is sent to the socket in it.
std::string default_address();

/// What a single call can be told.
struct CallOptions {
  /// How long it may take; absent for the client's `timeout`, 0 for no bound.
  std::optional<std::chrono::milliseconds> timeout;
  /// Ends it from elsewhere, with Cancelled.
  std::optional<Cancellation> cancellation;
};

/// A connection to the daemon. Its methods may be called from several threads at once, and throw Error.
class Client {
 public:
  class Core;

  /// It connects at its first use. Throws UsageError for an address or a token that is none, and for a token that
  /// would leave this machine in clear text.
  explicit Client(const ClientOptions& options = {});
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  Client(Client&&) noexcept = default;
  Client& operator=(Client&& other) noexcept;
  /// As `close`.
  ~Client();

  /// Cancels the pulls and pushes that are this client's, gives its holds back, and ends every call. What is
  /// called after it throws UsageError.
  void close() noexcept;

  /// The gRPC channel, for services and methods that this class has no words for. It sends the token, too.
  std::shared_ptr<grpc::Channel> channel() const;

  /// \name Transfers
  /// @{

  /// Starts to pull an image, such as redis:7.
  Transfer pull(const std::string& reference, const PullOptions& options = {});
  /// Starts to push an image of the store, to its own name where the reference is empty.
  Transfer push(const std::string& image, const std::string& reference = {}, const PushOptions& options = {});
  /// Starts any transfer. A request ID is made where it has none.
  Transfer start(v1::StartTransferRequest request, const FollowOptions& options = {}, bool detach = false);
  /// Follows a transfer, in whatever state it is. Leaving it does not touch the transfer.
  Transfer watch(const std::string& name, const FollowOptions& options = {});
  /// Returns a transfer's record.
  v1::Transfer get_transfer(const std::string& name, const CallOptions& options = {});
  /// Lists transfers, newest first, in the states named or in any.
  Pages<v1::Transfer> transfers(std::vector<v1::TransferState> states = {}, CallOptions options = {});
  /// Cancels a transfer, whoever started it, and returns its record when it has ended.
  v1::Transfer cancel_transfer(const std::string& name, const CallOptions& options = {});
  /// Runs an interrupted, failed or cancelled transfer again, with what is already here.
  v1::Transfer resume_transfer(const v1::ResumeTransferRequest& request, const CallOptions& options = {});

  /// @}
  /// \name Images
  /// An image is given as a reference, an ID, a repo digest, a unique ID prefix of four digits or more, or a
  /// resource name.
  /// @{

  /// Lists images, newest first. Filters are key=value.
  Pages<v1::Image> images(const std::vector<std::string>& filters = {}, CallOptions options = {});
  /// The same with all that a request can say: the view, and the size of pages.
  Pages<v1::Image> list_images(v1::ListImagesRequest request, CallOptions options = {});
  /// Returns one image.
  v1::Image get_image(const std::string& image, const CallOptions& options = {});
  /// Returns an image with its parsed config, for one platform or, empty, the one served by default.
  v1::InspectImageResponse inspect_image(const std::string& image, const std::string& platform = {},
                                         const CallOptions& options = {});
  /// Returns the steps that made an image, oldest first.
  std::vector<v1::HistoryEntry> image_history(const std::string& image, const std::string& platform = {},
                                              const CallOptions& options = {});
  /// Gives an image one more name; a name in use moves.
  v1::TagImageResponse tag_image(const std::string& image, const std::string& tag, const CallOptions& options = {});
  /// The same with all that a request can say: `expected_digest` makes it a compare and swap.
  v1::TagImageResponse tag_image(const v1::TagImageRequest& request, const CallOptions& options = {});
  /// Takes one name away, and never content. Returns the image that lost it.
  v1::Image untag_image(const std::string& reference, const CallOptions& options = {});
  /// Removes a name or an image, as docker rmi does. Throws InUse when the image is held.
  v1::RemoveImageResponse remove_image(const std::string& image, bool force = false, const CallOptions& options = {});
  /// Removes dangling images, or with `all` every image that nothing holds. It takes as long as there are images.
  v1::PruneImagesResponse prune_images(const v1::PruneImagesRequest& request = {}, const CallOptions& options = {});
  /// Keeps an image from prune and collection, until it is unpinned. Both may be repeated.
  v1::Image pin_image(const std::string& image, const CallOptions& options = {});
  /// Takes a pin away.
  v1::Image unpin_image(const std::string& image, const CallOptions& options = {});

  /// @}
  /// \name Archives and files
  /// @{

  /// Returns images as one archive, an OCI image layout and docker's at once.
  Bytes save_images(const v1::SaveImagesRequest& request, const CallOptions& options = {});
  /// Loads the images of an archive, all or none. The request says which platforms and what names; its data stays
  /// empty. What the stream's buffer throws is passed on, and ends the call.
  v1::LoadImagesResponse load_images(std::istream& archive, const v1::LoadImagesRequest& request = {},
                                     const CallOptions& options = {});
  /// Makes an image of one layer from a root file system's tar. Otherwise as load_images.
  v1::Image import_image(std::istream& archive, const v1::ImportImageRequest& request,
                         const CallOptions& options = {});
  /// Returns a container's merged root file system as a tar.
  Bytes export_container(const std::string& container, const CallOptions& options = {});
  /// Lists a directory of an image, in the order of paths, without unpacking it.
  Pages<v1::FileInfo> files(v1::ListFilesRequest request, CallOptions options = {});
  /// Returns a file's attributes.
  v1::FileInfo get_file(const v1::GetFileRequest& request, const CallOptions& options = {});
  /// Returns a file's bytes.
  Bytes read_file(const v1::ReadFileRequest& request, const CallOptions& options = {});

  /// @}
  /// \name Leases and containers
  /// @{

  /// Takes a lease for as long as a piece of code needs images; its time, a minute if nothing is said, is what
  /// remains of it when the program is killed.
  Hold hold_lease(v1::CreateLeaseRequest request);
  /// Registers a running container, and removes it at the end. When the program is killed it counts as exited
  /// after three heartbeats, and still holds its image; a lease ends by itself.
  Hold hold_container(v1::CreateContainerRequest request);
  /// Takes a lease. It holds until its time is over: an hour if nothing is said.
  v1::Lease create_lease(v1::CreateLeaseRequest request, const CallOptions& options = {});
  /// Ends a lease.
  void delete_lease(const std::string& name, const CallOptions& options = {});
  /// Lists leases.
  Pages<v1::Lease> leases(CallOptions options = {});
  /// Registers a use of an image, which holds the image until the container is removed. Where a root file system
  /// is prepared the client's timeout does not apply: the image may have to be unpacked.
  v1::CreateContainerResponse create_container(v1::CreateContainerRequest request, const CallOptions& options = {});
  /// Removes a container, with force also one that runs.
  void remove_container(const std::string& name, bool force = false, const CallOptions& options = {});
  /// Lists containers.
  Pages<v1::Container> containers(v1::ListContainersRequest request = {}, CallOptions options = {});

  /// @}
  /// \name The daemon and registries
  /// @{

  /// Listens to what happens in the store, from now on if the request says nothing else. It listens when this
  /// returns.
  Events events(const v1::WatchEventsRequest& request = {}, const CallOptions& options = {});
  /// Says which daemon this is.
  v1::GetInfoResponse info(const CallOptions& options = {});
  /// Lists the tags of a repository in its registry, pulling nothing.
  Pages<std::string> remote_tags(v1::ListTagsRequest request, CallOptions options = {});
  /// Asks a registry what a reference points at.
  v1::ResolveReferenceResponse resolve_reference(const v1::ResolveReferenceRequest& request,
                                                 const CallOptions& options = {});

  /// @}

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace imgd
