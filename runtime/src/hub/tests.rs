//! Fetching, from a hub on this machine that behaves well and badly.

use std::path::Path;

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::server::{Behaviour, Server};
use super::*;
use crate::{FaultKind, Result};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name() -> Name {
    Name::parse("someone/whisper").unwrap()
}

/// A hub that has a small Whisper.
fn behaviour() -> Behaviour {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whisper/plain");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let small = ["config.json", "generation_config.json"].map(|name| (name.to_owned(), read(name)));
    let weights = read("model.safetensors");
    let mut siblings: Vec<_> = small
        .iter()
        .map(|(name, bytes)| {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", bytes.len()));
            hasher.update(bytes);
            json!({ "rfilename": name, "size": bytes.len(), "blobId": hex(&hasher.finalize()) })
        })
        .collect();
    siblings.push(json!({ "rfilename": "model.safetensors", "size": weights.len(), "blobId": "0".repeat(40),
        "lfs": { "sha256": hex(&Sha256::digest(&weights)), "size": weights.len() } }));
    siblings.push(json!({ "rfilename": "pytorch_model.bin", "size": 1, "blobId": "0".repeat(40) }));
    siblings.push(json!({ "rfilename": "onnx/config.json", "size": 1, "blobId": "0".repeat(40) }));
    let listing = json!({ "sha": COMMIT, "siblings": siblings }).to_string();
    let files = small.into_iter().chain([("model.safetensors".to_owned(), weights)]).collect();
    Behaviour { listing, files, ranges: true, ..Behaviour::default() }
}

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub { cache: cache.to_owned(), endpoint: server.endpoint.clone(), token: None, offline: false }
}

fn fetch(hub: &Hub) -> Result<Found> {
    hub.fetch(&name(), &hub.listing(&name())?, &mut |_, _| Ok(()))
}

#[test]
fn names_are_an_owner_a_model_and_perhaps_a_revision() {
    assert_eq!(Name::parse("openai/whisper-small").unwrap().to_string(), "openai/whisper-small");
    let tagged = Name::parse("t/m@v1.0").unwrap();
    assert_eq!((tagged.model.as_str(), tagged.revision.as_str()), ("t/m", "v1.0"));
    for no in ["whisper", "a/b/c", "../a", "a/..", "a/b@", "/a/b", "a b/c", "./a", "a/b@../c"] {
        assert_eq!(Name::parse(no), None, "{no}");
    }
}

#[test]
fn a_model_is_fetched_once_into_the_layout_of_the_cache() {
    let (server, cache) = (Server::start(behaviour()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    assert_eq!(hub.find(&name()), None);
    let mut told = Vec::new();
    let listing = hub.listing(&name()).unwrap();
    let found = hub
        .fetch(&name(), &listing, &mut |done, total| {
            told.push((done, total));
            Ok(())
        })
        .unwrap();
    assert_eq!(told.last(), Some(&(listing.bytes(), listing.bytes())));
    assert_eq!(found.commit, COMMIT);
    assert_eq!(hub.find(&name()), Some(found.clone()));
    assert!(crate::Checkpoint::read(&found.folder).is_ok());
    assert!(found.folder.ends_with(format!("models--someone--whisper/snapshots/{COMMIT}")));
    let names = |path: &Path| std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(&found.folder).len(), 3, "weights for other programs and folders stay where they are");
    server.seen();
    fetch(&hub).unwrap();
    assert_eq!(server.seen().len(), 1, "all but the listing is there");
    let pinned = Name { revision: COMMIT.to_owned(), ..name() };
    assert_eq!(hub.find(&pinned).map(|found| found.commit).as_deref(), Some(COMMIT));
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_was() {
    for ranges in [true, false] {
        let (server, cache) = (Server::start(Behaviour { ranges, ..behaviour() }), tempfile::tempdir().unwrap());
        let hub = hub(&server, cache.path());
        let length = behaviour().files["model.safetensors"].len();
        server.change(|behaviour| behaviour.cut = Some(length / 3));
        let fetched = fetch(&hub);
        let asked = server.seen().iter().filter(|[_, range, _]| !range.is_empty()).count();
        if ranges {
            assert!(fetched.is_ok() && asked >= 2, "{fetched:?}");
        } else {
            // It never comes to an end, and what came last is kept for a better day.
            let fault = fetched.unwrap_err();
            assert!(fault.kind == FaultKind::Environment && fault.message.contains("broke"), "{fault}");
            server.change(|behaviour| behaviour.cut = None);
            assert!(fetch(&hub).is_ok());
        }
    }
}

#[test]
fn an_interrupted_fetch_goes_on_behind_what_it_has() {
    let (server, cache) = (Server::start(behaviour()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    server.change(|behaviour| behaviour.cut = Some(5000));
    let listing = hub.listing(&name()).unwrap();
    let stop = &mut |done, _| if done > 6000 { Err(Fault::new(FaultKind::Interrupted, "stopped")) } else { Ok(()) };
    assert_eq!(hub.fetch(&name(), &listing, stop).unwrap_err().kind, FaultKind::Interrupted);
    assert_eq!(hub.find(&name()), None, "nothing half-fetched is found");
    server.seen();
    server.change(|behaviour| behaviour.cut = None);
    fetch(&hub).unwrap();
    assert!(server.seen().iter().any(|[_, range, _]| range.starts_with("bytes=")));
}

#[test]
fn content_that_is_not_what_its_hash_says_is_thrown_away() {
    for file in ["model.safetensors", "config.json"] {
        let (server, cache) = (Server::start(behaviour()), tempfile::tempdir().unwrap());
        let hub = hub(&server, cache.path());
        server.change(|behaviour| behaviour.files.get_mut(file).unwrap()[9] ^= 1);
        let fault = fetch(&hub).unwrap_err();
        assert!(fault.message.contains(file) && fault.message.contains("hashes to"), "{fault}");
        assert_eq!(hub.find(&name()), None);
        server.change(|behaviour| behaviour.files.get_mut(file).unwrap()[9] ^= 1);
        assert!(fetch(&hub).is_ok());
    }
}

#[test]
fn what_the_hub_refuses_is_said_with_what_to_do() {
    let (server, cache) = (Server::start(behaviour()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    for (status, kind, says) in [
        (401, FaultKind::Input, "HF_TOKEN"),
        (403, FaultKind::Input, "HF_TOKEN"),
        (404, FaultKind::Input, "is the name right"),
        (500, FaultKind::Environment, "run the same command again"),
    ] {
        server.change(|behaviour| behaviour.status = Some(status));
        let fault = fetch(&hub).unwrap_err();
        assert!(fault.kind == kind && fault.help.as_ref().unwrap().contains(says), "{status}: {fault:?}");
    }
    server.change(|behaviour| (behaviour.status, behaviour.listing) = (None, "{}".to_owned()));
    assert!(fetch(&hub).unwrap_err().message.contains("not in the form"));
    let gone = Hub { endpoint: "http://127.0.0.1:1".to_owned(), ..hub.clone() };
    assert_eq!(fetch(&gone).unwrap_err().kind, FaultKind::Environment);
    server.seen();
    let offline = Hub { offline: true, ..hub };
    let fault = fetch(&offline).unwrap_err();
    assert!(fault.help.unwrap().contains("--offline") && server.seen().is_empty());
}

#[test]
fn a_token_opens_what_is_not_public_and_stays_unsaid() {
    let secret = Behaviour { token: Some("hf_secret".to_owned()), redirects: true, ..behaviour() };
    let (server, cache) = (Server::start(secret), tempfile::tempdir().unwrap());
    let without = hub(&server, cache.path());
    assert!(fetch(&without).unwrap_err().message.contains("without a token"));
    let with = Hub { token: Some("hf_secret".to_owned()), ..without };
    assert!(!format!("{with:?}").contains("hf_secret"));
    // Files are elsewhere, where a token is none of their business.
    server.change(|behaviour| behaviour.token = None);
    server.seen();
    fetch(&with).unwrap();
    for [path, _, token] in server.seen() {
        assert_eq!(token.is_empty(), path.starts_with("/elsewhere/"), "{path}");
    }
}
