//! Text from a peer, made safe for a terminal and for a log file.
//!
//! Control characters, line separators and bidirectional overrides are written as escapes, invalid UTF-8 byte by byte,
//! and what is too long is cut: a client id can neither colour a terminal nor forge a second line.

use std::fmt;

/// Characters of peer-supplied text that a line shows unless the caller says otherwise.
pub const SHOWN_CHARS: usize = 256;

/// Shows bytes or text of a peer.
#[derive(Clone, Copy)]
pub struct Printable<'a> {
    bytes: &'a [u8],
    max_chars: usize,
}

impl<'a> Printable<'a> {
    /// Shows at most [`SHOWN_CHARS`] characters of `text`.
    pub fn new(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::at_most(text, SHOWN_CHARS)
    }

    /// Shows at most `max_chars` characters of `text`, then says how many bytes follow.
    pub fn at_most(text: &'a (impl AsRef<[u8]> + ?Sized), max_chars: usize) -> Self {
        Self { bytes: text.as_ref(), max_chars }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = 0;
        let mut consumed = 0;
        for chunk in self.bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                if shown == self.max_chars {
                    return write_rest(f, self.bytes.len() - consumed);
                }
                write_char(f, c)?;
                shown += 1;
                consumed += c.len_utf8();
            }
            for byte in chunk.invalid() {
                if shown == self.max_chars {
                    return write_rest(f, self.bytes.len() - consumed);
                }
                write!(f, "\\x{byte:02x}")?;
                shown += 1;
                consumed += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A writer that escapes what [`Printable`] escapes, without a limit.
#[derive(Debug)]
pub struct Escaping<'a, W: ?Sized>(pub &'a mut W);

impl<W: fmt::Write + ?Sized> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.chars().any(is_unsafe) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|c| write_char(self.0, c))
    }
}

fn write_rest(f: &mut fmt::Formatter<'_>, bytes: usize) -> fmt::Result {
    write!(f, "...(+{bytes} bytes)")
}

fn write_char(f: &mut (impl fmt::Write + ?Sized), c: char) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c if !is_unsafe(c) => f.write_char(c),
        c if u32::from(c) < 0x100 => write!(f, "\\x{:02x}", u32::from(c)),
        c => write!(f, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// C0, DEL and C1 controls; line and paragraph separators; marks that change the direction of what follows.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Printable::new("orders-app 版本 é").to_string(), "orders-app 版本 é");
    }

    #[test]
    fn escapes_colours_lines_and_direction() {
        assert_eq!(Printable::new("\u{1b}[31mred").to_string(), "\\x1b[31mred");
        assert_eq!(Printable::new("a\r\nb\tc\0").to_string(), "a\\r\\nb\\tc\\x00");
        assert_eq!(Printable::new("a\u{202e}b\u{2028}").to_string(), "a\\u{202e}b\\u{2028}");
        assert_eq!(Printable::new("\u{9b}31m").to_string(), "\\x9b31m");
    }

    #[test]
    fn shows_invalid_utf8_byte_by_byte() {
        assert_eq!(Printable::new(b"ok\xff\xfe").to_string(), "ok\\xff\\xfe");
    }

    #[test]
    fn cuts_what_is_too_long() {
        assert_eq!(Printable::at_most("abcdef", 4).to_string(), "abcd...(+2 bytes)");
        assert_eq!(Printable::at_most("abcd", 4).to_string(), "abcd");
        let long = "x".repeat(32 * 1024);
        assert!(Printable::new(&long).to_string().len() < 300);
    }

    #[test]
    fn an_escaping_writer_keeps_one_line() {
        let mut out = String::new();
        let id = "a\nERROR forged".to_owned();
        write!(Escaping(&mut out), "client {id}").unwrap();
        assert_eq!(out, "client a\\nERROR forged");
    }
}
