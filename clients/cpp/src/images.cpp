#include "call.hpp"

namespace imgd {

using Files = v1::FilesystemService::Stub;
using Images = v1::ImageService::Stub;
using Registries = v1::RegistryService::Stub;

Pages<v1::Image> Client::images(const std::vector<std::string>& filters, CallOptions options) {
  v1::ListImagesRequest request;
  for (const auto& filter : filters) request.add_filters(filter);
  return list_images(std::move(request), std::move(options));
}

Pages<v1::Image> Client::list_images(v1::ListImagesRequest request, CallOptions options) {
  return detail::pages<v1::Image>(core_, core_->images, &Images::ListImages, std::move(request), std::move(options),
                                  [](auto& response) { return response.mutable_images(); });
}

v1::Image Client::get_image(const std::string& image, const CallOptions& options) {
  v1::GetImageRequest request;
  request.set_image(image);
  return detail::call(*core_, core_->images, &Images::GetImage, request, options).image();
}

v1::InspectImageResponse Client::inspect_image(const std::string& image, const std::string& platform,
                                               const CallOptions& options) {
  v1::InspectImageRequest request;
  request.set_image(image);
  request.set_platform(platform);
  return detail::call(*core_, core_->images, &Images::InspectImage, request, options);
}

std::vector<v1::HistoryEntry> Client::image_history(const std::string& image, const std::string& platform,
                                                    const CallOptions& options) {
  v1::GetImageHistoryRequest request;
  request.set_image(image);
  request.set_platform(platform);
  const auto response = detail::call(*core_, core_->images, &Images::GetImageHistory, request, options);
  return {response.entries().begin(), response.entries().end()};
}

v1::TagImageResponse Client::tag_image(const std::string& image, const std::string& tag, const CallOptions& options) {
  v1::TagImageRequest request;
  request.set_image(image);
  request.set_tag(tag);
  return tag_image(request, options);
}

v1::TagImageResponse Client::tag_image(const v1::TagImageRequest& request, const CallOptions& options) {
  return detail::call(*core_, core_->images, &Images::TagImage, request, options);
}

v1::Image Client::untag_image(const std::string& reference, const CallOptions& options) {
  v1::UntagImageRequest request;
  request.set_reference(reference);
  return detail::call(*core_, core_->images, &Images::UntagImage, request, options).image();
}

v1::RemoveImageResponse Client::remove_image(const std::string& image, bool force, const CallOptions& options) {
  v1::RemoveImageRequest request;
  request.set_image(image);
  request.set_force(force);
  return detail::call(*core_, core_->images, &Images::RemoveImage, request, options);
}

v1::PruneImagesResponse Client::prune_images(const v1::PruneImagesRequest& request, const CallOptions& options) {
  const std::chrono::milliseconds unbounded(0);
  return detail::call(*core_, core_->images, &Images::PruneImages, request, options, unbounded);
}

v1::Image Client::pin_image(const std::string& image, const CallOptions& options) {
  v1::PinImageRequest request;
  request.set_image(image);
  return detail::call(*core_, core_->images, &Images::PinImage, request, options).image();
}

v1::Image Client::unpin_image(const std::string& image, const CallOptions& options) {
  v1::UnpinImageRequest request;
  request.set_image(image);
  return detail::call(*core_, core_->images, &Images::UnpinImage, request, options).image();
}

Pages<v1::FileInfo> Client::files(v1::ListFilesRequest request, CallOptions options) {
  return detail::pages<v1::FileInfo>(core_, core_->files, &Files::ListFiles, std::move(request), std::move(options),
                                     [](auto& response) { return response.mutable_files(); });
}

v1::FileInfo Client::get_file(const v1::GetFileRequest& request, const CallOptions& options) {
  return detail::call(*core_, core_->files, &Files::GetFile, request, options).file();
}

v1::GetInfoResponse Client::info(const CallOptions& options) {
  return detail::call(*core_, core_->system, &v1::SystemService::Stub::GetInfo, v1::GetInfoRequest(), options);
}

Pages<std::string> Client::remote_tags(v1::ListTagsRequest request, CallOptions options) {
  return detail::pages<std::string>(core_, core_->registries, &Registries::ListTags, std::move(request),
                                    std::move(options), [](auto& response) { return response.mutable_tags(); });
}

v1::ResolveReferenceResponse Client::resolve_reference(const v1::ResolveReferenceRequest& request,
                                                       const CallOptions& options) {
  return detail::call(*core_, core_->registries, &Registries::ResolveReference, request, options);
}

}  // namespace imgd
