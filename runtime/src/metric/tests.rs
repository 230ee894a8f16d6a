//! Known answers (`tests/fixtures/make_wer.py`), and what every count and interval must keep.

use proptest::prelude::*;
use serde_json::Value as Json;
use sparsec_compiler::{Argument, Call, Comparison, Measured, Requirement, Value};

use super::*;
use crate::report::Bar;

fn fixture() -> Json {
    serde_json::from_str(include_str!("../../tests/fixtures/wer.json")).unwrap()
}

/// One utterance for each `(errors, words)`.
fn scores(utterances: impl IntoIterator<Item = (usize, usize)>) -> Scores {
    let rows: Vec<Counts> = utterances.into_iter().map(|(errors, words)| vec![errors as f64, words as f64]).collect();
    let references = rows.iter().map(|counts| counts[1].to_string()).collect::<Vec<_>>();
    Scores::new(rows, share, references.iter().map(String::as_str)).unwrap()
}

/// Every `step`-th of `count` words is wrong, utterances of one word.
fn every(step: usize, count: usize) -> Scores {
    scores((0..count).map(|i| (usize::from(i % step == 0), 1)))
}

#[test]
fn rates_are_those_of_jiwer() {
    let fixture = fixture();
    let text = |pair: &Json, side: &str| pair[side].as_str().unwrap().to_owned();
    let pairs: Vec<(String, String)> =
        fixture["pairs"].as_array().unwrap().iter().map(|p| (text(p, "reference"), text(p, "hypothesis"))).collect();
    for (name, count) in [("wer", wer::edits as fn(&str, &str) -> Edits), ("cer", cer::edits)] {
        for ((reference, hypothesis), pair) in pairs.iter().zip(fixture["pairs"].as_array().unwrap()) {
            let rate = share(&count(reference, hypothesis).counts());
            assert!((rate - pair[name].as_f64().unwrap()).abs() < 1e-12, "{name}: {reference} | {hypothesis}: {rate}");
        }
        let pairs = pairs.iter().map(|(reference, hypothesis)| (reference.as_str(), hypothesis.as_str()));
        let all = Scores::of_texts(|reference, said| count(reference, said).counts(), share, pairs).unwrap();
        assert!((all.rate() - fixture[name].as_f64().unwrap()).abs() < 1e-12, "{name}: {}", all.rate());
    }
}

#[test]
fn basic_normalization_is_that_of_whisper() {
    for case in fixture()["basic"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(Normalization::Basic.apply(text), case["normalized"].as_str().unwrap(), "{text}");
    }
}

#[test]
fn edits_are_counted_by_kind() {
    let count = |reference, hypothesis| {
        let edits = wer::edits(reference, hypothesis);
        (edits.substitutions, edits.deletions, edits.insertions, edits.reference)
    };
    assert_eq!(count("a b c", "a b c"), (0, 0, 0, 3));
    assert_eq!(count("a b c", "a x c"), (1, 0, 0, 3));
    assert_eq!(count("a b c", ""), (0, 3, 0, 3));
    assert_eq!(count("", "a  b"), (0, 0, 2, 0));
    assert_eq!(count("a b c d", "x a c d e"), (0, 1, 2, 4));
    assert_eq!(count("a b", "b c"), (0, 1, 1, 2));
}

#[test]
fn references_without_words_have_no_rate() {
    let data = DataRef(serde_json::from_value(serde_json::json!({"step": 0, "field": null})).unwrap());
    let metric = Wer { model: ModelRef(data.0.clone()), data, normalize: Normalization::Basic };
    let Sees::Text(count) = metric.sees() else { panic!("it reads texts") };
    let fault = Scores::of_texts(&count, share, [("...", "yes"), ("", "no")]).unwrap_err();
    assert!(fault.message.contains("not one word"), "{fault}");
    let some = Scores::of_texts(&count, share, [("...", "yes"), ("No.", "no")]).unwrap();
    assert_eq!(some.rate(), 1.0);
}

#[test]
fn an_interval_is_that_of_the_binomial() {
    let bootstrap = Bootstrap::default();
    let scores = every(10, 1000);
    let Interval { low, high } = bootstrap.interval(&scores);
    assert!(low < scores.rate() && scores.rate() < high);
    let normal = 2.0 * 1.96 * (0.1 * 0.9 / 1000.0f64).sqrt();
    assert!(((high - low) / normal - 1.0).abs() < 0.1, "{low}..{high}, not {normal} wide");
    assert_eq!(bootstrap.interval(&scores), Interval { low, high });
    assert_ne!(Bootstrap { seed: 1, ..bootstrap }.interval(&scores), Interval { low, high });
    assert_eq!(bootstrap.interval(&every(1, 5)), Interval { low: 1.0, high: 1.0 });
}

/// `wer(name)`.
fn call(name: &str) -> Call {
    let model = Argument { name: "model".to_owned(), value: Value::Text(name.to_owned()) };
    Call { word: "wer".to_owned(), version: 1, arguments: vec![model] }
}

/// `wer("left") <= factor * wer("right") + points`.
fn at_most(factor: f64, points: f64) -> Requirement {
    let times = |a, b| Measured::Product(Box::new(a), Box::new(b));
    let right = times(Measured::Value(Value::Number(factor)), Measured::Metric(call("right")));
    Requirement {
        left: Measured::Metric(call("left")),
        comparison: Comparison::AtMost,
        right: Measured::Sum(Box::new(right), Box::new(Measured::Value(Value::Points(points)))),
    }
}

fn verdict(requirement: &Requirement, left: &Scores, right: &Scores) -> crate::report::Verdict {
    let measure = |measured: &Call| Ok(Measurement::Rate(if *measured == call("left") { left.clone() } else { right.clone() }));
    Judgement::new(requirement, measure).unwrap().verdict(&Bootstrap::default()).unwrap()
}

#[test]
fn a_bar_is_met_missed_or_undecided() {
    let (dense, worse) = (every(20, 400), every(10, 400));
    assert_eq!(verdict(&at_most(1.0, 10.0), &worse, &dense).outcome, Bar::Met);
    assert_eq!(verdict(&at_most(1.0, 1.0), &worse, &dense).outcome, Bar::Missed);
    assert_eq!(verdict(&at_most(1.0, 5.0), &worse, &dense).outcome, Bar::Undecided);
    assert_eq!(verdict(&at_most(3.5, 0.0), &worse, &dense).outcome, Bar::Met);
    let met = verdict(&at_most(1.0, 10.0), &worse, &dense);
    assert!((met.measured - 0.1).abs() < 1e-12 && (met.bar - 0.15).abs() < 1e-12, "{met:?}");
}

#[test]
fn the_same_answers_never_differ() {
    let dense = every(7, 300);
    let same = verdict(&at_most(1.0, 0.0), &dense, &dense);
    assert_eq!((same.difference, same.outcome), (Some((0.0, 0.0)), Bar::Met));
}

#[test]
fn pairing_removes_what_is_hard_for_both() {
    // Utterances of very different difficulty; the second system makes one more error in every tenth.
    let easy_and_hard = |more: usize| scores((0..200).map(|i| (i % 11 + if i % 10 == 0 { more } else { 0 }, 12)));
    let (first, second) = (easy_and_hard(0), easy_and_hard(1));
    let bootstrap = Bootstrap::default();
    let paired = bootstrap.paired(&[&second, &first], |rates| Ok(rates[0] - rates[1])).unwrap();
    let alone = bootstrap.interval(&first);
    assert!(paired.low > 0.0, "{paired:?}");
    assert!(paired.high - paired.low < 0.2 * (alone.high - alone.low), "{paired:?} {alone:?}");
}

#[test]
fn numbers_without_spread_are_compared_as_they_are() {
    for (value, outcome) in [(0.0, Bar::Met), (0.01, Bar::Met), (0.02, Bar::Missed)] {
        let requirement = Requirement {
            left: Measured::Metric(call("left")),
            comparison: Comparison::AtMost,
            right: Measured::Value(Value::Seconds(0.01)),
        };
        let judged = Judgement::new(&requirement, |_| Ok(Measurement::Exact(value))).unwrap();
        let verdict = judged.verdict(&Bootstrap::default()).unwrap();
        assert_eq!((verdict.outcome, verdict.difference), (outcome, None));
    }
}

/// The fewest edits by trying everything.
fn plain(reference: &[u8], hypothesis: &[u8]) -> usize {
    match (reference, hypothesis) {
        ([], rest) | (rest, []) => rest.len(),
        ([a, reference @ ..], [b, hypothesis @ ..]) if a == b => plain(reference, hypothesis),
        ([_, fewer @ ..], [_, shorter @ ..]) => {
            1 + plain(fewer, shorter).min(plain(fewer, hypothesis)).min(plain(reference, shorter))
        }
    }
}

proptest! {
    #[test]
    fn no_fewer_edits_exist(reference in prop::collection::vec(0u8..4, 0..7), hypothesis in prop::collection::vec(0u8..4, 0..7)) {
        let edits = Edits::between(&reference, &hypothesis);
        prop_assert_eq!(edits.errors(), plain(&reference, &hypothesis));
        prop_assert_eq!(edits.reference + edits.insertions, hypothesis.len() + edits.deletions);
        let back = Edits::between(&hypothesis, &reference);
        prop_assert_eq!((back.substitutions, back.deletions), (edits.substitutions, edits.insertions));
    }

    #[test]
    fn normalizing_twice_is_normalizing_once(text in any::<String>()) {
        let once = Normalization::Basic.apply(&text);
        prop_assert_eq!(Normalization::Basic.apply(&once), once.clone());
    }
}
