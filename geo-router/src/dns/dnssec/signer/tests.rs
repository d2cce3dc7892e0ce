//! What is signed, when it is signed again, and how many signatures an attacker can cause.

use data_encoding::BASE64;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::dnssec::{Algorithm, PublicKeyBuf, TBS, Verifier as _};
use hickory_proto::rr::{DNSClass, RData, Record};
use hickory_proto::serialize::binary::BinDecodable as _;

use super::super::super::wire::{TYPE_A, TYPE_MX};
use super::{Asker, DAY, FORGEABLE_PER_SECOND, HOUR, Made, Name, NonZeroU32, RrSet, Signer, Validity};
use crate::dns::dnssec::keys::ZoneKey;
use crate::dns::dnssec::{ZoneKeys, create_key};

const NOW: u32 = 1_559_731_985;
const OWNER: &[u8] = b"\x01*\x01a\x04zone\0";

fn zone() -> Name {
    Name::from_ascii("zone.").unwrap()
}

fn signer() -> Signer {
    bounded(FORGEABLE_PER_SECOND)
}

fn bounded(rate: NonZeroU32) -> Signer {
    let folder = tempfile::tempdir().unwrap();
    let files = ["one", "two"].map(|name| folder.path().join(name));
    // Two keys in 65,536 have the same tag, and are then refused.
    loop {
        files.iter().for_each(|file| create_key(file).unwrap());
        if let Ok(keys) = ZoneKeys::load(&files) {
            return Signer::bounded(keys, &zone(), rate).unwrap();
        }
        files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    }
}

fn set<'a>(kind: u16, data: &[&'a [u8]]) -> RrSet<'a> {
    RrSet { owner: OWNER, kind, ttl: 60, data: data.to_vec() }
}

fn record(owner: &[u8], record: &[u8]) -> Record {
    Record::from_bytes(&[owner, record].concat()).unwrap()
}

fn whole(set: &RrSet<'_>) -> Vec<Record> {
    let whole = |data: &&[u8]| {
        let mut octets = Vec::new();
        super::push_record(&mut octets, set.kind, set.ttl, data);
        record(set.owner, &octets)
    };
    set.data.iter().map(whole).collect()
}

#[test]
fn signatures_convince_an_independent_validator_unless_an_octet_changes() {
    let signer = signer();
    let (first, second) = (&signer.keys.keys[0], &signer.keys.keys[1]);
    for set in [set(TYPE_A, &[&[192, 0, 2, 2], &[192, 0, 2, 1]]), set(TYPE_MX, &[b"\0\x0a\x01B\0", b"\0\x09\x01C\0"])] {
        let made = signer.sign(&set, NOW).unwrap();
        assert_eq!(made.len(), 1);
        let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = record(OWNER, &made[0]).data else { panic!("an RRSIG") };
        let input = signature.input();
        assert_eq!((input.num_labels, input.original_ttl, input.key_tag), (2, 60, first.tag));
        assert_eq!((input.sig_inception.get(), input.sig_expiration.get()), (1_559_689_200, 1_560_038_400));
        let records = whole(&set);
        let judge = |key: &ZoneKey, records: &[Record]| {
            key.public.verify_rrsig(&records[0].name, DNSClass::IN, &signature, records.iter())
        };
        judge(first, &records).unwrap();
        assert!(judge(second, &records).is_err() && judge(first, &records[1..]).is_err());
    }
}

#[test]
fn all_keys_sign_the_keys_themselves() {
    let signer = signer();
    let keys: Vec<&[u8]> = signer.dnskeys().collect();
    let keys = RrSet { owner: b"\x04zone\0", kind: super::TYPE_DNSKEY, ttl: 60, data: keys };
    let made = signer.sign(&keys, NOW).unwrap();
    assert_eq!(made.len(), 2);
    for (key, made) in signer.keys.keys.iter().zip(&made) {
        let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = record(keys.owner, made).data else { panic!("an RRSIG") };
        key.public.verify_rrsig(&zone(), DNSClass::IN, &signature, whole(&keys).iter()).unwrap();
    }
}

#[test]
fn a_signature_is_made_again_for_another_set_and_on_another_day() {
    let signer = signer();
    let (one, other) = (set(TYPE_A, &[&[192, 0, 2, 1]]), set(TYPE_A, &[&[192, 0, 2, 2]]));
    let first = signer.sign(&one, NOW).unwrap();
    assert_eq!(signer.sign(&one, NOW + 60).unwrap(), first);
    assert_ne!(signer.sign(&other, NOW).unwrap(), first);
    assert_ne!(signer.sign(&RrSet { ttl: 61, ..one.clone() }, NOW).unwrap(), first);
    assert_ne!(signer.sign(&one, NOW + DAY).unwrap(), first);
    assert_eq!(signer.made(), Made { ahead: 4, asked: 0, refused: 0 });
    let asker = Asker { time: NOW, is_proven: false };
    assert_eq!(signer.sign_asked(&one, asker), signer.sign_asked(&one, asker));
    assert_eq!(signer.made(), Made { ahead: 4, asked: 1, refused: 0 });
    let moment = RrSet { ttl: 0, ..one };
    assert_ne!(signer.sign_asked(&moment, asker), signer.sign_asked(&moment, asker), "it is not kept");
}

#[test]
fn a_signature_holds_for_three_days_at_least() {
    for now in (NOW - DAY..NOW + DAY).step_by(977) {
        let Validity { inception, expiration } = Validity::at(now);
        assert!(inception + HOUR <= now && expiration - now > 3 * DAY && expiration - now <= 4 * DAY, "{now}");
    }
    assert_eq!(Validity::at(NOW), Validity::at(NOW - NOW % DAY));
    assert_ne!(Validity::at(NOW), Validity::at(NOW - NOW % DAY - 1));
}

#[test]
fn forged_addresses_cause_a_bounded_number_of_signatures() {
    let rate = NonZeroU32::new(5).unwrap();
    let signer = bounded(rate);
    let forged = Asker { time: NOW, is_proven: false };
    let names = (0_u32..).map(|number| [&[4][..], &number.to_be_bytes(), b"\x04zone\0"].concat());
    let ask = |name: &[u8], asker: Asker| {
        signer.sign_asked(&RrSet { owner: name, kind: TYPE_A, ttl: 60, data: vec![&[192, 0, 2, 1]] }, asker)
    };
    // The allowance grows while this runs, by less than what is asked for.
    let refused = names.clone().take(1_000_000).find(|name| ask(name, forged).is_err()).expect("a bound");
    assert!(signer.made().asked >= u64::from(rate.get()));
    assert!(ask(&refused, Asker { is_proven: true, ..forged }).is_ok(), "an address that is not forged is not bounded");
    assert!(ask(&refused, forged).is_ok(), "what is kept costs nothing");
    assert!(signer.made().refused >= 1);
}

/// The example of RFC 6605, section 6.1: its key has the tag and the digest that stand there, and its signature is one over
/// the canonical form that this module makes.
#[test]
fn the_example_of_the_rfc_holds() {
    let public = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
    let public = PublicKeyBuf::new(BASE64.decode(public.as_bytes()).unwrap(), Algorithm::ECDSAP256SHA256);
    let key = hickory_proto::dnssec::rdata::DNSKEY::from_key(&public);
    assert_eq!(key.calculate_key_tag().unwrap(), 55648);
    let digest = key.to_digest(&Name::from_ascii("example.net.").unwrap(), hickory_proto::dnssec::DigestType::SHA256);
    assert_eq!(
        data_encoding::HEXLOWER.encode(digest.unwrap().as_ref()),
        "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"
    );
    let (owner, address) = (b"\x03www\x07example\x03net\0", [192, 0, 2, 1]);
    let set = RrSet { owner, kind: TYPE_A, ttl: 3_600, data: vec![&address] };
    let mut signed = vec![0, 1, 13, 3];
    // 2010-09-09 10:04:39 and 2010-08-12 10:04:39.
    for number in [3_600_u32, 1_284_026_679, 1_281_607_479] {
        signed.extend(number.to_be_bytes());
    }
    signed.extend(55648_u16.to_be_bytes());
    signed.extend(b"\x07example\x03net\0");
    signed.extend(set.canonical());
    let signature = "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==";
    let signature = BASE64.decode(signature.as_bytes()).unwrap();
    assert!(key.verify(TBS::from(&signed[..]).as_ref(), &signature).is_ok());
    signed[4] ^= 1;
    assert!(key.verify(TBS::from(&signed[..]).as_ref(), &signature).is_err());
}
