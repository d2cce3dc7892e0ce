//! How long until a write is shown elsewhere: by the rate of writes on long links, and while a link flaps.
//!
//! `cargo test -p simulations --test staleness -- --nocapture` prints the table.

#![allow(clippy::unwrap_used)]

use simulations::figures::Figures;
use simulations::run::{Keep, run};
use simulations::scenario::Scenario;

fn measured(text: &str, seed: u64) -> Figures {
    let outcome = run(&Scenario::parse(text).unwrap(), seed, Keep { figures: true, ..Keep::default() }).unwrap();
    assert_eq!(outcome.broken, None);
    outcome.figures.unwrap()
}

fn quantile(delays: &[f32], share: f64) -> f32 {
    delays[((delays.len() - 1) as f64 * share).round() as usize]
}

/// A partly filled frame that waited for an acknowledgement would cost a round trip more as soon as writes come faster
/// than acknowledgements.
#[test]
fn staleness_does_not_rise_with_the_rate() {
    println!("writes/s | from -> to | p50 ms | p99 ms | bytes a write (all links)");
    let mut base: Vec<f32> = Vec::new();
    for rate in [1, 10, 100, 300] {
        // Links come up within half a second; the writes of that time must be less than a hundredth of all.
        let seconds = if rate < 10 { 600 } else { 120 };
        let text = format!(
            "name = \"rate\"\nduration = \"{seconds}s\"\nregions = [\"eu-central\", \"us-east\", \"ap-southeast\"]\n\
             [network]\njitter = 0.0\n[checks]\ndeep = false\nforget = false\n\
             [workload]\nrate = {rate}.0\ncorrections = 0.0\nerasures = 0.0\nrepeats = 0.0\n"
        );
        let run = measured(&text, 1);
        let bytes: u64 = run.traffic.iter().map(|path| path.payload + path.metadata).sum();
        let writes: u64 = run.requests.iter().map(|count| count.done).sum();
        let pairs = run.staleness.iter().filter(|pair| pair.from != pair.to);
        for (number, pair) in pairs.enumerate() {
            let (half, most) = (quantile(&pair.delays_ms, 0.5), quantile(&pair.delays_ms, 0.99));
            let names = format!("{} -> {}", run.regions[pair.from.0], run.regions[pair.to.0]);
            println!("{rate:>8} | {names} | {half:.1} | {most:.1} | {:.0}", bytes as f64 / writes as f64);
            if rate == 1 {
                base.push(half);
            }
            // One way, a sync, and a frame's wait of 8 ms: well under another round trip.
            let one_way = base[number] - 4.0;
            assert!(most < one_way * 2.0 + 2.0 * 32.0 + 20.0, "{names} at {rate}/s: p99 {most} ms");
            assert!(half < one_way + 2.0 * 8.0 + 16.0, "{names} at {rate}/s: p50 {half} ms");
        }
    }
}

/// A link that is up for one second in every four delivers the waiting entries, because the resend timer does not
/// resonate with the outages.
#[test]
fn a_flapping_link_delivers_the_waiting_entries() {
    let mut longest = 0.0_f32;
    for (down, up) in [("3s", "1s"), ("2s", "2s"), ("1s", "1s")] {
        for seed in 1..=3 {
            let text = format!(
                "name = \"flap\"\nduration = \"9m\"\nregions = [\"eu-central\", \"us-east\"]\n\
                 [checks]\ndeep = false\nforget = false\n[workload]\nrate = 2.0\n\
                 [[fault]]\nat = \"10s\"\nfor = \"8m\"\nkind = \"partition\"\nfrom = [\"eu-central\"]\n\
                 flap = {{ down = \"{down}\", up = \"{up}\" }}\n"
            );
            let run = measured(&text, seed);
            let most = run.staleness.iter().filter_map(|pair| pair.delays_ms.last()).fold(0.0_f32, |a, b| a.max(*b));
            println!("down {down}, up {up}, seed {seed}: longest staleness {:.1} s", most / 1_000.0);
            longest = longest.max(most);
        }
    }
    assert!(longest < 30_000.0, "{longest} ms");
}
