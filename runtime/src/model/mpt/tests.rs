//! Parity with `transformers`, by the fixtures that `tests/fixtures/make_mpt.py` makes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::config::Config;
use crate::batch::{Batch, Inputs, Tokens};
use crate::generate::{Rules, Search, generate};
use crate::model::{Model, ModuleKind, NoTaps, Taps};
use crate::{Checkpoint, Result};

const CASES: [&str; 3] = ["plain", "odd", "biased"];
/// As in the script.
const END: u32 = 0;
const NEW_TOKENS: usize = 12;

pub(super) struct Case {
    name: &'static str,
    pub(super) checkpoint: Checkpoint,
    pub(super) model: Box<dyn Model>,
    expected: HashMap<String, Tensor>,
}

impl Case {
    pub(super) fn read(name: &'static str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mpt").join(name);
        let checkpoint = Checkpoint::read(&folder).unwrap();
        let model = checkpoint.model().unwrap();
        let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        Self { name, checkpoint, model, expected }
    }

    /// Token rows of the fixture without their padding.
    pub(super) fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let rows = self.expected[name].to_dtype(DType::I64).unwrap().to_vec2::<i64>().unwrap();
        rows.into_iter().map(|row| row.into_iter().filter_map(|id| u32::try_from(id).ok()).collect()).collect()
    }

    fn batch(&self, rows: &[Vec<u32>]) -> Batch {
        Batch { inputs: Inputs::Nothing, decoder: Tokens::padded(rows, 0), labels: Vec::new() }
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
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
        let mut recorder = Recorder::default();
        let logits = case.model.forward(&case.batch(&case.ids("input_ids")), &mut recorder).unwrap();
        let blocks: Vec<&String> = case.expected.keys().filter(|name| name.starts_with("block.")).collect();
        assert_eq!(
            (blocks.len(), blocks.len()),
            (recorder.blocks.len(), Config::parse(&case.checkpoint.config).unwrap().n_layers)
        );
        let found = blocks.into_iter().map(|name| (name.as_str(), &recorder.blocks[name.trim_start_matches("block.")]));
        for (name, found) in found.chain([("logits", &logits)]) {
            let difference = largest_difference(found, &case.expected[name]);
            assert!(difference < 1e-4, "{}: {name} differs by {difference}", case.name);
        }
    }
}

#[test]
fn taps_see_every_linear_layer_with_the_width_that_modules_say() {
    for case in CASES.map(Case::read) {
        let mut recorder = Recorder::default();
        case.model.forward(&case.batch(&case.ids("input_ids")), &mut recorder).unwrap();
        let modules = Config::parse(&case.checkpoint.config).unwrap().modules();
        let linears = modules.iter().filter(|module| module.kind == ModuleKind::Linear);
        let linears: BTreeMap<_, _> = linears.map(|module| (&module.path, module.shape[1])).collect();
        let seen: BTreeMap<_, _> = recorder.linears.iter().map(|(path, dims)| (path, *dims.last().unwrap())).collect();
        assert_eq!(seen, linears);
    }
}

/// What follows each of `prompts`.
fn greedy(case: &Case, prompts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let rules = Rules { end: vec![END], max_new: NEW_TOKENS, ..Rules::default() };
    generate(&*case.model, None, prompts, &rules, &Search::Greedy).unwrap()
}

#[test]
fn greedy_continuations_of_20_prompts_are_those_of_transformers_together_and_alone() {
    for case in CASES.map(Case::read) {
        let (prompts, expected) = (case.ids("prompts"), case.ids("generated"));
        assert_eq!(prompts.len(), 20);
        assert_eq!(greedy(&case, &prompts), expected, "{}", case.name);
        for (prompt, expected) in prompts.iter().zip(&expected) {
            assert_eq!(greedy(&case, std::slice::from_ref(prompt)), std::slice::from_ref(expected), "{}", case.name);
        }
    }
}

#[test]
fn decoding_with_a_cache_equals_decoding_without() {
    for case in CASES.map(Case::read) {
        let rows = case.ids("input_ids");
        // The second row is two tokens shorter, so that it is padded before.
        let starts = [0, 2, 0];
        let mut cache = case.model.start(None).unwrap();
        for (start, end) in [(0, 4), (4, 5), (5, 6), (6, 9)] {
            let is_selected = start >= 5;
            if start == 5 {
                cache.select(&[2, 1]).unwrap();
            }
            let kept = if is_selected { vec![2, 1] } else { vec![0, 1, 2] };
            let tokens: Vec<_> = kept.iter().map(|&row| rows[row][start.max(starts[row])..end].to_vec()).collect();
            let logits = case.model.step(&Tokens::padded_before(&tokens, 0), cache.as_mut()).unwrap();
            for (at, &row) in kept.iter().enumerate() {
                let alone = case.batch(&[rows[row][starts[row]..end].to_vec()]);
                let uncached = case.model.forward(&alone, &mut NoTaps).unwrap().get(0).unwrap();
                let difference = largest_difference(&logits.get(at).unwrap(), &uncached.get(end - 1 - starts[row]).unwrap());
                assert!(difference < 1e-4, "{}: after {end} tokens row {row} differs by {difference}", case.name);
            }
        }
    }
}

#[test]
fn rows_of_a_training_batch_do_not_see_each_others_padding() {
    let case = Case::read("odd");
    let rows = case.ids("input_ids");
    let short = rows[1][..4].to_vec();
    let together = case.model.forward(&case.batch(&[rows[0].clone(), short.clone()]), &mut NoTaps).unwrap();
    let alone = case.model.forward(&case.batch(&[short]), &mut NoTaps).unwrap();
    let difference = largest_difference(&together.get(1).unwrap().narrow(0, 0, 4).unwrap(), &alone.get(0).unwrap());
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn a_text_longer_than_the_model_reads_is_a_fault() {
    let case = Case::read("odd");
    let step = |tokens: &[Vec<u32>]| {
        let mut cache = case.model.start(None).unwrap();
        tokens
            .iter()
            .try_for_each(|tokens| case.model.step(&Tokens::padded(std::slice::from_ref(tokens), 0), cache.as_mut()).map(drop))
    };
    step(&[vec![1; 39], vec![1]]).unwrap();
    let fault = step(&[vec![1; 39], vec![1, 1]]).unwrap_err();
    assert_eq!(fault.message, "a text of 41 tokens does not fit the model, which reads 1 to 40");
    assert!(step(&[vec![]]).is_err());
}
