//! `worddropout`: some of the words that the decoder has read are withheld from it.
//!
//! Bowman et al., "Generating Sentences from a Continuous Space" (arXiv 1511.06349), section 3.1. With teacher forcing, a decoder can
//! guess the next token from those before it and never learn to listen; it listens sooner when it cannot trust them. A withheld
//! token is replaced with the one that ends a text, which no text holds.

use super::{Augmentation, Random};
use crate::batch::IGNORE;
use crate::shelf::Ratio;
use crate::word;

/// The share that is withheld is drawn in millionths.
const PARTS: usize = 1_000_000;

word! {
    /// Withholds random tokens of the text from the decoder; labels stay as they are (arXiv 1511.06349).
    pub struct WordDropout = "worddropout" {
        /// The share of tokens.
        share: Ratio where "0%..100%" = Ratio(0.3),
    }
}

impl Augmentation for WordDropout {
    fn change_text(&self, decoder: &mut [u32], labels: &[i64], random: &mut Random) {
        let Some(&end) = labels.iter().rfind(|&&label| label != IGNORE) else { return };
        let Ok(end) = u32::try_from(end) else { return };
        // The prompt stays: a token of the text stands where the position before it has a label.
        for (token, &before) in decoder.iter_mut().skip(1).zip(labels) {
            if before != IGNORE && (random.up_to(PARTS - 1) as f64) < self.share.0 * PARTS as f64 {
                *token = end;
            }
        }
    }
}
