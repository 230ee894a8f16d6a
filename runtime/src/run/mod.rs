//! From a plan to artifacts and a report: every step is run once, or the result of an earlier run is used.

mod events;
pub mod snapshot;
mod state;

pub use events::{Event, Events, Silent};
pub use snapshot::Snapshot;
pub use state::State;
