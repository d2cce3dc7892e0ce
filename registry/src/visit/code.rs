//! The code of a receipt: a colour and a number that a person at the door can compare at a glance.
//!
//! It derives from the visit id alone, so the guest's screen shows it without a network and the owner's list shows the
//! same one. It proves nothing by itself: a code is as good as the list in which it is found.

use sha2::{Digest, Sha256};

use crate::visit::id::VisitId;

api::named! {
    /// A colour with a short name in every language, far from the others for eyes that see few colours.
    ReceiptColour {
        /// Violet.
        Violet = "violet",
        /// Blue.
        Blue = "blue",
        /// Green.
        Green = "green",
        /// Red.
        Red = "red",
        /// Brown.
        Brown = "brown",
        /// Grey.
        Grey = "grey",
        /// Pink.
        Pink = "pink",
        /// Black.
        Black = "black",
    }
}

/// What a receipt shows in large type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptCode {
    /// The colour, also written as a word.
    pub colour: ReceiptColour,
    /// Below 10,000; shown with four digits.
    pub number: u16,
}

impl ReceiptColour {
    /// All colours, in the order in which a code counts them.
    pub const ALL: [ReceiptColour; 8] = [
        ReceiptColour::Violet,
        ReceiptColour::Blue,
        ReceiptColour::Green,
        ReceiptColour::Red,
        ReceiptColour::Brown,
        ReceiptColour::Grey,
        ReceiptColour::Pink,
        ReceiptColour::Black,
    ];
}

impl ReceiptCode {
    /// The code of a visit: the first three bytes of SHA-256("meridian receipt" || id). A guest's browser computes the
    /// same.
    #[must_use]
    pub fn of(id: VisitId) -> ReceiptCode {
        let mut hasher = Sha256::new();
        hasher.update(b"meridian receipt");
        hasher.update(id.document_id().0);
        let hash = hasher.finalize();
        ReceiptCode {
            colour: ReceiptColour::ALL[usize::from(hash[0] % 8)],
            number: u16::from_be_bytes([hash[1], hash[2]]) % 10_000,
        }
    }

    /// The number as it is shown: two pairs of digits.
    #[must_use]
    pub fn digits(&self) -> String {
        format!("{:02} {:02}", self.number / 100, self.number % 100)
    }
}

#[cfg(test)]
mod tests {
    use replication::Wall;

    use super::{ReceiptCode, ReceiptColour};
    use crate::visit::id::{Secret, VisitId};

    #[test]
    fn a_code_never_changes() {
        let id = VisitId::of(Wall(1_767_225_600_000), &Secret([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]));
        assert_eq!(id.to_string(), "019b76da-a800-8585-ac0e-baed36724e18");
        let code = ReceiptCode::of(id);
        assert_eq!((code.colour, code.digits()), (ReceiptColour::Pink, "80 58".to_owned()));
    }

    #[test]
    fn every_colour_occurs() {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..100 {
            let code = ReceiptCode::of(VisitId::of(Wall(1_767_225_600_000), &Secret([n; 16])));
            assert!(code.number < 10_000 && code.digits().len() == 5);
            seen.insert(code.colour);
        }
        assert_eq!(seen.len(), ReceiptColour::ALL.len());
    }
}
