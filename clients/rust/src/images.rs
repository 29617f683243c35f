//! Images and their files, and what a registry or the daemon says of itself.

use crate::client::{call, must, pages, stub};
use crate::v1::{self, FileInfo, HistoryEntry, Image};
use crate::{Client, Result};
use futures_core::Stream;

/// Methods of images. An image is given as a reference, an ID, a repo digest, a unique ID prefix of four
/// digits or more, or a resource name. They fail with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound)
/// where there is none, and with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for what
/// breaks a rule.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Images, newest first, page by page as they are asked for.
    pub fn images(
        &self,
        request: v1::ListImagesRequest,
    ) -> impl Stream<Item = Result<Image>> + Send {
        pages!(self, image_service_client::ImageServiceClient, list_images, request, images)
    }

    /// One image.
    pub async fn image(&self, image: &str) -> Result<Image> {
        let request = v1::GetImageRequest { image: image.to_owned(), ..Default::default() };
        must(call!(self, safe, image_service_client::ImageServiceClient, get_image, request)?.image)
    }

    /// An image with its parsed config, for one platform or, empty, the one served by default.
    pub async fn inspect_image(
        &self,
        image: &str,
        platform: &str,
    ) -> Result<v1::InspectImageResponse> {
        let (image, platform) = (image.to_owned(), platform.to_owned());
        let request = v1::InspectImageRequest { image, platform };
        call!(self, safe, image_service_client::ImageServiceClient, inspect_image, request)
    }

    /// The steps that made an image, oldest first.
    pub async fn image_history(&self, image: &str, platform: &str) -> Result<Vec<HistoryEntry>> {
        let (image, platform) = (image.to_owned(), platform.to_owned());
        let request = v1::GetImageHistoryRequest { image, platform };
        let answer = call!(
            self,
            safe,
            image_service_client::ImageServiceClient,
            get_image_history,
            request
        )?;
        Ok(answer.entries)
    }

    /// Gives an image one more name; a name in use moves. `expected_digest` makes it a compare and swap.
    pub async fn tag_image(&self, request: v1::TagImageRequest) -> Result<v1::TagImageResponse> {
        call!(self, once, image_service_client::ImageServiceClient, tag_image, request)
    }

    /// Takes one name away, and never content. Returns the image that lost it.
    pub async fn untag_image(&self, reference: &str) -> Result<Image> {
        let request =
            v1::UntagImageRequest { reference: reference.to_owned(), ..Default::default() };
        must(
            call!(self, once, image_service_client::ImageServiceClient, untag_image, request)?
                .image,
        )
    }

    /// Removes a name or an image, as `docker rmi` does. Fails with
    /// [`ErrorKind::InUse`](crate::ErrorKind::InUse) when the image is held.
    pub async fn remove_image(&self, image: &str, force: bool) -> Result<v1::RemoveImageResponse> {
        let request =
            v1::RemoveImageRequest { image: image.to_owned(), force, ..Default::default() };
        call!(self, once, image_service_client::ImageServiceClient, remove_image, request)
    }

    /// Removes dangling images, or with `all` every image that nothing holds. It takes as long as there
    /// are images: the client's timeout does not apply.
    pub async fn prune_images(
        &self,
        request: v1::PruneImagesRequest,
    ) -> Result<v1::PruneImagesResponse> {
        let mut stub = stub!(self, image_service_client::ImageServiceClient);
        Ok(stub.prune_images(self.request(request)).await?.into_inner())
    }

    /// Keeps an image from prune and collection. Idempotent.
    pub async fn pin_image(&self, image: &str) -> Result<Image> {
        let request = v1::PinImageRequest { image: image.to_owned() };
        must(call!(self, safe, image_service_client::ImageServiceClient, pin_image, request)?.image)
    }

    /// Takes a pin away. Idempotent.
    pub async fn unpin_image(&self, image: &str) -> Result<Image> {
        let request = v1::UnpinImageRequest { image: image.to_owned() };
        must(
            call!(self, safe, image_service_client::ImageServiceClient, unpin_image, request)?
                .image,
        )
    }

    /// A directory's files in the order of paths, page by page as they are asked for.
    pub fn files(
        &self,
        request: v1::ListFilesRequest,
    ) -> impl Stream<Item = Result<FileInfo>> + Send {
        pages!(self, filesystem_service_client::FilesystemServiceClient, list_files, request, files)
    }

    /// A file's attributes.
    pub async fn file(&self, request: v1::GetFileRequest) -> Result<FileInfo> {
        let answer = call!(
            self,
            safe,
            filesystem_service_client::FilesystemServiceClient,
            get_file,
            request
        )?;
        must(answer.file)
    }

    /// Which daemon this is.
    pub async fn info(&self) -> Result<v1::GetInfoResponse> {
        let request = v1::GetInfoRequest {};
        call!(self, safe, system_service_client::SystemServiceClient, get_info, request)
    }

    /// The tags of a repository in its registry, pulling nothing.
    pub fn remote_tags(
        &self,
        request: v1::ListTagsRequest,
    ) -> impl Stream<Item = Result<String>> + Send {
        pages!(self, registry_service_client::RegistryServiceClient, list_tags, request, tags)
    }

    /// Asks a registry what a reference points at.
    pub async fn resolve_reference(
        &self,
        request: v1::ResolveReferenceRequest,
    ) -> Result<v1::ResolveReferenceResponse> {
        call!(
            self,
            once,
            registry_service_client::RegistryServiceClient,
            resolve_reference,
            request
        )
    }
}
