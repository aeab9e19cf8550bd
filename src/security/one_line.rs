//! Text from a peer inside a line of ours.

use std::fmt;

/// Prints control characters, line separators and direction overrides escaped, and at most [`OneLine::MAX`] characters:
/// no name can forge a second line or fill the log.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<'a>(pub &'a str);

impl OneLine<'_> {
    /// Characters. The longest thing printed whole is an ACL rule around a group's name.
    pub const MAX: usize = 1024;
}

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, cut) = match self.0.char_indices().nth(Self::MAX) {
            Some((end, _)) => (self.0.get(..end).unwrap_or_default(), true),
            None => (self.0, false),
        };
        let mut rest = shown;
        while let Some(at) = rest.find(is_hostile) {
            let (clean, tail) = rest.split_at(at);
            f.write_str(clean)?;
            let mut chars = tail.chars();
            if let Some(c) = chars.next() {
                write!(f, "{}", c.escape_default())?;
            }
            rest = chars.as_str();
        }
        f.write_str(rest)?;
        if cut { f.write_str("…") } else { Ok(()) }
    }
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_one_line_of_bounded_length() {
        assert_eq!(OneLine("plain é").to_string(), "plain é");
        assert_eq!(OneLine("a\r\nb\u{1b}[31m\u{202e}c\u{2028}").to_string(), r"a\r\nb\u{1b}[31m\u{202e}c\u{2028}");
        let long = OneLine(&"é".repeat(5000)).to_string();
        assert_eq!(long.chars().count(), OneLine::MAX + 1);
    }
}
