use std::collections::BTreeMap;
use std::fmt;

use super::{Event, Invariant, Outcome, Violation};
use crate::metadata::image::MetadataImage;
use crate::model::scram::ScramMechanism;

/// Something that an administrator changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) enum Subject {
    Topic(String),
    /// The rule of this user.
    Acl(String),
    /// The salt of this user.
    Scram(String),
}

impl Subject {
    fn state(&self, image: &MetadataImage) -> Option<String> {
        match self {
            Self::Topic(name) => image.topics.by_name(name).map(|_| "there".to_owned()),
            Self::Acl(user) => {
                let principal = format!("User:{user}");
                image.acls.iter().find(|(_, binding)| *binding.principal == *principal).map(|_| "there".to_owned())
            }
            Self::Scram(user) => {
                let credential = image.scram.get(user, ScramMechanism::Sha256)?;
                Some(String::from_utf8_lossy(&credential.salt).into_owned())
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Acl(user) => write!(f, "rule of {user}"),
            Self::Scram(user) => write!(f, "credential of {user}"),
        }
    }
}

/// An acknowledged change of the metadata is in the committed image, and nothing else is.
#[derive(Default)]
pub(in super::super) struct ChangesStay {
    subjects: BTreeMap<Subject, States>,
}

#[derive(Default)]
struct States {
    /// What it may be besides absent, which is `None`; empty stands for absent.
    may_be: Vec<Option<String>>,
    asked: Option<Option<String>>,
}

impl Invariant for ChangesStay {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::ChangeAsked { subject, to } => {
                let states = self.subjects.entry((*subject).clone()).or_default();
                states.asked = Some(to.map(str::to_owned));
            }
            Event::ChangeEnded { subject, outcome } => {
                let states = self.subjects.entry((*subject).clone()).or_default();
                let Some(asked) = states.asked.take() else { return Ok(()) };
                match outcome {
                    Outcome::Done => states.may_be = vec![asked],
                    Outcome::Refused(_) => {}
                    Outcome::Unknown => {
                        if states.may_be.is_empty() {
                            states.may_be.push(None);
                        }
                        states.may_be.push(asked);
                    }
                }
            }
            Event::Committed(image) => {
                for (subject, states) in &mut self.subjects {
                    let found = subject.state(image);
                    let is_known = states.may_be.contains(&found) || (states.may_be.is_empty() && found.is_none());
                    if is_known && states.asked.is_none() {
                        // Nothing is on its way: so it stays.
                        states.may_be = vec![found];
                    } else if !is_known && states.asked.as_ref() != Some(&found) {
                        let what = format!("{subject} is {found:?}, not one of {:?}", states.may_be);
                        return Err(Violation::new("ChangesStay", what));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
