//! What the demo tells while it runs.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Instant,
};

/// Writes lines with the time since the start, to standard output or, when that is for JSON, to standard error.
#[derive(Debug)]
pub(crate) struct Story {
    start: Instant,
    to_stderr: bool,
}

impl Story {
    /// Starts the clock.
    pub(crate) fn new(to_stderr: bool) -> Self {
        Self { start: Instant::now(), to_stderr }
    }

    /// A heading.
    pub(crate) fn scene(&self, title: &str) {
        self.blank();
        self.write(&format!("== {title}\n"));
    }

    /// A line, with the time.
    pub(crate) fn say(&self, line: &str) {
        self.write(&format!("[{:6.2} s] {line}\n", self.start.elapsed().as_secs_f64()));
    }

    /// Lines as they are, indented: a drawing, a table, an explanation.
    pub(crate) fn lines(&self, text: &str) {
        for line in text.lines() {
            self.write(&format!("    {line}\n"));
        }
    }

    /// An empty line.
    pub(crate) fn blank(&self) {
        self.write("\n");
    }

    /// A line that the next one replaces, on a terminal; elsewhere nothing but the last one is worth its place.
    pub(crate) fn progress(&self, line: &str, last: bool) {
        let terminal = if self.to_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        if terminal {
            let end = if last { "\n" } else { "" };
            self.write(&format!("\r[{:6.2} s] {line}\x1b[K{end}", self.start.elapsed().as_secs_f64()));
        } else if last {
            self.say(line);
        }
    }

    fn write(&self, text: &str) {
        // Nobody reads any more (a closed pipe): the demo goes on to clean up.
        let _ = if self.to_stderr {
            io::stderr().write_all(text.as_bytes())
        } else {
            let mut output = io::stdout().lock();
            output.write_all(text.as_bytes()).and_then(|()| output.flush())
        };
    }
}
