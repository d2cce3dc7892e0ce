//! Deadlines that nearly every request sets and hardly any reaches.
//!
//! A timer of the runtime is registered and removed under a lock, which is a twentieth of the processor time of a small
//! request. Here timers are kept registered and lent to one wait after the other. A lent timer that rings for an earlier
//! wait is set anew. `tokio::time::timeout` was passed over for that reason, and serves where waits are rare.
//!
//! # Invariants
//! - A wait never ends before its deadline without an output.
//! - Timers are lent for waits of one kind, which are about equally long. Otherwise a timer would have to be set to an
//!   earlier time for most waits, which costs as much as a new one.

use std::pin::Pin;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// Most timers that are kept for one kind of wait.
const MOST_KEPT: usize = 1_024;

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// The next piece of a request's body.
    Body,
    /// An answer, before its node is watched.
    Watch,
    /// An answer, before another node is asked as well.
    Hedge,
    /// An answer, at most.
    Answer,
}

type Timer = Pin<Box<Sleep>>;

/// The timers.
#[derive(Default)]
pub(super) struct Alarms([Mutex<Vec<Timer>>; 4]);

impl Alarms {
    /// The output of `future`, or `None` if there is none by the deadline.
    pub(super) async fn until<F: Future + Unpin>(
        &self,
        wait: Wait,
        deadline: Instant,
        mut future: F,
    ) -> Option<F::Output> {
        let mut lent = Lent { kept: &self.0[wait as usize], timer: None };
        std::future::poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => lent.poll(deadline, cx).map(|()| None),
        })
        .await
    }
}

/// A timer during one wait; none until the wait needs one.
struct Lent<'a> {
    kept: &'a Mutex<Vec<Timer>>,
    timer: Option<Timer>,
}

impl Lent<'_> {
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let kept = self.kept;
        let timer = self.timer.get_or_insert_with(|| {
            let timer = kept.lock().pop();
            timer.unwrap_or_else(|| Box::pin(sleep_until(deadline)))
        });
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            let mut kept = self.kept.lock();
            if kept.len() < MOST_KEPT {
                kept.push(timer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Alarms, Wait};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_timer_that_rings_for_an_earlier_wait_ends_no_later_one() {
        let alarms = Alarms::default();
        for factor in [1, 3, 1, 2, 5] {
            let begun = Instant::now();
            let late = alarms.until(Wait::Answer, begun + SHORT * factor, Box::pin(pending::<()>())).await;
            assert!(late.is_none() && begun.elapsed() >= SHORT * factor, "{factor}");
            // Its timer is kept, and rings during the next wait.
            let soon = Box::pin(sleep(SHORT));
            assert_eq!(alarms.until(Wait::Answer, Instant::now() + LONG, soon).await, Some(()));
            assert_eq!(alarms.0[Wait::Answer as usize].lock().len(), 1);
        }
    }

    #[tokio::test]
    async fn what_is_there_needs_no_timer() {
        let alarms = Alarms::default();
        assert_eq!(alarms.until(Wait::Body, Instant::now(), ready(7)).await, Some(7));
        assert!(alarms.0[Wait::Body as usize].lock().is_empty());
    }
}
