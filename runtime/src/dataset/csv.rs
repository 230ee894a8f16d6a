//! `csv`: a manifest of comma-separated records (RFC 4180) under a header line; a file that ends in `.tsv` is separated by tabs and
//! has no quotes, as Common Voice writes it.

use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::manifest::LINE_LIMIT_BYTES;
use super::{Columns, Fields, Line, Manifest};
use crate::shelf::InputPath;
use crate::{Fault, Result, word};

word! {
    /// A manifest of comma-separated values under a line of names; a `.tsv` is separated by tabs.
    pub struct Csv = "csv" (
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

impl Manifest for Csv {
    fn path(&self) -> &InputPath {
        &self.path
    }

    fn columns(&self) -> Columns {
        Columns::named(self.audio.as_ref(), self.source.as_ref(), &self.text, &self.split)
    }

    fn lines(&self, path: &Path) -> Result<Vec<Line>> {
        let columns = self.columns();
        let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let mut reader = ReaderBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .quoting(!tabs)
            .flexible(true)
            .from_path(path)
            .map_err(|error| unreadable(path, &error))?;
        let header = reader.byte_headers().map_err(|error| unreadable(path, &error))?.clone();
        let header: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        if let Some(missing) = columns.required().find(|name| !header.iter().any(|column| column == name)) {
            return Err(Fault::input(format!("there is no column `{missing}`; the first line names `{}`", header.join("`, `")))
                .at(path)
                .help("name the column in the recipe, or rename it in the manifest"));
        }
        let mut lines = Vec::new();
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| unreadable(path, &error))? {
            let number = record.position().map_or(0, csv::Position::line);
            lines.push(Line { number, fields: fields(&record, &header, &columns) });
        }
        Ok(lines)
    }
}

fn fields(record: &ByteRecord, header: &[String], columns: &Columns) -> Result<Fields, String> {
    if record.as_slice().len() > LINE_LIMIT_BYTES {
        return Err(format!("longer than {LINE_LIMIT_BYTES} bytes; is a quote left open?"));
    }
    if record.len() != header.len() {
        return Err(format!("{} fields under {} columns", record.len(), header.len()));
    }
    Fields::gather(columns, |name| {
        let value = header.iter().position(|column| column == name).and_then(|column| record.get(column));
        let utf8 = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(|_| format!("`{name}` is not UTF-8"));
        value.map(utf8).transpose()
    })
}

fn unreadable(path: &Path, error: &csv::Error) -> Fault {
    match error.kind() {
        csv::ErrorKind::Io(error) => Fault::reading(path, error),
        _ => Fault::input(format!("this is no CSV: {error}")).at(path),
    }
}
