//! The key of a step: what it means and what it reads, as one hash.

use std::path::PathBuf;

use blake3::{Hash, Hasher};
use sparsec_compiler::{Call, Schedule, Step, Value};

use crate::{Result, disk};

/// The key of `step`. `above` are the keys of the steps that it uses, `locate` finds the files that its arguments name.
///
/// # Errors
/// A file that is missing or cannot be read.
pub(super) fn key(step: &Step, above: &[Hash], locate: impl Fn(&str) -> Result<PathBuf>) -> Result<Hash> {
    let mut hasher = Hasher::new();
    hasher.update(step.fingerprint.as_bytes());
    for key in above {
        hasher.update(key.as_bytes());
    }
    if let Some(call) = step.call() {
        let mut paths = Vec::new();
        each_input(call, &mut |path| paths.push(path.to_owned()));
        for path in paths {
            hasher.update(disk::content_hash(&locate(&path)?)?.as_bytes());
        }
    }
    Ok(hasher.finalize())
}

/// One key of several.
pub(super) fn hash<'a>(keys: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut hasher = Hasher::new();
    for key in keys {
        hasher.update(key.as_bytes());
    }
    hasher.finalize()
}

/// The key that also depends on `content`: what rows hold, wherever their files are.
pub(super) fn with_content(key: &Hash, content: &Hash) -> Hash {
    hash([key, content])
}

/// The key of `name` under `key`, such as a part of a data set.
pub(super) fn part(key: &Hash, name: &str) -> Hash {
    Hasher::new().update(key.as_bytes()).update(name.as_bytes()).finalize()
}

/// Calls `visit` for every path that `call` reads.
fn each_input(call: &Call, visit: &mut impl FnMut(&str)) {
    call.arguments.iter().for_each(|argument| each_input_of(&argument.value, visit));
}

fn each_input_of(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::InputPath(path) => visit(path),
        Value::Call(call) => each_input(call, visit),
        Value::List(values) => values.iter().for_each(|value| each_input_of(value, visit)),
        Value::Record(fields) => fields.iter().for_each(|(_, value)| each_input_of(value, visit)),
        Value::Weighted(terms) => terms.iter().for_each(|term| each_input(&term.call, visit)),
        Value::Schedule(Schedule::Segments(segments)) => segments.iter().for_each(|segment| each_input(&segment.shape, visit)),
        _ => {}
    }
}
