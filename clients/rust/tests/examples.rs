//! The examples run, and README shows the one that does.

mod common;
#[path = "../examples/relay.rs"]
mod relay;

use common::{finished, snapshot, Daemon, Told, NAME};
use imgd_client::v1::TransferState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_example_runs() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/pull.rs");
    assert!(readme.contains(&format!("```rust\n{example}```\n")));
    let daemon = Daemon::start(vec![snapshot(1), finished(2, TransferState::Succeeded)]).await;
    // `cargo test` builds the examples, too, beside the tests' own folder.
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap();
    let done = tokio::process::Command::new(folder.join("examples/pull"))
        .arg("redis:7")
        .env("IMGD_ADDRESS", &daemon.address)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.starts_with("pulled sha256:abc\n[\"redis:7\"]"), "{said} {:?}", done.stderr);
}

/// Asks the relay for a pull.
async fn ask(daemon: &Daemon) -> TcpStream {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = relay::relay(daemon.client());
    tokio::spawn(async move { axum::serve(listener, service).await });
    let mut user = TcpStream::connect(address).await.unwrap();
    let request = "GET /pull?image=redis:7 HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
    user.write_all(request.as_bytes()).await.unwrap();
    user
}

#[tokio::test]
async fn the_relay_passes_every_event_on() {
    let daemon = Daemon::start(vec![snapshot(1), finished(2, TransferState::Succeeded)]).await;
    let mut said = String::new();
    ask(&daemon).await.read_to_string(&mut said).await.unwrap();
    assert_eq!(said.matches("data: {").count(), 2, "{said}");
    assert!(said.contains("text/event-stream"), "{said}");
}

#[tokio::test]
async fn a_user_who_leaves_cancels() {
    let mut daemon = Daemon::start(vec![snapshot(1)]).await;
    let mut user = ask(&daemon).await;
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("data: {") {
        user.read_buf(&mut said).await.unwrap();
    }
    drop(user);
    while daemon.told().await != Told::Cancelled(NAME.to_owned()) {}
}
