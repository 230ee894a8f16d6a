//! Parity with `transformers`, by the fixtures that `tests/fixtures/make_mpt.py` makes.

use crate::batch::{Batch, Inputs, Tokens};
use crate::generate::{Rules, Search, generate};
use crate::model::NoTaps;
use crate::model::parity::{Case, largest_difference};

/// As in the script.
const END: u32 = 0;
const NEW_TOKENS: usize = 12;

fn cases() -> impl Iterator<Item = Case> {
    ["plain", "odd", "biased"].into_iter().map(|name| Case::read("mpt", name))
}

fn batch(rows: &[Vec<u32>]) -> Batch {
    Batch { inputs: Inputs::Nothing, decoder: Tokens::padded(rows, 0), labels: Vec::new() }
}

#[test]
fn logits_and_every_block_are_those_of_transformers() {
    cases().for_each(|case| case.assert_forward(&batch(&case.ids("input_ids"))));
}

/// What follows each of `prompts`.
fn greedy(case: &Case, prompts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let rules = Rules { end: vec![END], max_new: NEW_TOKENS, ..Rules::default() };
    generate(&*case.model, None, prompts, &rules, &Search::Greedy).unwrap()
}

#[test]
fn greedy_continuations_of_20_prompts_are_those_of_transformers_together_and_alone() {
    for case in cases() {
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
    for case in cases() {
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
                let alone = batch(&[rows[row][starts[row]..end].to_vec()]);
                let uncached = case.model.forward(&alone, &mut NoTaps).unwrap().get(0).unwrap();
                let difference = largest_difference(&logits.get(at).unwrap(), &uncached.get(end - 1 - starts[row]).unwrap());
                assert!(difference < 1e-4, "{}: after {end} tokens row {row} differs by {difference}", case.name);
            }
        }
    }
}

#[test]
fn rows_of_a_training_batch_do_not_see_each_others_padding() {
    let case = Case::read("mpt", "odd");
    let rows = case.ids("input_ids");
    let short = rows[1][..4].to_vec();
    let together = case.model.forward(&batch(&[rows[0].clone(), short.clone()]), &mut NoTaps).unwrap();
    let alone = case.model.forward(&batch(&[short]), &mut NoTaps).unwrap();
    let difference = largest_difference(&together.get(1).unwrap().narrow(0, 0, 4).unwrap(), &alone.get(0).unwrap());
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn a_text_longer_than_the_model_reads_is_a_fault() {
    let case = Case::read("mpt", "odd");
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
