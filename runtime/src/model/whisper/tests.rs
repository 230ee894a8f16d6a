//! Parity with `transformers`, by the fixtures that `tests/fixtures/make_whisper.py` makes.

use super::config::Config;
use super::prompt::Decoding;
use crate::batch::{Batch, Inputs, Tokens};
use crate::generate::Search;
use crate::model::parity::{Case, largest_difference};
use crate::model::{Encoded, NoTaps};

fn cases() -> impl Iterator<Item = Case> {
    ["plain", "deep", "scaled"].into_iter().map(|name| Case::read("whisper", name))
}

fn features(case: &Case) -> Inputs {
    Inputs::Features(case.expected["features"].clone())
}

/// What the encoder makes of the fixture's features.
fn encoded(case: &Case) -> Encoded {
    case.model.encode(&features(case), &mut NoTaps).unwrap().unwrap()
}

#[test]
fn logits_and_every_block_are_those_of_transformers() {
    for case in cases() {
        case.assert_forward(&Batch {
            inputs: features(&case),
            decoder: Tokens::padded(&case.ids("decoder_input_ids"), 0),
            labels: Vec::new(),
        });
        case.assert_close("encoded", &encoded(&case).states);
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for case in cases() {
        let decoding = Decoding::of(&case.checkpoint, &Config::parse(&case.checkpoint.config).unwrap()).unwrap();
        let encoded = encoded(&case);
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
    for case in cases() {
        let rows = case.ids("decoder_input_ids");
        let encoded = encoded(&case);
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
    let case = Case::read("whisper", "plain");
    let encoded = encoded(&case);
    let tokens = Tokens::padded(&vec![vec![1; 25]; 4], 0);
    let fault = case.model.step(&tokens, case.model.start(Some(&encoded)).unwrap().as_mut()).unwrap_err();
    assert_eq!(fault.message, "a text of 25 tokens does not fit the decoder, which has 24 positions");
}
