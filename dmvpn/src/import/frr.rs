//! Writes lines for FRR.

use std::fmt::Write;

use super::{
    Places,
    line::{At, printable},
    model::Model,
    plan::Plan,
};

/// The fragment; `None`: there was no routing.
pub(super) fn write(model: &Model, plan: &Plan, places: &Places<'_>) -> Option<String> {
    let mut writer = Writer { model, places, text: String::new() };
    for tunnel in &model.tunnels {
        if tunnel.frr.is_empty() {
            continue;
        }
        // Not every interface with lines about routing is a tunnel of ours.
        let is_ours = plan.tunnels.iter().any(|planned| planned.old_name == tunnel.old_name);
        let name = if is_ours { &tunnel.name } else { &tunnel.old_name };
        writer.block(&format!("interface {}", printable(name)), tunnel.at, &tunnel.frr);
    }
    for router in &model.routers {
        writer.block(&router.header.value, router.header.at, &router.lines);
    }
    for route in &plan.other_routes {
        writer.place(route.at, "");
        let version = if route.value.prefix.addr().is_ipv4() { "ip" } else { "ipv6" };
        writer.line(&format!("{version} route {} {}", route.value.prefix, route.value.via));
    }
    if !model.routing_notes.is_empty() {
        writer.line("! To be translated by hand:");
        for note in &model.routing_notes {
            let place = places.name(note.at);
            writer.line(&format!("! {place}: {}", note.value));
        }
    }
    if writer.text.is_empty() {
        return None;
    }
    let header = "! Made by `dmvpn import`; comments name the lines of the old configuration. Read it before you load it: it is\n\
                  ! what a routing daemon needs to know about the tunnels, not a whole configuration.\n!\n";
    Some(format!("{header}{}", writer.text))
}

struct Writer<'a> {
    model: &'a Model,
    places: &'a Places<'a>,
    text: String,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{}", printable(line));
    }

    fn place(&mut self, at: usize, indent: &str) {
        let place = self.places.name(at);
        self.line(&format!("{indent}! {place}"));
    }

    fn block(&mut self, header: &str, at: usize, lines: &[At<String>]) {
        self.place(at, "");
        self.line(header);
        for line in lines {
            self.place(line.at, " ");
            let text = self.with_new_names(&line.value);
            self.line(&format!(" {text}"));
        }
        self.line("exit");
        self.line("!");
    }

    /// The line with the tunnels' new names.
    fn with_new_names(&self, line: &str) -> String {
        let new = |word: &'_ str| {
            let tunnel = self.model.tunnels.iter().find(|tunnel| tunnel.old_name == word);
            tunnel.map_or_else(|| word.to_owned(), |tunnel| tunnel.name.clone())
        };
        line.split(' ').map(new).collect::<Vec<_>>().join(" ")
    }
}
