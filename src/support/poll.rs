//! Waits with a limit until something becomes true, by asking repeatedly.

use std::time::Duration;

use tokio::time::Instant;

/// Pause between two questions: too short for a person to notice, and long compared to the cost of a question.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is good or `limit` has passed; the last error is the outcome then.
pub(crate) async fn until<T, E>(limit: Duration, mut ask: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
