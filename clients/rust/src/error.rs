//! Failures.

use crate::v1::{ErrorReason, Transfer, TransferState};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

// A reason counts with our domain only.
const DOMAIN: &str = "imgd.dev";

/// What kind of failure it is: one for each gRPC code, and some of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// CANCELLED: somebody wanted it to end.
    Cancelled,
    /// INVALID_ARGUMENT: the request breaks a rule; [`Error::fields`] says which.
    InvalidArgument,
    /// DEADLINE_EXCEEDED: it took too long.
    DeadlineExceeded,
    /// NOT_FOUND: there is no such thing.
    NotFound,
    /// ALREADY_EXISTS: there is one of that name.
    AlreadyExists,
    /// PERMISSION_DENIED: the caller may not do this.
    PermissionDenied,
    /// RESOURCE_EXHAUSTED: no room, or too much at once.
    ResourceExhausted,
    /// FAILED_PRECONDITION: the state of things does not permit this.
    FailedPrecondition,
    /// FAILED_PRECONDITION because the image is held; [`Error::holders`] names who holds it.
    InUse,
    /// ABORTED: something else got in between; start over.
    Aborted,
    /// OUT_OF_RANGE: an offset or cursor is past what is there.
    OutOfRange,
    /// UNIMPLEMENTED: this daemon can't do that.
    Unimplemented,
    /// INTERNAL or UNKNOWN: a defect of the daemon; the message holds an incident ID.
    Internal,
    /// UNAVAILABLE: the daemon, or a registry, can't be reached now.
    Unavailable,
    /// DATA_LOSS: bytes are not what they should be.
    DataLoss,
    /// UNAUTHENTICATED: credentials are missing or wrong.
    Unauthenticated,
    /// A transfer ended other than well; [`Error::transfer`] is its record.
    TransferFailed,
    /// What the program itself did wrong, found before any call: a malformed address, say.
    Usage,
    /// What was to be sent could not be read; [`std::error::Error::source`] says why.
    Source,
}

/// A field of the request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field.
    pub field: String,
    /// What is wrong.
    pub description: String,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// `CONTAINER`, `LEASE` or `PIN`.
    pub kind: String,
    /// Its resource name.
    pub subject: String,
    /// More about it.
    pub description: String,
}

/// A failed call, or a transfer that did not end well. Match its kind or its reason, never its text.
#[derive(Debug)]
pub struct Error(Box<Facts>);

#[derive(Debug)]
struct Facts {
    kind: ErrorKind,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    fields: Vec<FieldViolation>,
    holders: Vec<Holder>,
    resource: Option<(String, String)>,
    retry_delay: Option<Duration>,
    transfer: Option<Transfer>,
    source: Option<std::io::Error>,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            kind,
            message: message.into(),
            reason: String::new(),
            metadata: HashMap::new(),
            fields: Vec::new(),
            holders: Vec::new(),
            resource: None,
            retry_delay: None,
            transfer: None,
            source: None,
        }))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn cancelled(message: &str) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    pub(crate) fn unavailable(message: &str) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn deadline() -> Self {
        Self::new(ErrorKind::DeadlineExceeded, "the daemon took too long to answer")
    }

    pub(crate) fn source(error: std::io::Error) -> Self {
        let mut found = Self::new(ErrorKind::Source, error.to_string());
        found.0.source = Some(error);
        found
    }

    /// The error that a transfer's record tells of.
    pub(crate) fn transfer_failed(transfer: Transfer) -> Self {
        let failure = transfer.outcome.as_ref().and_then(|outcome| outcome.failure.as_ref());
        let mut found = Self::new(ErrorKind::TransferFailed, "");
        if let Some(failure) = failure {
            found.0.message.clone_from(&failure.message);
            found.0.metadata.clone_from(&failure.metadata);
            found.0.retry_delay = failure.retry_delay.and_then(|delay| delay.try_into().ok());
            found.0.reason = match ErrorReason::try_from(failure.reason) {
                Ok(ErrorReason::Unspecified) | Err(_) => String::new(),
                Ok(reason) => {
                    let name = reason.as_str_name();
                    name.strip_prefix("ERROR_REASON_").unwrap_or(name).to_owned()
                }
            };
        }
        if found.0.message.is_empty() {
            let state = TransferState::try_from(transfer.state)
                .map_or("TRANSFER_STATE_UNKNOWN", |state| state.as_str_name());
            let state = state.trim_start_matches("TRANSFER_STATE_").to_lowercase();
            found.0.message = format!("{} is {state}", transfer.name);
        }
        found.0.transfer = Some(transfer);
        found
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name of an `ErrorReason` without its prefix, such as `IMAGE_NOT_FOUND`; empty where none is
    /// known, as for errors of gRPC itself.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What happened, to what, and what to do next. It is for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Further facts.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The fields of the request that are wrong.
    pub fn fields(&self) -> &[FieldViolation] {
        &self.0.fields
    }

    /// What stands in the way.
    pub fn holders(&self) -> &[Holder] {
        &self.0.holders
    }

    /// Type and name of the thing that is missing or in conflict.
    pub fn resource(&self) -> Option<(&str, &str)> {
        self.0.resource.as_ref().map(|(kind, name)| (kind.as_str(), name.as_str()))
    }

    /// After how long trying again makes sense; None where nothing is known about it.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }

    /// The record of a transfer that did not end well.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.0.transfer.as_ref()
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let mut found = Self::new(kind(&status), status.message());
        for detail in status.get_error_details_vec() {
            use tonic_types::ErrorDetail;
            match detail {
                ErrorDetail::ErrorInfo(info) if info.domain == DOMAIN => {
                    found.0.reason = info.reason;
                    found.0.metadata = info.metadata;
                }
                ErrorDetail::RetryInfo(retry) => found.0.retry_delay = retry.retry_delay,
                ErrorDetail::BadRequest(bad) => {
                    let fields = bad.field_violations.into_iter();
                    found.0.fields = fields
                        .map(|one| FieldViolation {
                            field: one.field,
                            description: one.description,
                        })
                        .collect();
                }
                ErrorDetail::PreconditionFailure(failure) => {
                    let violations = failure.violations.into_iter();
                    found.0.holders = violations
                        .map(|one| Holder {
                            kind: one.r#type,
                            subject: one.subject,
                            description: one.description,
                        })
                        .collect();
                }
                ErrorDetail::ResourceInfo(info) => {
                    found.0.resource = Some((info.resource_type, info.resource_name));
                }
                _ => {}
            }
        }
        if found.0.reason == "IMAGE_IN_USE" {
            found.0.kind = ErrorKind::InUse;
        }
        found
    }
}

fn kind(status: &Status) -> ErrorKind {
    match status.code() {
        // What the connection itself comes to has a source; what the daemon says has none.
        Code::Cancelled | Code::Unknown | Code::Internal
            if std::error::Error::source(status).is_some() =>
        {
            ErrorKind::Unavailable
        }
        Code::Cancelled => ErrorKind::Cancelled,
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::FailedPrecondition => ErrorKind::FailedPrecondition,
        Code::Aborted => ErrorKind::Aborted,
        Code::OutOfRange => ErrorKind::OutOfRange,
        Code::Unimplemented => ErrorKind::Unimplemented,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DataLoss => ErrorKind::DataLoss,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.reason.is_empty() {
            write!(out, "{} ({:?})", self.0.message, self.0.kind)
        } else {
            write!(out, "{} ({})", self.0.message, self.0.reason)
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}
