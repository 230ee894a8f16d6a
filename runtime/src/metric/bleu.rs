//! `bleu`: how many runs of words a translation shares with the reference.

use super::runs::Runs;
use super::{Counts, Metric, Sees, Value};
use crate::shelf::{DataRef, ModelRef};
use crate::word;

/// Words of the longest run.
const ORDER: usize = 4;

word! {
    /// BLEU of translations, 0 to 100 %, as sacreBLEU computes it: one reference, case counts, tokens of `13a`, exponential smoothing.
    pub struct Bleu = "bleu" (
        /// The model to score.
        model: ModelRef,
        /// The rows to score it on.
        data: DataRef,
    ) {}
}

impl Metric for Bleu {
    fn model(&self) -> &ModelRef {
        &self.model
    }

    fn data(&self) -> &DataRef {
        &self.data
    }

    fn sees(&self) -> Sees<'_> {
        Sees::Text(Box::new(counts))
    }

    fn value(&self) -> Value {
        value
    }

    fn variant(&self) -> Option<String> {
        None
    }
}

/// Of runs of one to four words, those that `said` shares with `reference`, each at most as often as it occurs there, and all of
/// `said`; then the words of both.
pub(super) fn counts(reference: &str, said: &str) -> Counts {
    let (reference, said) = (tokens(reference), tokens(said));
    let (mut shared, mut all) = (Vec::new(), Vec::new());
    for order in 1..=ORDER {
        let found = Runs::of(&said, order);
        shared.push(found.shared(&Runs::of(&reference, order)));
        all.push(found.count());
    }
    shared.into_iter().chain(all).chain([said.len(), reference.len()]).map(|count| count as f64).collect()
}

/// The geometric mean of the shares of runs that are right, times `e^(1 - reference / said)` where too little is said (Papineni et
/// al., ACL 2002). Where no run of an order is right, half as much as one is counted, a quarter for the next such order, and so on (Chen
/// and Cherry, WMT 2014, method 3).
pub(super) fn value(counts: &[f64]) -> f64 {
    let (shared, all) = (&counts[..ORDER], &counts[ORDER..2 * ORDER]);
    let (said, reference) = (counts[2 * ORDER], counts[2 * ORDER + 1]);
    if all.contains(&0.0) || shared.iter().all(|&count| count == 0.0) {
        return 0.0;
    }
    let mut smoothed: f64 = 1.0;
    let logarithms = shared.iter().zip(all).map(|(&shared, all)| {
        if shared > 0.0 {
            return (shared / all).ln();
        }
        smoothed /= 2.0;
        (smoothed / all).ln()
    });
    let mean = logarithms.sum::<f64>() / ORDER as f64;
    (mean + (1.0 - reference / said).min(0.0)).exp()
}

/// The tokens of `mteval-v13a`: punctuation and symbols stand alone, periods and commas unless digits are on both sides.
fn tokens(text: &str) -> Vec<String> {
    let mut line = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        line = line.replace(entity, character);
    }
    let mut spaced = String::from(" ");
    for c in line.chars() {
        match c {
            '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/' => spaced.extend([' ', c, ' ']),
            _ => spaced.push(c),
        }
    }
    spaced.push(' ');
    let is_point = |c: char| c == '.' || c == ',';
    let line = apart(&spaced, |a, b| !a.is_ascii_digit() && is_point(b), |a, b| [a, ' ', b, ' ']);
    let line = apart(&line, |a, b| is_point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let line = apart(&line, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    line.split_whitespace().map(str::to_owned).collect()
}

/// `line` with every pair of characters that `is_pair` finds, from left to right and none overlapping, written as `written` says.
fn apart(line: &str, is_pair: impl Fn(char, char) -> bool, written: impl Fn(char, char) -> [char; 4]) -> String {
    let mut apart = String::with_capacity(2 * line.len());
    let mut characters = line.chars().peekable();
    while let Some(first) = characters.next() {
        match characters.next_if(|&second| is_pair(first, second)) {
            Some(second) => apart.extend(written(first, second)),
            None => apart.push(first),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::metric::{Bootstrap, Interval, Scores, chrf};

    fn fixture() -> Json {
        serde_json::from_str(include_str!("../../tests/fixtures/translations.json")).unwrap()
    }

    /// The pairs of `case`, reference first.
    fn pairs(case: &Json) -> Vec<(&str, &str)> {
        let pairs = case["pairs"].as_array().unwrap().iter();
        pairs.map(|pair| (pair["reference"].as_str().unwrap(), pair["said"].as_str().unwrap())).collect()
    }

    #[test]
    fn scores_are_those_of_sacrebleu() {
        for case in fixture()["cases"].as_array().unwrap() {
            for (name, count, value) in
                [("bleu", counts as fn(&str, &str) -> Counts, value as Value), ("chrf", chrf::counts, chrf::value)]
            {
                let score = 100.0 * Scores::of_texts(count, value, pairs(case)).unwrap().rate();
                let expected = case[name].as_f64().unwrap();
                assert!((score - expected).abs() < 1e-6, "{name} of {}: {score} instead of {expected}", case["name"]);
            }
        }
    }

    #[test]
    fn tokens_are_those_of_13a() {
        for case in fixture()["tokens"].as_array().unwrap() {
            let found = tokens(case["text"].as_str().unwrap()).join(" ");
            assert_eq!(found, case["tokens"].as_str().unwrap());
        }
    }

    #[test]
    fn an_interval_holds_the_score_and_narrows_with_more_rows() {
        let fixture = fixture();
        let pairs = pairs(&fixture["cases"][0]);
        let many: Vec<_> = std::iter::repeat_n(&pairs, 16).flatten().copied().collect();
        let interval = |pairs: Vec<(&str, &str)>| {
            let scores = Scores::of_texts(counts, value, pairs).unwrap();
            let Interval { low, high } = Bootstrap::default().interval(&scores);
            assert!(low < scores.rate() && scores.rate() < high, "{low} … {high}");
            high - low
        };
        let (few, many) = (interval(pairs), interval(many));
        assert!((many * 4.0 / few - 1.0).abs() < 0.25, "{few} and {many}");
    }
}
