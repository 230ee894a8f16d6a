//! Parity with `transformers`, by the fixtures that `tests/fixtures/make_whisper.py` makes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::config::Config;
use super::prompt::Decoding;
use crate::batch::{Batch, Inputs, Tokens};
use crate::generate::Search;
use crate::model::{Encoded, Model, NoTaps, Taps};
use crate::{Checkpoint, Result};

const CASES: [&str; 3] = ["plain", "deep", "scaled"];

struct Case {
    name: &'static str,
    checkpoint: Checkpoint,
    model: Box<dyn Model>,
    expected: HashMap<String, Tensor>,
}

impl Case {
    fn read(name: &'static str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whisper").join(name);
        let checkpoint = Checkpoint::read(&folder).unwrap();
        let model = checkpoint.model().unwrap();
        let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        Self { name, checkpoint, model, expected }
    }

    fn features(&self) -> Inputs {
        Inputs::Features(self.expected["features"].clone())
    }

    /// What the encoder makes of the fixture's features.
    fn encoded(&self) -> Encoded {
        self.model.encode(&self.features(), &mut NoTaps).unwrap().unwrap()
    }

    /// Token rows of the fixture without their padding.
    fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let rows = self.expected[name].to_dtype(DType::I64).unwrap().to_vec2::<i64>().unwrap();
        rows.into_iter().map(|row| row.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()).collect()
    }

    /// Within 1e-4, or within 1e-5 of the largest value: the residual stream of a block has values in the tens.
    fn assert_close(&self, what: &str, found: &Tensor) {
        let expected = &self.expected[what];
        assert_eq!(found.dims(), expected.dims(), "{} {what}", self.name);
        let difference = largest_difference(found, expected);
        let limit =
            if what == "logits" { 1e-4 } else { 1e-5 * largest_difference(expected, &expected.zeros_like().unwrap()).max(10.0) };
        assert!(difference < limit, "{}: {what} differs by {difference}", self.name);
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Keeps everything that it is shown.
#[derive(Default)]
struct Recorder {
    blocks: BTreeMap<String, Tensor>,
    linears: BTreeMap<String, Vec<usize>>,
}

impl Taps for Recorder {
    fn linear_input(&mut self, path: &str, x: &Tensor) -> Result<()> {
        self.linears.insert(path.to_owned(), x.dims().to_vec());
        Ok(())
    }

    fn block_output(&mut self, path: &str, hidden: &Tensor) -> Result<()> {
        self.blocks.insert(path.to_owned(), hidden.clone());
        Ok(())
    }
}

#[test]
fn logits_and_every_block_are_those_of_transformers() {
    for case in CASES.map(Case::read) {
        let batch =
            Batch { inputs: case.features(), decoder: Tokens::padded(&case.ids("decoder_input_ids"), 0), labels: Vec::new() };
        let mut recorder = Recorder::default();
        let logits = case.model.forward(&batch, &mut recorder).unwrap();
        case.assert_close("logits", &logits);
        case.assert_close("encoded", &case.encoded().states);
        let blocks: Vec<&String> = case.expected.keys().filter(|name| name.starts_with("block.")).collect();
        assert_eq!(blocks.len(), recorder.blocks.len());
        for name in blocks {
            case.assert_close(name, &recorder.blocks[name.trim_start_matches("block.")]);
        }
    }
}

#[test]
fn taps_see_every_linear_layer_with_the_width_that_modules_say() {
    for case in CASES.map(Case::read) {
        let batch =
            Batch { inputs: case.features(), decoder: Tokens::padded(&case.ids("decoder_input_ids"), 0), labels: Vec::new() };
        let mut recorder = Recorder::default();
        case.model.forward(&batch, &mut recorder).unwrap();
        let modules = Config::parse(&case.checkpoint.config).unwrap().modules();
        let linears: BTreeMap<_, _> = modules
            .iter()
            .filter(|module| module.kind == crate::model::ModuleKind::Linear)
            .map(|module| (&module.path, module.shape[1]))
            .collect();
        let seen: BTreeMap<_, _> = recorder.linears.iter().map(|(path, dims)| (path, *dims.last().unwrap())).collect();
        assert_eq!(seen, linears);
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for case in CASES.map(Case::read) {
        let decoding = Decoding::of(&case.checkpoint, &Config::parse(&case.checkpoint.config).unwrap()).unwrap();
        let encoded = case.encoded();
        let together = decoding.say(&*case.model, &encoded, &Search::Greedy).unwrap();
        assert_eq!(together, case.ids("generated"), "{}", case.name);
        for (row, expected) in together.iter().enumerate() {
            let one = Encoded { states: encoded.states.narrow(0, row, 1).unwrap(), places: None };
            let alone = decoding.say(&*case.model, &one, &Search::Greedy).unwrap();
            assert_eq!(alone, std::slice::from_ref(expected), "{} row {row} decoded alone", case.name);
        }
    }
}

#[test]
fn decoding_with_a_cache_equals_decoding_without() {
    for case in CASES.map(Case::read) {
        let rows = case.ids("decoder_input_ids");
        let encoded = case.encoded();
        let mut cache = case.model.start(Some(&encoded)).unwrap();
        let pieces = [(0, 4), (4, 5), (5, 6), (6, 9)];
        let order = [2, 0];
        for (start, end) in pieces {
            let is_selected = start >= 5;
            if start == 5 {
                cache.select(&order).unwrap();
            }
            let kept: Vec<usize> = if is_selected { order.to_vec() } else { (0..rows.len()).collect() };
            let tokens: Vec<_> = kept.iter().map(|&row| rows[row][start..end].to_vec()).collect();
            let logits = case.model.step(&Tokens::padded(&tokens, 0), cache.as_mut()).unwrap();
            for (at, &row) in kept.iter().enumerate() {
                let uncached = case.expected["logits"].get(row).unwrap().get(end - 1).unwrap();
                let difference = largest_difference(&logits.get(at).unwrap(), &uncached);
                assert!(difference < 1e-4, "{}: after {end} tokens row {row} differs by {difference}", case.name);
            }
        }
    }
}

#[test]
fn a_text_longer_than_the_decoder_is_a_fault() {
    let case = Case::read("plain");
    let encoded = case.encoded();
    let tokens = Tokens::padded(&vec![vec![1; 25]; 4], 0);
    let fault = case.model.step(&tokens, case.model.start(Some(&encoded)).unwrap().as_mut()).unwrap_err();
    assert_eq!(fault.message, "a text of 25 tokens does not fit the decoder, which has 24 positions");
}
