//! The links or machines that a fault touches.

/// What a fault touches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touched<'a, N> {
    /// The links from one side to the other; the others are a side that is empty.
    Links(&'a [N], &'a [N]),
    /// The links between two halves of all machines but this one.
    LinksPast(&'a N),
    /// One machine: its process or its disk.
    Machine(&'a N),
    /// One machine's clock.
    Clock(&'a N),
    /// One machine comes or goes, and all others are restarted with another configuration.
    Deployment(&'a N),
    /// All machines.
    All,
}
