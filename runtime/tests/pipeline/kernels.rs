//! Which kernels run, and that they repeat.

use std::cell::RefCell;

use sparsec_runtime::engine;
use sparsec_runtime::report::KernelRecord;

use super::*;

/// Files below `.sparsec/<folder>` whose names end in `ending`, by path.
fn kept(place: &Place, folder: &str, ending: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = place.path().join("work/.sparsec").join(folder);
    let mut folders = vec![root.clone()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                files.insert(path.strip_prefix(&root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_same_seed_threads_and_tuning_file_give_the_same_bits() {
    let text = recipe("sparsegpt", "75%", "900");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let measured = Place::new();
    pool.install(|| measured.run(&text, |_| {}, &mut Silent)).unwrap();
    let (tuning, times) = kept(&measured, "reports", "tuning.json").pop_first().unwrap();
    let tuning = measured.path().join("work/.sparsec/reports").join(tuning);
    let mut notes = Vec::new();
    let [one, two] = [(); 2].map(|()| {
        let place = Place::new();
        let outcome = pool.install(|| place.run(&text, |options| options.tuning = Some(tuning.clone()), &mut Silent)).unwrap();
        let kernels = &outcome.report.models[1].kernels;
        assert!(kernels.len() >= 8 && kernels.iter().all(|kernel| kernel.reason == "fastest in the tuning file"), "{kernels:?}");
        assert_eq!(kept(&place, "reports", "tuning.json").into_values().collect::<Vec<_>>(), std::slice::from_ref(&times));
        assert!(!place.path().join("work/.sparsec/tuning.json").exists(), "nothing was measured");
        notes = outcome.report.notes;
        place
    });
    assert_eq!(one.artifact_bytes(), two.artifact_bytes());
    assert_eq!(kept(&one, "scores", ".json").len(), 2);
    assert_eq!(kept(&one, "scores", ".json"), kept(&two, "scores", ".json"));
    assert!(kept(&one, "stages", ".safetensors").len() >= 3);
    assert_eq!(kept(&one, "stages", ".safetensors"), kept(&two, "stages", ".safetensors"));

    let note = "int8: the tuning file does not know ";
    assert!(!notes.iter().any(|line| line.starts_with(note)), "{notes:?}");
    let other_threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let outcome = other_threads.install(|| Place::new().run(&text, |options| options.tuning = Some(tuning.clone()), &mut Silent));
    assert!(
        outcome.unwrap().report.notes.iter().any(|line| line.starts_with(note)),
        "times of two threads are not those of three"
    );

    let again = pool.install(|| two.run(&text, |options| options.tuning = Some(tuning.clone()), &mut Silent)).unwrap();
    assert!(again.nothing_to_do);
    pool.install(|| two.run(&text, |_| {}, &mut Silent)).unwrap();
    assert_eq!(kept(&two, "scores", ".json").len(), 4, "texts of other kernels are not those of this choice");
}

#[test]
fn memory_is_weighed_with_the_kernels_that_are_timed() {
    let place = Place::new();
    let compilation = place.compile(&recipe("magnitude", "75%", "900"));
    let interrupted = AtomicBool::new(false);
    let weighed = RefCell::new(Vec::new());
    let peak_memory = |folder: &Path, tuning: &Path| {
        let kernels = engine::frozen(engine::read_tuning(tuning).unwrap());
        weighed.borrow_mut().push(Checkpoint::read(folder).unwrap().compiled(&kernels).unwrap().kernels);
        Some(1)
    };
    let options = Options { peak_memory: &peak_memory, ..place.options(&compilation, &interrupted) };
    let report = execute(&compilation.plan, &options, &mut Silent).unwrap().report;
    let chosen = |kernels: &[KernelRecord]| {
        kernels.iter().map(|kernel| (kernel.path.clone(), kernel.tokens, kernel.kernel.clone())).collect::<Vec<_>>()
    };
    let weighed = weighed.into_inner();
    assert_eq!(weighed.len(), 2);
    assert!(weighed[1].len() >= 8 && weighed[1].iter().all(|kernel| kernel.reason == "fastest in the tuning file"));
    for (model, kernels) in report.models.iter().zip(&weighed) {
        assert_eq!((model.peak_resident_bytes, chosen(&model.kernels)), (Some(1), chosen(kernels)), "{}", model.name);
    }
}
