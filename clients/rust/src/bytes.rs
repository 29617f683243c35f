//! Streams of bytes: archives and files.

use crate::client::{must, stub};
use crate::v1;
use crate::{Client, Error, Result};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use std::future::Future;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::StreamExt as _;
use tonic::{Response, Status, Streaming};

// A message stays below 1 MiB with its framing.
const CHUNK: usize = (1 << 20) - 1024;
// Messages that wait for the network.
const AHEAD: usize = 2;

/// Methods that move bytes. They take as long as they take: no timeout of the client ends them. Dropping a
/// stream, or the future of a load, ends the transfer.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Images as one archive, an OCI image layout and docker's at once. Before an error it is no archive.
    pub fn save_images(
        &self,
        request: v1::SaveImagesRequest,
    ) -> impl Stream<Item = Result<Bytes>> + Send {
        let (client, mut stub) =
            (self.clone(), stub!(self, archive_service_client::ArchiveServiceClient));
        let answer = async move { stub.save_images(client.request(request)).await };
        pieces(answer, |message: v1::SaveImagesResponse| message.data)
    }

    /// A container's merged root file system as a tar.
    pub fn export_container(&self, container: &str) -> impl Stream<Item = Result<Bytes>> + Send {
        let request = v1::ExportContainerRequest { container: container.to_owned() };
        let (client, mut stub) =
            (self.clone(), stub!(self, archive_service_client::ArchiveServiceClient));
        let answer = async move { stub.export_container(client.request(request)).await };
        pieces(answer, |message: v1::ExportContainerResponse| message.data)
    }

    /// A file of an image, without unpacking it.
    pub fn read_file(
        &self,
        request: v1::ReadFileRequest,
    ) -> impl Stream<Item = Result<Bytes>> + Send {
        let (client, mut stub) =
            (self.clone(), stub!(self, filesystem_service_client::FilesystemServiceClient));
        let answer = async move { stub.read_file(client.request(request)).await };
        pieces(answer, |message: v1::ReadFileResponse| message.data)
    }

    /// Loads the images of an archive, all or none. The request's data stays empty. What reading the
    /// archive fails with is [`ErrorKind::Source`](crate::ErrorKind::Source).
    pub async fn load_images(
        &self,
        request: v1::LoadImagesRequest,
        archive: impl AsyncRead,
    ) -> Result<v1::LoadImagesResponse> {
        let mut stub = stub!(self, archive_service_client::ArchiveServiceClient);
        let (sender, receiver) = mpsc::channel(AHEAD);
        let messages = self.request(ReceiverStream::new(receiver));
        let more = |data| v1::LoadImagesRequest { data, ..Default::default() };
        send(archive, sender, request, more, stub.load_images(messages)).await
    }

    /// Makes an image of one layer from a root file system's tar. The request's data stays empty; errors
    /// are as of [`Client::load_images`].
    pub async fn import_image(
        &self,
        request: v1::ImportImageRequest,
        archive: impl AsyncRead,
    ) -> Result<v1::Image> {
        let mut stub = stub!(self, archive_service_client::ArchiveServiceClient);
        let (sender, receiver) = mpsc::channel(AHEAD);
        let messages = self.request(ReceiverStream::new(receiver));
        let more = |data| v1::ImportImageRequest { data, ..Default::default() };
        let answer = send(archive, sender, request, more, stub.import_image(messages)).await?;
        must(answer.image)
    }
}

fn pieces<M: Send + 'static>(
    answer: impl Future<Output = std::result::Result<Response<Streaming<M>>, Status>> + Send,
    data: impl Fn(M) -> Vec<u8> + Send,
) -> impl Stream<Item = Result<Bytes>> + Send {
    async_stream::try_stream! {
        let mut messages = answer.await?.into_inner();
        while let Some(message) = messages.next().await {
            let data = data(message?);
            if !data.is_empty() {
                yield Bytes::from(data);
            }
        }
    }
}

/// Sends what a reader has while the call runs, and returns its answer.
async fn send<M, R>(
    archive: impl AsyncRead,
    sender: mpsc::Sender<M>,
    first: M,
    more: impl Fn(Vec<u8>) -> M,
    call: impl Future<Output = std::result::Result<Response<R>, Status>>,
) -> Result<R> {
    let mut call = pin!(call);
    let mut archive = pin!(archive);
    let feed = async {
        if sender.send(first).await.is_err() {
            return Result::Ok(());
        }
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            let read = (&mut archive).take(CHUNK as u64).read_buf(&mut buffer).await;
            if read.map_err(Error::source)? == 0 {
                return Ok(());
            }
            // Who does not listen any more has answered, and the answer says why.
            if sender.send(more(buffer.split().to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let mut feed = Box::pin(feed);
    let fed = tokio::select! {
        answer = &mut call => return Ok(answer?.into_inner()),
        fed = &mut feed => fed,
    };
    // With the sender goes the end of the stream; an error goes first, and drops the call.
    fed?;
    drop(feed);
    drop(sender);
    Ok(call.await?.into_inner())
}
