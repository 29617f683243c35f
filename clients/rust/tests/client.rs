//! What is particular to this language: what is dropped, and when.

mod common;

use common::{finished, snapshot, Daemon, Told, NAME};
use imgd_client::v1::{CreateLeaseRequest, TransferState};
use imgd_client::{Client, ErrorKind, PullOptions, Tls};
use std::time::Duration;
use tokio_stream::StreamExt as _;

#[tokio::test]
async fn dropping_a_pull_cancels_it_and_close_waits() {
    let mut daemon = Daemon::start(vec![snapshot(1)]).await;
    let client = daemon.client();
    let mut pull = client.pull("redis:7", PullOptions::default()).await.unwrap();
    pull.next().await.unwrap().unwrap();
    drop(pull);
    client.close().await;
    let told = daemon.so_far();
    assert!(told.contains(&Told::Cancelled(NAME.to_owned())), "{told:?}");
}

#[tokio::test]
async fn aborting_the_task_that_reads_cancels_the_pull() {
    let mut daemon = Daemon::start(vec![snapshot(1)]).await;
    let pull = daemon.client().pull("redis:7", PullOptions::default()).await.unwrap();
    let reader = tokio::spawn(pull.result());
    reader.abort();
    while daemon.told().await != Told::Cancelled(NAME.to_owned()) {}
}

#[tokio::test]
async fn a_detached_pull_and_a_watch_are_not_cancelled() {
    let mut daemon = Daemon::start(vec![snapshot(1)]).await;
    let client = daemon.client();
    let options = PullOptions { detach: true, ..Default::default() };
    let mut pull = client.pull("redis:7", options).await.unwrap();
    let mut watch = client.watch(NAME, Some(Duration::from_secs(1)));
    let mut late = client.pull("redis:7", PullOptions::default()).await.unwrap();
    late.detach();
    for stream in [&mut pull, &mut watch, &mut late] {
        stream.next().await.unwrap().unwrap();
    }
    drop((pull, watch, late));
    for _ in 0..3 {
        assert_eq!(daemon.told().await, Told::Left);
    }
    client.close().await;
    assert_eq!(daemon.so_far(), []);
}

#[tokio::test]
async fn the_end_is_no_cancellation() {
    let end = finished(2, TransferState::Succeeded);
    let mut daemon = Daemon::start(vec![snapshot(1), end]).await;
    let client = daemon.client();
    let mut pull = client.pull("redis:7", PullOptions::default()).await.unwrap();
    let mut sequences = Vec::new();
    while let Some(event) = pull.next().await {
        sequences.push(event.unwrap().sequence);
    }
    assert_eq!(sequences, [1, 2]);
    assert!(pull.next().await.is_none());
    assert_eq!(pull.result().await.unwrap().name, NAME);
    client.close().await;
    assert!(daemon.so_far().iter().all(|told| matches!(told, Told::Started(_))));
}

#[tokio::test]
async fn a_transfer_that_failed_has_a_kind_of_its_own() {
    let daemon = Daemon::start(vec![finished(1, TransferState::Failed)]).await;
    let pull = daemon.client().pull("redis:7", PullOptions::default()).await.unwrap();
    let error = pull.result().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TransferFailed);
    assert_eq!(error.message(), "transfers/a is failed");
    assert_eq!(error.transfer().unwrap().state(), TransferState::Failed);
}

#[tokio::test]
async fn each_pull_has_a_request_id_of_its_own() {
    let mut daemon = Daemon::start(vec![snapshot(1)]).await;
    let client = daemon.client();
    for request_id in ["", "", "mine"] {
        let request_id = request_id.to_owned();
        let options = PullOptions { request_id, detach: true, ..Default::default() };
        drop(client.pull("redis:7", options).await.unwrap());
    }
    let told = daemon.so_far();
    let [Told::Started(first), Told::Started(second), Told::Started(third)] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert!(!first.is_empty() && first != second);
    assert_eq!(third, "mine");
}

#[tokio::test]
async fn a_hold_is_given_back_however_it_ends() {
    let mut daemon = Daemon::start(Vec::new()).await;
    let client = daemon.client();
    let request = |id: &str| CreateLeaseRequest { lease_id: id.to_owned(), ..Default::default() };
    client.hold_lease(request("x")).await.unwrap().release().await.unwrap();
    assert_eq!(daemon.told().await, Told::Deleted("leases/x".to_owned()));
    drop(client.hold_lease(request("y")).await.unwrap());
    client.close().await;
    assert_eq!(daemon.so_far(), [Told::Deleted("leases/y".to_owned())]);
}

#[tokio::test]
async fn a_hold_that_is_lost_says_so() {
    let daemon = Daemon::losing(Vec::new(), true).await;
    let request =
        CreateLeaseRequest { ttl: Duration::from_millis(1).try_into().ok(), ..Default::default() };
    let hold = daemon.client().hold_lease(request).await.unwrap();
    let lost = async {
        while !hold.is_lost() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(common::NET, lost).await.expect("it was never lost");
    assert_eq!(hold.release().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_can_not_be_right_is_said_before_any_call() {
    let builder = Client::builder;
    for wrong in [
        builder().address("192.0.2.1:7").token("s3cret"),
        builder().address("[2001:db8::1]:7").token("s3cret"),
        builder().address("127.0.0.1:7").token("two words"),
        builder().address("127.0.0.1:7").token("line\n"),
        builder().address("nowhere"),
        builder()
            .address("127.0.0.1:7")
            .tls(Tls { identity: Some((b"x".to_vec(), b"y".to_vec())), ..Default::default() }),
    ] {
        let said = format!("{wrong:?}");
        assert_eq!(wrong.build().expect_err(&said).kind(), ErrorKind::Usage, "{said}");
    }
    assert!(builder().address("localhost:7").token("s3cret").build().is_ok());
}
