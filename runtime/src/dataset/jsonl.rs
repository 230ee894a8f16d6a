//! `jsonl`: a manifest of one JSON object per line; blank lines are skipped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::manifest::LINE_LIMIT_BYTES;
use super::{Columns, Fields, Line, Manifest};
use crate::shelf::InputPath;
use crate::{Fault, Result, word};

word! {
    /// A manifest of one JSON object per line.
    pub struct Jsonl = "jsonl" (
        /// The file. Paths in it are relative to its folder.
        path: InputPath,
    ) {
        /// Where a row has the path of its sound; `audio` unless a source text is named.
        audio: Option<String>,
        /// Where a row has the text to translate or to answer, for data that is not heard.
        source: Option<String>,
        /// Where a row has the reference text.
        text: String = "text".to_owned(),
        /// Where a row may name the split that it belongs to.
        split: String = "split".to_owned(),
    }
}

impl Manifest for Jsonl {
    fn path(&self) -> &InputPath {
        &self.path
    }

    fn columns(&self) -> Columns {
        Columns::named(self.audio.as_ref(), self.source.as_ref(), &self.text, &self.split)
    }

    fn lines(&self, path: &Path) -> Result<Vec<Line>> {
        let columns = self.columns();
        let file = File::open(path).map_err(|error| Fault::reading(path, &error))?;
        let mut reader = BufReader::new(file);
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let limit = LINE_LIMIT_BYTES as u64 + 1;
            reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(|error| Fault::reading(path, &error))?;
            if bytes.is_empty() {
                break;
            }
            if bytes.len() > LINE_LIMIT_BYTES {
                return Err(Fault::input(format!("line {number} is longer than {LINE_LIMIT_BYTES} bytes"))
                    .at(path)
                    .help("is this a manifest? it has one JSON object per line"));
            }
            let line = bytes.strip_prefix(b"\xEF\xBB\xBF").filter(|_| number == 1).unwrap_or(&bytes);
            if !line.trim_ascii().is_empty() {
                lines.push(Line { number, fields: fields(line, &columns) });
            }
        }
        Ok(lines)
    }
}

fn fields(line: &[u8], columns: &Columns) -> Result<Fields, String> {
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| unparsed(&error))?;
    Fields::gather(columns, |name| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(format!("`{name}` is not a string")),
    })
    .map_err(|reason| format!("{reason}; this row has {}", names(object.keys())))
}

/// Why a line is no JSON object; the parser counts lines too, but it has seen only one.
fn unparsed(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    format!("no JSON object: {reason}, column {}", error.column())
}

fn names<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
    if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
}
