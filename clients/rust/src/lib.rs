//! The client of imgd, a container image daemon: pull images over gRPC with progress that survives lost
//! connections, list, tag, hold, remove, save and load them.
//!
//! ```no_run
//! use tokio_stream::StreamExt;
//!
//! # async fn run() -> Result<(), imgd_client::Error> {
//! let imgd = imgd_client::Client::new()?;
//! let mut pull = imgd.pull("redis:7", Default::default()).await?;
//! while let Some(event) = pull.next().await {
//!     println!("{}", event?.sequence);
//! }
//! let transfer = pull.result().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Methods take and return the messages of [`v1`]. Every failure is an [`Error`].

mod address;
mod bytes;
mod client;
mod error;
mod events;
mod hold;
mod images;
mod stream;
mod transfer;

/// The messages and stubs of the API, `imgd.v1`.
#[allow(clippy::all, missing_docs, rustdoc::all)]
pub mod v1 {
    include!("gen/imgd.v1.rs");
}

pub use address::default_address;
pub use client::{Builder, Client, Tls};
pub use error::{Error, ErrorKind, FieldViolation, Holder};
pub use events::EventStream;
pub use hold::Hold;
pub use transfer::{PullOptions, PushOptions, TransferStream};

/// What every method returns.
pub type Result<T> = std::result::Result<T, Error>;
