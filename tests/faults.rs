//! What goes wrong around a run. Whatever stops it, the same command ends as if nothing had happened; whatever is wrong with its
//! files is named, with the line of the recipe; and nothing half-written looks finished.

#![cfg(unix)]

#[path = "../runtime/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use sparsec_runtime::Checkpoint;
use support::{recipe, tone, wav};

const SPARSEC: &str = env!("CARGO_BIN_EXE_sparsec");

/// A working directory with a model, sounds, and the recipe `tiny.sq`.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        support::furnish(folder.path());
        fs::write(folder.path().join("tiny.sq"), recipe).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `program`, such as a shell that changes something first, running the recipe with its state saved at every step.
    fn command(&self, program: &[&str]) -> Command {
        let run = [SPARSEC, "run", "tiny.sq", "--directory", "work", "--save-every", "0", "--threads", "1"];
        let words: Vec<&str> = program.iter().copied().chain(run).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    fn run(&self) -> Output {
        self.command(&[]).output().unwrap()
    }

    /// Starts a run that writes stderr into a file.
    fn start(&self) -> Child {
        let stderr = File::create(self.path().join("stderr")).unwrap();
        self.command(&[]).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
    }

    /// What the run that was started last has said.
    fn said(&self) -> String {
        fs::read_to_string(self.path().join("stderr")).unwrap()
    }

    /// Starts a run and sends it `signal` in the middle of `stage`, once that has saved its state; yields the exit code, and whether
    /// the signal came in time.
    fn stop(&self, signal: &str, stage: &str) -> (Option<i32>, bool) {
        let mut child = self.start();
        let begun = format!(" {stage} (");
        while child.try_wait().unwrap().is_none() && !(self.said().contains(&begun) && self.has_saved()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(signal, &child);
        (child.wait().unwrap().code(), self.has_saved())
    }

    /// Whether a stage stands where it could go on.
    fn has_saved(&self) -> bool {
        let entries = fs::read_dir(self.path().join("work/.sparsec/work")).into_iter().flatten();
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "safetensors"))
    }

    fn artifact(&self) -> PathBuf {
        self.path().join("work/out/tiny")
    }

    /// Every file of the artifact.
    fn artifact_bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.artifact()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect()
    }

    /// Nothing unfinished is left, not even under another name.
    fn assert_tidy(&self) {
        assert!(!self.has_saved());
        let mut left: Vec<_> =
            fs::read_dir(self.path().join("work/out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["tiny", "tiny.report.html", "tiny.report.json"]);
        for stage in fs::read_dir(self.path().join("work/.sparsec/stages")).unwrap() {
            assert!(stage.unwrap().path().join("record.json").is_file());
        }
    }
}

/// Sends `signal`; a process that has ended does not mind.
fn send(signal: &str, child: &Child) {
    Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).output().unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The output of a run that ended with `code` and said every one of `fragments` on stderr.
#[track_caller]
fn assert_said(output: &Output, code: i32, fragments: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for fragment in fragments {
        assert!(said.contains(fragment), "no {fragment:?} in\n{said}");
    }
}

/// A recipe that takes long enough to be stopped.
fn long_recipe() -> String {
    recipe("sparsegpt", "60%", "90000").replace("for: 6 steps", "for: 30 steps").replace("2 rows)", "4 rows)")
}

/// Stops a run in the middle of its pruning and again of its training, and lets it end.
fn stopped_twice(signal: &str, code: Option<i32>) -> (Place, Vec<String>) {
    let place = Place::new(&long_recipe());
    let mut said = Vec::new();
    for stage in ["pruned", "healed"] {
        // Pruning is quick: the signal may come when it is done.
        let in_time = (0..50).any(|_| {
            let (found, in_time) = place.stop(signal, stage);
            if in_time {
                assert_eq!(found, code, "{}", place.said());
                said.push(place.said());
            } else {
                let _ = fs::remove_dir_all(place.path().join("work"));
            }
            in_time
        });
        assert!(in_time, "`{stage}` was never stopped");
        assert!(!place.artifact().exists());
    }
    let output = place.run();
    assert_said(&output, 0, &["(prune) reused", "going on behind step"]);
    place.assert_tidy();
    assert!(said[1].contains("going on behind the"), "{}", said[1]);
    (place, said)
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let straight = Place::new(&long_recipe());
    assert_said(&straight.run(), 0, &[]);
    let (killed, _) = stopped_twice("KILL", None);
    assert_eq!(killed.artifact_bytes(), straight.artifact_bytes());

    let (interrupted, said) = stopped_twice("INT", Some(130));
    assert!(said.iter().all(|said| said.contains("stopping: saving the state") && said.contains("run the same command again")));
    assert!(said.iter().all(|said| said.contains("tiny.sq:")), "{said:?}");
    assert_eq!(interrupted.artifact_bytes(), straight.artifact_bytes());
}

#[test]
fn a_run_killed_at_any_moment_leaves_nothing_that_looks_finished() {
    let (straight, place) = (Place::new(&recipe("magnitude", "60%", "90000")), Place::new(&recipe("magnitude", "60%", "90000")));
    assert_said(&straight.run(), 0, &[]);
    let mut moment = Duration::from_millis(10);
    loop {
        let mut child = place.start();
        std::thread::sleep(moment);
        send("KILL", &child);
        if child.wait().unwrap().success() {
            break;
        }
        if place.artifact().exists() {
            assert_eq!(place.artifact_bytes(), straight.artifact_bytes());
        }
        moment = moment * 5 / 4;
    }
    place.assert_tidy();
    assert_eq!(place.artifact_bytes(), straight.artifact_bytes());
}

#[test]
fn two_runs_never_work_in_one_folder() {
    let place = Place::new(&long_recipe());
    let mut first = place.start();
    while !place.said().contains("finished work is kept in") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let who = format!("another run, process {}, works in this folder", first.id());
    assert_said(&place.run(), 4, &[&who, "work/.sparsec", "`--directory`"]);
    send("KILL", &first);
    first.wait().unwrap();
    assert_said(&place.run(), 0, &[]);
}

/// Files cannot grow beyond a limit, as on a disk that fills up: the same code meets the same kind of error.
#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let straight = Place::new(&long_recipe());
    assert_said(&straight.run(), 0, &[]);
    let place = Place::new(&long_recipe());
    let whole = fs::metadata(place.path().join("model/model.safetensors")).unwrap().len();
    let limited = |bytes: u64| {
        let blocks = (bytes / 512).to_string();
        let shell = ["sh", "-c", r#"trap "" XFSZ; ulimit -f "$0" && exec "$@""#, &blocks];
        place.command(&shell).output().unwrap()
    };
    assert_said(&limited(0), 4, &["cannot write this: File too large", "--> work/.sparsec/lock", "free some space"]);
    let failed_in_pruning = limited(whole / 2);
    assert_said(&failed_in_pruning, 4, &["tiny.sq:6:", "cannot write this: File too large", "work/.sparsec/"]);
    let failed_in_training = limited(whole + whole / 2);
    assert_said(&failed_in_training, 4, &["(prune)", "tiny.sq:7:", "cannot write this: File too large", "work/.sparsec/work/"]);
    assert!(!place.artifact().exists());
    assert_said(&place.run(), 0, &["(prune) reused"]);
    place.assert_tidy();
    assert_eq!(place.artifact_bytes(), straight.artifact_bytes());
}

#[test]
fn a_destination_that_cannot_be_written_is_named_before_the_work() {
    let place = Place::new(&recipe("magnitude", "60%", "90000"));
    let work = place.path().join("work");
    let untouched = || !work.join(".sparsec/stages").exists();
    fs::create_dir(&work).unwrap();
    fs::write(work.join("out"), "a file").unwrap();
    assert_said(&place.run(), 4, &["tiny.sq:14:", "cannot write this", "file: work/out"]);
    assert!(untouched());
    fs::remove_file(work.join("out")).unwrap();
    fs::create_dir_all(work.join("out/tiny")).unwrap();
    fs::write(work.join("out/tiny/thesis.txt"), "three years").unwrap();
    assert_said(&place.run(), 2, &["tiny.sq:14:", "did not write is here already", "file: work/out/tiny"]);
    assert!(untouched());
    fs::remove_dir_all(&work).unwrap();
    fs::write(&work, "a file").unwrap();
    assert_said(&place.run(), 4, &["cannot write this", "--> work/.sparsec"]);
}

#[test]
fn what_cannot_be_printed_ends_no_run_and_makes_no_noise() {
    let mut child = Command::new(SPARSEC).arg("words").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(text(&child.wait_with_output().unwrap().stderr), "");
    // Where every write fails as on a full disk.
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let output = Command::new(SPARSEC).arg("words").stdout(full.try_clone().unwrap()).output().unwrap();
    assert_said(&output, 4, &["standard output cannot be written: No space left"]);
    let place = Place::new(&recipe("magnitude", "60%", "90000"));
    assert_eq!(place.command(&[]).stdout(Stdio::null()).stderr(full).status().unwrap().code(), Some(0));
    place.assert_tidy();
}

/// Something that is wrong with the files of a recipe: its name, how it comes about, and what is said.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

/// The model in `model`, changed.
fn change_model(folder: &Path, change: impl FnOnce(&mut Checkpoint)) {
    let model = folder.join("model");
    let mut checkpoint = Checkpoint::read(&model).unwrap();
    change(&mut checkpoint);
    checkpoint.write_into(&model).unwrap();
}

/// A file, its bytes changed.
fn change_file(path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn every_sound(folder: &Path, bytes: &[u8]) {
    (0..8).for_each(|index| fs::write(folder.join(format!("{index}.wav")), bytes).unwrap());
}

#[test]
fn damaged_files_are_named_with_the_line_of_the_recipe() {
    const BIAS: &str = "model.encoder.conv1.bias";
    let damages: [Damage; 17] = [
        ("no model", |folder| fs::remove_dir_all(folder.join("model")).unwrap(), &["tiny.sq:3:10", "model: cannot read this"]),
        (
            "a truncated model",
            |folder| change_file(folder.join("model/model.safetensors"), |bytes| bytes.truncate(5000)),
            &["tiny.sq:3:10", "model/model.safetensors", "not a whole safetensors file"],
        ),
        (
            "a missing tensor",
            |folder| change_model(folder, |model| drop(model.tensors.remove(BIAS))),
            &["tiny.sq:3:10", "model/model.safetensors", "the tensor `model.encoder.conv1.bias` is missing"],
        ),
        (
            "a tensor of another shape",
            |folder| {
                change_model(folder, |model| {
                    drop(model.tensors.insert(BIAS.to_owned(), model.tensors["model.encoder.conv1.weight"].clone()))
                })
            },
            &["tiny.sq:3:10", "model/model.safetensors", "`model.encoder.conv1.bias` has shape [16, 80, 3]"],
        ),
        (
            "NaN weights",
            |folder| {
                change_file(folder.join("model/model.safetensors"), |bytes| {
                    let end = bytes.len();
                    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
                })
            },
            &["tiny.sq:3:10", "model/model.safetensors", "holds NaN as its value"],
        ),
        (
            "an unknown architecture",
            |folder| fs::write(folder.join("model/config.json"), r#"{"model_type": "parrot"}"#).unwrap(),
            &["tiny.sq:3:10", "model/config.json", "`model_type` is `parrot`"],
        ),
        ("no manifest", |folder| fs::remove_file(folder.join("manifest.jsonl")).unwrap(), &["tiny.sq:4:10", "manifest.jsonl"]),
        (
            "a manifest without rows",
            |folder| fs::write(folder.join("manifest.jsonl"), "\n").unwrap(),
            &["tiny.sq:4:10", "manifest.jsonl", "has no rows"],
        ),
        (
            "rows that point nowhere",
            |folder| (3..5).for_each(|index| fs::remove_file(folder.join(format!("{index}.wav"))).unwrap()),
            &["tiny.sq:4:10", "manifest.jsonl", "2 of 8 rows", "line 4: `3.wav` cannot be found", "line 5: `4.wav`"],
        ),
        (
            "a split without rows",
            |folder| {
                change_file(folder.join("tiny.sq"), |bytes| {
                    *bytes = text(bytes).replace("train: 50%, test: 50%", "train: 99%, test: 1%").into()
                })
            },
            &["tiny.sq:4:10", "manifest.jsonl", "the split `test` gets none of the 8 rows"],
        ),
        (
            "unreadable sound",
            |folder| every_sound(folder, b"this is no sound, whatever its name says"),
            &[".wav", "no sound file"],
        ),
        ("an empty file", |folder| every_sound(folder, b""), &[".wav", "this file is empty"]),
        ("no samples", |folder| every_sound(folder, &wav(16000, &[])), &[".wav", "no samples"]),
        ("silence", |folder| every_sound(folder, &tone(0.0)), &[".wav", "only silence"]),
        ("a sound cut short", |folder| every_sound(folder, &tone(440.0)[..9000]), &[".wav", "cut short"]),
        (
            "an hour",
            |folder| every_sound(folder, &wav(1000, &(0..3_600_000).map(|at| (at % 100) as i16).collect::<Vec<_>>())),
            &[".wav", "longer than 600 s"],
        ),
        (
            "a minute",
            |folder| every_sound(folder, &wav(1000, &(0..60_000).map(|at| (at % 100) as i16).collect::<Vec<_>>())),
            &[".wav", "does not fit the model's window"],
        ),
    ];
    for (name, damage, fragments) in damages {
        let place = Place::new(&recipe("sparsegpt", "60%", "90000"));
        damage(place.path());
        let output = place.run();
        println!("{name}:\n{}", text(&output.stderr));
        assert_said(&output, 2, fragments);
        if fragments[0] == ".wav" {
            // Whichever step hears it first is underlined.
            assert_said(&output, 2, &["tiny.sq:", "^ while this was executed\n", "(line ", "manifest.jsonl)"]);
        }
        assert!(!place.artifact().exists(), "{name}");
    }
}

#[test]
fn nothing_outside_is_read_unless_it_is_allowed() {
    let place = Place::new(&recipe("magnitude", "60%", "90000"));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("0.wav"), tone(440.0)).unwrap();
    let outside = elsewhere.path().join("0.wav").display().to_string();
    change_file(place.path().join("manifest.jsonl"), |bytes| {
        *bytes = text(bytes).replace("\"0.wav\"", &format!("{outside:?}")).into()
    });
    let sparsec = |arguments: &[&str]| {
        Command::new(SPARSEC)
            .args(arguments)
            .current_dir(place.path())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .output()
            .unwrap()
    };
    assert_said(&sparsec(&["check", "tiny.sq"]), 2, &["tiny.sq:4:10", "line 1", &outside, "`--allow-outside`"]);
    assert_said(&sparsec(&["check", "tiny.sq", "--allow-outside"]), 0, &[]);
    assert_said(&sparsec(&["run", "tiny.sq", "--allow-outside"]), 0, &[]);
    assert_said(&sparsec(&["eval", "model", "manifest.jsonl"]), 2, &[&outside, "`--allow-outside`"]);
    assert_said(&sparsec(&["eval", "model", "manifest.jsonl", "--allow-outside"]), 0, &[]);
}

/// Measured times can be measured again; those that somebody asks for by name cannot.
#[test]
fn a_damaged_tuning_file_is_put_aside_unless_it_was_asked_for() {
    let place = Place::new(&recipe("magnitude", "60%", "90000"));
    assert_said(&place.run(), 0, &[]);
    let (tuning, aside) =
        (place.path().join("work/.sparsec/tuning.json"), place.path().join("work/.sparsec/tuning.json.damaged"));
    let whole = fs::read(&tuning).unwrap();
    let old = text(&whole).replace("\"version\": ", "\"version\": 9");
    for (damaged, reason) in
        [(&whole[..whole.len() / 2], "EOF while parsing"), (old.as_bytes(), "where this program reads"), (b"\xff", "UTF-8")]
    {
        fs::write(&tuning, damaged).unwrap();
        let plan = Command::new(SPARSEC).args(["plan", "tiny.sq", "-C", "work"]).current_dir(place.path()).output().unwrap();
        assert_said(&plan, 0, &["tuning.json cannot be used", reason, "the next run puts the file aside"]);
        assert!(text(&plan.stdout).contains("not measured yet") && !aside.exists());
        let output = place.command(&["env"]).arg("--fresh").output().unwrap();
        assert_said(
            &output,
            0,
            &["work/.sparsec/tuning.json cannot be used, and kernels are measured again", reason, "is now work/"],
        );
        assert_eq!(text(&output.stderr).matches("tuning.json cannot be used").count(), 1);
        assert_eq!(fs::read(&aside).unwrap(), damaged);
        assert!(sparsec_kernels::Tuning::load(&tuning).is_ok());
        fs::remove_file(&aside).unwrap();
    }
    fs::write(place.path().join("given.json"), &whole[..whole.len() / 2]).unwrap();
    let output = place.command(&["env"]).args(["--fresh", "--tuning", "given.json"]).output().unwrap();
    assert_said(&output, 2, &["given.json", "EOF while parsing"]);
    assert!(place.path().join("given.json").exists() && !aside.exists());
}
