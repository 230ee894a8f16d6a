//! `squarehead`: every transformer block of the student is to put out what the teacher's does.
//!
//! Kurtic et al., "Sparse Fine-tuning for Inference Acceleration of Large Language Models" (arXiv 2310.06927): the sum over blocks of
//! `mean((s - t)^2) / (mean(t^2) + eps)`, `s` and `t` the raw outputs of the block. Dividing by the teacher's size makes blocks of
//! every depth count alike; it is summed and not averaged over them. Means run over the tokens that count: all positions of
//! spectrograms and all tokens but padding in encoder blocks, those with a label in decoder blocks that listen to an encoder, and all
//! but padding, prompts included, where the model only decodes. For MPT the authors take `eps` as `2^-7` and the last block after the
//! final norm, which is what that family shows as its output.
//!
//! The authors' code averages over padding as well, in both means, so that the ratio is the same and `eps` weighs a little more.

use std::collections::BTreeSet;

use candle_core::Tensor;

use super::{Loss, Outputs, expect_teacher};
use crate::batch::{IGNORE, Inputs};
use crate::{Batch, Fault, Result, Tokens, choice, op, word};

/// Which transformer blocks are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Every block.
    All,
    /// Those of the encoder.
    Encoder,
    /// Those of the decoder.
    Decoder,
}

choice! { Blocks { All = "all", Encoder = "encoder", Decoder = "decoder" } }

/// Which tokens of decoder blocks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Those with a label where an encoder listens, all but padding where the model only decodes.
    Published,
    /// Those with a label.
    Labelled,
    /// All but padding.
    All,
}

choice! { Counted { Published = "published", Labelled = "labelled", All = "all" } }

word! {
    /// Error of every transformer block's output relative to the teacher's, summed over blocks.
    pub struct SquareHead = "squarehead" {
        /// Which transformer blocks are compared: `all`, those of the `encoder`, or those of the `decoder`.
        blocks: Blocks = Blocks::All,
        /// Which tokens of decoder blocks count: those that are `labelled`, `all` but padding, or as `published`, which is the former
        /// where there is an encoder and the latter where there is none.
        tokens: Counted = Counted::Published,
        /// Added to the mean square of the teacher's output, so that a silent block does not divide by zero.
        eps: f64 where "0..1" = 1e-8,
    }
}

impl Loss for SquareHead {
    fn needs_teacher(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: &Batch, student: &Outputs, teacher: Option<&Outputs>) -> Result<Tensor> {
        let teacher = expect_teacher(teacher)?;
        let paths = |outputs: &Outputs| outputs.blocks.keys().cloned().collect::<BTreeSet<_>>();
        if paths(student) != paths(teacher) {
            return Err(Fault::input("`squarehead` compares block by block, and the teacher's blocks are not the student's")
                .help("take the dense model that the student was pruned from as its teacher"));
        }
        let mut total: Option<Tensor> = None;
        for (path, hidden) in student.blocks.iter().filter(|(path, _)| self.compares(path)) {
            let counted = self.counted(batch, path);
            let error = op::normalized_mse(hidden, &teacher.blocks[path], counted.as_deref(), self.eps as f32)?;
            total = Some(match total {
                Some(total) => total.add(&error)?,
                None => error,
            });
        }
        total.ok_or_else(|| Fault::input(format!("this model has no blocks that `squarehead` compares: {:?}", self.blocks)))
    }
}

impl SquareHead {
    /// Whether the block at `path` is compared.
    fn compares(&self, path: &str) -> bool {
        match self.blocks {
            Blocks::All => true,
            Blocks::Encoder => in_encoder(path),
            Blocks::Decoder => !in_encoder(path),
        }
    }

    /// Which tokens of the block at `path` count, `[batch, positions or time]` row-major; nothing where all do.
    fn counted(&self, batch: &Batch, path: &str) -> Option<Vec<bool>> {
        match (&batch.inputs, self.tokens, in_encoder(path)) {
            (Inputs::Features(_) | Inputs::Nothing, _, true) => None,
            (Inputs::Tokens(tokens), _, true) => Some(unpadded(tokens)),
            (Inputs::Nothing, Counted::Published, false) | (_, Counted::All, false) => Some(unpadded(&batch.decoder)),
            (_, Counted::Published | Counted::Labelled, false) => {
                Some(batch.labels.iter().map(|&label| label != IGNORE).collect())
            }
        }
    }
}

/// Whether the block at `path` belongs to the encoder.
fn in_encoder(path: &str) -> bool {
    path.split('.').any(|segment| segment == "encoder")
}

/// Which of `tokens` are no padding, row-major.
fn unpadded(tokens: &Tokens) -> Vec<bool> {
    let places = tokens.places().iter();
    places.flat_map(|place| (0..tokens.time()).map(|at| place.contains(&at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squarehead(blocks: Blocks, tokens: Counted) -> SquareHead {
        SquareHead { blocks, tokens, eps: 1e-8 }
    }

    #[test]
    fn padding_of_text_and_tokens_without_a_label_do_not_count() {
        let tokens = Tokens::padded(&[vec![4, 5, 6], vec![7]], 0);
        let batch =
            Batch { inputs: Inputs::Tokens(tokens.clone()), decoder: tokens, labels: vec![IGNORE, 1, 2, 3, IGNORE, IGNORE] };
        let counted = |batch: &Batch, tokens, path| squarehead(Blocks::All, tokens).counted(batch, path);
        let (unpadded, labelled) =
            (Some(vec![true, true, true, true, false, false]), Some(vec![false, true, true, true, false, false]));
        assert_eq!(counted(&batch, Counted::Published, "encoder.block.0"), unpadded);
        assert_eq!(counted(&batch, Counted::Published, "decoder.block.0"), labelled);
        assert_eq!(counted(&batch, Counted::All, "decoder.block.0"), unpadded);
        let alone = Batch { inputs: Inputs::Nothing, ..batch };
        assert_eq!(counted(&alone, Counted::Published, "transformer.blocks.0"), unpadded, "prompts count");
        assert_eq!(counted(&alone, Counted::Labelled, "transformer.blocks.0"), labelled);
    }

    #[test]
    fn blocks_are_told_apart_by_a_whole_segment_of_their_path() {
        assert!(in_encoder("model.encoder.layers.0") && in_encoder("encoder.block.3"));
        assert!(
            !in_encoder("model.decoder.layers.0") && !in_encoder("transformer.blocks.1") && !in_encoder("my_encoder.blocks.1")
        );
        let compares = |blocks, path| squarehead(blocks, Counted::Published).compares(path);
        assert!(compares(Blocks::Encoder, "model.encoder.layers.0") && compares(Blocks::All, "a.0"));
        assert!(compares(Blocks::Decoder, "transformer.blocks.1"));
    }
}
