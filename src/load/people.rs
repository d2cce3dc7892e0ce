//! Invented people: names, streets and phones as guests of many countries type them. All text is in Unicode NFC.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use registry::Person;

const FIRST: [&str; 28] = [
    "Anna",
    "Zoë",
    "Jürgen",
    "Siobhán",
    "Łukasz",
    "Nguyễn",
    "Søren",
    "Chloé",
    "İbrahim",
    "Ștefan",
    "Žofia",
    "María José",
    "Παναγιώτης",
    "Олена",
    "Ōsei",
    "Li Na",
    "Mehmet",
    "Þóra",
    "Jean-Luc",
    "D'Angelo",
    "Ane",
    "Björk",
    "Tomáš",
    "Aïcha",
    "João",
    "Ewa",
    "Ngozi",
    "Kaouthar",
];
const LAST: [&str; 28] = [
    "Müller",
    "O'Connor",
    "Ærø",
    "Nguyễn",
    "Παπαδόπουλος",
    "Шевченко",
    "García-López",
    "van der Meer",
    "Kowalczyk",
    "Yılmaz",
    "Šťastná",
    "Nagy",
    "Lefèvre",
    "Jónsdóttir",
    "Große-Hölker",
    "de Souza",
    "Õunapuu",
    "Bērziņš",
    "Tanaka",
    "Okonkwo",
    "Ivanov",
    "Di Stefano",
    "Høegh",
    "Źdźbło",
    "Smith",
    "al-Khatib",
    "Weiß",
    "Ó Briain",
];
const STREETS: [&str; 12] = [
    "Hauptstraße",
    "Große Gasse",
    "Rue de l'Église",
    "Calle Mayor",
    "Wagnerstr.",
    "Ulica Źródlana",
    "High Street",
    "Öömaja tee",
    "Rua do Açúcar",
    "Οδός Ερμού",
    "Storgatan",
    "Via Nuova",
];
const TOWNS: [(&str, &str, &str); 12] = [
    ("10115", "Berlin", "DE"),
    ("80331", "München", "DE"),
    ("06108", "Halle (Saale)", "DE"),
    ("1060", "Wien", "AT"),
    ("75004", "Paris", "FR"),
    ("28013", "Madrid", "ES"),
    ("00-241", "Warszawa", "PL"),
    ("EC1A 1BB", "London", "GB"),
    ("10111", "Tallinn", "EE"),
    ("1100-001", "Lisboa", "PT"),
    ("105 63", "Αθήνα", "GR"),
    ("111 22", "Stockholm", "SE"),
];
/// Areas of the venues that the made-up guests visit.
pub(super) const AREAS: [&str; 4] = ["Terrace", "Bar", "Table 7", "Stüberl"];

fn one<'a, T>(rng: &mut SmallRng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// A phone number in one of the formats that people use.
pub(super) fn phone(rng: &mut SmallRng) -> String {
    let number: u32 = rng.random_range(1_000_000..9_999_999);
    let (head, tail) = (number / 10_000, number % 10_000);
    match rng.random_range(0..6) {
        0 => format!("+49 151 {head} {tail:04}"),
        1 => format!("0151/{number}"),
        2 => format!("(030) {head}-{tail:04}"),
        3 => format!("+44 20 7946 {tail:04}"),
        4 => format!("0043-1-{number}"),
        _ => format!("0170{number}"),
    }
}

/// The guests of one visit: mostly one or two persons, all reachable.
pub(super) fn group(rng: &mut SmallRng) -> Vec<Person> {
    let persons = match rng.random_range(0..100) {
        0..55 => 1,
        55..85 => 2,
        85..97 => 3,
        _ => rng.random_range(4..=8),
    };
    let family = *one(rng, &LAST);
    let (code, town, country) = *one(rng, &TOWNS);
    let street = format!("{} {}", one(rng, &STREETS), rng.random_range(1..200));
    (0..persons)
        .map(|_| Person {
            name: Some(format!("{} {family}", one(rng, &FIRST))),
            phone: Some(phone(rng)),
            email: rng.random_bool(0.4).then(|| format!("guest{}@example.org", rng.random_range(0..1_000_000))),
            street: Some(street.clone()),
            postal_code: Some(code.to_owned()),
            city: Some(town.to_owned()),
            country: Some(country.to_owned()),
            left: None,
        })
        .collect()
}
