//! Writes the configuration, so that `dmvpn check` accepts it: what it does not accept is left out and refused.

use std::fmt::Write;

use super::{
    Places,
    judgements::Judgements,
    line::printable,
    plan::{Item, Plan, Planned},
    verdict::{ignored, refused},
};
use crate::config::Config;

/// Rounds of leaving out. One is enough but where one thing hides another.
const ROUNDS: usize = 16;

/// An item by its tunnel's and its own place in the plan; without an item: the tunnel.
type Source = (usize, Option<usize>);

/// The text, or why there is none.
pub(super) fn write(plan: &Plan, places: &Places<'_>, judgements: &mut Judgements) -> Result<String, String> {
    let mut left_out: Vec<Source> = Vec::new();
    if plan.tunnels.is_empty() {
        return Err(match plan.missing.as_slice() {
            [] => "there is no tunnel with NHRP in it".to_owned(),
            missing => missing.join("\n"),
        });
    }
    if !plan.missing.is_empty() {
        return Err(plan.missing.join("\n"));
    }
    for _ in 0..ROUNDS {
        let (text, sources) = text(plan, places, &left_out);
        let Err(problems) = Config::parse(text.as_bytes()) else { return Ok(text) };
        let before = left_out.len();
        for problem in &problems {
            let source = sources.get(problem.at.line.saturating_sub(1)).copied().flatten();
            let Some((tunnel, item)) = source else { continue };
            let Some(planned) = plan.tunnels.get(tunnel) else { continue };
            let needed = item.and_then(|item| planned.items.get(item)).is_none_or(|item| item.needed);
            let dropped = if needed { (tunnel, None) } else { (tunnel, item) };
            if left_out.contains(&dropped) {
                continue;
            }
            left_out.push(dropped);
            refuse(planned, dropped.1, item, &problem.message, judgements);
        }
        if left_out.len() == before {
            let problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            return Err(problems.join("\n"));
        }
    }
    Err("too much of it is not accepted by `dmvpn check`: see the refused lines".to_owned())
}

/// Says of the lines why they are left out.
fn refuse(
    planned: &Planned,
    dropped: Option<usize>,
    cause: Option<usize>,
    message: &str,
    judgements: &mut Judgements,
) {
    if let Some(item) = dropped.and_then(|item| planned.items.get(item)) {
        for at in &item.from {
            judgements.revise(*at, refused(message.to_owned()));
        }
        return;
    }
    for item in &planned.items {
        for at in &item.from {
            judgements.revise(*at, ignored("of a tunnel that is not taken over"));
        }
    }
    let cause = cause.and_then(|item| planned.items.get(item)).and_then(|item| item.from.first());
    judgements.revise(planned.at, refused(message.to_owned()));
    if let Some(at) = cause {
        judgements.revise(*at, refused(message.to_owned()));
    }
}

/// The text, and which item each line of it is of.
fn text(plan: &Plan, places: &Places<'_>, left_out: &[Source]) -> (String, Vec<Option<Source>>) {
    let mut writer = Writer { places, text: String::new(), sources: Vec::new() };
    writer.line(None, "# Made by `dmvpn import`; comments name the lines of the old configuration.");
    writer.line(None, "");
    writer.line(None, "tunnels:");
    for (index, planned) in plan.tunnels.iter().enumerate() {
        if left_out.contains(&(index, None)) {
            continue;
        }
        let items = planned.items.iter().enumerate();
        let items = items.filter(|(item, _)| !left_out.contains(&(index, Some(*item))));
        writer.tunnel(index, planned, &items.collect::<Vec<_>>());
    }
    (writer.text, writer.sources)
}

struct Writer<'a> {
    places: &'a Places<'a>,
    text: String,
    sources: Vec<Option<Source>>,
}

impl Writer<'_> {
    fn line(&mut self, source: Option<Source>, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
        self.sources.push(source);
    }

    fn tunnel(&mut self, index: usize, planned: &Planned, items: &[(usize, &Item)]) {
        let place = self.places.name(planned.at);
        let old_name = printable(&planned.old_name);
        self.line(Some((index, None)), &format!("  - name: {}  # {old_name}, {place}", planned.name));
        let mut lists: Vec<&str> = Vec::new();
        for (number, item) in items {
            match item.list {
                None => self.item(Some((index, Some(*number))), "    ", item),
                // In the order in which they come first; all entries of a list stand together.
                Some(list) if lists.contains(&list) => {}
                Some(list) => {
                    lists.push(list);
                    self.line(None, &format!("    {list}:"));
                    let entries = items.iter().filter(|(_, item)| item.list == Some(list));
                    let mut is_in_list = false;
                    for (number, item) in entries {
                        let source = Some((index, Some(*number)));
                        if list != "multicast" {
                            self.item(source, "      - ", item);
                        } else if let [("to", nbma)] = item.keys.as_slice() {
                            if !is_in_list {
                                self.line(None, "      to:");
                                is_in_list = true;
                            }
                            let comment = self.comment(item);
                            self.line(source, &format!("        - {}{comment}", scalar("to", nbma)));
                        } else {
                            self.item(source, "      ", item);
                        }
                    }
                }
            }
        }
        for comment in &planned.comments {
            let place = self.places.name(comment.at);
            self.line(None, &format!("    # {place}: {}", printable(&comment.value)));
        }
    }

    fn item(&mut self, source: Option<Source>, start: &str, item: &Item) {
        let comment = self.comment(item);
        let next: String = start.replace('-', " ");
        for (place, (key, value)) in item.keys.iter().enumerate() {
            let (start, comment) = if place == 0 { (start, comment.as_str()) } else { (next.as_str(), "") };
            // An entry of a list of plain values has no key.
            let key_part = if key.is_empty() { String::new() } else { format!("{key}: ") };
            self.line(source, &format!("{start}{key_part}{}{comment}", scalar(key, value)));
        }
    }

    fn comment(&self, item: &Item) -> String {
        let mut parts = Vec::new();
        if !item.from.is_empty() {
            parts.push(self.places.names(item.from.iter().copied()));
        }
        parts.extend(item.remark.as_deref().map(printable));
        if parts.is_empty() { String::new() } else { format!("  # {}", parts.join(": ")) }
    }
}

/// A value of YAML; a string with anything odd in it is quoted.
fn scalar(key: &str, value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._/-".contains(letter);
    let is_plain = value.starts_with(|first: char| first.is_ascii_alphanumeric()) && value.chars().all(plain);
    if is_plain && key != "authentication" {
        value.to_owned()
    } else {
        // A string of JSON is one of YAML.
        serde_json::Value::from(value).to_string()
    }
}
