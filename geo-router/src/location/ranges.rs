//! Paints ranges of addresses with classes: later paint covers earlier paint.

use super::PlaceClass;

/// Disjoint ranges in ascending order that together cover all addresses of one family.
#[derive(Debug)]
pub(super) struct Ranges {
    /// First address of each range; it ends where the next one begins.
    starts: Vec<u128>,
    classes: Vec<PlaceClass>,
}

impl Ranges {
    /// Ranges from ascending disjoint `(first, last, class)`; everything outside of them is `rest`.
    pub(super) fn new(parts: impl IntoIterator<Item = (u128, u128, PlaceClass)>, rest: PlaceClass) -> Ranges {
        let mut ranges = Ranges { starts: vec![0], classes: vec![rest] };
        for (first, last, class) in parts {
            ranges.push(first, class);
            if let Some(next) = last.checked_add(1) {
                ranges.push(next, rest);
            }
        }
        ranges
    }

    /// Everything from `start` on is `class`.
    fn push(&mut self, start: u128, class: PlaceClass) {
        while self.starts.last().is_some_and(|last| *last >= start) {
            self.starts.pop();
            self.classes.pop();
        }
        // Neighbours with one class are one range.
        if self.classes.last() != Some(&class) {
            self.starts.push(start);
            self.classes.push(class);
        }
    }

    /// Paints `first..=last`.
    pub(super) fn paint(&mut self, first: u128, last: u128, class: PlaceClass) {
        let after = last.checked_add(1).map(|next| (next, self.class_at(next)));
        let begin = self.starts.partition_point(|start| *start < first);
        let end = match after {
            Some((next, _)) => self.starts.partition_point(|start| *start <= next),
            None => self.starts.len(),
        };
        let new: Vec<(u128, PlaceClass)> = [(first, class)].into_iter().chain(after).collect();
        self.starts.splice(begin..end, new.iter().map(|(start, _)| *start));
        self.classes.splice(begin..end, new.iter().map(|(_, class)| *class));
    }

    /// The class of one address.
    pub(super) fn class_at(&self, address: u128) -> PlaceClass {
        self.classes[self.starts.partition_point(|start| *start <= address) - 1]
    }

    /// The class of the whole of `first..=last`, if it is one class.
    pub(super) fn uniform(&self, first: u128, last: u128) -> Option<PlaceClass> {
        let index = self.starts.partition_point(|start| *start <= first) - 1;
        let class = self.classes[index];
        let rest = self.starts[index + 1..].iter().zip(&self.classes[index + 1..]);
        rest.take_while(|(start, _)| **start <= last).all(|(_, other)| *other == class).then_some(class)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PlaceClass, Ranges};

    proptest! {
        /// For any strokes in any order, each address has the class of the last stroke over it.
        #[test]
        fn the_last_stroke_shows(strokes in prop::collection::vec((0u128..64, 0u128..64, 0u16..4), 0..12)) {
            let mut model = [PlaceClass(9); 64];
            let mut ranges = Ranges::new([], PlaceClass(9));
            for (one, other, class) in strokes {
                let (first, last) = (one.min(other), one.max(other));
                ranges.paint(first, last, PlaceClass(class));
                for cell in first..=last {
                    model[cell as usize] = PlaceClass(class);
                }
            }
            for first in 0..64u128 {
                prop_assert_eq!(ranges.class_at(first), model[first as usize]);
                let last = (first + 7).min(63);
                let same = model[first as usize..=last as usize].iter().all(|class| *class == model[first as usize]);
                prop_assert_eq!(ranges.uniform(first, last), same.then_some(model[first as usize]));
            }
        }
    }

    #[test]
    fn the_last_address_can_be_painted() {
        let mut ranges = Ranges::new([(5, 9, PlaceClass(1)), (10, u128::MAX, PlaceClass(1))], PlaceClass(0));
        assert_eq!(ranges.uniform(5, u128::MAX), Some(PlaceClass(1)));
        ranges.paint(u128::MAX, u128::MAX, PlaceClass(2));
        assert_eq!(ranges.class_at(u128::MAX), PlaceClass(2));
        assert_eq!(ranges.class_at(u128::MAX - 1), PlaceClass(1));
        assert_eq!(ranges.class_at(4), PlaceClass(0));
    }
}
