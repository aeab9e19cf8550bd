use super::{Event, Invariant, Violation};

/// On a disk that works the broker starts, whatever a crash left there.
pub(in super::super) struct StartsAgain;

impl Invariant for StartsAgain {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::NotStarted { why } => Err(Violation::new("StartsAgain", *why)),
            _ => Ok(()),
        }
    }
}

/// When nothing fails any more, every producer gets through and every partition can be read.
pub(in super::super) struct EverythingIsAnswered;

impl Invariant for EverythingIsAnswered {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::Settled { unanswered, unreadable } if *unanswered > 0 || *unreadable > 0 => {
                let what = format!("{unanswered} batches are not answered, {unreadable} partitions can't be read");
                Err(Violation::new("EverythingIsAnswered", what))
            }
            _ => Ok(()),
        }
    }
}
