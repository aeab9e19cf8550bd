//! A text somebody wrote, and places in it.
//!
//! Positions are byte ranges while a reader works and become lines and columns only for people. Columns count
//! characters, a tab is one. Whatever a reader has marked as secret is drawn as eight stars, so that no snippet can
//! show it. Knows nothing of any grammar.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// What stands in place of every secret.
pub const STARS: &str = "********";

/// Characters of a line that a snippet shows; the rest becomes an ellipsis.
const MAX_SNIPPET: usize = 160;

/// Where a text came from.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Origin {
    /// A file, by the name the operator used.
    File(Arc<str>),
    /// An environment variable.
    Env(Arc<str>),
    /// An option of the command line, for example `--override`.
    CommandLine(Arc<str>),
    /// A dynamic config of a broker.
    DynamicConfig,
}

impl Origin {
    pub fn file(name: impl fmt::Display) -> Self {
        Self::File(name.to_string().into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => f.write_str(name),
            Self::Env(name) => write!(f, "env {name}"),
            Self::CommandLine(name) => write!(f, "command line {name}"),
            Self::DynamicConfig => f.write_str("dynamic config"),
        }
    }
}

/// One text with its origin. The text is wiped when the last user drops it.
pub struct Source {
    origin: Origin,
    text: Zeroizing<String>,
    /// Byte offset of the first character of every line.
    lines: Vec<usize>,
    /// Byte ranges never shown, sorted and disjoint.
    secrets: Vec<Range<usize>>,
}

/// A point of a source as people see it, with the line it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub origin: Origin,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub snippet: Snippet,
}

/// A line with secrets starred, and where the caret goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snippet {
    pub text: String,
    /// Terminal cells before the caret.
    pub caret_at: usize,
    /// Terminal cells the caret underlines, at least 1.
    pub caret_width: usize,
}

impl Source {
    pub fn new(origin: Origin, text: String) -> Self {
        let mut lines = vec![0];
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                lines.push(at + 1);
            }
        }
        Self { origin, text: Zeroizing::new(text), lines, secrets: Vec::new() }
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The text itself, secrets included. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Marks ranges that no snippet may show.
    #[must_use]
    pub fn hiding(mut self, secrets: impl IntoIterator<Item = Range<usize>>) -> Self {
        let mut all: Vec<Range<usize>> = self.secrets.drain(..).chain(secrets).filter(|r| r.start < r.end).collect();
        all.sort_by_key(|r| r.start);
        for range in all {
            match self.secrets.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => self.secrets.push(range),
            }
        }
        self
    }

    /// The place of a byte range. Ranges outside the text are moved to its end.
    pub fn place(&self, range: &Range<usize>) -> Place {
        let start = self.boundary(range.start);
        let line = self.lines.partition_point(|&first| first <= start).max(1) - 1;
        let first = self.lines.get(line).copied().unwrap_or(0);
        let next = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        let last = first + self.slice(first..next).trim_end_matches(['\n', '\r']).len();
        let end = self.boundary(range.end).clamp(start, last.max(start));
        let column = self.slice(first..start.min(last)).chars().count() + 1 + usize::from(start > last);
        Place {
            origin: self.origin.clone(),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            snippet: self.snippet(first..last, start..end),
        }
    }

    fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn snippet(&self, line: Range<usize>, marked: Range<usize>) -> Snippet {
        let skip = self.slice(line.start..marked.start.min(line.end)).chars().count().saturating_sub(MAX_SNIPPET / 2);
        let from = self.slice(line.clone()).char_indices().nth(skip).map_or(line.end, |(at, _)| line.start + at);
        let (from, mut text) = if skip > 0 { (from, String::from("…")) } else { (line.start, String::new()) };
        let (mut caret_at, mut caret_end) = (None, None);
        let mut hidden_until = 0;
        for (at, c) in self.slice(from..line.end).char_indices().map(|(at, c)| (from + at, c)) {
            if text.chars().count() > MAX_SNIPPET {
                text.push('…');
                break;
            }
            if at >= marked.start && caret_at.is_none() {
                caret_at = Some(cells(&text));
            }
            if at >= marked.end && caret_end.is_none() {
                caret_end = Some(cells(&text));
            }
            if at < hidden_until {
                continue;
            }
            match self.secrets.iter().find(|r| r.contains(&at)) {
                Some(secret) => {
                    hidden_until = secret.end;
                    text.push_str(STARS);
                }
                None if c == '\t' || c.is_control() => text.push(' '),
                None => text.push(c),
            }
        }
        let caret_at = caret_at.unwrap_or_else(|| cells(&text));
        let caret_end = caret_end.unwrap_or_else(|| cells(&text));
        Snippet { text, caret_at, caret_width: caret_end.saturating_sub(caret_at).max(1) }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A value taken from a source, which still knows where each of its bytes stands there (an unescaped or expanded value
/// is not the text of the file).
#[derive(Clone)]
pub struct Located {
    text: Secret,
    source: Arc<Source>,
    /// Byte offset in the source of each byte of `text`, and one more for its end.
    offsets: Arc<[usize]>,
}

impl Located {
    /// # Panics
    /// If `offsets` has not exactly one entry more than `text` has bytes.
    pub fn new(text: String, source: Arc<Source>, offsets: Vec<usize>) -> Self {
        assert_eq!(offsets.len(), text.len() + 1, "one offset a byte and one for the end");
        Self { text: Secret::new(text), source, offsets: offsets.into() }
    }

    /// A whole source as one value.
    pub fn whole(source: Arc<Source>) -> Self {
        let text = source.expose().to_owned();
        let offsets = (0..=text.len()).collect();
        Self::new(text, source, offsets)
    }

    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    pub fn secret(&self) -> Secret {
        self.text.clone()
    }

    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(crate) fn offset(&self, at: usize) -> usize {
        self.offsets.get(at).or(self.offsets.last()).copied().unwrap_or(0)
    }

    /// A byte range of the value as a range of the source.
    pub fn range(&self, range: &Range<usize>) -> Range<usize> {
        let (start, end) = (self.offset(range.start), self.offset(range.end));
        start..end.max(start)
    }

    /// The place of a byte range of the value.
    pub fn place(&self, range: &Range<usize>) -> Place {
        self.source.place(&self.range(range))
    }

    /// The place of the whole value.
    pub fn place_all(&self) -> Place {
        self.place(&(0..self.expose().len()))
    }
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Located").field("origin", self.source.origin()).finish_non_exhaustive()
    }
}

/// Terminal cells of a text: two for the wide characters of Chinese, Japanese and Korean.
pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f
        | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_carets_count_cells() {
        let source = Source::new(Origin::file("f"), "一\tb=c\nnext".into());
        let place = source.place(&(4..5));
        assert_eq!((place.line, place.column), (1, 3));
        assert_eq!(place.snippet, Snippet { text: "一 b=c".into(), caret_at: 3, caret_width: 1 });
        assert_eq!(source.place(&(8..12)).line, 2);
    }

    #[test]
    fn secrets_are_starred_wherever_the_caret_is() {
        let source = Source::new(Origin::file("f"), "password=\"hunter2\" x".into()).hiding(std::iter::once(10..17));
        let place = source.place(&(12..13));
        assert_eq!(place.column, 13);
        assert!(!place.snippet.text.contains("unter"));
        assert_eq!(place.snippet.text, "password=\"********\" x");
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let source = Source::new(Origin::file("f"), "ab\n".into());
        let place = source.place(&(99..100));
        assert_eq!((place.line, place.column), (2, 1));
        let long = Source::new(Origin::file("f"), format!("{}x", "a".repeat(500)));
        assert!(long.place(&(500..501)).snippet.text.chars().count() < 200);
    }
}
