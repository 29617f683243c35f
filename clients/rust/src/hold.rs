//! Leases and containers, and scopes that hold an image.

use crate::client::{call, must, pages, stub};
use crate::v1::{self, Container, Lease};
use crate::{Client, Error, ErrorKind, Result};
use futures_core::Stream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

// What a program that is killed leaves behind ends as soon.
const HELD: Duration = Duration::from_secs(60);
// How often a lease is renewed within its time.
const TURNS: u32 = 3;
// The daemon waits for three heartbeats.
const BEAT: Duration = Duration::from_secs(10);
// After an attempt that failed; sooner than the usual turn.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Held {
    Lease(Duration),
    Container(Duration),
}

/// A lease or a container that keeps an image. A task renews it, also across a restart of the daemon.
///
/// [`release`](Self::release) gives it back; dropping it does so, too, and [`Client::close`] waits for that.
#[derive(Debug)]
#[must_use = "dropping it gives it back"]
pub struct Hold {
    client: Client,
    name: String,
    held: Held,
    keeper: JoinHandle<()>,
    lost: Arc<Mutex<Option<Error>>>,
    over: bool,
}

impl Hold {
    fn new(client: &Client, name: String, held: Held) -> Self {
        let lost = Arc::new(Mutex::new(None));
        let keeper = tokio::spawn(keep(client.clone(), name.clone(), held, lost.clone()));
        Self { client: client.clone(), name, held, keeper, lost, over: false }
    }

    /// The resource name of the lease or container.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it holds no more, though it was not given back.
    pub fn is_lost(&self) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Gives it back.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: somebody else ended the hold before.
    pub async fn release(mut self) -> Result<()> {
        self.over = true;
        self.keeper.abort();
        if let Some(error) = self.lost.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        release(&self.client, &self.name, self.held).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeper.abort();
        if !self.over {
            let (client, name, held) =
                (self.client.clone(), std::mem::take(&mut self.name), self.held);
            self.client.part(async move { drop(release(&client, &name, held).await) });
        }
    }
}

async fn release(client: &Client, name: &str, held: Held) -> Result<()> {
    match held {
        // It ends by itself.
        Held::Lease(_) => {
            drop(client.delete_lease(name).await);
            Ok(())
        }
        Held::Container(_) => client.remove_container(name, true).await,
    }
}

async fn keep(client: Client, name: String, held: Held, lost: Arc<Mutex<Option<Error>>>) {
    let every = match held {
        Held::Lease(ttl) => (ttl / TURNS).max(Duration::from_millis(100)),
        Held::Container(beat) => beat,
    };
    let mut wait = every;
    loop {
        tokio::time::sleep(wait).await;
        let renewed = tokio::time::timeout(every, renew(&client, &name, held)).await;
        match renewed.unwrap_or_else(|_| Err(Error::deadline())) {
            Ok(()) => wait = every,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
            // It was stopped: it needs no more signs of life, and holds until it is removed.
            Err(error) if error.kind() == ErrorKind::FailedPrecondition => return,
            Err(_) => wait = every.min(AGAIN),
        }
    }
}

async fn renew(client: &Client, name: &str, held: Held) -> Result<()> {
    let name = name.to_owned();
    match held {
        Held::Lease(ttl) => {
            let request = v1::RenewLeaseRequest { name, ttl: ttl.try_into().ok() };
            call!(client, safe, lease_service_client::LeaseServiceClient, renew_lease, request)?;
        }
        Held::Container(_) => {
            let request = v1::HeartbeatContainerRequest { name };
            call!(
                client,
                safe,
                container_service_client::ContainerServiceClient,
                heartbeat_container,
                request
            )?;
        }
    }
    Ok(())
}

/// Methods of leases and containers. They fail with [`ErrorKind::NotFound`] where there is no such image,
/// lease or container, and with [`ErrorKind::AlreadyExists`] where the name is taken.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Takes a lease for as long as a piece of code needs images. Its time, a minute if nothing is said, is
    /// what remains of it when the program is killed.
    pub async fn hold_lease(&self, mut request: v1::CreateLeaseRequest) -> Result<Hold> {
        let asked = request.ttl.and_then(|ttl| ttl.try_into().ok());
        let ttl = asked.filter(|ttl: &Duration| !ttl.is_zero()).unwrap_or(HELD);
        request.ttl = ttl.try_into().ok();
        let lease = self.create_lease(request).await?;
        Ok(Hold::new(self, lease.name, Held::Lease(ttl)))
    }

    /// Registers a running container, and removes it when it is given back. When the program is killed it
    /// counts as exited after three heartbeats, and still holds its image; a lease ends by itself.
    pub async fn hold_container(&self, mut request: v1::CreateContainerRequest) -> Result<Hold> {
        let asked = request.heartbeat_interval.and_then(|beat| beat.try_into().ok());
        let beat = asked.unwrap_or(BEAT);
        request.heartbeat_interval = beat.try_into().ok();
        let container = must(self.create_container(request).await?.container)?;
        let hold = Hold::new(self, container.name.clone(), Held::Container(beat));
        let request = v1::StartContainerRequest { name: container.name };
        call!(
            self,
            safe,
            container_service_client::ContainerServiceClient,
            start_container,
            request
        )?;
        Ok(hold)
    }

    /// Takes a lease. It holds until its time is over: an hour if nothing is said.
    pub async fn create_lease(&self, mut request: v1::CreateLeaseRequest) -> Result<Lease> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        let answer =
            call!(self, safe, lease_service_client::LeaseServiceClient, create_lease, request)?;
        must(answer.lease)
    }

    /// Ends a lease. Idempotent.
    pub async fn delete_lease(&self, name: &str) -> Result<()> {
        let request = v1::DeleteLeaseRequest { name: name.to_owned() };
        call!(self, safe, lease_service_client::LeaseServiceClient, delete_lease, request)?;
        Ok(())
    }

    /// Leases, page by page as they are asked for.
    pub fn leases(&self) -> impl Stream<Item = Result<Lease>> + Send {
        let request = v1::ListLeasesRequest::default();
        pages!(self, lease_service_client::LeaseServiceClient, list_leases, request, leases)
    }

    /// Registers a use of an image, which holds the image until the container is removed. Where a root file
    /// system is prepared the client's timeout does not apply: the image may have to be unpacked.
    pub async fn create_container(
        &self,
        mut request: v1::CreateContainerRequest,
    ) -> Result<v1::CreateContainerResponse> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        if request.prepare_rootfs || request.bundle.is_some() {
            let mut stub = stub!(self, container_service_client::ContainerServiceClient);
            return Ok(stub.create_container(self.request(request)).await?.into_inner());
        }
        call!(
            self,
            safe,
            container_service_client::ContainerServiceClient,
            create_container,
            request
        )
    }

    /// Removes a container, with `force` also one that runs.
    pub async fn remove_container(&self, name: &str, force: bool) -> Result<()> {
        let request = v1::RemoveContainerRequest { name: name.to_owned(), force };
        call!(
            self,
            once,
            container_service_client::ContainerServiceClient,
            remove_container,
            request
        )?;
        Ok(())
    }

    /// Containers, page by page as they are asked for.
    pub fn containers(
        &self,
        request: v1::ListContainersRequest,
    ) -> impl Stream<Item = Result<Container>> + Send {
        pages!(
            self,
            container_service_client::ContainerServiceClient,
            list_containers,
            request,
            containers
        )
    }
}
