//! `take`: some of the rows, drawn by seed.

use sparsec_compiler::{Kind, Word};

use super::dataset::Data;
use super::{Output, Stage, Work, word_of};
use crate::shelf::{DataRef, Rows};
use crate::{Result, word};

word! {
    /// Draws rows of a data set, the same however it is sorted.
    pub struct Take = "take"(
        /// The data to draw from.
        data: DataRef,
        /// How many.
        rows: Rows where "1 row..1000000000 rows",
    ) {
        /// Another seed draws other rows.
        seed: u64 = 0,
    }
}

impl Stage for Take {
    const KEPT: bool = false;

    fn word() -> Word {
        word_of::<Self>(Kind::Dataset)
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let whole = work.data(&self.data)?.take(self.rows.0 as usize, self.seed)?;
        Ok(Output::Data(Data { whole, parts: Vec::new() }))
    }
}
