//! What is kept comes back; what was tampered with never runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::SparseMatrix;
use crate::format::{Compressed, Progress, Target, by_word};
use crate::testing::{assert_close, random_matrix, random_values};

const PLENTY: u64 = 1 << 30;

fn cache(most_bytes: u64) -> (TempDir, CodeCache) {
    let place = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(&place.path().join("a/b"), most_bytes).unwrap();
    (place, cache)
}

fn key(name: &str) -> Hash {
    Key::new(name, &[]).finish()
}

fn some_functions() -> Vec<Vec<u8>> {
    vec![vec![1, 2, 3], Vec::new(), vec![0xc3; 100]]
}

#[test]
fn what_is_kept_comes_back_and_belongs_to_its_owner_alone() {
    let (_place, cache) = cache(PLENTY);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(cache.folder()), 0o700);
    assert!(cache.find(key("a")).is_none());
    cache.keep(key("a"), &some_functions());
    let found = cache.find(key("a")).unwrap();
    assert_eq!((found.len(), found.iter().collect::<Vec<_>>()), (3, some_functions().iter().map(Vec::as_slice).collect()));
    assert!(cache.find(key("b")).is_none());
    let path = cache.path(key("a"));
    assert_eq!((mode(&path), cache.files().len(), cache.bytes()), (0o600, 1, path.metadata().unwrap().len()));
    // Under another name, or open to others, the same file is foreign.
    fs::copy(&path, cache.path(key("b"))).unwrap();
    assert!(cache.find(key("b")).is_none());
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(cache.find(key("a")).is_none());
    cache.keep(key("a"), &some_functions());
    assert!(cache.find(key("a")).is_some(), "what others could read is replaced");
    symlink(&path, cache.path(key("c"))).unwrap();
    assert!(cache.find(key("c")).is_none());
}

#[test]
fn a_folder_that_is_not_the_users_own_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| CodeCache::open(path, PLENTY).unwrap_err().to_string();
    let (open, link, file) = (place.path().join("open"), place.path().join("link"), place.path().join("file"));
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    assert!(refusal(&open).contains("other users may read or write it; remove it"), "{}", refusal(&open));
    CodeCache::open(&place.path().join("own"), PLENTY).unwrap();
    symlink(place.path().join("own"), &link).unwrap();
    assert!(refusal(&link).contains("not a folder"), "{}", refusal(&link));
    fs::write(&file, "").unwrap();
    assert!(refusal(&file).contains("file"), "{}", refusal(&file));
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let (_place, cache) = cache(3000);
    let functions = [vec![0xc3; 1000]];
    for (age, name) in ["a", "b"].into_iter().enumerate() {
        cache.keep(key(name), &functions);
        let used = SystemTime::now() - Duration::from_secs(100 - age as u64);
        fs::File::open(cache.path(key(name))).unwrap().set_modified(used).unwrap();
    }
    assert!(cache.find(key("a")).is_some(), "and now it was used");
    cache.keep(key("c"), &functions);
    let found = ["a", "b", "c"].map(|name| cache.find(key(name)).is_some());
    assert_eq!(found, [true, false, true]);
    assert!(cache.bytes() <= 3000);
    cache.keep(key("d"), &[vec![0xc3; 5000]]);
    assert!(cache.find(key("d")).is_none() && cache.find(key("c")).is_some(), "what never fits moves nothing out");
}

#[test]
fn any_changed_or_missing_byte_is_noticed_and_the_file_removed() {
    let (_place, cache) = cache(PLENTY);
    let whole = Functions::file(key("a"), &some_functions());
    let put = |bytes: &[u8]| {
        let path = cache.path(key("a"));
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        cache.find(key("a")).is_some()
    };
    assert!(put(&whole));
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(!put(&changed) && !put(&whole[..place]), "{place}");
        assert!(!cache.path(key("a")).exists());
    }
    assert!(!put(&[&whole[..], &[0]].concat()) && !put(b"something else"));
}

proptest! {
    /// Whoever may write the file can write its hash too: the parts may then say anything.
    #[test]
    fn parts_that_contradict_each_other_are_refused(changes in prop::collection::vec((40usize..60, any::<u8>()), 0..6), cut in 0usize..40) {
        let whole = Functions::file(key("a"), &some_functions());
        let mut content = whole[..whole.len() - HASH - cut].to_vec();
        for (place, byte) in changes {
            content[place] = byte;
        }
        let hash = blake3::hash(&content);
        content.extend_from_slice(hash.as_bytes());
        if let Some(functions) = Functions::parse(content.clone(), key("a")) {
            let total: usize = functions.iter().map(<[u8]>::len).sum();
            let head = MAGIC.len() + HASH + size_of::<u32>() * (1 + functions.len());
            prop_assert_eq!(total + head + HASH, content.len());
        }
    }
}

/// A layer from the cache, how many functions were made for it, and whether what it computes is right.
fn layer(matrix: &SparseMatrix, cache: &CodeCache) -> (Box<dyn Compressed>, usize) {
    let told = Mutex::new(Vec::new());
    let progress = |progress: Progress| told.lock().unwrap().push(progress);
    let target = Target { code_cache: Some(cache), progress: &progress, ..Target::this_cpu() };
    let bias = random_values(matrix.rows(), 1);
    let layer = by_word("rowblock").unwrap().compress(matrix, &bias, &target).unwrap();
    let (tokens, x) = (21, random_values(21 * matrix.cols(), 2));
    let (mut y, mut expected) = (vec![0.0; tokens * matrix.rows()], vec![0.0; tokens * matrix.rows()]);
    layer.product(&mut crate::Operands::new(&x, &mut y, tokens, matrix.rows(), matrix.cols()).unwrap()).unwrap();
    matrix.product(&x, tokens, &bias, &mut expected).unwrap();
    assert_close(&y, &expected, matrix.cols(), "rowblock");
    let told = told.into_inner().unwrap();
    assert!(
        told.iter().all(|progress| progress.total == told[0].total)
            && told.iter().any(|progress| progress.done == progress.total)
    );
    (layer, told.len())
}

#[test]
fn code_from_the_cache_is_checked_like_new_code() {
    if crate::Cpu::this().tier == crate::Tier::Portable {
        return;
    }
    let (_place, cache) = cache(PLENTY);
    let (matrix, other) = (random_matrix(60, 90, 0.3, 1), random_matrix(60, 90, 0.3, 2));
    let (made, count) = layer(&matrix, &cache);
    assert!(count > 2 && cache.files().len() == 1);
    let (found, told) = layer(&matrix, &cache);
    assert_eq!((told, found.footprint().code_bytes), (1, made.footprint().code_bytes), "nothing was made");
    let path = cache.files()[0].path.clone();
    let good = fs::read(&path).unwrap();
    let name = Hash::from_hex(path.file_stem().unwrap().to_str().unwrap()).unwrap();
    let functions: Vec<Vec<u8>> = Functions::parse(good.clone(), name).unwrap().iter().map(<[u8]>::to_vec).collect();
    layer(&other, &cache);
    let of_other = cache.files().into_iter().find(|file| file.path != path).unwrap().path;
    let other_name = Hash::from_hex(of_other.file_stem().unwrap().to_str().unwrap()).unwrap();
    let others: Vec<Vec<u8>> =
        Functions::parse(fs::read(of_other).unwrap(), other_name).unwrap().iter().map(<[u8]>::to_vec).collect();

    // By somebody who writes the right hash: a system call, a function that reads further, one that returns at once, too few, and
    // the code of another mask.
    let first = |bytes: &[u8]| [vec![bytes.to_vec()], functions[1..].to_vec()].concat();
    let far = [&[0xc5, 0xfc, 0x10, 0x87, 0, 0, 0, 0x10], &functions[0][..]].concat();
    let tampered = [first(&[0x0f, 0x05, 0xc3]), first(&far), first(&[0xc3]), functions[1..].to_vec(), others];
    for (index, functions) in tampered.into_iter().enumerate() {
        fs::write(&path, Functions::file(name, &functions)).unwrap();
        assert!(cache.find(name).is_some(), "{index}: hash and parts agree");
        let (_, told) = layer(&matrix, &cache);
        assert!(told >= count, "{index}: made anew");
        assert_eq!(fs::read(&path).unwrap(), good, "{index}: and kept");
    }
    // By somebody who does not.
    for place in (0..good.len()).step_by(97) {
        let mut changed = good.clone();
        changed[place] ^= 0x10;
        fs::write(&path, changed).unwrap();
        assert!(cache.find(name).is_none(), "{place}");
    }
    assert_eq!(layer(&matrix, &cache).1, count);
}
