//! Raw packets, most of them invalid: the answers of gdnsd and ours, side by side.
//!
//! Our answer must be the one in the table. gdnsd's is for comparison: where ours differs, it must be stricter or have
//! a reason.

use crate::craft::{self, A, ANY, AXFR, ID, IXFR, SOA, header, opt, option, question, question_of, subnet};
use crate::streams::Client;
use crate::{gdnsd, world};

/// The features of an answer that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// `None` means no answer.
    rcode: Option<u16>,
    question: bool,
    /// `None` means no OPT record.
    opt: Option<Opt>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Opt {
    /// Family, source, scope and address as on the wire.
    subnet: Option<Vec<u8>>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = match self.rcode {
            None => return f.pad("no answer"),
            Some(0) => "NOERROR".to_owned(),
            Some(1) => "FORMERR".to_owned(),
            Some(3) => "NXDOMAIN".to_owned(),
            Some(4) => "NOTIMP".to_owned(),
            Some(5) => "REFUSED".to_owned(),
            Some(16) => "BADVERS".to_owned(),
            Some(other) => format!("rcode {other}"),
        };
        let question = if self.question { "" } else { " no-question" };
        let opt = match &self.opt {
            None => String::new(),
            Some(Opt { subnet: None }) => " OPT".to_owned(),
            Some(Opt { subnet: Some(subnet) }) => format!(" OPT ecs /{}/{}", subnet[2], subnet[3]),
        };
        f.pad(&format!("{code}{question}{opt}"))
    }
}

fn seen(answer: &[u8]) -> Seen {
    let opt = craft::opt_of(answer);
    let extended = opt.as_ref().map_or(0, |(extended, _)| *extended);
    let subnet = |options: Vec<(u16, Vec<u8>)>| options.into_iter().find(|(code, _)| *code == 8).map(|(_, data)| data);
    Seen {
        rcode: Some(extended << 4 | u16::from(answer[3] & 0x0F)),
        question: answer[4..6] == [0, 1],
        opt: opt.map(|(_, options)| Opt { subnet: subnet(options) }),
    }
}

/// Sends a query and a good one behind it, whose answer shows whether the first has none.
async fn ask(client: &mut Client, query: &[u8]) -> Seen {
    let mut behind = craft::plain("meridian.test", SOA);
    behind[..2].copy_from_slice(&(!ID).to_be_bytes());
    client.send(query).await;
    client.send(&behind).await;
    let answer = client.next().await.unwrap();
    if answer[..2] == behind[..2] {
        return Seen { rcode: None, question: false, opt: None };
    }
    assert_eq!(client.next().await.unwrap()[..2], behind[..2]);
    seen(&answer)
}

struct Case {
    what: &'static str,
    query: Vec<u8>,
    expected: &'static str,
    /// The reason why gdnsd may differ, if it is not less strict.
    because: &'static str,
}

fn case(what: &'static str, query: Vec<u8>, expected: &'static str) -> Case {
    Case { what, query, expected, because: "" }
}

impl Case {
    fn because(self, because: &'static str) -> Case {
        Case { because, ..self }
    }
}

/// gdnsd claims the widest prefix. A leaf of ours is at most a /16, so that a weighted split is fine enough.
const GRAIN: &str = "finer leaf";
/// None of several questions was answered, so none is repeated.
const SEVERAL: &str = "same code";
/// We recognise a transfer and refuse it (RFC 5936, section 2.2.1).
const KNOWN: &str = "same, other code";

/// A query for a cookie alone (RFC 7873, section 5.4).
const COOKIES: &str = "a cookie";

const NAME: &str = "checkin.meridian.test";

/// A query for the service with these options.
fn with(options: &[u8]) -> Vec<u8> {
    craft::edns(NAME, A, options)
}

/// A query for the service with these octets behind the question.
fn followed(counts: [u16; 4], octets: &[u8]) -> Vec<u8> {
    [&header(0, counts)[..], &question(NAME, A), octets].concat()
}

fn subnets() -> Vec<Case> {
    let ten = [10, 1, 2];
    vec![
        case("IPv4 /24", with(&subnet(1, 24, 0, &ten)), "NOERROR OPT ecs /24/16").because(GRAIN),
        case("IPv4 /32", with(&subnet(1, 32, 0, &[10, 1, 2, 3])), "NOERROR OPT ecs /32/16").because(GRAIN),
        case("IPv4 /9, shorter than its leaf", with(&subnet(1, 9, 0, &[10, 128])), "NOERROR OPT ecs /9/16")
            .because(GRAIN),
        case("IPv4 /0: use the resolver", with(&subnet(1, 0, 0, &[])), "NOERROR OPT ecs /0/0"),
        case("IPv6 /56", with(&subnet(2, 56, 0, &[0x20, 1, 0xD, 0xB8, 0, 1, 2])), "NOERROR OPT ecs /56/48"),
        case("IPv6 /0: use the resolver", with(&subnet(2, 0, 0, &[])), "NOERROR OPT ecs /0/0"),
        case("family 0", with(&subnet(0, 0, 0, &[])), "FORMERR OPT"),
        case("family 0 with an address", with(&subnet(0, 24, 0, &ten)), "FORMERR OPT"),
        case("family 3", with(&subnet(3, 24, 0, &ten)), "FORMERR OPT"),
        case("family 257", with(&subnet(257, 24, 0, &ten)), "FORMERR OPT"),
        case("empty option", with(&option(8, &[])), "FORMERR OPT"),
        case("option of 1 octet", with(&option(8, &[0])), "FORMERR OPT"),
        case("option of 3 octets", with(&option(8, &[0, 1, 24])), "FORMERR OPT"),
        case("no address for /24", with(&subnet(1, 24, 0, &[])), "FORMERR OPT"),
        case("one octet too few", with(&subnet(1, 24, 0, &[10, 1])), "FORMERR OPT"),
        case("one octet too many", with(&subnet(1, 24, 0, &[10, 1, 2, 0])), "FORMERR OPT"),
        case("an address for /0", with(&subnet(1, 0, 0, &[0])), "FORMERR OPT"),
        case("a bit beyond the prefix", with(&subnet(1, 23, 0, &[10, 1, 3])), "FORMERR OPT"),
        case("IPv6: a bit beyond the prefix", with(&subnet(2, 31, 0, &[0x20, 1, 0xD, 0xB9])), "FORMERR OPT"),
        case("IPv4 /33", with(&subnet(1, 33, 0, &[10, 1, 2, 3, 0])), "FORMERR OPT"),
        case("IPv6 /129", with(&subnet(2, 129, 0, &[0x20; 17])), "FORMERR OPT"),
        case("IPv4 /255", with(&subnet(1, 255, 0, &[10; 32])), "FORMERR OPT"),
        case("scope in a query", with(&subnet(1, 24, 24, &ten)), "FORMERR OPT"),
        case("scope in a query, /0", with(&subnet(1, 0, 1, &[])), "FORMERR OPT"),
        case("two subnets", with(&[subnet(1, 24, 0, &ten), subnet(1, 24, 0, &[11, 1, 2])].concat()), "FORMERR OPT"),
        case("static name", craft::edns("ns1.meridian.test", A, &subnet(1, 24, 0, &ten)), "NOERROR OPT ecs /24/0"),
        case("no such type", craft::edns(NAME, 15, &subnet(1, 24, 0, &ten)), "NOERROR OPT ecs /24/0"),
        case("no such name", craft::edns("x.meridian.test", A, &subnet(1, 24, 0, &ten)), "NXDOMAIN OPT ecs /24/0"),
        case("not our zone", craft::edns("example.org", A, &subnet(1, 24, 0, &ten)), "REFUSED OPT ecs /24/0"),
    ]
}

fn options() -> Vec<Case> {
    let long = [&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 9][..], &[0, 8]].concat();
    let mut of_name = opt(1_232, 0, 0, &[]);
    of_name.splice(0..1, craft::name("a"));
    vec![
        case("no EDNS", craft::plain(NAME, A), "NOERROR"),
        case("EDNS", with(&[]), "NOERROR OPT"),
        case("unknown option", with(&option(65_001, &[1, 2, 3])), "NOERROR OPT"),
        case("client's cookie", with(&option(10, &[7; 8])), "NOERROR OPT"),
        case("cookie of another server", with(&option(10, &[7; 40])), "NOERROR OPT"),
        case("empty cookie", with(&option(10, &[])), "FORMERR OPT"),
        case("cookie of 7 octets", with(&option(10, &[7; 7])), "FORMERR OPT"),
        case("cookie of 9 octets", with(&option(10, &[7; 9])), "FORMERR OPT"),
        case("cookie of 15 octets", with(&option(10, &[7; 15])), "FORMERR OPT"),
        case("cookie of 41 octets", with(&option(10, &[7; 41])), "FORMERR OPT"),
        case("a bad cookie behind a good one", with(&[option(10, &[7; 8]), option(10, &[7])].concat()), "NOERROR OPT"),
        case(
            "a bad cookie behind a bad subnet",
            with(&[subnet(3, 0, 0, &[]), option(10, &[7])].concat()),
            "FORMERR OPT",
        ),
        case(
            "a cookie and no question",
            [header(0, [0, 0, 0, 1]), opt(1_232, 0, 0, &option(10, &[7; 8]))].concat(),
            "NOERROR no-question OPT",
        )
        .because(COOKIES),
        case(
            "EDNS and no question",
            [header(0, [0, 0, 0, 1]), opt(1_232, 0, 0, &[])].concat(),
            "FORMERR no-question OPT",
        ),
        case("unknown flags", followed([1, 0, 0, 1], &opt(1_232, 0, 0x7FFF, &[])), "NOERROR OPT"),
        case("payload 0", followed([1, 0, 0, 1], &opt(0, 0, 0, &[])), "NOERROR OPT"),
        case("version 1", followed([1, 0, 0, 1], &opt(1_232, 1, 0, &[])), "BADVERS OPT"),
        case(
            "version 255 and a bad subnet",
            followed([1, 0, 0, 1], &opt(1_232, 255, 0, &subnet(3, 0, 0, &[]))),
            "BADVERS OPT",
        ),
        case("option longer than OPT", with(&[0, 8, 0, 9, 0, 1]), "FORMERR OPT"),
        case("half an option's head", with(&[0, 8, 0]), "FORMERR OPT"),
        case("OPT longer than the message", followed([1, 0, 0, 1], &long), "FORMERR OPT"),
        case(
            "two OPT",
            followed([1, 0, 0, 2], &[opt(1_232, 0, 0, &[]), opt(1_232, 0, 0, &[])].concat()),
            "FORMERR OPT",
        ),
        case("OPT of a name", followed([1, 0, 0, 1], &of_name), "FORMERR OPT"),
        case("OPT among the answers", followed([1, 1, 0, 0], &opt(1_232, 0, 0, &[])), "FORMERR"),
        case("OPT counted, not there", followed([1, 0, 0, 1], &[]), "FORMERR"),
        case("half an OPT", followed([1, 0, 0, 1], &opt(1_232, 0, 0, &[])[..6]), "FORMERR"),
        case("octets behind the message", [craft::plain(NAME, A), vec![0; 7]].concat(), "FORMERR"),
        case("octets behind OPT", [with(&[]), vec![1]].concat(), "FORMERR OPT"),
    ]
}

fn messages() -> Vec<Case> {
    let alone = |octets: &[u8]| [&header(0, [1, 0, 0, 0])[..], octets].concat();
    let mut response = craft::plain(NAME, A);
    response[2] |= 0x80;
    let record = [&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4][..], &[1, 2, 3, 4]].concat();
    let forward = [&[0xC0, 0xFF][..], &record[2..]].concat();
    let operation = |code: u16| [header(code << 11, [1, 0, 0, 0]), question(NAME, SOA)].concat();
    let edns = [header(4 << 11, [1, 0, 0, 1]), question(NAME, SOA), opt(1_232, 0, 0, &[])].concat();
    vec![
        case("11 octets", craft::plain(NAME, A)[..11].to_vec(), "no answer"),
        case("a response", response, "no answer"),
        case("a header alone", header(0, [0; 4]), "FORMERR no-question"),
        case("a question counted, not there", header(0, [1, 0, 0, 0]), "FORMERR no-question"),
        case(
            "two questions",
            [header(0, [2, 0, 0, 0]), question(NAME, A), question(NAME, A)].concat(),
            "FORMERR no-question",
        )
        .because(SEVERAL),
        case("65535 questions", [header(0, [u16::MAX, 0, 0, 0]), question(NAME, A)].concat(), "FORMERR no-question")
            .because(SEVERAL),
        case("compressed question", alone(&[1, b'a', 0xC0, 12, 0, 1, 0, 1]), "FORMERR no-question"),
        case("label of 64", alone(&[&[64][..], &[b'a'; 64], &[0, 0, 1, 0, 1]].concat()), "FORMERR no-question"),
        case(
            "name of 256 octets",
            alone(&[&[63; 64][..].repeat(4)[..], &[0, 0, 1, 0, 1]].concat()),
            "FORMERR no-question",
        ),
        case("name without an end", alone(&[3, b'a', b'b', b'c']), "FORMERR no-question"),
        case("no class", alone(&[&craft::name(NAME)[..], &[0, 1]].concat()), "FORMERR no-question"),
        case("an answer in a query", followed([1, 1, 0, 0], &record), "FORMERR"),
        case("an authority in a query", followed([1, 0, 1, 0], &record), "FORMERR"),
        case("another additional record", followed([1, 0, 0, 1], &record), "NOERROR"),
        case("a pointer ahead", followed([1, 0, 0, 1], &forward), "FORMERR"),
        case("truncation bit", [header(0x0200, [1, 0, 0, 0]), question(NAME, A)].concat(), "NOERROR"),
        case("inverse query", operation(1), "NOTIMP"),
        case("status", operation(2), "NOTIMP"),
        case("notify, with EDNS", edns, "NOTIMP OPT"),
        case("update", operation(5), "NOTIMP"),
        case("operation 15", operation(15), "NOTIMP"),
        case("transfer", craft::plain("meridian.test", AXFR), "REFUSED").because(KNOWN),
        case("incremental transfer", craft::plain("meridian.test", IXFR), "REFUSED").because(KNOWN),
        case("everything", craft::plain(NAME, ANY), "NOERROR"),
        case("a type that is not valid", craft::plain(NAME, craft::OPT), "FORMERR"),
        case("class CHAOS", [header(0, [1, 0, 0, 0]), question_of("version.bind", 16, 3)].concat(), "REFUSED"),
        case("class NONE", [header(0, [1, 0, 0, 0]), question_of(NAME, 1, 254)].concat(), "REFUSED"),
    ]
}

/// How lenient a server is: silence is the least, an answer the most.
fn leniency(seen: &Seen) -> u8 {
    match seen.rcode {
        None => 0,
        Some(0 | 3) => 2,
        Some(_) => 1,
    }
}

fn verdict(case: &Case, theirs: &Seen, ours: &Seen) -> &'static str {
    let kept = |seen: &Seen| (seen.question, seen.opt.is_some());
    if theirs == ours {
        "same"
    } else if leniency(ours) < leniency(theirs) {
        "stricter"
    } else if theirs.rcode == ours.rcode && kept(ours) >= kept(theirs) && leniency(ours) == 1 {
        "same, tells more"
    } else if case.because.is_empty() {
        "DIFFERENT"
    } else {
        case.because
    }
}

#[tokio::test]
async fn raw_packets_get_what_the_table_says_and_no_less_than_from_gdnsd() {
    let running = world::start("threads = 1\n").await;
    let gdnsd = gdnsd::start();
    if gdnsd.is_none() {
        println!("!!! SKIPPED: the comparison with gdnsd, which is not installed (apt-get install gdnsd)");
    }
    let mut ours = Client::udp(running.udp()).await;
    let mut theirs = match &gdnsd {
        Some(gdnsd) => Some(Client::udp(gdnsd.address).await),
        None => None,
    };
    let mut wrong = Vec::new();
    println!("| {:34} | {:30} | {:30} | verdict", "packet", "gdnsd", "ours");
    for case in subnets().into_iter().chain(options()).chain(messages()) {
        let seen = ask(&mut ours, &case.query).await;
        let (other, verdict) = match &mut theirs {
            Some(client) => {
                let other = ask(client, &case.query).await;
                let verdict = verdict(&case, &other, &seen);
                (other.to_string(), verdict)
            }
            None => (String::new(), "not compared"),
        };
        println!("| {:34} | {other:30} | {seen:30} | {verdict}", case.what);
        if seen.to_string() != case.expected || verdict == "DIFFERENT" {
            wrong.push(format!("{}: {seen}, not {} ({verdict}; gdnsd: {other})", case.what, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    running.stop().await;
}
