//! A file of `tests/wire/rights/tables`: an API, its cases, and what Apache Kafka answered in each cell.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::situation::{Right, Situation};
use super::stage::NEW;
use crate::script::Step;

#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    pub api: String,
    /// Where the answers come from.
    pub recorded_on: String,
    pub cases: Vec<Case>,
}

/// A request and all it needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Case {
    pub about: String,
    /// First and last version in which it can be asked, if not in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<(i16, i16)>,
    /// What a super user does before each request, whatever the answer: so that there is again what the last one removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Step>,
    pub request: Value,
    /// Rights without any of which a part of the answer is refused.
    pub needs: Vec<String>,
    /// As in a step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unordered: Vec<String>,
    /// As in a step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differs: BTreeMap<String, String>,
    /// Why we answer every cell as the one without rights, which alone is recorded then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_allowed: Option<String>,
    /// Why only those cells are compared that Kafka answers as the one without rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_refusals: Option<String>,
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// A right's place in `needs`, and how it stands with it.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub need: usize,
    pub situation: Situation,
}

impl Cell {
    /// The one that is of no right.
    pub const NO_RIGHTS: Self = Self { need: 0, situation: Situation::NoRightsAtAll };
}

/// What was answered alike.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub versions: Vec<i16>,
    /// By right, the situations with commas between them.
    pub when: BTreeMap<String, String>,
    /// As they came; `closed` is last if the connection was.
    pub messages: Vec<Value>,
}

impl Case {
    /// What it needs, with a new name where one is meant.
    pub fn rights(&self, new: &str) -> Vec<Right> {
        self.needs.iter().map(|need| Right::parse(&need.replace(NEW, new))).collect()
    }

    pub fn has_new_names(&self) -> bool {
        self.needs.iter().any(|need| need.contains(NEW))
    }

    pub fn cells(&self) -> Vec<Cell> {
        let each = self.rights(NEW).into_iter().enumerate().flat_map(|(need, right)| {
            Situation::all(&right).into_iter().map(move |situation| Cell { need, situation })
        });
        [Cell::NO_RIGHTS].into_iter().chain(each).collect()
    }

    /// What was recorded in a cell.
    pub fn recorded(&self, version: i16, cell: Cell) -> Option<&[Value]> {
        let (need, situation) = (&self.needs[cell.need], cell.situation.to_string());
        let is_it = |answer: &&Answer| {
            let when = answer.when.get(need);
            answer.versions.contains(&version) && when.is_some_and(|when| when.split(", ").any(|one| one == situation))
        };
        self.answers.iter().find(is_it).map(|answer| &answer.messages[..])
    }

    /// Takes what was answered, version by version and cell by cell; what is alike in one place.
    pub fn record(&mut self, answered: Vec<(i16, Cell, Vec<Value>)>) {
        let mut answers: Vec<Answer> = Vec::new();
        for (version, cell, messages) in answered {
            let known = answers.iter().position(|answer| answer.versions == [version] && answer.messages == messages);
            let answer = known.unwrap_or_else(|| {
                answers.push(Answer { versions: vec![version], when: BTreeMap::new(), messages });
                answers.len() - 1
            });
            let when = answers[answer].when.entry(self.needs[cell.need].clone()).or_default();
            when.push_str(if when.is_empty() { "" } else { ", " });
            when.push_str(&cell.situation.to_string());
        }
        self.answers = Vec::new();
        for answer in answers {
            let alike = |known: &&mut Answer| known.when == answer.when && known.messages == answer.messages;
            match self.answers.iter_mut().find(alike) {
                Some(known) => known.versions.extend(answer.versions),
                None => self.answers.push(answer),
            }
        }
    }
}

impl Table {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn write(&self, path: &Path) {
        let mut text = String::new();
        lay_out(&serde_json::to_string(self).unwrap(), 0, &mut text);
        fs::write(path, text + "\n").unwrap();
    }
}

/// Widest line of a table, if it can be broken.
const WIDTH: usize = 120;

/// JSON with what fits on a line in one line.
fn lay_out(compact: &str, indent: usize, out: &mut String) {
    let items = items(compact);
    if items.is_empty() || indent + compact.len() <= WIDTH {
        out.push_str(&spaced(compact));
        return;
    }
    out.push_str(&compact[..1]);
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(indent + 2));
        let value = if compact.starts_with('{') {
            let key = colon(item);
            out.push_str(&item[..key]);
            out.push_str(": ");
            &item[key + 1..]
        } else {
            item
        };
        lay_out(value, indent + 2, out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push_str(&compact[compact.len() - 1..]);
}

/// The items of a list or an object; none of anything else.
fn items(compact: &str) -> Vec<&str> {
    if !compact.starts_with(['{', '[']) || compact.len() == 2 {
        return Vec::new();
    }
    let (mut items, mut start) = (Vec::new(), 1);
    for at in marks(compact, 1) {
        if compact.as_bytes()[at] == b',' {
            items.push(&compact[start..at]);
            start = at + 1;
        }
    }
    items.push(&compact[start..compact.len() - 1]);
    items
}

/// Where an item's key ends.
fn colon(item: &str) -> usize {
    marks(item, 0).into_iter().find(|at| item.as_bytes()[*at] == b':').unwrap()
}

/// A space behind each comma and colon.
fn spaced(compact: &str) -> String {
    let mut spaced = String::new();
    let mut start = 0;
    for at in marks(compact, usize::MAX) {
        spaced.push_str(&compact[start..=at]);
        spaced.push(' ');
        start = at + 1;
    }
    spaced + &compact[start..]
}

/// Where commas and colons are, outside of texts and at this depth; at any depth for the largest number.
fn marks(compact: &str, wanted: usize) -> Vec<usize> {
    let (mut depth, mut in_text, mut escaped, mut marks) = (0_usize, false, false, Vec::new());
    for (at, byte) in compact.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' | b':' if wanted == usize::MAX || depth == wanted => marks.push(at),
            _ => {}
        }
    }
    marks
}
