//! Streams that attach again when the connection is lost.

use crate::{Error, ErrorKind, Result};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
// A daemon that asks for more than this is not believed.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// When to try again: delays that double up to a bound, each drawn from its upper half, so that a thousand
/// watchers of one daemon do not come back in the same moment.
pub(crate) struct Attempts {
    patience: Duration,
    /// Whether the daemon was there: what never was fails at once.
    there: bool,
    failures: u32,
    since: Option<Instant>,
}

impl Attempts {
    pub(crate) fn new(patience: Duration, there: bool) -> Self {
        Self { patience, there, failures: 0, since: None }
    }

    /// Something came.
    pub(crate) fn worked(&mut self) {
        self.there = true;
        self.failures = 0;
        self.since = None;
    }

    /// Waits until the next attempt, or returns the error when there is to be none.
    pub(crate) async fn failed(&mut self, error: Error) -> Result<()> {
        // A server that stops under its streams ends some of them with a bare CANCELLED.
        let lost = error.kind() == ErrorKind::Unavailable
            || error.kind() == ErrorKind::Cancelled && error.reason().is_empty();
        if !lost || !self.there && error.retry_delay().is_none() {
            return Err(error);
        }
        let now = Instant::now();
        let left = (*self.since.get_or_insert(now) + self.patience).saturating_duration_since(now);
        if left.is_zero() {
            return Err(error);
        }
        let delay = LONGEST.min(FIRST * 2u32.pow(self.failures.min(10))).mul_f64(draw());
        self.failures += 1;
        let asked = error.retry_delay().unwrap_or_default().min(LONGEST_ASKED);
        tokio::time::sleep(delay.max(asked).min(left)).await;
        Ok(())
    }
}

/// A number between a half and one. The standard library's hashers are seeded at random.
fn draw() -> f64 {
    let drawn = RandomState::new().build_hasher().finish();
    0.5 + (drawn >> 11) as f64 / (1u64 << 54) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Error {
        Error::unavailable("gone")
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_begins_anew_with_what_comes() {
        let mut attempts = Attempts::new(Duration::from_secs(2), true);
        let begun = Instant::now();
        while attempts.failed(lost()).await.is_ok() {}
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        attempts.worked();
        assert!(attempts.failed(lost()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_was_there_fails_at_once() {
        let begun = Instant::now();
        assert!(Attempts::new(Duration::from_secs(2), false).failed(lost()).await.is_err());
        assert!(begun.elapsed().is_zero());
    }

    #[test]
    fn draws_are_from_the_upper_half() {
        let drawn: Vec<_> = (0..100).map(|_| draw()).collect();
        assert!(drawn.iter().all(|one| (0.5..1.0).contains(one)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
