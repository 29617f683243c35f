//! What happens in the store.

use crate::client::stub;
use crate::stream::Attempts;
use crate::v1::{StoreEvent, WatchEventsRequest, WatchEventsResponse};
use crate::{Client, Error, Result};
use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio_stream::StreamExt as _;

impl Client {
    /// Listens to what happens in the store, from now on if the request says nothing else. It listens when
    /// it returns.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange): the history does not hold the cursor any
    /// more. [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument): a filter is none.
    pub async fn events(&self, request: WatchEventsRequest) -> Result<EventStream> {
        let seen = request.after_cursor;
        let mut found = EventStream {
            answers: Box::pin(answers(self.clone(), request)),
            waiting: VecDeque::new(),
            position: 0,
            seen,
        };
        // The first message comes at once, and says where the history stands.
        if let Some(answer) = found.answers.next().await {
            found.accept(answer?);
        }
        Ok(found)
    }
}

fn answers(
    client: Client,
    first: WatchEventsRequest,
) -> impl Stream<Item = Result<WatchEventsResponse>> + Send {
    async_stream::try_stream! {
        let mut stub = stub!(client, event_service_client::EventServiceClient);
        let mut attempts = Attempts::new(client.patience(), false);
        let mut request = first.clone();
        loop {
            let lost: Error = match stub.watch_events(client.request(request.clone())).await {
                Err(status) => status.into(),
                Ok(answer) => {
                    let mut answers = answer.into_inner();
                    loop {
                        match answers.message().await {
                            Err(status) => break status.into(),
                            Ok(None) => return,
                            Ok(Some(answer)) => {
                                attempts.worked();
                                request.after_cursor = answer.cursor;
                                request.since = match answer.cursor {
                                    // 0 alone would mean from now on, and something may have happened
                                    // meanwhile.
                                    0 => Some(first.since.unwrap_or_default()),
                                    _ => None,
                                };
                                yield answer;
                            }
                        }
                    }
                }
            };
            attempts.failed(lost).await?;
        }
    }
}

/// What happens in the store, in order and without gaps: a [`Stream`]. It attaches again behind the last event
/// when the daemon was away.
#[must_use = "it does nothing unless it is polled"]
pub struct EventStream {
    answers: Pin<Box<dyn Stream<Item = Result<WatchEventsResponse>> + Send>>,
    waiting: VecDeque<StoreEvent>,
    position: i64,
    seen: i64,
}

impl EventStream {
    /// What `after_cursor` of another request goes on behind: the last event that was handed out.
    pub fn cursor(&self) -> i64 {
        if self.waiting.is_empty() {
            self.position.max(self.seen)
        } else {
            self.seen
        }
    }

    fn accept(&mut self, answer: WatchEventsResponse) {
        self.position = answer.cursor;
        self.waiting.extend(answer.events);
    }
}

impl Stream for EventStream {
    type Item = Result<StoreEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.seen = event.cursor;
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.answers.as_mut().poll_next(context)) {
                Some(Ok(answer)) => self.accept(answer),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EventStream").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}
