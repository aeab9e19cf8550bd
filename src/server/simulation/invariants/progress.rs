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

/// When nothing fails any more, every producer gets through.
pub(in super::super) struct EverythingIsAnswered;

impl Invariant for EverythingIsAnswered {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::Settled { unanswered } if *unanswered > 0 => {
                Err(Violation::new("EverythingIsAnswered", format!("{unanswered} batches are not answered")))
            }
            _ => Ok(()),
        }
    }
}
