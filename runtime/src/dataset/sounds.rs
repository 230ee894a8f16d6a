//! Decoded sound, kept in memory as far as a limit allows, so that the second epoch decodes nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Result, audio};

/// Bytes of decoded sound that one manifest keeps: four and a half hours at 16 kHz.
const KEPT_BYTES: usize = 1 << 30;
/// Longest utterance, seconds: what does not fit a model's window is that model's to refuse, this is what no utterance is.
const UTTERANCE_LIMIT_SECONDS: u32 = 600;

/// The decoded sound of a manifest's entries.
pub(super) struct Sounds {
    limit_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By entry and sample rate.
    sounds: HashMap<(usize, u32), Arc<[f32]>>,
    bytes: usize,
}

impl Sounds {
    pub(super) fn new() -> Self {
        Self::keeping(KEPT_BYTES)
    }

    pub(super) fn keeping(limit_bytes: usize) -> Self {
        Self { limit_bytes, kept: Mutex::default() }
    }

    /// The sound of `entry`, whose file is `path`: kept, or decoded now and kept if there is room.
    pub(super) fn get(&self, entry: usize, path: &Path, sample_rate: u32) -> Result<Arc<[f32]>> {
        let key = (entry, sample_rate);
        if let Some(sound) = self.kept().sounds.get(&key) {
            return Ok(Arc::clone(sound));
        }
        let sound: Arc<[f32]> = audio::read(path, sample_rate, UTTERANCE_LIMIT_SECONDS)?.into();
        let mut kept = self.kept();
        let bytes = kept.bytes + size_of_val::<[f32]>(&sound);
        if bytes <= self.limit_bytes && kept.sounds.insert(key, Arc::clone(&sound)).is_none() {
            kept.bytes = bytes;
        }
        Ok(sound)
    }

    /// A panic while the lock is held leaves whole entries behind, so a poisoned lock is as good as another.
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
