//! The connection, and calls that answer once.

use crate::address::{default_address, Target};
use crate::{Error, ErrorKind, Result};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tonic::{Request, Response, Status};

// Longer than any call takes that answers once and does not wait for a disk or a registry.
const TIMEOUT: Duration = Duration::from_secs(30);
// How long a daemon may take to come back, an update of the machine included.
const PATIENCE: Duration = Duration::from_secs(60);
// How long the daemon has to hear that a pull was left, or a hold given back.
const PARTING: Duration = Duration::from_secs(5);
// Answers are at most 1 MiB (GetCapabilities); the room is for a daemon that is newer than this.
pub(crate) const MAX_RECEIVE: usize = 16 << 20;
// Before the second and the third attempt. They bridge a restart's moment only: somebody waits for the
// answer, and a daemon that is not there should be said to be not there.
const AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(200)];

/// TLS with the daemon. All are PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authorities to trust; None for the machine's.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificate with its chain, and the key of it, for mutual TLS.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the daemon's certificate; None for the address's host.
    pub server_name: Option<String>,
}

/// How a client connects, and how long it waits.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    address: Option<String>,
    timeout: Option<Duration>,
    patience: Option<Duration>,
    tls: Option<Tls>,
    token: String,
}

impl Builder {
    /// `unix:PATH`, `unix:///PATH` or `HOST:PORT`, instead of [`default_address`].
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Bounds each call that answers once, instead of 30 s. What waits for a disk has no bound.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For how long a watch that lost the daemon tries to attach again, instead of 60 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Speaks TLS with the daemon.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sends a bearer token with each call; without TLS on this machine only.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// Makes the client. It connects at its first use, in the runtime that runs now.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: the address, token or certificate is malformed, or the token would leave
    /// this machine in clear text.
    pub fn build(self) -> Result<Client> {
        let address = self.address.map_or_else(default_address, Ok)?;
        let target = Target::parse(&address)?;
        if !self.token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage("a token is printable ASCII without spaces"));
        }
        if !self.token.is_empty() && self.tls.is_none() && !target.is_here() {
            return Err(Error::usage(format!(
                "a token is not sent to {address} in clear text: speak TLS"
            )));
        }
        let token = (!self.token.is_empty())
            .then(|| format!("Bearer {}", self.token).parse())
            .transpose()
            .map_err(|_| Error::usage("a token is printable ASCII without spaces"))?;
        Ok(Client(Arc::new(Inner {
            channel: channel(&target, self.tls)?,
            token,
            timeout: self.timeout.unwrap_or(TIMEOUT),
            patience: self.patience.unwrap_or(PATIENCE),
            parting: TaskTracker::new(),
        })))
    }
}

fn channel(target: &Target, tls: Option<Tls>) -> Result<Channel> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri = match target {
        // The connector knows better; this is what the daemon is told to be called.
        Target::Socket(_) => format!("{scheme}://localhost"),
        Target::Tcp { host, port } => format!("{scheme}://{host}:{port}"),
    };
    let wrong = |error: tonic::transport::Error| Error::usage(error.to_string());
    let mut endpoint = Endpoint::from_shared(uri)
        .map_err(wrong)?
        // gRPC servers close a connection that pings more often than every five minutes; the daemon
        // permits more, proxies before it may not. Watches need no pings: the daemon sends heartbeats.
        .http2_keep_alive_interval(Duration::from_secs(300))
        .keep_alive_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(5));
    if let Some(tls) = tls {
        let mut config = match tls.ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = tls.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = tls.server_name {
            config = config.domain_name(name);
        }
        endpoint = endpoint.tls_config(config).map_err(wrong)?;
    }
    Ok(match target {
        Target::Tcp { .. } => endpoint.connect_lazy(),
        Target::Socket(path) => {
            let path = path.clone();
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
        }
    })
}

/// A connection to the daemon. Its clones share it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    patience: Duration,
    parting: TaskTracker,
}

impl Client {
    /// A client of the daemon at [`default_address`].
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Says more about the client first.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The gRPC channel, for services and methods that this crate has no words for.
    pub fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    /// Waits until the daemon has heard of the pulls that were left and the holds that were dropped, for
    /// some seconds at the most. A program that ends without it may leave a pull running.
    pub async fn close(self) {
        self.0.parting.close();
        let _ = tokio::time::timeout(PARTING, self.0.parting.wait()).await;
    }

    pub(crate) fn patience(&self) -> Duration {
        self.0.patience
    }

    /// A request with the token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.0.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Calls a method once, within the client's timeout.
    pub(crate) async fn once<M, R, F>(
        &self,
        message: M,
        call: impl FnOnce(Request<M>) -> F,
    ) -> Result<R>
    where
        F: Future<Output = std::result::Result<Response<R>, Status>>,
    {
        let answer = tokio::time::timeout(self.0.timeout, call(self.request(message))).await;
        Ok(answer.map_err(|_| Error::deadline())??.into_inner())
    }

    /// Calls a method that may be called twice: it reads, is idempotent, or has a request ID.
    pub(crate) async fn safe<M, R, F>(
        &self,
        message: M,
        call: impl Fn(Request<M>) -> F,
    ) -> Result<R>
    where
        M: Clone,
        F: Future<Output = std::result::Result<Response<R>, Status>>,
    {
        for pause in AGAIN {
            match self.once(message.clone(), &call).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::time::sleep(error.retry_delay().map_or(pause, |asked| asked.min(pause)))
                        .await;
                }
                done => return done,
            }
        }
        self.once(message, call).await
    }

    /// Does something that the daemon should hear though nobody waits for it.
    pub(crate) fn part(&self, does: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime nothing can be said any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let bounded = async { drop(tokio::time::timeout(PARTING, does).await) };
            self.0.parting.spawn_on(bounded, &runtime);
        }
    }
}

/// The stub of a service.
macro_rules! stub {
    ($client:expr, $module:ident :: $stub:ident) => {
        crate::v1::$module::$stub::new($client.channel())
            .max_decoding_message_size(crate::client::MAX_RECEIVE)
    };
}
pub(crate) use stub;

/// Calls a method of a service by one of the client's ways.
macro_rules! call {
    ($client:expr, $way:ident, $module:ident :: $stub:ident, $method:ident, $message:expr) => {{
        let stub = crate::client::stub!($client, $module::$stub);
        $client
            .$way($message, |request| {
                let mut stub = stub.clone();
                async move { stub.$method(request).await }
            })
            .await
    }};
}
pub(crate) use call;

/// Asks for the next page when it is needed. An empty page with a token is no end.
macro_rules! pages {
    ($client:expr, $module:ident :: $stub:ident, $method:ident, $request:expr, $items:ident) => {{
        let (client, mut request) = ($client.clone(), $request);
        async_stream::try_stream! {
            loop {
                let page = crate::client::call!(client, safe, $module::$stub, $method, request.clone())?;
                for item in page.$items {
                    yield item;
                }
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
        }
    }};
}
pub(crate) use pages;

/// What the protos promise to be there.
pub(crate) fn must<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Status::internal("the daemon left out what it always says").into())
}
