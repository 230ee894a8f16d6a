//! What the parity tests of all families share: a fixture that `transformers` made, and how close a model comes to it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::{Model, ModuleKind, Taps, family};
use crate::batch::Batch;
use crate::{Checkpoint, Result};

/// A small random checkpoint in `tests/fixtures`, and what was computed with it.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) checkpoint: Checkpoint,
    pub(super) model: Box<dyn Model>,
    pub(super) expected: HashMap<String, Tensor>,
}

impl Case {
    pub(super) fn read(family: &str, name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(family).join(name);
        let checkpoint = Checkpoint::read(&folder).unwrap();
        let model = checkpoint.model().unwrap();
        let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        Self { name: name.to_owned(), folder, checkpoint, model, expected }
    }

    /// Token rows of the fixture without their padding.
    pub(super) fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let rows = self.expected[name].to_dtype(DType::I64).unwrap().to_vec2::<i64>().unwrap();
        rows.into_iter().map(|row| row.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()).collect()
    }

    /// Within 1e-4, or within 1e-5 of the largest value: the residual stream of a block has values in the tens.
    pub(super) fn assert_close(&self, what: &str, found: &Tensor) {
        let expected = &self.expected[what];
        assert_eq!(found.dims(), expected.dims(), "{} {what}", self.name);
        let difference = largest_difference(found, expected);
        let limit =
            if what == "logits" { 1e-4 } else { 1e-5 * largest_difference(expected, &expected.zeros_like().unwrap()).max(10.0) };
        assert!(difference < limit, "{}: {what} differs by {difference}", self.name);
    }

    /// Logits and the raw output of every block are the fixture's, and taps see every linear layer with the width that the modules
    /// say.
    pub(super) fn assert_forward(&self, batch: &Batch) {
        let mut recorder = Recorder::default();
        self.assert_close("logits", &self.model.forward(batch, &mut recorder).unwrap());
        let blocks: Vec<&String> = self.expected.keys().filter(|name| name.starts_with("block.")).collect();
        assert_eq!(blocks.len(), recorder.blocks.len());
        for name in blocks {
            self.assert_close(name, &recorder.blocks[name.trim_start_matches("block.")]);
        }
        let modules = family(&self.checkpoint.config).unwrap().modules(&self.checkpoint.config).unwrap();
        let linears = modules.iter().filter(|module| module.kind == ModuleKind::Linear);
        let linears: BTreeMap<_, _> = linears.map(|module| (module.path.clone(), module.shape[1])).collect();
        assert_eq!(recorder.linears, linears);
    }
}

pub(super) fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Keeps what every block puts out, and the width that every linear layer reads.
#[derive(Default)]
struct Recorder {
    blocks: BTreeMap<String, Tensor>,
    linears: BTreeMap<String, usize>,
}

impl Taps for Recorder {
    fn linear_input(&mut self, path: &str, x: &Tensor) -> Result<()> {
        self.linears.insert(path.to_owned(), *x.dims().last().unwrap());
        Ok(())
    }

    fn block_output(&mut self, path: &str, hidden: &Tensor) -> Result<()> {
        self.blocks.insert(path.to_owned(), hidden.clone());
        Ok(())
    }
}
