//! The work: writes in a closed loop until every region has them, a check of each, and their erasure.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::document::{self, Key};
use crate::peer::{Client, Peer, REGIONS};

/// Readers of each region that check everything.
const READERS: usize = 8;
/// How long regions may take to become equal.
const AGREED: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// So many writes by so many clients, each of which sends its next write after the last was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) writes: usize,
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.clients, self.writes)
    }
}

impl FromStr for Load {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Load, Self::Err> {
        let read = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let parts = text.split_once(':').and_then(|(clients, writes)| Some((read(clients)?, read(writes)?)));
        let (clients, writes) = parts.ok_or("two numbers are expected, as in 64:20000")?;
        if writes < clients { Err("each client needs a write") } else { Ok(Load { clients, writes }) }
    }
}

/// One kind of operation under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    /// Processor seconds of all servers per 1,000 operations.
    pub(crate) cpu_s_per_1000: f64,
    pub(crate) per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// From the last acknowledgement until every region shows the last operation of each client.
    pub(crate) equal_after_ms: f64,
}

/// What one store showed under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) writes: Phase,
    pub(crate) erasures: Phase,
    /// Bytes that a document occupies in one region.
    pub(crate) stored_bytes: f64,
    /// Acknowledged writes that a region did not show, or showed differently.
    pub(crate) missing: usize,
    /// Erased documents that a region still showed.
    pub(crate) left: usize,
}

type Written = Vec<(Key, Value)>;

/// Measures a store under one load. Everything is erased afterwards.
pub(crate) async fn measure<P: Peer>(peer: &P, load: Load) -> anyhow::Result<Found> {
    let mut clients = Vec::new();
    for number in 0..load.clients {
        clients.push((peer.connect(peer.home(number)).await?, Written::new()));
    }
    let mut regions = Vec::new();
    for region in 0..REGIONS {
        regions.push(peer.connect(region).await?);
    }
    // Caches, connections and files, before anything counts.
    let warm = Load { writes: load.clients.max(load.writes / 10), ..load };
    let warmed = operate(peer, &mut regions, clients, warm, write).await?.1;
    let clients = warmed.into_iter().map(|(client, _)| (client, Written::new())).collect();

    let stored = peer.servers().stored();
    let (writes, clients) = operate(peer, &mut regions, clients, load, write).await?;
    let stored = peer.servers().stored().saturating_sub(stored);
    let written: Rc<Written> = Rc::new(clients.iter().flat_map(|(_, written)| written.iter().cloned()).collect());
    let missing = differing(peer, &written, true).await?;
    let (erasures, _) = operate(peer, &mut regions, clients, load, erase).await?;
    let left = differing(peer, &written, false).await?;
    Ok(Found { writes, erasures, stored_bytes: stored as f64 / (load.writes * REGIONS) as f64, missing, left })
}

/// One write; the document joins those of its client.
async fn write<C: Client>(client: &mut C, written: &mut Written, _: usize) -> anyhow::Result<Duration> {
    let (key, document) = (Key::new(), document::check_in());
    let begun = Instant::now();
    client.write(&key, &document).await?;
    let took = begun.elapsed();
    written.push((key, document));
    Ok(took)
}

/// Erases the document that its client wrote as number `at`.
async fn erase<C: Client>(client: &mut C, written: &mut Written, at: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    client.erase(&written[at].0).await?;
    Ok(begun.elapsed())
}

type Working<C> = Vec<(C, Written)>;

/// Lets all clients work until the load is done and every region shows it.
async fn operate<P: Peer>(
    peer: &P,
    regions: &mut [P::Client],
    clients: Working<P::Client>,
    load: Load,
    operation: impl AsyncFn(&mut P::Client, &mut Written, usize) -> anyhow::Result<Duration> + Copy + 'static,
) -> anyhow::Result<(Phase, Working<P::Client>)> {
    // Clients that wrote before erase as many each as they wrote.
    let is_erasure = clients.iter().any(|(_, written)| !written.is_empty());
    let left = Rc::new(Cell::new(load.writes));
    let (cpu, begun) = (peer.servers().cpu()?, Instant::now());
    let mut working = JoinSet::new();
    for (number, (mut client, mut written)) in clients.into_iter().enumerate() {
        let left = Rc::clone(&left);
        working.spawn_local(async move {
            let mut latencies = Vec::new();
            let own = if is_erasure { written.len() } else { usize::MAX };
            while latencies.len() < own && left.get() > 0 {
                left.set(left.get() - 1);
                latencies.push(operation(&mut client, &mut written, latencies.len()).await?);
            }
            anyhow::Ok((number, client, written, latencies))
        });
    }
    let mut ended: Vec<_> = Vec::new();
    while let Some(one) = working.join_next().await {
        ended.push(one?.with_context(|| peer.servers().log())?);
    }
    let took = begun.elapsed();
    ended.sort_by_key(|(number, ..)| *number);
    let mut latencies: Vec<Duration> = ended.iter().flat_map(|(.., latencies)| latencies.iter().copied()).collect();
    latencies.sort_unstable();
    for (_, _, written, _) in &ended {
        if let Some((key, _)) = written.last() {
            all_show(regions, key, !is_erasure).await?;
        }
    }
    let equal = begun.elapsed();
    let thousands = latencies.len() as f64 / 1_000.0;
    let phase = Phase {
        cpu_s_per_1000: (peer.servers().cpu()? - cpu) / thousands,
        per_s: latencies.len() as f64 / took.as_secs_f64(),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        equal_after_ms: (equal - took).as_secs_f64() * 1_000.0,
    };
    Ok((phase, ended.into_iter().map(|(_, client, written, _)| (client, written)).collect()))
}

async fn all_show<C: Client>(regions: &mut [C], key: &Key, is_there: bool) -> anyhow::Result<()> {
    let until = Instant::now() + AGREED;
    for region in regions {
        while region.read(key).await?.is_some() != is_there {
            anyhow::ensure!(Instant::now() < until, "the regions are not equal after {AGREED:?}");
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
    Ok(())
}

/// How many documents are not in all regions as they were written, or not gone everywhere.
async fn differing<P: Peer>(peer: &P, written: &Rc<Written>, is_there: bool) -> anyhow::Result<usize> {
    let mut readers = JoinSet::new();
    for number in 0..REGIONS * READERS {
        let (mut client, written) = (peer.connect(number % REGIONS).await?, Rc::clone(written));
        readers.spawn_local(async move {
            let mut differing = 0;
            for (key, document) in written.iter().skip(number / REGIONS).step_by(READERS) {
                let read = client.read(key).await?;
                differing += usize::from(read.as_ref() != is_there.then_some(document));
            }
            anyhow::Ok(differing)
        });
    }
    let mut all = 0;
    while let Some(one) = readers.join_next().await {
        all += one??;
    }
    Ok(all)
}

/// In ms, of sorted latencies.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1_000.0)
}
