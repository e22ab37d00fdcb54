//! The fuzz corpora as ordinary tests: every file, through what its fuzz target does with it.

#[expect(unreachable_pub, reason = "it is the library of the fuzz package")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a fuzz target does with its input.
type Target = fn(&[u8]);

/// The targets by the names of their corpora.
const TARGETS: [(&str, Target); 9] = [
    ("packet", targets::packet),
    ("extensions", targets::extensions),
    ("capture-file", targets::capture_file),
    ("gre", targets::gre),
    ("control", targets::control),
    ("state", targets::state),
    ("config", targets::config),
    ("import", targets::import),
    ("btf", targets::btf),
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

#[test]
fn nothing_in_a_corpus_is_a_finding() {
    for (name, target) in TARGETS {
        let files = entries(&fuzz().join("corpus").join(name));
        assert!(files.len() >= 10, "{name} has {} files", files.len());
        for file in files {
            // Shown when the target panics.
            println!("{}", file.display());
            target(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_a_program() {
    let names: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    let found = |directory: &str| -> BTreeSet<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().replace('_', "-");
        entries(&fuzz().join(directory)).into_iter().map(stem).collect()
    };
    assert_eq!(found("corpus"), names);
    assert_eq!(found("fuzz_targets"), names);
}
