//! Indices and numbers, each with a type of its own, so that one is not taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A machine with its node: its place in `regions` of the scenario.
    NodeIndex(usize)
}
number! {
    /// A request: its place in the plan.
    OperationIndex(usize)
}
number! {
    /// A fault: its place in the plan.
    FaultIndex(usize)
}
number! {
    /// The number of a visit or, in a read, of the reader.
    VisitNumber(u32)
}
number! {
    /// How many regions a client has tried before, for one request.
    AttemptNumber(u32)
}
