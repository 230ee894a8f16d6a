//! Manifests, good and bad, and what splits and orders must keep.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Fault;

/// A folder with `tone.wav` (a tenth of a second at 8 kHz) and a manifest of `content`.
struct Folder {
    folder: TempDir,
    manifest: PathBuf,
}

impl Folder {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join(name);
        fs::write(&manifest, content).unwrap();
        fs::write(folder.path().join("tone.wav"), tone(800)).unwrap();
        Self { folder, manifest }
    }

    fn open(&self) -> Result<Rows> {
        let manifest: &dyn Manifest = if self.manifest.extension().unwrap() == "jsonl" { &jsonl() } else { &csv() };
        Rows::open(manifest, &self.manifest, Access::Folder)
    }

    fn fault(&self) -> Fault {
        let Err(fault) = self.open() else { panic!("{} was opened", self.manifest.display()) };
        assert_eq!(fault.path.as_deref(), Some(self.manifest.as_path()), "{fault}");
        fault
    }
}

fn jsonl() -> Jsonl {
    let (text, split) = ("text".to_owned(), "split".to_owned());
    Jsonl { path: InputPath(String::new()), audio: None, source: None, text, split }
}

fn csv() -> Csv {
    let Jsonl { path, audio, source, text, split } = jsonl();
    Csv { path, audio, source, text, split }
}

/// A WAV file of `samples` 16-bit samples at 8 kHz.
fn tone(samples: u32) -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + 2 * samples).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(8000u32.to_le_bytes());
    wav.extend(16_000u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((2 * samples).to_le_bytes());
    wav.extend((0..samples).flat_map(|i| ((i % 20) as i16 * 500).to_le_bytes()));
    wav
}

/// Lines of a jsonl manifest, one for each text.
fn lines<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(|text| format!("{}\n", serde_json::json!({"audio": "tone.wav", "text": text}))).collect()
}

fn texts(rows: &Rows) -> Vec<&str> {
    (0..rows.len()).map(|index| rows.text(index)).collect()
}

#[test]
fn manifests_say_the_same_in_every_form() {
    let forms = [
        (
            "m.jsonl",
            "\u{feff}{\"audio\": \"tone.wav\", \"text\": \"one, two\"}\n\n{\"text\": \"three\", \"audio\": \"tone.wav\", \"x\": 1}\n",
        ),
        ("m.csv", "\u{feff}text,x,audio\r\n\"one, two\",,tone.wav\r\nthree,1,tone.wav\r\n"),
        ("m.tsv", "audio\ttext\ntone.wav\tone, two\ntone.wav\tthree"),
    ];
    for (name, content) in forms {
        let folder = Folder::new(name, content);
        let rows = folder.open().unwrap();
        assert_eq!(texts(&rows), ["one, two", "three"], "{name}");
        let row = rows.row(1, Some(16_000)).unwrap();
        assert_eq!((row.text.as_str(), row.audio.unwrap().len()), ("three", 1600), "{name}");
    }
}

#[test]
fn bad_rows_are_listed_together() {
    let content = [
        lines(["good"]),
        "not json\n".to_owned(),
        "{\"audio\": \"tone.wav\", \"txt\": \"a\"}\n".to_owned(),
        "{\"audio\": \"gone.wav\", \"text\": \"a\"}\n".to_owned(),
        "{\"audio\": \"../outside.wav\", \"text\": \"a\"}\n".to_owned(),
        "{\"audio\": \"tone.wav\", \"text\": \" \"}\n".to_owned(),
        "{\"audio\": 7, \"text\": \"a\"}\n".to_owned(),
        "[]\n".to_owned(),
        "{\"audio\": \".\", \"text\": \"a\"}\n".to_owned(),
    ]
    .concat();
    let mut folder = Folder::new("m.jsonl", [content.as_bytes(), b"{\"audio\": \"\xFF\"}\n"].concat());
    // The manifest lies one folder down, so that there is a file outside.
    fs::write(folder.folder.path().join("outside.wav"), tone(8)).unwrap();
    let below = folder.folder.path().join("below");
    fs::create_dir(&below).unwrap();
    fs::rename(&folder.manifest, below.join("m.jsonl")).unwrap();
    fs::rename(folder.folder.path().join("tone.wav"), below.join("tone.wav")).unwrap();
    folder.manifest = below.join("m.jsonl");
    let fault = folder.fault();
    insta::assert_snapshot!(fault.message);
}

#[test]
fn more_than_ten_bad_rows_are_counted() {
    let fault = Folder::new("m.jsonl", "{}\n".repeat(25)).fault();
    assert!(fault.message.starts_with("25 of 25 rows cannot be used\n  line 1:"), "{fault}");
    assert!(fault.message.ends_with("\n  and 15 more"), "{fault}");
}

#[test]
fn manifests_that_cannot_be_used_say_why() {
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("empty.jsonl", b"\n\n".to_vec(), "no rows"),
        ("long.jsonl", vec![b'x'; 3 << 20], "line 1 is longer than"),
        ("empty.csv", Vec::new(), "there is no column `audio`"),
        ("header.csv", b"audio,text\n".to_vec(), "no rows"),
        (
            "column.csv",
            b"audio,sentence\ntone.wav,a\n".to_vec(),
            "there is no column `text`; the first line names `audio`, `sentence`",
        ),
        ("short.csv", b"audio,text\ntone.wav\n".to_vec(), "line 2: 1 fields under 2 columns"),
        ("latin1.csv", b"audio,text\ntone.wav,f\xFCnf\n".to_vec(), "line 2: `text` is not UTF-8"),
    ];
    for (name, content, message) in cases {
        let fault = Folder::new(name, content).fault();
        assert!(fault.message.contains(message), "{name}: {fault}");
    }
    let fault = Rows::open(&jsonl(), Path::new("/no/such/folder/m.jsonl"), Access::Folder).err().unwrap();
    assert!(fault.message.contains("cannot read"), "{fault}");
}

#[test]
fn a_manifest_leaves_its_folder_only_if_allowed() {
    let outside = Folder::new("m.jsonl", lines(["a"]));
    let path = outside.folder.path().join("tone.wav");
    let folder = Folder::new("m.jsonl", format!("{}\n", serde_json::json!({"audio": path, "text": "a"})));
    assert!(folder.fault().message.contains("outside the manifest's folder"));
    Rows::open(&jsonl(), &folder.manifest, Access::Anywhere).unwrap();
}

#[test]
fn a_row_that_cannot_be_heard_names_its_file_and_line() {
    let folder = Folder::new("m.jsonl", lines(["a", "b"]).replacen("tone.wav", "silent.wav", 1));
    let silent = folder.folder.path().join("silent.wav");
    fs::write(&silent, [&tone(800)[..44], &[0; 1600][..]].concat()).unwrap();
    let rows = folder.open().unwrap();
    let fault = rows.rows(&[0, 1], Some(8000)).unwrap_err();
    assert!(fault.message.contains("only silence") && fault.message.contains("line 1 of"), "{fault}");
    assert_eq!(fault.path, Some(silent.canonicalize().unwrap()));
}

#[test]
fn content_is_hashed_not_names() {
    let first = Folder::new("m.jsonl", lines(["a", "b"]));
    let renamed = Folder::new("n.jsonl", lines(["a", "b"]).replace("tone.wav", "other.wav"));
    fs::rename(renamed.folder.path().join("tone.wav"), renamed.folder.path().join("other.wav")).unwrap();
    let hash = |folder: &Folder| folder.open().unwrap().content_hash().unwrap();
    assert_eq!(hash(&first), hash(&renamed));
    fs::write(renamed.folder.path().join("other.wav"), tone(801)).unwrap();
    assert_ne!(hash(&first), hash(&renamed));
    assert_ne!(hash(&first), hash(&Folder::new("m.jsonl", lines(["a", "c"]))));
}

#[test]
fn a_split_column_is_followed() {
    let content = "audio,text,split\ntone.wav,a,train\ntone.wav,b,test\ntone.wav,A!,test\n";
    let rows = Folder::new("m.csv", content).open().unwrap();
    let splits = rows.split(&Split::Column, 0).unwrap();
    let named: Vec<(&str, Vec<&str>)> = splits.iter().map(|(name, rows)| (name.as_str(), texts(rows))).collect();
    assert_eq!(named, [("test", vec!["b", "A!"]), ("train", vec!["a"])]);
    assert_eq!(splits[0].1.shared_sentences(&splits[1].1), 1);
    let fault = Folder::new("m.csv", content.replace(",train", ",")).open().unwrap().split(&Split::Column, 0).err().unwrap();
    assert!(fault.message.contains("line 2 does not say which split"), "{fault}");
}

#[test]
fn rows_without_splits_have_none() {
    let rows = Folder::new("m.jsonl", lines(["a", "b"])).open().unwrap();
    assert!(rows.split(&Split::Column, 0).unwrap().is_empty());
}

fn shares(shares: &[(&str, f64)]) -> Split {
    Split::Shares(shares.iter().map(|&(name, share)| (name.to_owned(), share)).collect())
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let rows = Folder::new("m.jsonl", lines(["a", "b", "a"])).open().unwrap();
    for wrong in [&[("a", 0.9), ("b", 0.2)][..], &[("a", 0.0)], &[("a", f64::NAN)], &[("a", -1.0), ("b", 1.0)]] {
        assert!(rows.split(&shares(wrong), 0).is_err(), "{wrong:?}");
    }
    let fault = rows.split(&shares(&[("train", 0.99), ("test", 0.01)]), 0).err().unwrap();
    assert!(fault.message.contains("the split `test` gets none of the 3 rows"), "{fault}");
    assert!(rows.take(4, 0).is_err() && rows.take(0, 0).is_err());
}

#[test]
fn kept_sound_is_bounded_and_the_same() {
    let folder = Folder::new("m.jsonl", lines(["a"]));
    let path = folder.folder.path().join("tone.wav");
    // Room for one of two rates.
    let sounds = sounds::Sounds::keeping(800 * 4);
    let first = sounds.get(0, &path, 8000).unwrap();
    let other = sounds.get(0, &path, 16_000).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(sounds.get(0, &path, 8000).unwrap(), first);
    assert!(sounds.get(0, &path, 16_000).is_err());
    assert_eq!(other.len(), 2 * first.len());
}

#[test]
fn the_order_is_the_same_on_every_machine() {
    assert_eq!(Order::new(8, 3, 17).epoch(0), [6, 0, 1, 2, 7, 3, 4, 5]);
    assert_ne!(Order::new(8, 3, 17).epoch(1), Order::new(8, 3, 17).epoch(0));
    assert_ne!(Order::new(8, 3, 18).epoch(0), Order::new(8, 3, 17).epoch(0));
    assert!(Order::new(0, 3, 17).step(5).is_empty());
}

proptest! {
    #[test]
    fn every_epoch_sees_every_row_once(rows in 1usize..60, batch in 1usize..20, seed: u64, epoch in 0u64..4) {
        let order = Order::new(rows, batch, seed);
        let steps = order.steps_per_epoch();
        let mut seen: Vec<usize> = (epoch * steps..(epoch + 1) * steps).flat_map(|step| order.step(step)).collect();
        prop_assert_eq!(&seen, &order.epoch(epoch));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..rows).collect::<Vec<_>>());
    }

    /// Splits do not depend on the order of the rows, hold every row once, and share no sentence.
    #[test]
    fn splits_depend_on_what_is_said(words in prop::collection::vec(0u32..40, 20..60), seed: u64, turn in 0usize..60) {
        let said: Vec<String> = words.iter().map(|word| format!("say {word}")).collect();
        let mut turned = said.clone();
        turned.rotate_left(turn % said.len());
        let split = |said: &[String]| -> Option<Vec<Vec<String>>> {
            let rows = Folder::new("m.jsonl", lines(said.iter().map(String::as_str))).open().unwrap();
            let splits = rows.split(&shares(&[("train", 0.6), ("valid", 0.2), ("test", 0.2)]), seed).ok()?;
            let sorted = |rows: &Rows| {
                let mut texts: Vec<String> = texts(rows).into_iter().map(str::to_owned).collect();
                texts.sort_unstable();
                texts
            };
            Some(splits.iter().map(|(_, rows)| sorted(rows)).collect())
        };
        let splits = split(&said);
        prop_assert_eq!(&splits, &split(&turned));
        if let Some(splits) = splits {
            let distinct = |texts: &[String]| texts.iter().cloned().collect::<HashSet<_>>();
            prop_assert_eq!(splits.iter().map(Vec::len).sum::<usize>(), said.len());
            prop_assert_eq!(splits.iter().map(|texts| distinct(texts).len()).sum::<usize>(), distinct(&said).len());
        }
    }

    /// No bytes make a manifest panic.
    #[test]
    fn manifests_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), name in prop::sample::select(vec!["m.jsonl", "m.csv", "m.tsv"])) {
        let _ = Folder::new(name, bytes).open();
    }
}
