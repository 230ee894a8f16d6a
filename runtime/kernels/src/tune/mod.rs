//! Choice by measurement: which format serves a layer for a number of tokens, timed once and remembered.
//!
//! A time belongs to a CPU model, a number of threads, an element, a shape, a pattern, a sparsity and a range of token counts; layers alike in
//! all of these share it. Dense is always among the candidates, so a layer never runs slower than dense because it is sparse.

mod clock;
mod layer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub(crate) use clock::{Clock, Race, race};
pub use layer::Layer;

use crate::error::Result;
use crate::format::by_word;
use crate::{Cpu, Element, KernelError, Pattern, Tier};

/// Token counts that one kernel serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TokenRange {
    /// Fewest tokens.
    pub first: usize,
    /// Most tokens.
    pub last: usize,
    /// The token count that is timed.
    pub sample: usize,
}

/// Every range; what binds a product changes from one to the next.
pub const RANGES: [TokenRange; 6] = [
    TokenRange { first: 1, last: 1, sample: 1 },
    TokenRange { first: 2, last: 4, sample: 4 },
    TokenRange { first: 5, last: 15, sample: 8 },
    TokenRange { first: 16, last: 63, sample: 32 },
    TokenRange { first: 64, last: 255, sample: 128 },
    TokenRange { first: 256, last: usize::MAX, sample: 384 },
];

impl TokenRange {
    /// The range that holds `tokens`; none counts as one.
    pub fn of(tokens: usize) -> Self {
        RANGES.into_iter().rfind(|range| range.first <= tokens).unwrap_or(RANGES[0])
    }
}

/// What a measured time belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    cpu: String,
    tier: Tier,
    threads: usize,
    element: Element,
    rows: usize,
    cols: usize,
    pattern: Pattern,
    /// Rounded to a multiple of five.
    sparsity_percent: u32,
    /// Fewest tokens of the range.
    tokens: usize,
}

impl Key {
    /// On this CPU with the threads of the current pool.
    pub(crate) fn here(layer: &Layer, tier: Tier, range: TokenRange) -> Self {
        Self {
            cpu: Cpu::this().model.clone(),
            tier,
            threads: rayon::current_num_threads(),
            element: layer.element,
            rows: layer.rows,
            cols: layer.cols,
            pattern: layer.pattern,
            sparsity_percent: (layer.sparsity * 20.0).round() as u32 * 5,
            tokens: range.first,
        }
    }
}

/// Milliseconds by format; ordered, so that files and ties are always the same.
pub(crate) type Times = BTreeMap<String, f64>;

/// Milliseconds that no product takes.
const LONGEST: f64 = 1e9;

/// Measured times, shared by the layers of a model; clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Tuning(Arc<Mutex<BTreeMap<Key, Times>>>);

/// The layout of a tuning file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: Key,
    milliseconds: Times,
}

/// Version of the file's layout and of the kernels whose times it holds.
const VERSION: u32 = 4;

impl Tuning {
    /// Reads a tuning file.
    ///
    /// # Errors
    /// When it cannot be read, is not a tuning file of this version, or holds a time or format that cannot be.
    pub fn load(path: &Path) -> Result<Self> {
        let fail = |reason: String| KernelError::Tuning { path: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        Self::parse(&text).map_err(fail)
    }

    /// Reads the text of a tuning file.
    ///
    /// # Errors
    /// As [`Tuning::load`], in words.
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!("version {} where this program reads {VERSION}", file.version));
        }
        let mut known = BTreeMap::new();
        for Entry { key, milliseconds } in file.entries {
            if milliseconds.is_empty() || milliseconds.values().any(|time| !(0.0..LONGEST).contains(time)) {
                return Err(format!("the times of {} by {} are not times", key.rows, key.cols));
            }
            for word in milliseconds.keys() {
                by_word(word).map_err(|error| error.to_string())?;
            }
            known.insert(key, milliseconds);
        }
        Ok(Self(Arc::new(Mutex::new(known))))
    }

    /// Writes every time known so far; a reader sees the old file or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let fail = |reason: String| KernelError::Tuning { path: path.display().to_string(), reason };
        let text = self.to_json().map_err(|error| fail(error.to_string()))?;
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text)
            .and_then(|()| std::fs::rename(&unfinished, path))
            .map_err(|error| fail(error.to_string()))
    }

    /// The text of a tuning file.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let entries = self.entries().iter().map(|(key, times)| Entry { key: key.clone(), milliseconds: times.clone() }).collect();
        serde_json::to_string_pretty(&File { version: VERSION, entries })
    }

    /// Times of one layer, where known.
    pub(crate) fn find(&self, key: &Key) -> Option<Times> {
        self.entries().get(key).cloned()
    }

    /// Remembers times.
    pub(crate) fn record(&self, key: Key, times: Times) {
        self.entries().insert(key, times);
    }

    /// A panic elsewhere cannot leave a half-made entry, so a poisoned lock is as good as any.
    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Times>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats worth trying without a measurement, best first: what `docs/kernels.md` found in each regime.
pub(crate) fn rule(layer: &Layer, range: TokenRange) -> &'static [&'static str] {
    let (sparsity, is_integer) = (layer.sparsity, layer.element.is_integer());
    match range.first {
        _ if sparsity < 0.4 => &["dense"],
        64.. if is_integer => &["rowset", "block", "sell", "dense"],
        64.. => &["rowset", "rowblock", "sell", "dense"],
        16.. if !is_integer => &["rowblock", "sell", "dense"],
        5.. if sparsity >= 0.6 || is_integer => &["sell", "dense"],
        0..5 if sparsity >= 0.6 => &["sell", "bitmask", "dense"],
        0..5 => &["bitmask", "dense"],
        _ => &["dense"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mask, SparseMatrix};

    #[test]
    fn ranges_have_no_gaps() {
        assert!(RANGES.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        assert!(RANGES.iter().all(|range| (range.first..=range.last).contains(&range.sample)));
        for (tokens, first) in [(0, 1), (1, 1), (4, 2), (15, 5), (16, 16), (1500, 256)] {
            assert_eq!(TokenRange::of(tokens).first, first);
        }
    }

    #[test]
    fn a_file_comes_back_and_a_broken_one_is_refused() {
        let path = std::env::temp_dir().join(format!("sparsec-tuning-{}.json", std::process::id()));
        let tuning = Tuning::default();
        let matrix = SparseMatrix::new(&[1.0; 32], Mask::from_fn(4, 8, |row, _| row == 0)).unwrap();
        let key = Key::here(&Layer::of(&matrix), Tier::Portable, RANGES[0]);
        assert_eq!(key.sparsity_percent, 75);
        tuning.record(key.clone(), Times::from([("dense".into(), 1.5)]));
        tuning.save(&path).unwrap();
        assert_eq!(Tuning::load(&path).unwrap().find(&key), tuning.find(&key));
        let good = std::fs::read_to_string(&path).unwrap();
        // A reader that does not round exactly takes this number for its neighbour.
        let near = Tuning::parse(&good.replace("1.5", "1.0070300")).unwrap().to_json().unwrap();
        assert!(near.contains(": 1.00703\n") && Tuning::parse(&near).unwrap().to_json().unwrap() == near, "{near}");
        for (broken, reason) in [
            (good[..good.len() / 2].to_string(), "EOF"),
            (good.replace("\"version\": 4", "\"version\": 9"), "version 9 where this program reads 4"),
            (good.replace("1.5", "-1.5"), "are not times"),
            (good.replace("1.5", "1e300"), "are not times"),
            (good.replace("dense", "sparser"), "no format is called sparser"),
            (good.replace("threads", "thread"), "thread"),
            (good.replace("fp32", "fp16"), "fp16"),
        ] {
            std::fs::write(&path, broken).unwrap();
            let error = Tuning::load(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("sparsec-tuning"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Tuning::load(&path).is_err());
    }
}
