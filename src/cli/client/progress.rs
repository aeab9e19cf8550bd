//! How far a long run has come, for whoever watches: on standard error, only where that is a terminal, and gone at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often the line moves while nothing comes.
const TICK: Duration = Duration::from_millis(200);

/// A line that counts records.
#[derive(Debug)]
pub(in crate::cli) struct Progress(ProgressBar);

impl Progress {
    /// Draws nothing unless somebody `watches` and standard error is a terminal.
    pub(in crate::cli) fn new(watches: bool) -> Self {
        if !watches {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style("{spinner} {human_pos} records, {rate}, {elapsed}"));
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// So many are known to come, more than were said before.
    pub(in crate::cli) fn expect(&self, records: u64) {
        self.0.set_style(style("{wide_bar} {human_pos} of {human_len} records, {rate}, {eta} left"));
        self.0.set_length(self.0.length().unwrap_or(0).saturating_add(records));
    }

    pub(in crate::cli) fn add(&self, records: u64) {
        self.0.inc(records);
    }

    /// Prints something else meanwhile.
    pub(in crate::cli) fn aside<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    })
}
