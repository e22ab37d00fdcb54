//! The list as a page, `docs/mutations.md`.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use super::list::{self, Mutation};

const PAGE: &str = "docs/mutations.md";

/// Writes the page, after every mutation was caught as the list says.
pub(super) fn write(root: &Path, list: &[Mutation]) -> Result<()> {
    let path = root.join(PAGE);
    fs::write(&path, text(list)?).with_context(|| format!("cannot write {}", path.display()))
}

fn text(list: &[Mutation]) -> Result<String> {
    let mut text = format!(
        "# Rules of the data path, and the tests that hold them\n\n\
         `cargo xtask mutate` breaks one rule after the other in a copy of the sources, builds the programs, and runs the \
         tests that\nare to notice. It fails when one of them does not, or when a line to be changed is no longer there. \
         `{}` is the list;\nthis page is what the command writes when all {} mutations are caught.\n\n\
         What the kernel and its devices make of a large buffer is looked at on Debian's kernel as well, where this command \
         does not\ngo: `cargo xtask lab vm-gso` has either version of IP inside and outside, and the kernel's own GRE at the \
         other end.\n\n\
         | mutation | rule it breaks | where | caught by |\n|---|---|---|---|\n",
        list::FILE,
        list.len()
    );
    for mutation in list {
        let file = mutation.file.rsplit('/').next().unwrap_or_default();
        let tests: Vec<_> = mutation.caught_by.iter().map(|test| format!("`{test}`")).collect();
        writeln!(text, "| {} | {} | `{file}` | {} |", mutation.name, mutation.rule, tests.join(", "))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who changes the list runs the command, which writes the page.
    #[test]
    fn the_page_is_that_of_the_list() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(page == text(&list::read(root).unwrap()).unwrap(), "run `cargo xtask mutate`");
    }
}
