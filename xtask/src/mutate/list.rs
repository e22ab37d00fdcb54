//! The list of mutations, `dmvpn/tests/programs/mutations.yaml`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// Where the list is.
pub(super) const FILE: &str = "dmvpn/tests/programs/mutations.yaml";

/// One way to break a rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Mutation {
    /// What it is called.
    pub(super) name: String,
    /// The rule that it breaks.
    pub(super) rule: String,
    /// Where.
    pub(super) file: String,
    /// Text in the file before the line, where there is another line like it.
    after: Option<String>,
    /// The line as it is, or a part of it.
    line: String,
    /// What it becomes.
    becomes: String,
    /// Tests of the programs that are to fail.
    pub(super) caught_by: Vec<String>,
}

/// Reads the list.
pub(super) fn read(root: &Path) -> Result<Vec<Mutation>> {
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
}

impl Mutation {
    /// The file's text with the mutation in it. Fails where the line is not there any more, or not alone.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        let Self { name, file, line, becomes, .. } = self;
        let begin = match &self.after {
            None => 0,
            Some(after) => match text.match_indices(after.as_str()).collect::<Vec<_>>()[..] {
                [(at, _)] => at,
                [] => bail!("{name}: {file} has no `{after}` any more"),
                _ => bail!("{name}: {file} has several `{after}`"),
            },
        };
        let (front, rest) = text.split_at(begin);
        // After a place it is the first one, else the only one.
        let at = match rest.match_indices(line.as_str()).collect::<Vec<_>>()[..] {
            [] => bail!("{name}: {file} has no `{line}` any more"),
            [(at, _), ..] if begin > 0 => at,
            [(at, _)] => at,
            _ => bail!("{name}: {file} has several `{line}`"),
        };
        if line == becomes {
            bail!("{name}: changes nothing");
        }
        Ok(format!("{front}{}{becomes}{}", &rest[..at], &rest[at + line.len()..]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// Who changes one of these lines changes the list, too.
    #[test]
    fn every_line_of_the_list_is_still_there_once() {
        let list = read(root()).unwrap();
        let wrong: Vec<String> = list
            .iter()
            .filter_map(|mutation| {
                let text = fs::read_to_string(root().join(&mutation.file)).unwrap();
                mutation.apply(&text).err().map(|error| error.to_string())
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_mutation_has_a_name_of_its_own_and_a_test_that_there_is() {
        let list = read(root()).unwrap();
        let names: HashSet<_> = list.iter().map(|mutation| &mutation.name).collect();
        assert_eq!(names.len(), list.len());
        for Mutation { name, caught_by, .. } in &list {
            assert!(!caught_by.is_empty(), "{name}: nothing is to catch it");
            for test in caught_by {
                let (module, function) = test.split_once("::").unwrap();
                let folder = root().join("dmvpn/tests/programs");
                let source = [format!("{module}.rs"), format!("{module}/mod.rs")]
                    .iter()
                    .find_map(|file| fs::read_to_string(folder.join(file)).ok());
                let there = source.is_some_and(|text| text.contains(&format!("fn {function}()")));
                assert!(there, "{name}: there is no test {test}");
            }
        }
    }

    #[test]
    fn finds_the_line_after_a_place() {
        let mutation = |after: Option<&str>, line: &str| Mutation {
            name: "m".to_owned(),
            rule: String::new(),
            file: "f".to_owned(),
            after: after.map(str::to_owned),
            line: line.to_owned(),
            becomes: "x".to_owned(),
            caught_by: Vec::new(),
        };
        let text = "one\ntwo\nthree\ntwo\n";
        assert_eq!(mutation(None, "three").apply(text).unwrap(), "one\ntwo\nx\ntwo\n");
        assert_eq!(mutation(Some("three"), "two").apply(text).unwrap(), "one\ntwo\nthree\nx\n");
        for (wrong, why) in [
            (mutation(None, "two"), "several"),
            (mutation(None, "four"), "any more"),
            (mutation(Some("four"), "two"), "any more"),
            (mutation(Some("two"), "three"), "several"),
            (mutation(None, "x"), "any more"),
        ] {
            assert!(wrong.apply(text).unwrap_err().to_string().contains(why), "{why}");
        }
    }
}
