//! Where the daemon listens.

use crate::{Error, Result};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

// sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Where to connect.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Socket(PathBuf),
    Tcp { host: String, port: u16 },
}

impl Target {
    /// Reads `unix:PATH`, `unix:///PATH` or `HOST:PORT`.
    pub(crate) fn parse(address: &str) -> Result<Self> {
        let malformed = |why: &str| Error::usage(format!("address {address:?}{why}"));
        if let Some(path) = address.strip_prefix("unix:") {
            let path = match path.strip_prefix("//") {
                Some(path) if path.starts_with('/') => path,
                Some(_) => return Err(malformed(": write unix:PATH or unix:///PATH")),
                None => path,
            };
            return match path.len() {
                0 => Err(malformed(" names no socket")),
                1..=MAX_SOCKET_PATH => Ok(Self::Socket(path.into())),
                _ => Err(malformed(": a socket's path has at most 107 bytes")),
            };
        }
        let neither = || malformed(" is neither unix:PATH nor HOST:PORT");
        let (host, port) = address.rsplit_once(':').ok_or_else(neither)?;
        let digits =
            (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or_else(neither)?;
        let bare = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').filter(|host| {
                host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":.%_".contains(&byte))
            }),
            None => Some(host),
        };
        let is_host = |host: &str| {
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/[]".contains(c))
        };
        match bare {
            Some(bare) if is_host(bare) && (bare != host || !bare.contains(':')) => {
                Ok(Self::Tcp { host: host.to_owned(), port })
            }
            _ => Err(neither()),
        }
    }

    /// Whether what is sent there stays on this machine.
    pub(crate) fn is_here(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp { host, .. } => {
                let bare = host.trim_matches(['[', ']']);
                bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        }
    }
}

/// `IMGD_ADDRESS`, else the system's socket for root, else the user's own, in `$XDG_RUNTIME_DIR` or
/// without one in `/tmp/imgd-UID`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage): that folder is not the user's alone. Somebody else could
/// have put it there, to get what is sent to the socket in it.
pub fn default_address() -> Result<String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(address) = set("IMGD_ADDRESS") {
        return Ok(address);
    }
    let user = user_id();
    if user == 0 {
        return Ok("unix:///run/imgd/imgd.sock".to_owned());
    }
    let folder = match set("XDG_RUNTIME_DIR") {
        Some(folder) => folder,
        None => own_folder(&format!("/tmp/imgd-{user}"), user)?,
    };
    Ok(format!("unix:{folder}/imgd.sock"))
}

fn own_folder(folder: &str, user: u32) -> Result<String> {
    let own = match Path::new(folder).symlink_metadata() {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(found) => {
            found.uid() == user && found.is_dir() && found.permissions().mode() & 0o022 == 0
        }
    };
    own.then(|| folder.to_owned()).ok_or_else(|| {
        Error::usage(format!(
            "{folder} is not this user's alone: somebody else may have made it; \
             set XDG_RUNTIME_DIR, or name the daemon's address"
        ))
    })
}

#[allow(unsafe_code)]
fn user_id() -> u32 {
    // SAFETY: geteuid has no conditions and always succeeds (geteuid(2)).
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::ErrorKind;

    #[test]
    fn malformed_addresses_are_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        for address in [
            "",
            "x",
            "unix:",
            "unix://x",
            "http://127.0.0.1:1",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:+1",
            "127.0.0.1:000080",
            "::1:80",
            "[::1:80",
            "a b:1",
            "127.0.0.1:1\n",
            ":1",
            "[]:1",
            &long,
        ] {
            let error = Target::parse(address).expect_err(address);
            assert_eq!(error.kind(), ErrorKind::Usage, "{address}");
        }
    }

    #[test]
    fn addresses_are_read() {
        for (address, is_here) in [
            ("unix:/x", true),
            ("unix:///x", true),
            ("unix:x", true),
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("localhost:65535", true),
            ("192.0.2.1:1", false),
            ("host:1", false),
        ] {
            assert_eq!(Target::parse(address).expect(address).is_here(), is_here, "{address}");
        }
        assert_eq!(Target::parse("unix:///x").unwrap(), Target::Socket("/x".into()));
    }
}
