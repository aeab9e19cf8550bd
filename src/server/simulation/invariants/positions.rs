use std::collections::BTreeMap;

use super::{Event, Invariant, Outcome, Violation};

/// The position that is read is the last acknowledged one, or one whose end is not known that was asked for later.
#[derive(Default)]
pub(in super::super) struct PositionsStay {
    /// What each share's position may be, in the order of the requests.
    may_be: BTreeMap<i32, Vec<Candidate>>,
    starts: u64,
}

struct Candidate {
    number: u64,
    offset: i64,
    /// How often the broker had started.
    asked_in: u64,
}

impl PositionsStay {
    /// There was none at the beginning.
    fn of(&mut self, share: i32) -> &mut Vec<Candidate> {
        self.may_be.entry(share).or_insert_with(|| vec![Candidate { number: 0, offset: -1, asked_in: 0 }])
    }
}

impl Invariant for PositionsStay {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::Started => self.starts += 1,
            Event::CommitAsked { number, share, offset, .. } => {
                let candidate = Candidate { number: *number, offset: *offset, asked_in: self.starts };
                self.of(*share).push(candidate);
            }
            Event::CommitEnded { number, outcome } => {
                for may_be in self.may_be.values_mut() {
                    let Some(at) = may_be.iter().position(|one| one.number == *number) else { continue };
                    match outcome {
                        Outcome::Done => drop(may_be.drain(..at)),
                        Outcome::Refused(_) => drop(may_be.remove(at)),
                        Outcome::Unknown => {}
                    }
                }
            }
            Event::PositionRead { share, offset } => {
                let starts = self.starts;
                let may_be = self.of(*share);
                if !may_be.iter().any(|one| one.offset == *offset) {
                    let offsets: Vec<i64> = may_be.iter().map(|one| one.offset).collect();
                    let what = format!("{share} is at {offset}, not at one of {offsets:?}");
                    return Err(Violation::new("PositionsStay", what));
                }
                // What a crash left open is decided by the first who looks.
                if may_be.iter().all(|one| one.asked_in < starts) {
                    may_be.retain(|one| one.offset == *offset);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
