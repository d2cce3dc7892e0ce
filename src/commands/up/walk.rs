//! The text that `up` prints once all are ready: addresses, and a walk through the product to copy and paste.

use std::time::SystemTime;

use registry::{Secret, VisitId};
use replication::Wall;

use super::layout::Layout;
use super::router_file::{SERVICE, ZONE};
use crate::support::shell;
use registry::{CreatedVenue, Receipt};

/// Addresses of clients in Germany, the United States and Singapore, which the router sends to regions 1 to 3.
const CLIENTS: [&str; 3] = ["46.4.0.1", "8.8.8.8", "202.156.0.1"];

/// Prints addresses and the walk.
pub(super) fn print(layout: &Layout, demo: &CreatedVenue, visit: &Receipt) {
    say!("\nReady. Each node stores what it accepts and sends it to the others.");
    if !layout.routers.is_empty() {
        say!("The router leads each client to the nearest region.");
    }
    say!("");
    for router in &layout.routers {
        let (name, at) = (router.process.name.as_str(), router.at);
        say!("  {name:<16} http://{}   admin http://{}   DNS {}", at.edge, at.admin, at.dns);
    }
    for node in &layout.nodes {
        say!("  {:<16} http://{}   admin http://{}", node.process.name.as_str(), node.public, node.admin);
    }
    say!("\nService   http://{}", layout.service());
    say!("Files     {}: for each process its configuration, pid, log, store/", layout.data.display());
    say!("\nPages to open in a browser:");
    say!("  Check-in  {}", demo.checkin_url);
    say!("  Receipt   {}", visit.receipt_url);
    say!("  Console   http://{}/console#{}.{}", layout.service(), demo.venue_id, demo.owner_key);
    say!("\nA walk to copy and paste, in another terminal:\n");
    say!("{}", walk(layout, demo));
    if let Some(router) = layout.routers.first() {
        let (ip, port) = (router.at.dns.ip(), router.at.dns.port());
        say!("# The same by DNS, and why\ndig @{ip} -p {port} +short {SERVICE}.{ZONE} +subnet={}", CLIENTS[2]);
        say!("dig @{ip} -p {port} +short TXT explain.{SERVICE}.{ZONE} +subnet={}\n", CLIENTS[2]);
    }
    let pid_file = shell::word(layout.region(2).process.pid_file());
    say!("Kill a node (kill -9 $(cat {pid_file})): the others still run.");
    if !layout.routers.is_empty() {
        say!("The router sends a region's clients to the next region once none of its nodes is left.");
    }
    say!("Ctrl-C stops all.");
}

/// The walk as shell commands that need nothing but curl and sed.
fn walk(layout: &Layout, demo: &CreatedVenue) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let secret = Secret(rand::random());
    // A browser makes id and secret itself; a new id is accepted for a day.
    let id = VisitId::of(Wall(replication::millis(now)), &secret);
    let [one, two, three] = [1, 2, 3].map(|number| layout.region(number));
    let (venue, key) = (&demo.venue_id, &demo.owner_key);
    // Through the router a client's address selects the region; without a router each region is asked directly.
    let url = |number: usize| match layout.routers.first() {
        Some(router) => format!(
            "-H 'X-Forwarded-For: {}' http://{}/v1/venues",
            CLIENTS[number.min(layout.regions) - 1],
            router.at.edge
        ),
        None => format!("http://{}/v1/venues", layout.region(number).public),
    };
    let (at_one, at_two, at_three) = (url(1), url(2), url(3));
    let json = "-H 'Content-Type: application/json'";
    let patch = "-H 'Content-Type: application/merge-patch+json'";
    format!(
        r#"VENUE={venue}
KEY={key}
VISIT={id}
SECRET={secret}

# Check in at {two}, with an id and a secret made by the guest, and at {three}
curl -sS -X PUT {at_two}/$VENUE/visits/$VISIT -H "Meridian-Secret: $SECRET" {json} \
  -d '{{"area":"Terrace","persons":[{{"name":"Zoë Nguyễn","phone":"+49 151 2345678"}}]}}'; echo
curl -sS -X POST {at_three}/$VENUE/visits {json} \
  -d '{{"persons":[{{"name":"Søren Ærø","phone":"0170 9876543"}}]}}'; echo

# A second later the guest list at {one} shows both, and how complete it is
sleep 1; curl -sS {at_one}/$VENUE/guests -H "Authorization: Bearer $KEY"; echo

# Correct the same phone number in two regions at once: a second later both values are shown (or one region had heard of
# the other's already: do it again)
curl -sS -X PATCH {at_two}/$VENUE/visits/$VISIT -H "Meridian-Secret: $SECRET" {patch} \
  -d '{{"persons":[{{"name":"Zoë Nguyễn","phone":"+49 151 1111111"}}]}}' & \
curl -sS -X PATCH {at_three}/$VENUE/visits/$VISIT -H "Meridian-Secret: $SECRET" {patch} \
  -d '{{"persons":[{{"name":"Zoë Nguyễn","phone":"+49 151 2222222"}}]}}'; wait; echo; sleep 1
curl -sS {at_one}/$VENUE/guests -H "Authorization: Bearer $KEY"; echo

# Erase it at {three} with the receipt's secret: a second later it is gone everywhere
curl -sS -X DELETE {at_three}/$VENUE/visits/$VISIT -H "Meridian-Secret: $SECRET" -w '%{{http_code}}\n'
sleep 1; curl -sS {at_one}/$VENUE/guests -H "Authorization: Bearer $KEY"; echo

# A venue that keeps visits for 20 seconds: they vanish for every reader in all regions
MADE=$(curl -sS -X POST {at_one} {json} -d '{{"name":"Pop-up","timezone":"Europe/Berlin","retention":"20s"}}')
SHORT=$(echo "$MADE" | sed -E 's/.*"venue_id": *"([^"]+)".*/\1/')
SHORTKEY=$(echo "$MADE" | sed -E 's/.*"owner_key": *"([^"]+)".*/\1/')
curl -sS -X POST {at_one}/$SHORT/visits {json} \
  -d '{{"persons":[{{"name":"Ane O’Connor","phone":"(030) 1234-5678"}}]}}'; echo
for s in 1 10 20; do sleep $s; curl -sS {at_three}/$SHORT/guests -H "Authorization: Bearer $SHORTKEY"; echo; done
"#,
        one = one.process.name,
        two = two.process.name,
        three = three.process.name,
    )
}
