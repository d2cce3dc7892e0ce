//! Packs accepted and refused.

use std::time::Duration;

use super::{BUILT_IN, PackError, PolicyPack};

fn default_with(from: &str, to: &str) -> Result<PolicyPack, PackError> {
    let text = BUILT_IN[0].1;
    assert!(text.contains(from), "{from}");
    PolicyPack::from_toml(&text.replacen(from, to, 1))
}

/// The default pack with these lines about stays.
fn with_stays(lines: &str) -> Result<PolicyPack, PackError> {
    let text = BUILT_IN[0].1.replace("longest_stay = \"1d\"\n", "");
    assert_ne!(text, BUILT_IN[0].1);
    PolicyPack::from_toml(&text.replace("assumed_stay = \"4h\"", lines))
}

#[test]
fn every_built_in_pack_reads_under_its_own_name() {
    for (id, text) in BUILT_IN {
        let pack = PolicyPack::from_toml(text).unwrap_or_else(|error| panic!("{id}: {error:?}"));
        assert_eq!(pack.id, id);
        assert!(pack.notice.contains_key("de"), "{id}");
        assert_eq!(PolicyPack::built_in(id), Some(pack));
    }
    assert_eq!(PolicyPack::built_in("atlantis"), None);
}

#[test]
fn no_pack_asks_at_check_in_when_a_guest_will_leave() {
    assert!(matches!(default_with("\"name\"", "\"name\", \"left\""), Err(PackError::Left)));
}

#[test]
fn the_default_keeps_two_weeks() {
    let pack = PolicyPack::built_in("default").expect("built in");
    assert_eq!(pack.default_retention, Duration::from_secs(14 * 86_400));
    assert_eq!(pack.ways_to_reach(), "phone or email");
}

#[test]
fn a_stay_is_a_day_at_most_unless_the_pack_says_otherwise() {
    let day = Duration::from_hours(24);
    let pack = PolicyPack::built_in("default").expect("built in");
    assert_eq!((pack.assumed_stay, pack.longest_stay, pack.look_back()), (day / 6, day, day));
    let stays = |written: &str| with_stays(written).expect("a pack");
    // A pack of release 0.1.
    assert_eq!(stays("max_stay = \"4h\""), pack);
    let hotel = stays("assumed_stay = \"2d\"\nlongest_stay = \"21d\"");
    assert_eq!((hotel.assumed_stay, hotel.longest_stay, hotel.look_back()), (day * 2, day * 21, day * 21));
    let kiosk = stays("assumed_stay = \"5m\"\nlongest_stay = \"1h\"");
    assert_eq!((kiosk.longest_stay, kiosk.look_back()), (day / 24, day));
    // A stay of more than a day ends before its visit is deleted.
    assert_eq!(hotel.longest_stay_within(day * 28), day * 21);
    assert_eq!(hotel.longest_stay_within(day * 14), day * 14);
    assert_eq!((hotel.longest_stay_within(day / 2), pack.longest_stay_within(day / 2)), (day, day));
}

#[test]
fn the_development_pack_differs_in_its_shortest_retention_alone() {
    let (default, mut development) =
        (PolicyPack::built_in("default").expect("built in"), PolicyPack::built_in("development").expect("built in"));
    assert_eq!(development.min_retention, Duration::from_secs(1));
    development.min_retention = default.min_retention;
    development.id.clone_from(&default.id);
    development.title.clone_from(&default.title);
    development.source.clone_from(&default.source);
    assert_eq!(development, default);
}

#[test]
fn unproven_packs_are_refused() {
    assert!(matches!(default_with("version", "colour = 1\nversion"), Err(PackError::Read(_))));
    assert!(matches!(default_with("min =", "mean = \"1d\"\nmin ="), Err(PackError::Read(_))));
    assert!(matches!(default_with("person = [", "shoe_size = 3\nperson = ["), Err(PackError::Read(_))));
    assert!(matches!(default_with("\"phone\"", "\"fax\""), Err(PackError::Read(_))));
    assert!(matches!(default_with("\"default\"", "\"De fault\""), Err(PackError::Id)));
    assert!(matches!(default_with("\"14d\"", "\"14 apples\""), Err(PackError::Duration { key: "retention.default" })));
    assert!(matches!(default_with("\"28d\"", "\"29d\""), Err(PackError::Retention)));
    assert!(matches!(default_with("\"28d\"", "\"13d\""), Err(PackError::Retention)));
    assert!(matches!(default_with("min = \"1d\"", "min = \"0s\""), Err(PackError::Retention)));
    for (written, refused) in [
        ("assumed_stay = \"25h\"", PackError::AssumedStay),
        ("assumed_stay = \"59s\"", PackError::AssumedStay),
        ("assumed_stay = \"4h\"\nlongest_stay = \"3h\"", PackError::AssumedStay),
        ("assumed_stay = \"4h\"\nlongest_stay = \"0s\"", PackError::LongestStay),
        ("assumed_stay = \"4h\"\nlongest_stay = \"29d\"", PackError::LongestStay),
        ("assumed_stay = \"4h\"\nlongest_stay = \"a week\"", PackError::Duration { key: "longest_stay" }),
    ] {
        assert_eq!(with_stays(written).expect_err(written).to_string(), refused.to_string(), "{written}");
    }
    assert!(matches!(default_with("person = [\"name\"]", "person = [\"city\"]"), Err(PackError::Name)));
    assert!(matches!(default_with("[\"phone\"]", "[]"), Err(PackError::EmptyGroup)));
    assert!(matches!(default_with("DE = 5", "de = 5"), Err(PackError::Country)));
    assert!(matches!(default_with("en = ", "fr = "), Err(PackError::Notice)));
}

#[test]
fn postal_codes_are_judged_only_where_the_pack_knows_them() {
    let pack = PolicyPack::built_in("de-bw").expect("built in");
    assert!(pack.postal_code_fits(None, "70173"));
    assert!(pack.postal_code_fits(Some("de"), "01067"));
    assert!(!pack.postal_code_fits(None, "00000"));
    assert!(!pack.postal_code_fits(Some("DE"), "7017"));
    assert!(!pack.postal_code_fits(Some("DE"), "D-701"));
    assert!(pack.postal_code_fits(Some("GB"), "SW1A 1AA"));
    // A default country would judge codes of other countries wrongly, so the world-wide default pack has none.
    let default = PolicyPack::built_in("default").expect("built in");
    assert!(default.postal_code_fits(None, "100-0001"));
    assert!(!default.postal_code_fits(Some("DE"), "00000"));
}
