//! Decoding: WAV, FLAC, MP3 and Ogg Vorbis, known by their content, to mono samples at the file's own rate.
//!
//! Nothing is allocated by what a header claims: packets are read one by one, and their sizes are bounded by their formats. A file
//! that ends before its header says, or whose samples are no numbers, is a fault and never a shorter utterance.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use crate::{Fault, Result};

const CONVERT: &str = "convert it to FLAC, WAV, MP3 or Ogg Vorbis, for example `ffmpeg -i IN OUT.flac`";
const RENEW: &str = "fetch or export the file again";
/// Frames that may be missing at the end: MP3 encoders disagree on whether the one that holds the header counts.
const SLACK_FRAMES: u64 = 2 * 1152;

/// A sound file being decoded.
pub(super) struct Decoder {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    codec: Box<dyn AudioDecoder>,
    track: u32,
    sample_rate: u32,
    /// Frames (samples per channel) that the header promises, where it says.
    promised: Option<u64>,
    /// Frames decoded so far.
    frames: u64,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
}

impl Decoder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file =
            File::open(path).map_err(|error| Fault::reading(path, &error).help("is the path right, and readable for you?"))?;
        let metadata = file.metadata().map_err(|error| Fault::reading(path, &error))?;
        if !metadata.is_file() {
            return Err(Fault::input("this is a folder or a device, not a sound file").at(path).help("name a file"));
        }
        if metadata.len() == 0 {
            return Err(Fault::input("this file is empty").at(path).help(RENEW));
        }
        Self::of(Box::new(file), path)
    }

    /// Decodes `source`, which faults call `path`.
    pub(super) fn of(source: Box<dyn MediaSource>, path: &Path) -> Result<Self> {
        let stream = MediaSourceStream::new(source, Default::default());
        let probe =
            || symphonia::default::get_probe().probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default());
        let format = guarded(probe).map_err(|error| unknown(path, &error))?;
        let track = format
            .default_track(TrackType::Audio)
            .ok_or_else(|| Fault::input("there is no sound in this file").at(path).help(CONVERT))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let (id, promised) = (track.id, track.num_frames);
        let (Some(parameters), Some(sample_rate)) = (parameters, parameters.and_then(|audio| audio.sample_rate)) else {
            return Err(Fault::input("this file does not say how its sound is coded").at(path).help(CONVERT));
        };
        let codec = || symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default());
        let codec = guarded(codec).map_err(|error| unknown(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            codec,
            track: id,
            sample_rate,
            promised,
            frames: 0,
            interleaved: Vec::new(),
            mono: Vec::new(),
            format,
        })
    }

    pub(super) fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The next mono samples; `None` after the last.
    pub(super) fn packet(&mut self) -> Result<Option<&[f32]>> {
        loop {
            let packet = match guarded(|| self.format.next_packet()) {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.end().map(|()| None),
                Err(error) => return Err(self.broken(&error)),
            };
            if packet.track_id != self.track {
                continue;
            }
            match guarded(|| self.codec.decode(&packet)) {
                Ok(sound) if sound.frames() == 0 => {}
                Ok(sound) => {
                    let (rate, channels) = (sound.spec().rate(), sound.spec().channels().count());
                    sound.copy_to_vec_interleaved(&mut self.interleaved);
                    return self.mix(rate, channels).map(Some);
                }
                // An MP3 stream may begin in the middle of a frame that needs bits from before the cut.
                Err(Error::DecodeError(_)) if self.frames == 0 => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Mixes the interleaved frames to mono.
    fn mix(&mut self, rate: u32, channels: usize) -> Result<&[f32]> {
        if rate != self.sample_rate {
            return Err(self.fault(format!("the sample rate changes from {} to {rate} Hz", self.sample_rate)).help(CONVERT));
        }
        if channels == 0 {
            return Err(self.fault("the sound has no channels".to_owned()).help(CONVERT));
        }
        let share = 1.0 / channels as f32;
        self.mono.clear();
        self.mono.extend(self.interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * share));
        if let Some(at) = self.mono.iter().position(|x| !x.is_finite()) {
            self.frames += at as u64;
            return Err(self.fault("a sample is not a finite number".to_owned()).help(RENEW));
        }
        self.frames += self.mono.len() as u64;
        Ok(&self.mono)
    }

    /// Checks, at the end of the file, that everything came.
    fn end(&self) -> Result<()> {
        match self.promised {
            Some(promised) if self.frames + SLACK_FRAMES < promised => Err(self.short(promised)),
            _ if self.frames == 0 => Err(Fault::input("there are no samples in this file").at(&self.path).help(RENEW)),
            _ => Ok(()),
        }
    }

    fn short(&self, promised: u64) -> Fault {
        let promised = promised as f64 / f64::from(self.sample_rate);
        self.fault(format!("the file is cut short: its header promises {promised:.2} s")).help(RENEW)
    }

    /// A failure after the file was opened.
    fn broken(&self, error: &Error) -> Fault {
        match error {
            error if is_end(error) => match self.promised {
                Some(promised) => self.short(promised),
                None => self.fault("the file is cut short".to_owned()).help(RENEW),
            },
            Error::ResetRequired => self.fault("another stream begins in the same file".to_owned()).help(CONVERT),
            error => self.fault(format!("the sound is damaged: {error}")).help(RENEW),
        }
    }

    /// A fault at the current place in the file.
    fn fault(&self, message: String) -> Fault {
        let seconds = self.frames as f64 / f64::from(self.sample_rate);
        Fault::input(format!("{message} (after {seconds:.2} s)")).at(&self.path)
    }
}

/// Whether the file ended where more had to come.
fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// One step of the decoder. Headers that contradict themselves overflow its arithmetic, which is a panic in builds that check: the
/// file is at fault, and nothing that saw the panic is used again.
fn guarded<T>(step: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or(Err(Error::Unsupported("a header that contradicts itself")))
}

/// A file that cannot be opened as sound.
fn unknown(path: &Path, error: &Error) -> Fault {
    if is_end(error) {
        return Fault::input("the file is cut short, before its sound begins").at(path).help(RENEW);
    }
    Fault::input(format!("this is no sound file that can be read: {error}")).at(path).help(CONVERT)
}
