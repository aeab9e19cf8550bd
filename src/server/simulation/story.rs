//! What happened in a run, line by line, and what the invariants say to it.

use std::fmt::{self, Write as _};

use super::invariants::{Event, Invariant, Violation};

/// The log of events. The same seed writes the same.
pub(super) struct Story {
    text: String,
    step: usize,
    invariants: Vec<Box<dyn Invariant>>,
}

impl Story {
    pub(super) fn new(invariants: Vec<Box<dyn Invariant>>) -> Self {
        Self { text: String::new(), step: 0, invariants }
    }

    pub(super) fn next_step(&mut self) {
        self.step += 1;
    }

    /// Writes down what the run does.
    pub(super) fn say(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{:4} {line}", self.step).unwrap();
    }

    /// Writes an event down and has it judged.
    pub(super) fn tell(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        self.say(format_args!("{event}"));
        self.judge(event)
    }

    /// Has an event judged that comes too often to be written down.
    pub(super) fn judge(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        self.invariants.iter_mut().try_for_each(|invariant| invariant.check(event))
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
