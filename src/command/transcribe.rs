//! `sparsec transcribe`: what is said in sound files.

use sparsec_runtime::audio::Windows;
use sparsec_runtime::model::{Row, family};
use sparsec_runtime::{Fault, FaultKind, Result};
use std::path::{Path, PathBuf};

use super::kernels::Kernels;
use super::speech::Speech;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal;

/// Transcribe sound files (wav, flac, mp3, ogg; any rate, any number of channels, any length)
///
/// A file that cannot be read is reported and the others are transcribed; the exit code is then not 0.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sparsec transcribe out/whisper recording.wav")]
pub struct Arguments {
    /// A folder that `export` wrote, or any Whisper checkpoint
    artifact: PathBuf,
    /// Sound files
    #[arg(required = true, value_name = "SOUND")]
    sounds: Vec<PathBuf>,
    #[command(flatten)]
    speech: Speech,
    #[command(flatten)]
    kernels: Kernels,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit> {
    let checkpoint = arguments.speech.checkpoint(&arguments.artifact)?;
    let processor = family(&checkpoint.config)?.processor(&checkpoint)?;
    let model = arguments.kernels.engine(&checkpoint, &mut Progress::new())?.model;
    let (Some(rate), Some(window)) = (processor.sample_rate(), processor.window_samples()) else {
        return Err(Fault::input("this model does not hear").at(&arguments.artifact).help("use a Whisper checkpoint"));
    };
    let say = |window: Vec<f32>| -> Result<String> {
        let rows = [Row { audio: Some(window.into()), ..Row::default() }];
        Ok(processor.decode(&*model, &rows, None)?.into_iter().map(|decoded| decoded.text).collect())
    };
    let mut exit = Exit::Done;
    let mut said = Vec::new();
    for path in &arguments.sounds {
        match transcript(path, rate, window, &say) {
            Ok(text) if arguments.json => said.push(serde_json::json!({ "sound": path, "text": text })),
            Ok(text) if arguments.sounds.len() > 1 => outln!("{}: {text}", path.display()),
            Ok(text) => outln!("{text}"),
            Err(fault) => {
                terminal::print_fault(&fault);
                exit = if exit == Exit::Done { Exit::of(&fault) } else { exit };
                said.push(serde_json::json!({ "sound": path, "error": fault.message, "help": fault.help }));
                if fault.kind == FaultKind::Interrupted {
                    break;
                }
            }
        }
    }
    if arguments.json {
        super::print_json(&said)?;
    }
    Ok(exit)
}

/// The texts of all windows of one file, joined.
fn transcript(path: &Path, rate: u32, window: usize, say: &dyn Fn(Vec<f32>) -> Result<String>) -> Result<String> {
    let mut texts = Vec::new();
    for samples in Windows::open(path, rate, window)? {
        super::go_on()?;
        texts.push(say(samples?)?.trim().to_owned());
    }
    texts.retain(|text| !text.is_empty());
    Ok(texts.join(" "))
}
