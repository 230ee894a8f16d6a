//! Parity with `transformers`, by the fixtures that `tests/fixtures/make_t5.py` makes.

use crate::batch::{Batch, Inputs, Tokens};
use crate::generate::{Beam, Search, Stopping};
use crate::model::parity::{Case, largest_difference};
use crate::model::{Encoded, NoTaps, Row, family};

fn cases() -> impl Iterator<Item = Case> {
    ["plain", "gated", "shared"].into_iter().map(|name| Case::read("t5", name))
}

/// The sources that the fixture's decoder rows belong to.
fn sources(case: &Case) -> Inputs {
    let (sources, rows) = (case.ids("sources"), case.expected["decoder_input_ids"].dim(0).unwrap());
    Inputs::Tokens(Tokens::padded(&sources[sources.len() - rows..], 0))
}

fn encoded(case: &Case) -> Encoded {
    case.model.encode(&sources(case), &mut NoTaps).unwrap().unwrap()
}

#[test]
fn logits_and_every_block_are_those_of_transformers() {
    for case in cases() {
        let decoder = Tokens::padded(&case.ids("decoder_input_ids"), 0);
        case.assert_forward(&Batch { inputs: sources(&case), decoder, labels: Vec::new() });
        case.assert_close("encoded", &encoded(&case).states);
    }
}

#[test]
fn decoding_with_a_cache_equals_decoding_without() {
    for case in cases() {
        let rows = case.ids("decoder_input_ids");
        let mut cache = case.model.start(Some(&encoded(&case))).unwrap();
        let mut kept: Vec<usize> = (0..rows.len()).collect();
        for (start, end, order) in [(0, 1, None), (1, 4, Some([2, 0, 4])), (4, 5, Some([1, 0, 2])), (5, 9, None)] {
            if let Some(order) = order {
                cache.select(&order).unwrap();
                kept = order.iter().map(|&at| kept[at]).collect();
            }
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

/// The search that made the tensor `generated.<beams>-<length penalty>-<early stopping>`.
fn search(name: &str) -> Search {
    let parts: Vec<&str> = name.trim_start_matches("generated.").splitn(2, '-').collect();
    let (penalty, stopping) = parts[1].rsplit_once('-').unwrap();
    let stopping = match stopping {
        "false" => Stopping::Heuristic,
        "true" => Stopping::Early,
        _ => Stopping::Never,
    };
    match parts[0].parse().unwrap() {
        1 => Search::Greedy,
        beams => Search::Beam(Beam { beams, length_penalty: penalty.parse().unwrap(), stopping }),
    }
}

/// 20 texts, in batches and alone, by every search of the fixture.
#[test]
fn tokens_said_are_those_of_transformers() {
    let mut searches = 0;
    for case in cases() {
        let rows = prompts(&case);
        let processor = family(&case.checkpoint.config).unwrap().processor(&case.checkpoint).unwrap();
        for name in case.expected.keys().filter(|name| name.starts_with("generated.")) {
            let say = |rows: &[Row]| processor.decode(&*case.model, rows, Some(&search(name))).unwrap().into_iter();
            let together: Vec<_> = say(&rows).map(|decoded| decoded.tokens).collect();
            assert_eq!(together, case.ids(name), "{} {name}", case.name);
            let alone: Vec<_> =
                rows[..4].iter().flat_map(|row| say(std::slice::from_ref(row))).map(|decoded| decoded.tokens).collect();
            assert_eq!(alone, together[..4], "{} {name}, alone", case.name);
            searches += 1;
        }
    }
    assert_eq!(searches, 9);
}

/// The texts of the fixture as rows to translate.
fn prompts(case: &Case) -> Vec<Row> {
    let texts = std::fs::read_to_string(case.folder.join("../prompts.json")).unwrap();
    let texts: Vec<String> = serde_json::from_str(&texts).unwrap();
    texts.into_iter().map(|text| Row { source: Some(text), ..Row::default() }).collect()
}
