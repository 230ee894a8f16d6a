//! Fetching a model: its listing, then every file that the cache lacks, each checked against its hash.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::listing::{Hash, Listing, RemoteFile};
use super::{Found, Hub, Name};
use crate::{Fault, FaultKind, Result, disk};

/// How often a connection that broke is taken up again, without any byte in between.
const PATIENCE: usize = 5;
/// The longest silence of the hub.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

impl Hub {
    /// What would be fetched of `name`.
    ///
    /// # Errors
    /// When nothing may be fetched, the hub cannot be reached or refuses, or has no such model.
    pub fn listing(&self, name: &Name) -> Result<Listing> {
        if self.offline {
            return Err(Fault::environment(format!("`{name}` is not on this machine, and nothing may be fetched"))
                .help("leave out `--offline` and unset HF_HUB_OFFLINE, or copy the model's cache from another machine"));
        }
        let url = format!("{}/api/models/{}/revision/{}?blobs=true", self.endpoint, name.model, name.revision);
        let mut response = self.get(&url, None, name)?;
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        let answer: Value = serde_json::from_str(&text).map_err(|_| self.unreachable(&"its answer is not JSON"))?;
        Listing::read(answer, name)
    }

    /// Fetches the files of `listing` that the cache lacks; `told` hears how many bytes of how many are there. What was fetched of a
    /// file stays, so that another call goes on behind it.
    ///
    /// # Errors
    /// The hub, the disk, content that is not what its hash says, or what `told` fails with.
    pub fn fetch(&self, name: &Name, listing: &Listing, told: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<Found> {
        let folder = self.cache.join(name.folder());
        let (blobs, snapshot) = (folder.join("blobs"), folder.join("snapshots").join(&listing.commit));
        for folder in [&blobs, &snapshot, &folder.join("refs")] {
            fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, &error))?;
        }
        let (mut before, total) = (0, listing.bytes());
        for file in &listing.files {
            let blob = blobs.join(file.hash.text());
            if !blob.is_file() {
                self.fetch_file(name, &listing.commit, file, &blob, &mut |bytes| told(before + bytes, total))?;
            }
            before += file.bytes;
            told(before, total)?;
            link(&blob, &snapshot.join(&file.name))?;
        }
        let reference = folder.join("refs").join(&name.revision);
        disk::write_file(&reference, |out| out.write_all(listing.commit.as_bytes()))?;
        Ok(Found { folder: snapshot, commit: listing.commit.clone() })
    }

    /// Fetches one file into `blob`, going on behind what an earlier call left.
    fn fetch_file(
        &self,
        name: &Name,
        commit: &str,
        file: &RemoteFile,
        blob: &Path,
        told: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let partial = blob.with_extension("incomplete");
        let url = format!("{}/{}/resolve/{commit}/{}", self.endpoint, name.model, file.name);
        let mut patience = PATIENCE;
        loop {
            let have = fs::metadata(&partial).map_or(0, |file| file.len());
            if have >= file.bytes {
                break;
            }
            // A hub without ranges begins anew each time: only what goes beyond the last end is progress.
            let has = self.fetch_more(name, &url, &partial, have, told)?;
            patience = if has > have { PATIENCE } else { patience - 1 };
            if patience == 0 {
                return Err(self.unreachable(&format!("the connection broke {PATIENCE} times at byte {have} of {}", file.name)));
            }
        }
        let found = hash(&partial, &file.hash)?;
        if found != file.hash.text() {
            fs::remove_file(&partial).map_err(|error| Fault::writing(&partial, &error))?;
            return Err(Fault::environment(format!(
                "`{}` of `{name}` hashes to {found}, and the hub says {}",
                file.name,
                file.hash.text()
            ))
            .help("it was damaged on its way and is thrown away: run the same command again"));
        }
        fs::rename(&partial, blob).map_err(|error| Fault::writing(blob, &error))
    }

    /// Appends to `partial`, which has `have` bytes, until the connection ends; how many bytes it has then.
    fn fetch_more(
        &self,
        name: &Name,
        url: &str,
        partial: &Path,
        have: u64,
        told: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<u64> {
        let response = self.get(url, (have > 0).then_some(have), name)?;
        // A hub that does not know ranges sends all of it again.
        let have = if response.status().as_u16() == 206 { have } else { 0 };
        let mut out =
            OpenOptions::new().create(true).append(true).open(partial).map_err(|error| Fault::writing(partial, &error))?;
        out.set_len(have).map_err(|error| Fault::writing(partial, &error))?;
        let mut body = response.into_body().into_reader();
        let (mut buffer, mut has) = (vec![0; CHUNK], have);
        while let Ok(read @ 1..) = body.read(&mut buffer) {
            out.write_all(&buffer[..read]).map_err(|error| Fault::writing(partial, &error))?;
            has += read as u64;
            told(has)?;
        }
        out.sync_data().map_err(|error| Fault::writing(partial, &error))?;
        Ok(has)
    }

    /// Asks for `url`, from byte `from` on. The token goes to the hub alone, not to where it redirects.
    fn get(&self, url: &str, from: Option<u64>, name: &Name) -> Result<ureq::http::Response<ureq::Body>> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .user_agent(concat!("sparsec/", env!("CARGO_PKG_VERSION")));
        let is_here = ["http://127.0.0.1", "http://localhost"].iter().any(|here| self.endpoint.starts_with(here));
        let config = if is_here { config.proxy(None) } else { config };
        let mut request = config.build().new_agent().get(url).header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            401 | 403 => Err(Fault::new(FaultKind::Input, format!("the hub does not show `{name}` to {}", self.who()))
                .help("accept the model's terms on its page, and set HF_TOKEN to a token of yours; or is the name wrong?")),
            404 => Err(Fault::input(format!("the hub has no `{name}`")).help("is the name right, and the revision after `@`?")),
            status => Err(self.unreachable(&format!("it answered with status {status}"))),
        }
    }

    fn who(&self) -> &'static str {
        if self.token.is_some() { "the owner of this token" } else { "people without a token" }
    }

    fn unreachable(&self, why: &dyn std::fmt::Display) -> Fault {
        Fault::environment(format!("{} cannot be read: {why}", self.endpoint))
            .help("run the same command again, which goes on where it was; HF_ENDPOINT names another hub")
    }
}

/// What the content of the file at `path` hashes to.
fn hash(path: &Path, like: &Hash) -> Result<String> {
    let reading = |error| Fault::reading(path, &error);
    let mut file = File::open(path).map_err(reading)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match like {
        Hash::Sha256(_) => {
            let mut hasher = Sha256::new();
            std::io::copy(&mut file, &mut Digests(&mut hasher)).map_err(reading)?;
            Ok(hex(&hasher.finalize()))
        }
        Hash::Git(_) => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", file.metadata().map_err(reading)?.len()));
            std::io::copy(&mut file, &mut Digests(&mut hasher)).map_err(reading)?;
            Ok(hex(&hasher.finalize()))
        }
    }
}

/// Writing to a hash.
struct Digests<'a, D>(&'a mut D);

impl<D: Digest> Write for Digests<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Gives `blob` the name `path`, by a link where there are links.
fn link(blob: &Path, path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    #[cfg(unix)]
    let made = {
        let name = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(name), path)
    };
    #[cfg(not(unix))]
    let made = fs::copy(blob, path).map(|_| ());
    made.map_err(|error| Fault::writing(path, &error))
}
