//! Draws every poster of a demo venue into a folder, so that they can be looked at and printed.
//!
//!     cargo run -p node --example poster -- FOLDER

use std::error::Error;
use std::path::PathBuf;

use node::poster::{Poster, Sheet, Words, to_pdf};

const GERMAN: Words<'_> = Words {
    service: "Gästeregister",
    headline: "Bitte einchecken",
    steps: ["Code mit der Kamera scannen", "Namen und Telefon eintragen", "Beleg dem Personal zeigen"],
    by_hand: "Ohne Kamera diese Adresse eingeben:",
    privacy: "Nur das Gesundheitsamt darf Ihre Angaben lesen, über den Betrieb und nur bei einem Ausbruch. \
              Nach 28 Tagen werden sie überall gelöscht.",
    code: "QR-Code der Adresse zum Einchecken:",
    fold: "hier falten",
};

const ENGLISH: Words<'_> = Words {
    service: "Guest registry",
    headline: "Please check in",
    steps: ["Scan the code with your camera", "Enter your name and phone", "Show the receipt to the staff"],
    by_hand: "Without a camera, enter this address:",
    privacy: "Only the health office may read your details, through the venue and only in an outbreak. \
              After 28 days they are deleted everywhere.",
    code: "QR code of the check-in address:",
    fold: "fold here",
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give a folder")?);
    std::fs::create_dir_all(&folder)?;
    let address = "https://gast.meridian.example/c/7Q2M9XKD4TVB";
    for (language, words, venue, area) in [
        ("de", GERMAN, "Café Prüfstein", "Terrasse"),
        ("en", ENGLISH, "Café Prüfstein", "Terrace"),
        (
            "de",
            GERMAN,
            "Gasthaus zum Goldenen Hirschen am Alten Markt, Inhaberin Nguyễn Thị Minh Khai",
            "Tisch 14, Wintergarten",
        ),
    ] {
        let length = if venue.len() > 20 { "-long" } else { "" };
        let poster = Poster { venue, area: Some(area), address, language, words };
        for sheet in Sheet::ALL {
            let name = format!("{sheet:?}-{language}{length}").to_lowercase();
            std::fs::write(folder.join(format!("{name}.svg")), poster.to_svg(sheet)?)?;
            std::fs::write(folder.join(format!("{name}.pdf")), poster.to_pdf(sheet)?)?;
        }
    }

    let names: Vec<String> = (1..=12).map(|table| format!("Tisch {table}")).collect();
    let posters: Vec<Poster<'_>> = names
        .iter()
        .map(|name| Poster { venue: "Café Prüfstein", area: Some(name), address, language: "de", words: GERMAN })
        .collect();
    std::fs::write(folder.join("tent-all-tables.pdf"), to_pdf(&posters, Sheet::Tent)?)?;
    println!("wrote the posters to {}", folder.display());
    Ok(())
}
