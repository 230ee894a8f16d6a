//! The shelf of exports: what a model looks like to other programs.

mod safetensors;

use std::fmt::Debug;
use std::path::Path;

pub use safetensors::Safetensors;

use crate::shelf::Shelf;
use crate::{Checkpoint, Result, row, shelved};

/// A format: one file of this folder, one row of [`EXPORTERS`].
pub trait Exporter: Debug + Send + Sync {
    /// Writes `checkpoint` into the folder `to`, whole or not at all, reads it back and compares.
    ///
    /// # Errors
    /// A disk that is full, something else in the folder's place, a model that comes back changed.
    fn export(&self, checkpoint: &Checkpoint, to: &Path) -> Result<()>;
}

/// Every format.
pub static EXPORTERS: Shelf<dyn Exporter> = Shelf::new("export format", &[row!(dyn Exporter, Safetensors)]);
shelved! { dyn Exporter, EXPORTERS }
