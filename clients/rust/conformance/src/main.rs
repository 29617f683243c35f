//! The Rust client's conformance executable; see protos/imgd/conformance/v1/client.proto.

use imgd_client::{Builder, Client, Error, ErrorKind, PullOptions, PushOptions, Tls};
use pb::{operation::Operation as Wanted, result::Result as Came};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use tokio_stream::{Stream, StreamExt as _};

#[allow(clippy::all, missing_docs)]
mod pb {
    include!("gen/imgd.conformance.v1.rs");
}

// The longest request, with the certificates.
const LARGEST: usize = 1 << 20;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    while let Some(request) = tokio::task::spawn_blocking(read).await?? {
        let result = match respond(&request).await {
            Ok(came) => came,
            Err(Failure::Client(error)) => Came::Error(describe(&error)),
            Err(Failure::Own(error)) => Came::Broken(error.to_string()),
        };
        let response = pb::ClientResponse {
            case_name: request.case_name,
            result: Some(pb::Result { result: Some(result) }),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(&response.encode_length_delimited_to_vec())?;
        out.flush()?;
    }
    Ok(())
}

fn read() -> std::io::Result<Option<pb::ClientRequest>> {
    let mut input = std::io::stdin().lock();
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let mut byte = [0];
        if input.read(&mut byte)? == 0 {
            return Ok(None);
        }
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    assert!(length <= LARGEST, "a request of {length} bytes");
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(Some(pb::ClientRequest::decode(bytes.as_slice())?))
}

/// What the wrapper gave, or what went wrong here.
enum Failure {
    Client(Error),
    Own(std::io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Own(error)
    }
}

async fn respond(request: &pb::ClientRequest) -> Result<Came, Failure> {
    let client = connect(request.connection.clone().unwrap_or_default())?;
    let operation = request.operation.clone().and_then(|operation| operation.operation);
    let came = perform(&client, operation).await;
    client.close().await;
    came
}

fn connect(wanted: pb::Connection) -> Result<Client, Error> {
    let mut builder: Builder = Client::builder().address(wanted.address).token(wanted.token);
    if let Some(timeout) = wanted.timeout.and_then(|time| time.try_into().ok()) {
        builder = builder.timeout(timeout);
    }
    if let Some(patience) = wanted.patience.and_then(|time| time.try_into().ok()) {
        builder = builder.patience(patience);
    }
    if let Some(tls) = wanted.tls {
        let some = |text: String| (!text.is_empty()).then(|| text.into_bytes());
        builder = builder.tls(Tls {
            ca: some(tls.ca_pem),
            identity: some(tls.certificate_pem).zip(some(tls.key_pem)),
            server_name: (!tls.server_name.is_empty()).then_some(tls.server_name),
        });
    }
    builder.build()
}

fn describe(error: &Error) -> pb::Error {
    use pb::ErrorClass as Class;
    let class = match error.kind() {
        ErrorKind::Cancelled => Class::Cancelled,
        ErrorKind::InvalidArgument => Class::InvalidArgument,
        ErrorKind::DeadlineExceeded => Class::DeadlineExceeded,
        ErrorKind::NotFound => Class::NotFound,
        ErrorKind::AlreadyExists => Class::AlreadyExists,
        ErrorKind::PermissionDenied => Class::PermissionDenied,
        ErrorKind::ResourceExhausted => Class::ResourceExhausted,
        ErrorKind::FailedPrecondition => Class::FailedPrecondition,
        ErrorKind::InUse => Class::InUse,
        ErrorKind::Aborted => Class::Aborted,
        ErrorKind::OutOfRange => Class::OutOfRange,
        ErrorKind::Unimplemented => Class::Unimplemented,
        ErrorKind::Internal => Class::Internal,
        ErrorKind::Unavailable => Class::Unavailable,
        ErrorKind::DataLoss => Class::DataLoss,
        ErrorKind::Unauthenticated => Class::Unauthenticated,
        ErrorKind::TransferFailed => Class::TransferFailed,
        ErrorKind::Usage => Class::Usage,
        _ => Class::Unspecified,
    };
    pb::Error {
        error_class: class.into(),
        reason: error.reason().to_owned(),
        message: error.message().to_owned(),
        metadata: error.metadata().clone(),
        fields: error.fields().iter().map(|one| one.field.clone()).collect(),
        holders: error.holders().iter().map(|one| one.subject.clone()).collect(),
        resource: error.resource().map_or(String::new(), |(kind, name)| format!("{kind}/{name}")),
        retry_delay: error.retry_delay().and_then(|delay| delay.try_into().ok()),
    }
}

/// Does one thing. Errors of the wrapper are results where the protocol wants them inside.
async fn perform(client: &Client, operation: Option<Wanted>) -> Result<Came, Failure> {
    Ok(match operation {
        Some(Wanted::Pull(wanted)) => pull(client, wanted).await?,
        Some(Wanted::Push(wanted)) => push(client, wanted).await?,
        Some(Wanted::Watch(wanted)) => {
            follow(client.watch(&wanted.transfer, None), wanted.leave.unwrap_or_default()).await
        }
        Some(Wanted::Hold(wanted)) => Box::pin(hold(client, wanted)).await?,
        Some(Wanted::Save(wanted)) => {
            let pieces = client.save_images(wanted.request.unwrap_or_default());
            drain(pieces, &wanted.path, wanted.leave.unwrap_or_default().after_messages).await?
        }
        Some(Wanted::Load(wanted)) => load(client, wanted).await?,
        Some(Wanted::Events(wanted)) => Box::pin(events(client, *wanted)).await?,
        Some(Wanted::ListImages(wanted)) => {
            let images = client.images(wanted.request.unwrap_or_default());
            Came::Images(pb::result::Images { images: some(images, wanted.stop_after).await? })
        }
        Some(Wanted::ListContainers(wanted)) => {
            let containers = client.containers(wanted.request.unwrap_or_default());
            let containers = some(containers, wanted.stop_after).await?;
            Came::Containers(pb::result::Containers { containers })
        }
        Some(Wanted::InspectImage(wanted)) => {
            Came::Inspected(client.inspect_image(&wanted.image, &wanted.platform).await?)
        }
        Some(Wanted::TagImage(wanted)) => Came::Tagged(client.tag_image(wanted).await?),
        Some(Wanted::UntagImage(wanted)) => {
            Came::Image(client.untag_image(&wanted.reference).await?)
        }
        Some(Wanted::RemoveImage(wanted)) => {
            Came::Removed(client.remove_image(&wanted.image, wanted.force).await?)
        }
        Some(Wanted::PruneImages(wanted)) => Came::Pruned(client.prune_images(wanted).await?),
        Some(Wanted::GetImage(wanted)) => Came::Image(client.image(&wanted.image).await?),
        Some(Wanted::GetInfo(_)) => Came::Info(client.info().await?),
        Some(Wanted::ListFiles(wanted)) => {
            let files = some(client.files(wanted), 0).await?;
            let paths = files.into_iter().map(|file| file.path).collect();
            Came::Files(pb::result::Files { paths })
        }
        Some(Wanted::ReadFile(wanted)) => drain(client.read_file(wanted), "", 0).await?,
        None => Came::Unsupported(pb::result::Unsupported {}),
    })
}

async fn some<T>(
    items: impl Stream<Item = imgd_client::Result<T>>,
    count: i32,
) -> Result<Vec<T>, Error> {
    let mut items = pin!(items);
    let mut found = Vec::new();
    while let Some(item) = items.next().await {
        found.push(item?);
        if count > 0 && found.len() == count as usize {
            break;
        }
    }
    Ok(found)
}

async fn pull(client: &Client, wanted: pb::PullOperation) -> Result<Came, Failure> {
    let request = wanted.request.unwrap_or_default();
    let policy = request.policy();
    let platforms = request.platforms.unwrap_or_default();
    let options = PullOptions {
        platforms: platforms.platforms,
        all_platforms: platforms.all,
        policy,
        credentials: request.credentials,
        unpack: request.unpack,
        lease: request.lease,
        limits: request.limits,
        detach: request.detach,
        request_id: request.request_id,
        ..Default::default()
    };
    let stream = client.pull(&request.reference, options).await?;
    Ok(follow(stream, wanted.leave.unwrap_or_default()).await)
}

async fn push(client: &Client, wanted: pb::PushOperation) -> Result<Came, Failure> {
    let request = wanted.request.unwrap_or_default();
    let options = PushOptions {
        credentials: request.credentials,
        all_tags: request.all_tags,
        include_referrers: request.include_referrers,
        limits: request.limits,
        detach: request.detach,
        request_id: request.request_id,
        ..Default::default()
    };
    let reference = (!request.reference.is_empty()).then_some(request.reference.as_str());
    let stream = client.push(&request.image, reference, options).await?;
    Ok(follow(stream, wanted.leave.unwrap_or_default()).await)
}

async fn follow(mut stream: imgd_client::TransferStream, leave: pb::Leave) -> Came {
    use imgd_client::v1::transfer_event::Event;
    let seen = Arc::new(Mutex::new(pb::StreamResult { rising: true, ..Default::default() }));
    let noted = seen.clone();
    let (tell, cancelled) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let reading = tokio::spawn(async move {
        let mut last = 0;
        while let Some(event) = stream.next().await {
            let mut seen = noted.lock().expect("a reader panicked");
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    seen.error = Some(describe(&error));
                    return;
                }
            };
            seen.events += 1;
            seen.rising &= event.sequence > last;
            last = event.sequence;
            match event.event {
                Some(Event::Snapshot(_)) => seen.snapshots += 1,
                Some(Event::Finished(end)) => {
                    seen.finished += 1;
                    seen.transfer = end.transfer;
                }
                _ => {}
            }
            if seen.events == i64::from(leave.after_messages) {
                return;
            }
            if seen.events == i64::from(leave.cancel_after_messages) {
                let _ = tell.take().expect("it is told once").send(());
            }
        }
        if let Err(error) = stream.result().await {
            noted.lock().expect("a reader panicked").error = Some(describe(&error));
        }
    });
    let abort = reading.abort_handle();
    tokio::spawn(async move {
        if cancelled.await.is_ok() {
            abort.abort();
        }
    });
    // Its end by force is what was asked for.
    let _ = reading.await;
    let seen = seen.lock().expect("a reader panicked").clone();
    Came::Stream(seen)
}

async fn hold(client: &Client, wanted: pb::HoldOperation) -> Result<Came, Failure> {
    let hold = match wanted.hold.expect("a hold") {
        pb::hold_operation::Hold::Lease(lease) => client.hold_lease(lease).await?,
        pb::hold_operation::Hold::Container(container) => client.hold_container(container).await?,
    };
    let mut said = pb::HoldResult { name: hold.name().to_owned(), ..Default::default() };
    for operation in wanted.inside {
        let came = match Box::pin(perform(client, operation.operation)).await {
            Err(Failure::Client(error)) => Came::Error(describe(&error)),
            other => other?,
        };
        said.inside.push(pb::Result { result: Some(came) });
    }
    if wanted.leave_by_error {
        // An early return drops it.
        drop(hold);
    } else if let Err(error) = hold.release().await {
        said.error = Some(describe(&error));
    }
    Ok(Came::Hold(said))
}

/// Reads bytes, all of them or so many pieces, into a file or nowhere.
async fn drain<B: AsRef<[u8]>>(
    pieces: impl Stream<Item = imgd_client::Result<B>>,
    path: &str,
    count: i32,
) -> Result<Came, Failure> {
    let mut pieces = pin!(pieces);
    let mut file = std::fs::File::create(if path.is_empty() { "/dev/null" } else { path })?;
    let (mut hash, mut size, mut read) = (Sha256::new(), 0, 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(piece.as_ref());
        size += piece.as_ref().len() as i64;
        file.write_all(piece.as_ref())?;
        read += 1;
        if read == count {
            break;
        }
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Came::Bytes(pb::BytesResult { size, sha256 }))
}

async fn load(client: &Client, wanted: pb::LoadOperation) -> Result<Came, Failure> {
    use tokio::io::AsyncReadExt as _;
    let request = wanted.request.unwrap_or_default();
    let file = tokio::fs::File::open(Path::new(&wanted.path)).await?;
    if wanted.abandon_after_bytes == 0 {
        return Ok(Came::Loaded(client.load_images(request, file).await?));
    }
    let archive = file.take(wanted.abandon_after_bytes as u64).chain(Failing);
    match client.load_images(request, archive).await {
        Err(error) if error.kind() == ErrorKind::Source => {
            let size = wanted.abandon_after_bytes;
            Ok(Came::Bytes(pb::BytesResult { size, ..Default::default() }))
        }
        other => Ok(Came::Loaded(other?)),
    }
}

/// A source that fails.
struct Failing;

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("the program's own")))
    }
}

async fn events(client: &Client, wanted: pb::EventsOperation) -> Result<Came, Failure> {
    let stream = client.events(wanted.request.unwrap_or_default()).await?;
    if let Some(once) = wanted.once_listening {
        let _ = perform(client, once.operation).await;
    }
    Ok(Came::Events(pb::result::Events { events: some(stream, wanted.count).await? }))
}
