//! Relays the progress of pulls to a service's own users: GET /pull?image=redis:7 answers with server-sent
//! events. A user who leaves cancels that pull; others that pull the same are not hurt.

use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::{http::StatusCode, routing::get, Router};
use imgd_client::{v1::transfer_event::Event as Happened, Client, Error, PullOptions};
use std::collections::HashMap;
use tokio_stream::{Stream, StreamExt};

/// The service. Its answers drop the pull when their user leaves.
pub fn relay(imgd: Client) -> Router {
    Router::new().route("/pull", get(pull)).with_state(imgd)
}

async fn pull(
    State(imgd): State<Client>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Error>>>, (StatusCode, String)> {
    let image = query.get("image").map_or("", String::as_str);
    let refused = |error: Error| (StatusCode::BAD_GATEWAY, error.to_string());
    let pull = imgd.pull(image, PullOptions::default()).await.map_err(refused)?;
    Ok(Sse::new(pull.map(|event| {
        let event = event?;
        let (done, total) = match event.event {
            Some(Happened::Snapshot(found)) => progress(found.progress),
            Some(Happened::Update(found)) => progress(found.progress),
            Some(Happened::Finished(found)) => progress(found.progress),
            _ => (0, None),
        };
        let data = serde_json::json!({ "done": done, "total": total });
        Ok(Event::default().id(event.sequence.to_string()).data(data.to_string()))
    })))
}

fn progress(found: Option<imgd_client::v1::TransferProgress>) -> (i64, Option<i64>) {
    found.map_or((0, None), |progress| (progress.current_bytes, progress.total_bytes))
}

#[allow(dead_code)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, relay(Client::new()?)).await?;
    Ok(())
}
