//! Configurations of other nodes, each through `dmvpn import` and `dmvpn check` as an operator runs them.
//!
//! `cases/NAME/` has the old files, `arguments.txt`, a sentence in `about.md`, and in `expected/` what has to come out:
//! the files that are written, and the report with its exit status. `DMVPN_BLESS=1 cargo test -p dmvpn --test import`
//! writes them anew: read the difference before it is committed.

mod properties;

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Where the cases are, seen from the package, where cargo runs tests.
const CASES: &str = "tests/import/cases";
/// Files of a case that are not of the old box.
const OURS: [&str; 3] = ["about.md", "arguments.txt", "expected"];

fn dmvpn(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dmvpn")).args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn files(directory: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).collect()
}

fn cases() -> BTreeMap<String, PathBuf> {
    let cases = files(Path::new(CASES));
    assert!(cases.len() >= 20, "{} cases", cases.len());
    cases
}

/// The old files of a case in a directory of their own.
fn copy(case: &Path) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, path) in files(case).into_iter().filter(|(name, _)| !OURS.contains(&name.as_str())) {
        fs::copy(path, directory.path().join(name)).unwrap();
    }
    directory
}

/// Runs the import of a case, with more arguments.
fn import(directory: &Path, case: &Path, more: &[&str]) -> Output {
    let arguments = fs::read_to_string(case.join("arguments.txt")).unwrap();
    let arguments: Vec<&str> =
        ["import"].into_iter().chain(arguments.split_whitespace()).chain(more.iter().copied()).collect();
    dmvpn(directory, &arguments)
}

/// Everything that a case gives: the files and the report.
fn outcome(case: &Path) -> BTreeMap<String, String> {
    let directory = copy(case);
    let before = files(directory.path());
    let output = import(directory.path(), case, &[]);
    let mut outcome = BTreeMap::new();
    for (name, path) in files(directory.path()).into_iter().filter(|(name, _)| !before.contains_key(name)) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name} has secrets in it");
        outcome.insert(name, fs::read_to_string(path).unwrap());
    }
    let report = format!(
        "{}\n---- standard error, exit status {}\n{}",
        text(output.stdout),
        output.status.code().unwrap(),
        text(output.stderr)
    );
    outcome.insert("report.txt".to_owned(), report);
    outcome
}

#[test]
fn every_case_gives_what_is_expected() {
    let bless = env::var_os("DMVPN_BLESS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        let found = outcome(&case);
        let expected = case.join("expected");
        if bless {
            let _ = fs::remove_dir_all(&expected);
            fs::create_dir(&expected).unwrap();
            for (file, text) in &found {
                fs::write(expected.join(file), text).unwrap();
            }
            continue;
        }
        let known: BTreeMap<String, String> = files(&expected)
            .into_iter()
            .map(|(file, path)| (file, fs::read_to_string(path).unwrap()))
            .collect();
        for file in found.keys().chain(known.keys()) {
            if found.get(file) != known.get(file) {
                println!("==== {name}/{file}: found\n{}", found.get(file).map_or("nothing", String::as_str));
                wrong.push(format!("{name}/{file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "differ: {wrong:?}");
}

#[test]
fn check_accepts_every_result() {
    for (name, case) in cases() {
        let directory = copy(&case);
        import(directory.path(), &case, &[]);
        let output = dmvpn(directory.path(), &["check", "dmvpn.yaml"]);
        assert!(output.status.success(), "{name}: {}", text(output.stderr));
    }
}

/// FRR's own parser, without a daemon: it knows the grammar of all of them.
fn vtysh_accepts(file: &Path) -> Result<(), String> {
    let output = Command::new("vtysh").args(["--dryrun", "--inputfile"]).arg(file).output();
    let output = output.expect("FRR is not there: cargo xtask setup installs it");
    let said = text(output.stdout) + &text(output.stderr);
    if output.status.success() && !said.contains("Unknown command") { Ok(()) } else { Err(said) }
}

#[test]
fn frr_accepts_every_fragment() {
    let directory = TempDir::new().unwrap();
    let wrong = directory.path().join("wrong.conf");
    fs::write(&wrong, "interface dmvpn0\n ip split-horizon\nexit\n").unwrap();
    vtysh_accepts(&wrong).expect_err("it looks at the lines");

    let mut fragments = 0;
    for (name, case) in cases() {
        let directory = copy(&case);
        import(directory.path(), &case, &[]);
        let fragment = directory.path().join("dmvpn.frr.conf");
        if fragment.exists() {
            fragments += 1;
            vtysh_accepts(&fragment).unwrap_or_else(|said| panic!("{name}: {said}"));
        }
    }
    assert!(fragments >= 20, "{fragments} fragments");
}

#[test]
fn every_line_of_a_case_has_one_verdict() {
    for (name, case) in cases() {
        let directory = copy(&case);
        let output = import(directory.path(), &case, &["--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in report["lines"].as_array().unwrap() {
            found
                .entry(line["file"].as_str().unwrap().to_owned())
                .or_default()
                .push(line["line"].as_u64().unwrap());
        }
        for (file, path) in files(&case).into_iter().filter(|(file, _)| !OURS.contains(&file.as_str())) {
            let lines = fs::read_to_string(path).unwrap().lines().count() as u64;
            assert_eq!(found.remove(&file), Some((1..=lines).collect()), "{name}/{file}");
        }
    }
}

#[test]
fn no_secret_is_printed() {
    // All of them: authentication strings, pre-shared keys, a password of a routing daemon.
    let secrets =
        ["114514", "test123", "'secret'", "key secret", "n3t\n", "rac00nkey", "quaggapw", "s3cr", "k3y"];
    for (name, case) in cases() {
        let directory = copy(&case);
        for more in [&[][..], &["--json", "--force"], &["--all", "--force"]] {
            let output = import(directory.path(), &case, more);
            let printed = text(output.stdout) + &text(output.stderr);
            for secret in secrets {
                assert!(!printed.contains(secret), "{name}: {secret}\n{printed}");
            }
        }
    }
}

#[test]
fn what_is_there_stays_without_force() {
    let case = Path::new(CASES).join("002-vyos-hub");
    let directory = copy(&case);
    let fragment = directory.path().join("dmvpn.swanctl.conf");
    fs::write(&fragment, "mine").unwrap();
    let output = import(directory.path(), &case, &[]);
    assert!(text(output.stderr).contains("dmvpn.swanctl.conf is there already: --force replaces it"));
    assert_eq!(fs::read_to_string(&fragment).unwrap(), "mine");
    assert!(!directory.path().join("dmvpn.yaml").exists(), "all or nothing");

    import(directory.path(), &case, &["--force"]);
    assert!(fs::read_to_string(&fragment).unwrap().contains("connections {"));
    assert_eq!(fs::metadata(&fragment).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_dry_run_writes_nothing() {
    let case = Path::new(CASES).join("002-vyos-hub");
    let directory = copy(&case);
    let before = files(directory.path());
    import(directory.path(), &case, &["--dry-run"]);
    assert_eq!(files(directory.path()), before);
}

#[test]
fn says_what_is_missing_and_takes_it() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("opennhrp.conf"), "interface gre1\n  holding-time 300\n").unwrap();
    let output = dmvpn(directory.path(), &["import", "--from", "opennhrp", "opennhrp.conf"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(output.stderr);
    assert!(said.contains("give --address gre1=ADDRESS/LENGTH"), "{said}");
    assert!(!directory.path().join("dmvpn.yaml").exists());

    let given = ["--address", "gre1=10.0.0.1/24", "--source", "eth1", "-o", "hub.yaml"];
    let arguments = ["import", "--from", "opennhrp", "opennhrp.conf"].into_iter().chain(given);
    let output = dmvpn(directory.path(), &arguments.collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", text(output.stderr));
    assert!(dmvpn(directory.path(), &["check", "hub.yaml"]).status.success());
}
