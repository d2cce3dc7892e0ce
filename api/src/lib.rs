//! What Meridian's processes say to each other and to clients, typed once.

pub mod duration;
pub mod instant;
