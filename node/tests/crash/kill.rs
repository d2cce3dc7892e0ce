//! Kills with SIGKILL at random moments, also while the store opens.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::rounds;

/// Default of MERIDIAN_CUTS.
const KILLS: usize = 8;

/// A writer process and the last batch that it acknowledged.
pub(crate) struct Writer {
    child: Child,
    pub acknowledged: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(engine: &str, folder: &Path) -> Result<Writer, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command.args(["--write", engine]).arg(folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let out = child.stdout.take().ok_or("no output")?;
        let acknowledged = Arc::new(AtomicU64::new(0));
        let seen = acknowledged.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // A line that the kill cut off does not acknowledge a batch.
                if let Ok(number) = line.parse() {
                    seen.store(number, Ordering::SeqCst);
                }
            }
        });
        Ok(Writer { child, acknowledged, reader: Some(reader) })
    }

    /// Waits until at least so many batches are acknowledged.
    pub(crate) fn wait_for(&mut self, batches: u64) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(300);
        while self.acknowledged.load(Ordering::SeqCst) < batches {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the writer ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err("the writer makes no progress".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Kills with SIGKILL; returns the number of the last acknowledged batch.
    pub(crate) fn kill(mut self) -> u64 {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// Opens the store in another process, because sled may panic, and checks it.
pub(crate) fn check(engine: &str, folder: &Path, least: u64, most: u64) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(["--check", engine]).arg(folder).arg(least.to_string()).arg(most.to_string());
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "after {least} acknowledged batches: {} {}",
        output.status,
        said.lines().take(4).collect::<Vec<_>>().join(" | ")
    ))
}

pub(crate) fn kill_at_random(engine: &'static str) -> Result<(), String> {
    let mut rng = rand::rng();
    let (kills, mut total) = (rounds(KILLS), 0);
    for kill in 0..kills {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut writer = Writer::start(engine, folder.path())?;
        writer.wait_for(rng.random_range(1..400))?;
        let acknowledged = writer.kill();
        // A second process is killed while it opens the same store, a few milliseconds after its start.
        let opening = Writer::start(engine, folder.path())?;
        std::thread::sleep(Duration::from_millis(rng.random_range(1..30)));
        let again = opening.kill();
        if again > 0 {
            // The second process got as far as writing batches again. They are the same batches, so the contents do not
            // change.
            total += again;
            continue;
        }
        check(engine, folder.path(), acknowledged, acknowledged + 1).map_err(|e| format!("kill {kill}: {e}"))?;
        total += acknowledged;
    }
    println!("{engine}: {kills} kills, {total} acknowledged batches, nothing lost");
    Ok(())
}
