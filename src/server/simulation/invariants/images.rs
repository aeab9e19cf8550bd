use super::{Event, Invariant, Violation};

/// An image in memory is what the log says.
pub(in super::super) struct ImageEqualsReplay;

impl Invariant for ImageEqualsReplay {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::Images { how, live, replayed } if live != replayed => {
                let what = format!("{how}: the images up to {} and {} differ", live.offset(), replayed.offset());
                Err(Violation::new("ImageEqualsReplay", what))
            }
            _ => Ok(()),
        }
    }
}
