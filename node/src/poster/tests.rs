//! The sheets keep their promises for every name that the registry takes.

use super::layout::{Item, Layout, Place, Text};
use super::{Poster, PosterError, Sheet, Words, pdf_shows, to_pdf};

const ADDRESS: &str = "https://gast.meridian.example/c/7Q2M9XKD4TVB";

const WORDS: Words<'_> = Words {
    service: "Gästeregister",
    headline: "Bitte einchecken",
    steps: ["Code mit der Kamera scannen", "Namen und Telefon eintragen", "Beleg dem Personal zeigen"],
    by_hand: "Ohne Kamera diese Adresse eingeben:",
    privacy: "Nur das Gesundheitsamt darf Ihre Angaben lesen, über den Betrieb und nur bei einem Ausbruch. \
              Nach 28 Tagen werden sie überall gelöscht.",
    code: "QR-Code der Adresse zum Einchecken:",
    fold: "hier falten",
};

fn poster<'a>(venue: &'a str, area: Option<&'a str>, address: &'a str) -> Poster<'a> {
    Poster { venue, area, address, language: "de", words: WORDS }
}

/// Names of the greatest length, and names that hurt.
fn names() -> Vec<String> {
    let mut names =
        ["X", "Café Prüfstein", "<script>&\"'</script>]]>", "Παπαδόπουλος & Сыновья, Nguyễn", "北京饭店 🍜", "مقهى"]
            .map(str::to_owned)
            .to_vec();
    names.extend(
        ["W", "i", "W ", "Wirtshaus ", "饭", "q\u{323}\u{307}", "\u{1F35C}", "-", "\u{E000}"]
            .map(|part| part.chars().cycle().take(120).collect::<String>()),
    );
    names
}

fn areas() -> [Option<String>; 4] {
    [None, Some("Tisch 7".to_owned()), Some("W".repeat(32)), Some("\"<Tisch>\" & 'Bank'".to_owned())]
}

fn addresses() -> [String; 4] {
    ["http://a.b/", ADDRESS, "https://gast.meridian.example/c/7Q2M9XKD4TVB?area=Terrasse%20am%20See", "https://"]
        .map(|start| if start == "https://" { format!("{start}{}", "Wm".repeat(90)) } else { start.to_owned() })
}

/// Every sheet of every name with every area, and of the longest name with every area and address.
fn for_all(check: impl Fn(&Poster<'_>, Sheet, &str)) {
    let (areas, addresses) = (areas(), addresses());
    let check = |name: &str, area: &Option<String>, address: &str| {
        for sheet in Sheet::ALL {
            let poster = poster(name, area.as_deref(), address);
            check(&poster, sheet, &format!("{sheet:?} of {name:?}, {area:?}, {address:?}"));
        }
    };
    for (index, name) in names().iter().enumerate() {
        areas.iter().zip(addresses.iter().cycle().skip(index)).for_each(|(area, address)| check(name, area, address));
    }
    for area in &areas {
        addresses.iter().for_each(|address| check(&"W".repeat(120), area, address));
    }
}

/// Left, top, right, bottom.
type Bounds = [f32; 4];

fn text_bounds(text: &Text) -> Bounds {
    let left = text.lines.iter().map(|line| text.left(line)).fold(f32::INFINITY, f32::min);
    let right = text.lines.iter().map(|line| text.left(line) + line.width).fold(0.0, f32::max);
    let top = text.lines.first().map_or(0.0, |line| line.y - text.size * 0.8);
    let bottom = text.lines.last().map_or(0.0, |line| line.y + text.size * 0.22);
    [left, top, right, bottom]
}

fn overlap(one: Bounds, other: Bounds) -> bool {
    one[0] < other[2] - 0.01 && other[0] < one[2] - 0.01 && one[1] < other[3] - 0.01 && other[1] < one[3] - 0.01
}

#[test]
fn nothing_leaves_the_sheet_or_touches_another_text_or_the_quiet_zone() {
    for_all(|poster, sheet, context| {
        let layout = Layout::new(poster, sheet).expect("lays out");
        let height = layout.height / layout.copies.len() as f32;
        let mut texts: Vec<Bounds> = Vec::new();
        let mut areas: Vec<Bounds> = Vec::new();
        let mut quiet = [0.0; 4];
        for item in &layout.items {
            match item {
                Item::Text(text) => texts.push(text_bounds(text)),
                Item::Area { x, y, width, height, .. } => areas.push([*x, *y, x + width, y + height]),
                Item::Code { x, y, side, code } => {
                    let zone = side / code.side() as f32 * 4.0;
                    quiet = [x - zone, y - zone, x + side + zone, y + side + zone];
                    let least = match sheet {
                        Sheet::A4 => 80.0,
                        Sheet::A5 => 60.0,
                        Sheet::Tent => 30.0,
                    };
                    assert!(*side >= least, "the code has only {side} mm on {context}");
                }
                Item::Dashes { .. } => {}
            }
        }
        for (index, &one) in texts.iter().enumerate() {
            let [left, top, right, bottom] = one;
            let is_inside = left >= 8.0 && top >= 8.0 && right <= layout.width - 8.0 && bottom <= height - 8.0;
            assert!(is_inside, "{one:?} leaves {context}");
            for &other in &texts[..index] {
                assert!(!overlap(one, other), "{one:?} and {other:?} overlap on {context}");
            }
        }
        for &other in texts.iter().chain(&areas) {
            assert!(!overlap(quiet, other), "{other:?} is in the quiet zone {quiet:?} on {context}");
        }
    });
}

#[test]
fn the_svg_is_xml_and_holds_the_names_as_they_are() {
    for_all(|poster, sheet, context| {
        let svg = poster.to_svg(sheet).expect("draws");
        let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{error} in {context}"));
        let text = |node: roxmltree::Node<'_, '_>| -> String {
            node.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect()
        };
        let paragraphs: Vec<String> =
            document.descendants().filter(|node| node.has_tag_name("text")).map(text).collect();
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let name = bare(poster.venue);
        assert!(paragraphs.iter().any(|paragraph| bare(paragraph) == name), "the name is missing on {context}");
        let elements: Vec<&str> = document.root_element().children().map(|node| node.tag_name().name()).collect();
        assert_eq!(elements[..2], ["title", "desc"]);
        assert!(!document.descendants().any(|node| node.has_tag_name("script")), "{context}");
        assert!(!svg.contains("href") && !svg.contains("style"), "the SVG refers to nothing outside: {context}");
    });
}

#[test]
fn every_poster_becomes_a_valid_pdf_with_the_size_of_its_sheet() {
    for name in names() {
        for (sheet, size) in [(Sheet::A4, [595.2, 841.8]), (Sheet::A5, [419.5, 595.2]), (Sheet::Tent, [595.2, 841.8])] {
            let bytes =
                to_pdf(&[poster(&name, Some("Tisch 7"), ADDRESS)], sheet).expect("passes the checks for PDF/UA-1");
            let pdf = String::from_utf8_lossy(&bytes);
            let (_, rest) = pdf.split_once("/MediaBox [").or_else(|| pdf.split_once("/MediaBox[")).expect("a page");
            let (numbers, _) = rest.split_once(']').expect("a box");
            let numbers: Vec<f32> =
                numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect();
            assert_eq!(numbers[..2], [0.0, 0.0]);
            assert!((numbers[2] - size[0]).abs() < 0.1 && (numbers[3] - size[1]).abs() < 0.1, "{numbers:?}");
            assert!(pdf.contains("/Lang (de)") || pdf.contains("/Lang(de)"));
        }
    }
}

#[test]
fn the_same_poster_gives_the_same_bytes() {
    for sheet in Sheet::ALL {
        let one = poster("Café Prüfstein", Some("Terrasse"), ADDRESS);
        assert_eq!(one.to_svg(sheet).expect("draws"), one.to_svg(sheet).expect("draws"));
        assert_eq!(to_pdf(&[one], sheet).expect("draws"), to_pdf(&[one], sheet).expect("draws"));
    }
}

/// Paints the code as it lies on the sheet, with ten pixels for each millimetre, and reads it.
#[test]
fn the_code_is_read_as_the_address() {
    for address in addresses() {
        for sheet in Sheet::ALL {
            let layout = Layout::new(&poster("X", None, &address), sheet).expect("lays out");
            let (width, height) = ((layout.width * 10.0) as usize, (layout.height * 10.0) as usize);
            let mut pixels = vec![u8::MAX; width * height];
            for place in &layout.copies {
                layout.items.iter().for_each(|item| paint(&mut pixels, width, place, item));
            }
            let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels[y * width + x]);
            let grids = image.detect_grids();
            assert_eq!(grids.len(), layout.copies.len(), "{sheet:?} of {address}");
            for grid in grids {
                let (data, content) = grid.decode().expect("is read");
                // The format bits of level Q (ISO/IEC 18004, table 12).
                assert_eq!((content.as_str(), data.ecc_level), (address.as_str(), 0b11));
            }
        }
    }
}

fn paint(pixels: &mut [u8], stride: usize, place: &Place, item: &Item) {
    let Item::Code { x, y, side, code } = item else { return };
    let module = side / code.side() as f32;
    let turn = if place.is_turned { -1.0 } else { 1.0 };
    let pixel = |x: f32, y: f32| (((place.x + turn * x) * 10.0).round(), ((place.y + turn * y) * 10.0).round());
    for run in code.runs() {
        let (left, top) = (x + run.x as f32 * module, y + run.y as f32 * module);
        let (one, other) = (pixel(left, top), pixel(left + run.length as f32 * module, top + module));
        for row in one.1.min(other.1) as usize..one.1.max(other.1) as usize {
            let start = row * stride;
            pixels[start + one.0.min(other.0) as usize..start + one.0.max(other.0) as usize].fill(0);
        }
    }
}

#[test]
fn several_posters_are_one_pdf() {
    let tables: Vec<String> = (1..=3).map(|table| format!("Tisch {table}")).collect();
    let posters: Vec<Poster<'_>> = tables.iter().map(|table| poster("Café", Some(table), ADDRESS)).collect();
    let pdf = to_pdf(&posters, Sheet::Tent).expect("draws");
    assert_eq!(String::from_utf8_lossy(&pdf).matches("/MediaBox").count(), 3);
}

#[test]
fn a_caller_learns_what_is_wrong() {
    let long = format!("https://{}", "a".repeat(3000));
    assert!(matches!(poster("X", None, &long).to_svg(Sheet::A4), Err(PosterError::Code { .. })));
    for address in ["", "https://café.example", "https://a b"] {
        assert!(matches!(to_pdf(&[poster("X", None, address)], Sheet::A4), Err(PosterError::Address)));
    }
    assert!(matches!(to_pdf(&[], Sheet::A4), Err(PosterError::Empty)));
    assert!(pdf_shows("Παπαδόπουλος, Nguyễn & Сыновья"));
    // Message files put invisible isolates around what is filled in.
    let isolated = poster("\u{2068}Nguyễn\u{2069}", None, ADDRESS);
    assert!(to_pdf(&[isolated], Sheet::A4).is_ok());
    assert!(!pdf_shows("北京饭店"));
}
