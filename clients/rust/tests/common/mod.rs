//! A daemon for tests: it says what it is told to say, on a socket.
#![allow(dead_code)]

use imgd_client::v1::{self, transfer_event::Event, TransferEvent, TransferState};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

#[allow(clippy::all, missing_docs, unused_qualifications)]
mod served {
    include!("../gen/imgd.v1.rs");
}

pub const NAME: &str = "transfers/a";
// A net for what never comes, far above what anything here takes.
pub const NET: Duration = Duration::from_secs(60);

/// What the daemon was told.
#[derive(Debug, PartialEq)]
pub enum Told {
    Started(String),
    Cancelled(String),
    Left,
    Deleted(String),
}

pub struct Daemon {
    pub address: String,
    told: mpsc::UnboundedReceiver<Told>,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// Listens until it is dropped, or rather: until its runtime ends.
    pub async fn start(events: Vec<TransferEvent>) -> Self {
        Self::losing(events, false).await
    }

    /// The same, with leases that are gone when they are renewed.
    pub async fn losing(events: Vec<TransferEvent>, loses: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let script = Script { events, loses, tell: Arc::new(Mutex::new(tell)) };
        let server = tonic::transport::Server::builder()
            .add_service(served::transfer_service_server::TransferServiceServer::new(
                script.clone(),
            ))
            .add_service(served::lease_service_server::LeaseServiceServer::new(script.clone()))
            .add_service(served::image_service_server::ImageServiceServer::new(script));
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        Self { address: format!("unix:{}", path.display()), told, _folder: folder }
    }

    pub fn client(&self) -> imgd_client::Client {
        imgd_client::Client::builder().address(&self.address).build().unwrap()
    }

    /// What it is told next, starts apart.
    pub async fn told(&mut self) -> Told {
        loop {
            let next = tokio::time::timeout(NET, self.told.recv()).await;
            match next.expect("it was never told").expect("the daemon ended") {
                Told::Started(_) => {}
                other => return other,
            }
        }
    }

    /// What it was told up to now.
    pub fn so_far(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }
}

pub fn snapshot(sequence: i64) -> TransferEvent {
    TransferEvent {
        sequence,
        event: Some(Event::Snapshot(v1::TransferSnapshot::default())),
        ..Default::default()
    }
}

pub fn finished(sequence: i64, state: TransferState) -> TransferEvent {
    let outcome = v1::TransferOutcome {
        target: Some(v1::Descriptor { digest: "sha256:abc".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let transfer = v1::Transfer {
        name: NAME.to_owned(),
        state: state.into(),
        outcome: Some(outcome),
        ..Default::default()
    };
    let end = v1::TransferFinished { transfer: Some(transfer), ..Default::default() };
    TransferEvent { sequence, event: Some(Event::Finished(end)), ..Default::default() }
}

#[derive(Clone)]
struct Script {
    events: Vec<TransferEvent>,
    loses: bool,
    tell: Arc<Mutex<mpsc::UnboundedSender<Told>>>,
}

impl Script {
    fn tell(&self, what: Told) {
        // Nobody listens any more where the test is over.
        let _ = self.tell.lock().unwrap().send(what);
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl served::transfer_service_server::TransferService for Script {
    async fn start_transfer(
        &self,
        request: Request<v1::StartTransferRequest>,
    ) -> Answer<v1::StartTransferResponse> {
        self.tell(Told::Started(request.into_inner().request_id));
        let transfer = v1::Transfer { name: NAME.to_owned(), ..Default::default() };
        Ok(Response::new(v1::StartTransferResponse { transfer: Some(transfer) }))
    }

    async fn watch_transfer(
        &self,
        _: Request<v1::WatchTransferRequest>,
    ) -> Answer<tonic::codegen::BoxStream<v1::WatchTransferResponse>> {
        let (sender, receiver) = mpsc::channel(1);
        let script = self.clone();
        tokio::spawn(async move {
            for event in &script.events {
                let answer = v1::WatchTransferResponse { event: Some(event.clone()) };
                if sender.send(Ok(answer)).await.is_err() {
                    break;
                }
                if matches!(event.event, Some(Event::Finished(_))) {
                    return;
                }
            }
            sender.closed().await;
            script.tell(Told::Left);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel_transfer(
        &self,
        request: Request<v1::CancelTransferRequest>,
    ) -> Answer<v1::CancelTransferResponse> {
        self.tell(Told::Cancelled(request.into_inner().name));
        let transfer = Some(v1::Transfer::default());
        Ok(Response::new(v1::CancelTransferResponse { transfer }))
    }
}

#[tonic::async_trait]
impl served::lease_service_server::LeaseService for Script {
    async fn create_lease(
        &self,
        request: Request<v1::CreateLeaseRequest>,
    ) -> Answer<v1::CreateLeaseResponse> {
        let name = format!("leases/{}", request.into_inner().lease_id);
        let lease = Some(v1::Lease { name, ..Default::default() });
        Ok(Response::new(v1::CreateLeaseResponse { lease }))
    }

    async fn renew_lease(
        &self,
        _: Request<v1::RenewLeaseRequest>,
    ) -> Answer<v1::RenewLeaseResponse> {
        if self.loses {
            return Err(Status::not_found("gone"));
        }
        Ok(Response::new(v1::RenewLeaseResponse { lease: Some(v1::Lease::default()) }))
    }

    async fn delete_lease(
        &self,
        request: Request<v1::DeleteLeaseRequest>,
    ) -> Answer<v1::DeleteLeaseResponse> {
        self.tell(Told::Deleted(request.into_inner().name));
        Ok(Response::new(v1::DeleteLeaseResponse {}))
    }
}

#[tonic::async_trait]
impl served::image_service_server::ImageService for Script {
    async fn list_images(
        &self,
        _: Request<v1::ListImagesRequest>,
    ) -> Answer<v1::ListImagesResponse> {
        let image = v1::Image { tags: vec!["redis:7".to_owned()], ..Default::default() };
        Ok(Response::new(v1::ListImagesResponse { images: vec![image], ..Default::default() }))
    }
}
