//! Sound files, whole and broken, through the front door; made by `tests/fixtures/make_log_mel.py`.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::SafeTensors;

use super::decode::Decoder;
use super::*;

const FILES: [&str; 4] = ["speech.wav", "speech-24k.flac", "speech-44k-stereo.mp3", "speech-22k-stereo.ogg"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// A tensor of the fixture, flat.
fn expected(name: &str) -> Vec<f32> {
    let bytes = bytes("log_mel.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor(name).unwrap().data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Decodes bytes to the end, at their own rate.
fn decode(bytes: Vec<u8>) -> Result<Vec<f32>> {
    let mut decoder = Decoder::of(Box::new(Cursor::new(bytes)), Path::new("mutated"))?;
    let mut samples = Vec::new();
    while let Some(packet) = decoder.packet()? {
        samples.extend_from_slice(packet);
    }
    Ok(samples)
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A RIFF file of `format` (1 PCM, 3 float), its sizes as claimed.
fn wav(format: u16, bits: u16, rate: u32, claimed_bytes: u32, data: &[u8]) -> Vec<u8> {
    let frame_bytes = u32::from(bits / 8);
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36u32.saturating_add(claimed_bytes)).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend(format.to_le_bytes());
    wav.extend(1u16.to_le_bytes());
    wav.extend(rate.to_le_bytes());
    wav.extend((rate.wrapping_mul(frame_bytes)).to_le_bytes());
    wav.extend((frame_bytes as u16).to_le_bytes());
    wav.extend(bits.to_le_bytes());
    wav.extend(b"data");
    wav.extend(claimed_bytes.to_le_bytes());
    wav.extend(data);
    wav
}

/// The fault of reading `bytes` as an utterance at 16 kHz of at most 600 s.
fn fault(bytes: &[u8]) -> Fault {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("utterance.wav");
    std::fs::write(&path, bytes).unwrap();
    let fault = read(&path, 16_000, 600).unwrap_err();
    assert_eq!(fault.path.as_deref(), Some(path.as_path()), "{fault}");
    assert!(fault.help.is_some(), "{fault}");
    fault
}

#[test]
fn features_equal_whisper_feature_extractor() {
    let samples = read(&file("speech.wav"), 16_000, 30).unwrap();
    let extractors = [
        ("mels80", serde_json::json!({"feature_size": 80, "chunk_length": 30}), 220, 1),
        ("mels128", serde_json::json!({"feature_size": 128, "chunk_length": 30}), 220, 4),
        ("cut", serde_json::json!({"feature_size": 80, "chunk_length": 1}), 100, 1),
        ("other", serde_json::json!({"feature_size": 40, "chunk_length": 3, "n_fft": 512, "hop_length": 200}), 240, 2),
    ];
    for (name, config, kept, every) in extractors {
        let log_mel = LogMel::from_config(&config).unwrap();
        let features = log_mel.features(&samples);
        let rows = features.chunks_exact(log_mel.frames());
        let part: Vec<f32> = rows.clone().flat_map(|row| row[..kept].iter().step_by(every).copied()).collect();
        let last: Vec<f32> = rows.map(|row| *row.last().unwrap()).collect();
        for (name, ours) in [(name.to_owned(), part), (format!("{name}.last"), last)] {
            let difference = max_difference(&ours, &expected(&name));
            println!("{name}: {difference:.1e}");
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

#[test]
fn a_batch_is_its_rows() {
    let log_mel = LogMel::from_config(&serde_json::json!({"chunk_length": 3})).unwrap();
    let samples = read(&file("speech.wav"), 16_000, 30).unwrap();
    let rows = [&samples[..], &samples[..8000], &[]];
    let batch = log_mel.batch(&rows);
    assert_eq!(batch, rows.map(|row| log_mel.features(row)).concat());
}

#[test]
fn copies_decode_as_libsndfile_decodes_them() {
    for name in &FILES[1..] {
        let samples = decode(bytes(name)).unwrap();
        let reference = expected(name);
        let middle = samples.len() / 2;
        let difference = max_difference(&samples[middle..middle + reference.len()], &reference);
        println!("{name}: {} samples, {difference:.1e}", samples.len());
        assert!(difference < 2e-5, "{name}: {difference}");
    }
}

#[test]
fn every_copy_is_the_same_speech_at_the_same_time() {
    let wav = read(&file("speech.wav"), 16_000, 30).unwrap();
    for (name, volume) in [(FILES[1], 1.0), (FILES[2], 0.75), (FILES[3], 0.75)] {
        let copy = read(&file(name), 16_000, 30).unwrap();
        assert!(copy.len().abs_diff(wav.len()) <= 2, "{name}: {} samples, not {}", copy.len(), wav.len());
        let energy: f32 = wav.iter().map(|x| x * x).sum();
        let noise: f32 = wav.iter().zip(&copy).map(|(a, b)| (a - b / volume).powi(2)).sum();
        println!("{name}: noise {:.4}", noise / energy);
        assert!(noise < 0.05 * energy, "{name}: {}", noise / energy);
    }
}

#[test]
fn windows_are_the_recording_cut() {
    let path = file("speech-44k-stereo.mp3");
    let whole = read(&path, 16_000, 30).unwrap();
    let windows: Vec<Vec<f32>> = Windows::open(&path, 16_000, 7000).unwrap().map(|window| window.unwrap()).collect();
    assert_eq!(windows.concat(), whole);
    assert!(windows[..windows.len() - 1].iter().all(|window| (3500..=7000).contains(&window.len())));
}

#[test]
fn a_window_ends_in_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pauses.wav");
    // A tone with pauses of 150 ms; windows of 3 s must end in that of 2.4 s and then in that of 5.1 s.
    let pauses = [(2400, 2550), (5100, 5250), (5300, 5310)];
    let sound = |at: i32| if pauses.iter().any(|&(from, to)| (from..to).contains(&at)) { 3 } else { (at % 7) as i16 * 1000 };
    let data: Vec<u8> = (0..7000).flat_map(|at| sound(at).to_le_bytes()).collect();
    std::fs::write(&path, wav(1, 16, 1000, data.len() as u32, &data)).unwrap();
    let lengths: Vec<usize> = Windows::open(&path, 1000, 3000).unwrap().map(|window| window.unwrap().len()).collect();
    let ends: Vec<usize> = lengths
        .iter()
        .scan(0, |end, length| {
            Some({
                *end += length;
                *end
            })
        })
        .collect();
    assert_eq!(ends.len(), 3, "{ends:?}");
    assert!((2400..2550).contains(&ends[0]) && (5100..5250).contains(&ends[1]) && ends[2] == 7000, "{ends:?}");
}

#[test]
fn faults_name_the_file_and_say_what_to_do() {
    let speech = bytes("speech.wav");
    let tone: Vec<u8> = (0..16_000u32).flat_map(|i| ((i % 80) as i16 * 100).to_le_bytes()).collect();
    let not_a_number = [0.5f32, f32::NAN].map(f32::to_le_bytes).concat();
    let cases = [
        ("empty", Vec::new(), "this file is empty"),
        ("text", b"{\"audio\": \"no\"}".repeat(100), "no sound file"),
        ("no samples", wav(1, 16, 16_000, 0, &[]), "no samples"),
        ("cut short", speech[..40_000].to_vec(), "cut short: its header promises 1.97 s"),
        ("cut in the header", speech[..30].to_vec(), "cut short"),
        ("a claim of 4 GB", wav(1, 16, 16_000, u32::MAX - 64, &tone), "cut short"),
        ("silence", wav(1, 16, 16_000, 32_000, &[0; 32_000]), "only silence"),
        ("not a number", wav(3, 32, 16_000, 8, &not_a_number), "not a finite number"),
        ("no rate", wav(1, 16, 0, 32_000, &tone), "cannot be converted"),
        ("a rate of 4 GHz", wav(1, 16, u32::MAX, 32_000, &tone), "cannot be converted"),
        ("opus", bytes("speech.opus"), "no sound file"),
        ("flac cut short", bytes("speech-24k.flac")[..30_000].to_vec(), "cut short"),
        ("mp3 cut short", bytes("speech-44k-stereo.mp3")[..9_000].to_vec(), "cut short"),
        ("ogg cut short", bytes("speech-22k-stereo.ogg")[..9_000].to_vec(), "cut short"),
    ];
    for (name, bytes, message) in cases {
        let fault = fault(&bytes);
        println!("{name}: {fault}; {}", fault.help.as_deref().unwrap());
        assert!(fault.message.contains(message), "{name}: {fault}");
    }
}

#[test]
fn an_hour_is_no_utterance_but_can_be_heard_in_windows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hour.wav");
    let hour = 3600 * 1000;
    let data: Vec<u8> = (0..hour).map(|i| (i % 200) as u8).collect();
    std::fs::write(&path, wav(1, 8, 1000, hour, &data)).unwrap();
    let fault = read(&path, 1000, 600).unwrap_err();
    assert!(fault.message.contains("longer than 600 s"), "{fault}");
    let windows: Vec<usize> = Windows::open(&path, 1000, 30_000).unwrap().map(|window| window.unwrap().len()).collect();
    assert_eq!(windows.iter().sum::<usize>(), hour as usize);
    assert!(windows[..windows.len() - 1].iter().all(|window| (28_000..=30_000).contains(window)));
}

#[test]
fn silent_windows_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pause.wav");
    let lengths = |samples: &[i16]| {
        let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(&path, wav(1, 16, 1000, data.len() as u32, &data)).unwrap();
        Windows::open(&path, 1000, 100).unwrap().map(|window| window.map(|window| window.len())).collect::<Vec<_>>()
    };
    let mut samples = vec![0; 250];
    samples[249] = 1000;
    let windows: Vec<usize> = lengths(&samples).into_iter().map(|window| window.unwrap()).collect();
    assert_eq!(windows, [50]);
    let silent = lengths(&[0; 250]);
    assert_eq!(silent.len(), 1);
    assert!(silent[0].as_ref().unwrap_err().message.contains("only silence"));
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let cases = [
        serde_json::json!({"feature_size": 0}),
        serde_json::json!({"feature_size": "80"}),
        serde_json::json!({"n_fft": 401}),
        serde_json::json!({"hop_length": 0}),
        serde_json::json!({"chunk_length": 1e12}),
        serde_json::json!({"chunk_length": 1, "n_fft": 16000}),
        serde_json::json!({"padding_value": 1.0}),
        serde_json::json!({"dither": 0.1}),
        serde_json::json!("whisper"),
    ];
    for config in cases {
        assert!(LogMel::from_config(&config).is_err(), "{config}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Damaged files are heard in part or refused, never a panic, and never more samples than a file of this size can hold.
    #[test]
    fn no_bytes_make_it_panic(
        which in 0..FILES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        length in any::<prop::sample::Index>(),
        in_header in any::<bool>(),
    ) {
        let mut bytes = bytes(FILES[which]);
        let reach = if in_header { bytes.len().min(200) } else { bytes.len() };
        for (at, value) in edits {
            bytes[at.index(reach)] = value;
        }
        bytes.truncate(reach.max(length.index(bytes.len())));
        let size = bytes.len();
        if let Ok(samples) = decode(bytes) {
            prop_assert!(samples.len() < 10_000 * size);
        }
    }
}
