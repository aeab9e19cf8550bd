use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Invariant, Outcome, Violation};

/// A share has one owner in a generation, and no owner of an earlier generation moves its position.
#[derive(Default)]
pub(in super::super) struct OneOwner {
    owners: BTreeMap<(i32, i32), String>,
    newest: i32,
    /// Commits that were asked for when a later generation had its shares already.
    stale: BTreeSet<u64>,
}

impl Invariant for OneOwner {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        let broken = |what| Err(Violation::new("OneOwner", what));
        match event {
            Event::Assigned { generation, member, shares } => {
                self.newest = self.newest.max(*generation);
                for share in *shares {
                    let owner = self.owners.entry((*generation, *share)).or_insert_with(|| (*member).to_owned());
                    if owner != member {
                        return broken(format!("{share} in generation {generation} is {owner}'s and {member}'s"));
                    }
                }
            }
            Event::CommitAsked { number, generation, .. } if *generation >= 0 && *generation < self.newest => {
                self.stale.insert(*number);
            }
            Event::CommitEnded { number, outcome: Outcome::Done } if self.stale.contains(number) => {
                return broken(format!("commit {number} of a generation that is over was taken"));
            }
            _ => {}
        }
        Ok(())
    }
}
