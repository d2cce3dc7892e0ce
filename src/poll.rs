//! Waiting for something to become true, with a limit: asked again and again, never slept through.

use std::time::Duration;

use tokio::time::Instant;

/// Pause between two questions: short beside what a person notices, long beside what a question costs.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is good or `limit` has passed; then the last error is the outcome.
pub(crate) async fn until<T>(limit: Duration, mut ask: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
