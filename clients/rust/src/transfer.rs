//! Transfers: started, followed, and cancelled when they are left.

use crate::client::{call, must, pages, stub};
use crate::stream::Attempts;
use crate::v1::{
    self, transfer_destination::Destination, transfer_event::Event, transfer_source::Source,
    CancelTransferRequest, ListTransfersRequest, PlatformSelection, RegistryEndpoint,
    StartTransferRequest, StoreEndpoint, Transfer, TransferEvent, TransferState,
    WatchTransferRequest,
};
use crate::{Client, Error, Result};
use futures_core::Stream;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// What a pull can be told.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// `os/architecture[/variant]` each; none for the daemon's own.
    pub platforms: Vec<String>,
    /// Every platform that the index has.
    pub all_platforms: bool,
    /// Every tag of the repository that the reference then names.
    pub all_tags: bool,
    /// Also pull signatures and attestations.
    pub include_referrers: bool,
    /// When to ask the registry.
    pub policy: v1::PullPolicy,
    /// Credentials for this pull; None for the daemon's configuration.
    pub credentials: Option<v1::RegistryCredentials>,
    /// Names to give to the image instead of its own.
    pub tags: Vec<String>,
    /// Also unpack the layers.
    pub unpack: bool,
    /// A lease to take in the step that makes the image visible.
    pub lease: Option<v1::LeaseSpec>,
    /// Bounds for this transfer.
    pub limits: Option<v1::TransferLimits>,
    /// Leaves the transfer to itself: dropping the stream does not cancel it.
    pub detach: bool,
    /// The shortest time between two updates; None for 100 ms.
    pub min_interval: Option<Duration>,
    /// For safe retries of the program; empty for one that is made.
    pub request_id: String,
}

/// What a push can be told.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// `os/architecture[/variant]` each; none for those that are stored.
    pub platforms: Vec<String>,
    /// Credentials for this push; None for the daemon's configuration.
    pub credentials: Option<v1::RegistryCredentials>,
    /// Every tag of the repository that the image then names.
    pub all_tags: bool,
    /// Also push signatures and attestations.
    pub include_referrers: bool,
    /// Bounds for this transfer.
    pub limits: Option<v1::TransferLimits>,
    /// As in [`PullOptions`].
    pub detach: bool,
    /// As in [`PullOptions`].
    pub min_interval: Option<Duration>,
    /// As in [`PullOptions`].
    pub request_id: String,
}

impl Client {
    /// Starts to pull an image, such as `redis:7`. Dropping the stream before its end cancels the pull,
    /// resumably, unless it is detached.
    ///
    /// # Errors
    /// What is wrong with the request itself. What goes wrong later is in [`TransferStream::result`].
    pub async fn pull(&self, reference: &str, options: PullOptions) -> Result<TransferStream> {
        let source = Source::Registry(RegistryEndpoint {
            reference: reference.to_owned(),
            credentials: options.credentials,
            all_tags: options.all_tags,
            include_referrers: options.include_referrers,
        });
        let destination = Destination::Store(StoreEndpoint {
            tags: options.tags,
            policy: options.policy.into(),
            unpack: options.unpack,
            lease: options.lease,
            ..Default::default()
        });
        let request = StartTransferRequest {
            source: Some(v1::TransferSource { source: Some(source) }),
            destination: Some(v1::TransferDestination { destination: Some(destination) }),
            platforms: selection(options.platforms, options.all_platforms),
            limits: options.limits,
            request_id: options.request_id,
        };
        self.start(request, options.detach, options.min_interval).await
    }

    /// Starts to push an image of the store, to its own name where `reference` is None. It is the caller's
    /// own as a pull is.
    ///
    /// # Errors
    /// As [`Client::pull`].
    pub async fn push(
        &self,
        image: &str,
        reference: Option<&str>,
        options: PushOptions,
    ) -> Result<TransferStream> {
        let source = Source::Store(StoreEndpoint { image: image.to_owned(), ..Default::default() });
        let destination = Destination::Registry(RegistryEndpoint {
            reference: reference.unwrap_or(image).to_owned(),
            credentials: options.credentials,
            all_tags: options.all_tags,
            include_referrers: options.include_referrers,
        });
        let request = StartTransferRequest {
            source: Some(v1::TransferSource { source: Some(source) }),
            destination: Some(v1::TransferDestination { destination: Some(destination) }),
            platforms: selection(options.platforms, false),
            limits: options.limits,
            request_id: options.request_id,
        };
        self.start(request, options.detach, options.min_interval).await
    }

    /// Starts any transfer, as the caller's own. A request ID is made where it has none.
    ///
    /// # Errors
    /// As [`Client::pull`].
    pub async fn start(
        &self,
        mut request: StartTransferRequest,
        detach: bool,
        min_interval: Option<Duration>,
    ) -> Result<TransferStream> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        let client = self.clone();
        // A call that is dropped may have been accepted, so that it goes on alone, and cancels what
        // nobody waits for any more.
        let starting = tokio::spawn(async move {
            let answer = call!(
                client,
                safe,
                transfer_service_client::TransferServiceClient,
                start_transfer,
                request
            )?;
            let transfer = must(answer.transfer)?;
            let name = transfer.name.clone();
            let mut found = client.follow(name, min_interval, true);
            found.record = Some(transfer);
            found.owned = !detach;
            Ok(found)
        });
        starting.await.map_err(|_| Error::cancelled("the runtime ended"))?
    }

    /// Follows a transfer, in whatever state it is. Dropping the stream does not touch the transfer.
    pub fn watch(&self, name: &str, min_interval: Option<Duration>) -> TransferStream {
        self.follow(name.to_owned(), min_interval, false)
    }

    fn follow(&self, name: String, min_interval: Option<Duration>, there: bool) -> TransferStream {
        let request = WatchTransferRequest {
            name: name.clone(),
            min_interval: min_interval.and_then(|interval| interval.try_into().ok()),
            ..Default::default()
        };
        let events = Box::pin(events(self.clone(), request, there));
        TransferStream {
            client: self.clone(),
            name,
            events,
            record: None,
            owned: false,
            finished: false,
        }
    }

    /// A transfer's record.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is none of that name.
    pub async fn transfer(&self, name: &str) -> Result<Transfer> {
        let request = v1::GetTransferRequest { name: name.to_owned() };
        let answer = call!(
            self,
            safe,
            transfer_service_client::TransferServiceClient,
            get_transfer,
            request
        )?;
        must(answer.transfer)
    }

    /// Transfers, newest first, in these states or in any.
    pub fn transfers(
        &self,
        states: &[TransferState],
    ) -> impl Stream<Item = Result<Transfer>> + Send {
        let request = ListTransfersRequest {
            states: states.iter().map(|state| (*state).into()).collect(),
            ..Default::default()
        };
        pages!(
            self,
            transfer_service_client::TransferServiceClient,
            list_transfers,
            request,
            transfers
        )
    }

    /// Cancels a transfer, whoever started it, and returns its record when it has ended.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is none of that name.
    pub async fn cancel_transfer(&self, name: &str) -> Result<Transfer> {
        let request = CancelTransferRequest { name: name.to_owned() };
        let answer = call!(
            self,
            safe,
            transfer_service_client::TransferServiceClient,
            cancel_transfer,
            request
        )?;
        must(answer.transfer)
    }
}

fn selection(platforms: Vec<String>, all: bool) -> Option<PlatformSelection> {
    (all || !platforms.is_empty()).then(|| PlatformSelection {
        platforms,
        all,
        ..Default::default()
    })
}

/// A transfer's events, attaching again where it was, up to `finished`.
fn events(
    client: Client,
    mut request: WatchTransferRequest,
    there: bool,
) -> impl Stream<Item = Result<TransferEvent>> + Send {
    async_stream::try_stream! {
        let mut stub = stub!(client, transfer_service_client::TransferServiceClient);
        let mut attempts = Attempts::new(client.patience(), there);
        loop {
            let lost = match stub.watch_transfer(client.request(request.clone())).await {
                Err(status) => status.into(),
                Ok(answer) => {
                    let mut answers = answer.into_inner();
                    loop {
                        let event = match answers.message().await {
                            Err(status) => break Error::from(status),
                            Ok(None) => break Error::unavailable("the watch ended before its end"),
                            Ok(Some(answer)) => answer.event.unwrap_or_default(),
                        };
                        attempts.worked();
                        let seen = request.after_sequence;
                        request.after_sequence = seen.max(event.sequence);
                        match &event.event {
                            Some(Event::Finished(_)) => {
                                yield event;
                                return;
                            }
                            // Nothing happened while the connection was lost.
                            Some(Event::Snapshot(_)) if seen != 0 && event.sequence == seen => {}
                            Some(Event::Snapshot(_) | Event::Update(_)) => yield event,
                            Some(Event::Heartbeat(_)) | None => {}
                        }
                    }
                }
            };
            attempts.failed(lost).await?;
        }
    }
}

/// A transfer that is followed: a [`Stream`] of its events, or wait for its [`result`](Self::result).
///
/// The events are snapshots, updates, and exactly one `finished` as the last; heartbeats and kinds that are
/// newer than this client are not passed on. When the connection or the daemon goes away it attaches again,
/// and goes on with a snapshot of how things stand then.
///
/// Dropping it before its end cancels a pull or push, unless it is detached; [`Client::close`] waits for
/// the daemon to hear of it. What was fetched stays for a while, so that a later pull goes on there.
#[must_use = "dropping it cancels the transfer"]
pub struct TransferStream {
    client: Client,
    name: String,
    events: Pin<Box<dyn Stream<Item = Result<TransferEvent>> + Send>>,
    record: Option<Transfer>,
    owned: bool,
    finished: bool,
}

impl TransferStream {
    /// The transfer's resource name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record: as it was accepted, and after the end with its outcome. None for a young watch.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.record.as_ref()
    }

    /// From here on, dropping it does not cancel the transfer.
    pub fn detach(&mut self) {
        self.owned = false;
    }

    /// Waits for the end and returns the record with its outcome.
    ///
    /// # Errors
    /// [`ErrorKind::TransferFailed`](crate::ErrorKind::TransferFailed): it did not end well.
    pub async fn result(mut self) -> Result<Transfer> {
        while let Some(event) = self.next().await {
            event?;
        }
        let record = must(self.record.take())?;
        if record.state() == TransferState::Succeeded {
            Ok(record)
        } else {
            Err(Error::transfer_failed(record))
        }
    }
}

impl Stream for TransferStream {
    type Item = Result<TransferEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let item = ready!(self.events.as_mut().poll_next(context));
        match &item {
            Some(Ok(TransferEvent { event: Some(Event::Finished(end)), .. })) => {
                self.record.clone_from(&end.transfer);
                self.owned = false;
                self.finished = true;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => self.finished = true,
        }
        Poll::Ready(item)
    }
}

impl Drop for TransferStream {
    fn drop(&mut self) {
        if self.owned {
            let (client, name) = (self.client.clone(), std::mem::take(&mut self.name));
            self.client.part(async move {
                // It is over, or the daemon is gone; there is nothing to do about either.
                drop(client.cancel_transfer(&name).await);
            });
        }
    }
}

impl std::fmt::Debug for TransferStream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TransferStream").field("name", &self.name).finish_non_exhaustive()
    }
}
