//! Files that are not a configuration at all.

use std::{fmt::Write, fs, path::Path};

use proptest::prelude::*;

use super::{assert_problems, tunnel};
use crate::config::Config;

#[test]
fn reports_what_is_not_yaml() {
    assert_problems(
        "tunnels: [1, 2\n",
        &["2:1: not YAML: while parsing a flow sequence, expected ',' or ']'"],
    );
    // Behind the end of a last line that has none, no line is named.
    assert_problems("max-peers: 1\ntunnels", &["2:8: not YAML: simple key expected"]);
    assert_problems("max-peers: 1\r\nipv6: 2\rtunnels", &["3:8: not YAML: simple key expected"]);
    assert_problems(
        "tunnels:\n\t- name: a\n",
        &["2:2: not YAML: tabs disallowed within this context (block indentation)"],
    );
    assert_problems(
        "control-socket: \"/run\n",
        &["1:17: not YAML: while scanning a quoted scalar, found unexpected end of stream"],
    );
}

#[test]
fn reports_yaml_that_a_configuration_does_not_need() {
    assert_problems(
        "control-socket: &a /run/x\npin-directory: *a\n",
        &["2:16: aliases (`*name`) are not accepted: repeat the value"],
    );
    assert_problems("max-peers: !!int 5\n", &["1:12: tags (`!name`) are not accepted: remove it"]);
    assert_problems("? [a]\n: b\n", &["1:3: a key must be a word"]);
    assert_problems(
        "max-peers: 5\n---\nx: 1\n",
        &["2:1: a second document: a configuration is one document"],
    );
    assert_problems(&"[".repeat(100), &["1:17: nested more than 16 levels deep"]);
}

#[test]
fn refuses_an_alias_bomb_at_its_first_alias() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (one, other) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        writeln!(text, "{one}: &{one} [*{other}, *{other}, *{other}, *{other}, *{other}]").unwrap();
    }
    assert_problems(&text, &["2:8: aliases (`*name`) are not accepted: repeat the value"]);
}

#[test]
fn reports_bytes_that_are_no_text() {
    let problems = Config::parse(b"max-peers: 5\nt\xc3\xbc: \xff\n").unwrap_err();
    assert_eq!((problems[0].at.line, problems[0].at.column), (2, 5));
    assert_eq!(problems[0].message, "not text: expected UTF-8");
}

#[test]
fn reports_a_large_file() {
    let text = "#".repeat((1 << 20) + 1);
    assert_problems(&text, &["1:1: larger than 1048576 bytes"]);
}

#[test]
fn reports_a_file_without_a_tunnel() {
    let empty = "1:1: expected a mapping with the keys of a configuration (`tunnels`, ...)";
    assert_problems("", &[empty]);
    assert_problems("- a\n", &[empty]);
    assert_problems("max-peers: 5\n", &["1:1: no `tunnels`: expected a list with at least one tunnel"]);
    assert_problems("tunnels: []\n", &["1:1: no `tunnels`: expected a list with at least one tunnel"]);
    assert_problems("tunnels: 5\n", &["1:10: `tunnels`: expected a list (lines with `- `)"]);
}

#[test]
fn prints_a_line_a_problem_with_the_file_and_stops_at_fifty() {
    let mut text = tunnel("");
    for number in 0..60 {
        writeln!(text, "x{number}: 1").unwrap();
    }
    let directory = std::env::temp_dir().join(format!("dmvpn-config-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("bad.yaml");
    fs::write(&path, text).unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    fs::remove_dir_all(&directory).unwrap();

    let path = path.display().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 51);
    let accepted = "(accepted: control-socket, pin-directory, state-directory, max-peers, spread, tunnels)";
    assert_eq!(lines[0], format!("{path}:5:1: unknown key `x0` {accepted}"));
    assert_eq!(lines[50], format!("{path}: and 10 more"));
}

#[test]
fn says_which_file_cannot_be_read() {
    let error = Config::load(Path::new("/nonexistent/dmvpn.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/dmvpn.yaml");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "No such file or directory (os error 2)");
}
proptest! {
    /// Whatever the bytes, there is an answer, and an error says where.
    #[test]
    fn survives_any_text(text in "[a-c0-9 :,*&!|>'\"{}\\[\\]#%@~\n\t.-]{0,200}") {
        if let Err(problems) = Config::parse(text.as_bytes()) {
            prop_assert!(!problems.is_empty());
            // The end of the text may be said to be on a line of its own.
            let lines = text.matches('\n').count() + 2;
            for problem in problems {
                prop_assert!((1..=lines).contains(&problem.at.line) && problem.at.column > 0, "{problem:?}");
            }
        }
    }

    #[test]
    fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Config::parse(&bytes).is_err());
    }
}
