//! `docs/configuration.md` and the keys that are accepted are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::problems;
use crate::config::Config;

/// A file with an unknown key wherever keys are: the problems name the known ones. In the order of [`SECTIONS`].
const EVERY_SECTION: &str = "\
x:
tunnels:
  - x:
    nhs:
      - x:
    nhs-clusters:
      - x:
    multicast:
      x:
    maps:
      - x:
    routes:
      - x:
    groups:
      - x:
    limits:
      x:
";

/// Headings of the page, and the line of [`EVERY_SECTION`] with the unknown key.
const SECTIONS: [(&str, &str); 9] = [
    ("Top level", "1:"),
    ("`tunnels`", "3:"),
    ("`nhs`", "5:"),
    ("`nhs-clusters`", "7:"),
    ("`multicast`", "9:"),
    ("`maps`", "11:"),
    ("`routes`", "13:"),
    ("`groups`", "15:"),
    ("`limits`", "17:"),
];

/// The page: by section the keys, in its order, with their defaults as they are written.
fn page() -> BTreeMap<String, Vec<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut sections: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once('`').unwrap();
            let default = rest.split('|').nth(2).unwrap().trim();
            sections.entry(section.clone()).or_default().push((key.to_owned(), default.to_owned()));
        }
    }
    sections
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let problems = problems(EVERY_SECTION);
    let mut page = page();
    for (section, line) in SECTIONS {
        let problem = problems.iter().find(|text| text.starts_with(line) && text.contains("unknown key `x`"));
        let accepted = problem.and_then(|text| text.split_once("(accepted: ")).unwrap().1;
        let accepted: BTreeSet<_> = accepted.trim_end_matches(')').split(", ").map(str::to_owned).collect();
        let keys = page.remove(section).unwrap_or_else(|| panic!("no section {section}"));
        let count = keys.len();
        let listed: BTreeSet<_> = keys.into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, accepted, "{section}");
        assert_eq!(listed.len(), count, "a key is listed twice in {section}");
    }
    assert!(page.is_empty(), "sections that are not checked: {page:?}");
}

#[test]
fn the_page_has_the_right_defaults() {
    let text = "\
tunnels:
  - name: dmvpn0
    address: 10.0.0.1/24
    source: 192.0.2.10
    nhs: [{address: 10.0.0.2, nbma: 203.0.113.2}]
";
    let config = serde_json::to_value(Config::parse(text.as_bytes()).unwrap()).unwrap();
    let tunnel = &config["tunnels"][0];
    let mut checked = 0;
    for (section, keys) in page() {
        let values = match section.as_str() {
            "Top level" => &config,
            "`tunnels`" => tunnel,
            "`nhs`" => &tunnel["nhs"][0],
            "`multicast`" | "`limits`" => &tunnel[section.trim_matches('`')],
            _ => continue,
        };
        for (key, default) in keys {
            // Words explain where a default is no value.
            let Some(default) = default.strip_prefix('`').and_then(|text| text.strip_suffix('`')) else {
                continue;
            };
            // The one list with a default other than none is not empty in the file above.
            if key != "nhs" {
                let value = &values[&key];
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                assert_eq!(value, default, "{section} {key}");
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "only {checked} defaults were found");
}
