//! Reader of Java's `.properties` format, with the place of every key and value.
//!
//! The precedent is `java.util.Properties.load`; the grammar is the same to the character. Two differences are written
//! down: the text is UTF-8 (Java reads ISO-8859-1, which stays the fall-back for files that are not UTF-8), and a byte
//! order mark is refused, because Java would make it part of the first key without a word. Does not know what any key
//! means, only which names look like secrets.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::nearest::nearest;
use super::source::{Located, Origin, Source};

/// Largest file read, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// One `key=value`, in the order of the file.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    /// The key's bytes in the source.
    pub key_range: Range<usize>,
    pub value: Located,
}

/// A file's entries. A key written twice is here twice; [`Properties::get`] gives the last, as Java does.
#[derive(Clone, Debug)]
pub struct Properties {
    source: Arc<Source>,
    entries: Vec<Entry>,
    /// What deserves a word but is no error.
    pub warnings: Diagnostics,
}

impl Properties {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }
}

/// Reads a file.
///
/// # Errors
/// P0004 (not readable, too large) and everything [`parse_bytes`] finds.
#[allow(clippy::disallowed_methods)]
pub fn read(path: &Path) -> Result<Properties, Diagnostics> {
    let unreadable = |why: String| Diagnostic::error(Code::P0004).arg(path.display()).arg(why);
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_FILE_BYTES} bytes")).into());
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    parse_bytes(&bytes, Origin::file(path.display()))
}

/// Reads bytes: UTF-8, else ISO-8859-1.
///
/// # Errors
/// P0001 and P0002, with every other error of the text.
pub fn parse_bytes(bytes: &[u8], origin: Origin) -> Result<Properties, Diagnostics> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_text(text.to_owned(), origin, true),
        Err(_) => parse_text(bytes.iter().map(|byte| char::from(*byte)).collect(), origin, false),
    }
}

/// Reads a text that is known to be UTF-8.
///
/// # Errors
/// As [`parse_bytes`].
pub fn parse(text: &str, origin: Origin) -> Result<Properties, Diagnostics> {
    parse_text(text.to_owned(), origin, true)
}

/// Names whose values are never shown. Also true with `listener.name.…` in front, and of names that are nearly one: a
/// misspelt key is shown to its author, and its value is as secret as if it were spelled well.
pub fn is_secret_name(key: &str) -> bool {
    const LONG: [&str; 2] = ["password", "passphrase"];
    let key = key.to_ascii_lowercase();
    key.contains("secret")
        || LONG.iter().any(|word| key.contains(word))
        || key.split(['.', '_', '-']).any(|part| part == "pass" || nearest(part, LONG).is_some())
        || key.contains("jaas")
        || key.ends_with(".key")
        || key.starts_with("user_")
}

fn parse_text(text: String, origin: Origin, utf8: bool) -> Result<Properties, Diagnostics> {
    if text.starts_with('\u{feff}') || text.starts_with("ï»¿") {
        let source = Source::new(origin, String::new());
        return Err(Diagnostic::error(Code::P0001).at(source.place(&(0..0))).into());
    }
    let raw: Vec<Raw> = LogicalLines { text: &text, at: 0 }.map(|line| Raw::parse(&line)).collect();
    let secrets: Vec<Range<usize>> =
        raw.iter().filter(|raw| is_secret_name(&raw.key)).flat_map(|raw| raw.value_lines.clone()).collect();
    let source = Arc::new(Source::new(origin, text).hiding(secrets));
    let mut errors = Diagnostics::new();
    for malformed in raw.iter().flat_map(|raw| &raw.malformed) {
        errors.push(Diagnostic::error(Code::P0002).at(source.place(malformed)));
    }
    if errors.has_errors() {
        return Err(errors);
    }
    let warnings = warnings(&raw, &source, utf8);
    let entries = raw
        .into_iter()
        .map(|raw| Entry {
            key: raw.key,
            key_range: raw.key_range,
            value: Located::new(raw.value, Arc::clone(&source), raw.value_offsets),
        })
        .collect();
    Ok(Properties { source, entries, warnings })
}

fn warnings(raw: &[Raw], source: &Source, utf8: bool) -> Diagnostics {
    let mut out = Diagnostics::new();
    for (index, entry) in raw.iter().enumerate() {
        if entry.key.is_empty() {
            out.push(Diagnostic::warning(Code::P0003).arg("key").at(source.place(&entry.key_range)));
        } else if !entry.separated {
            out.push(Diagnostic::warning(Code::P0003).arg("'='").at(source.place(&entry.key_range)));
        }
        let earlier = raw.iter().take(index).rev().find(|earlier| earlier.key == entry.key);
        if let Some(earlier) = earlier {
            let place = source.place(&entry.key_range);
            let first = source.place(&earlier.key_range);
            out.push(Diagnostic::warning(Code::P0101).arg(&entry.key).at(place).related(first));
        }
        if utf8 && !(entry.key.is_ascii() && source.expose().get(entry.span()).is_none_or(str::is_ascii)) {
            out.push(Diagnostic::warning(Code::P0105).arg(&entry.key).at(source.place(&entry.key_range)));
        }
        if let Some((escape, became)) = entry.path_trap(source.expose()) {
            let place = source.place(&escape);
            let written = source.expose().get(escape).unwrap_or_default().to_owned();
            out.push(Diagnostic::warning(Code::P0103).arg(written).arg(became).at(place));
        }
    }
    out
}

/// A logical line: its characters with their byte ranges, joins already made.
struct LogicalLine {
    chars: Vec<(char, Range<usize>)>,
    end: usize,
}

struct LogicalLines<'a> {
    text: &'a str,
    at: usize,
}

impl LogicalLines<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..).and_then(|rest| rest.chars().next())
    }

    fn bump(&mut self) -> Option<(char, Range<usize>)> {
        let c = self.peek()?;
        let range = self.at..self.at + c.len_utf8();
        self.at = range.end;
        Some((c, range))
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.bump();
        }
    }

    fn end_line(&mut self, first: char) {
        if first == '\r' && self.peek() == Some('\n') {
            self.bump();
        }
    }
}

impl Iterator for LogicalLines<'_> {
    type Item = LogicalLine;

    fn next(&mut self) -> Option<LogicalLine> {
        loop {
            self.skip_blanks();
            let (first, range) = self.bump()?;
            match first {
                '\n' | '\r' => {}
                '#' | '!' => while self.bump().is_some_and(|(c, _)| c != '\n' && c != '\r') {},
                _ => {
                    self.at = range.start;
                    let line = self.logical();
                    if !line.chars.is_empty() {
                        return Some(line);
                    }
                }
            }
        }
    }
}

impl LogicalLines<'_> {
    fn logical(&mut self) -> LogicalLine {
        let mut chars = Vec::new();
        loop {
            let Some((c, range)) = self.bump() else {
                return LogicalLine { chars, end: self.text.len() };
            };
            match c {
                '\n' | '\r' => {
                    self.end_line(c);
                    return LogicalLine { chars, end: range.start };
                }
                '\\' => match self.bump() {
                    Some((next @ ('\n' | '\r'), _)) => {
                        self.end_line(next);
                        if chars.is_empty() {
                            // Nothing is continued: what follows is a new line, and may be a comment.
                            return LogicalLine { chars, end: range.start };
                        }
                        self.skip_blanks();
                    }
                    Some(escaped) => chars.extend([(c, range), escaped]),
                    // A lone backslash at the end of the file is dropped.
                    None => return LogicalLine { chars, end: range.start },
                },
                _ => chars.push((c, range)),
            }
        }
    }
}

struct Raw {
    key: String,
    key_range: Range<usize>,
    separated: bool,
    value: String,
    value_offsets: Vec<usize>,
    /// Where the value's characters stand, one range a physical line.
    value_lines: Vec<Range<usize>>,
    malformed: Vec<Range<usize>>,
}

impl Raw {
    fn parse(line: &LogicalLine) -> Self {
        let chars = &line.chars;
        let mut split = 0;
        while let Some((c, _)) = chars.get(split) {
            if is_blank(*c) || matches!(c, '=' | ':') {
                break;
            }
            split += if *c == '\\' { 2 } else { 1 };
        }
        let split = split.min(chars.len());
        let blanks = |from: usize| chars.iter().skip(from).take_while(|(c, _)| is_blank(*c)).count();
        let mut value_at = split + blanks(split);
        if chars.get(value_at).is_some_and(|(c, _)| matches!(c, '=' | ':')) {
            value_at += 1;
        }
        value_at += blanks(value_at);
        let (key_chars, rest) = chars.split_at(split);
        let value_chars = rest.get(value_at - split..).unwrap_or_default();
        let start = chars.first().map_or(line.end, |(_, range)| range.start);
        let mut malformed = Vec::new();
        let (key, _) = unescape(key_chars, line.end, &mut malformed);
        let (value, value_offsets) = unescape(value_chars, line.end, &mut malformed);
        Self {
            key,
            key_range: start..key_chars.last().map_or(start, |(_, range)| range.end),
            separated: value_at > split,
            value,
            value_offsets,
            value_lines: lines_of(value_chars),
            malformed,
        }
    }

    fn span(&self) -> Range<usize> {
        self.key_range.start..self.value_lines.last().map_or(self.key_range.end, |range| range.end)
    }

    /// `C:\temp`: a backslash meant as itself. Gives its place and what it became.
    fn path_trap(&self, text: &str) -> Option<(Range<usize>, String)> {
        let line = self.value_lines.first()?.clone();
        let raw = text.get(line.clone())?;
        let drive = raw.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && raw.get(1..3) == Some(":\\");
        let mut chars = raw.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                continue;
            }
            let (_, next) = chars.next()?;
            let range = line.start + at..line.start + at + 1 + next.len_utf8();
            match next {
                't' | 'n' | 'r' | 'f' if drive => return Some((range, format!("a control character (\\{next})"))),
                'u' | 't' | 'n' | 'r' | 'f' => {}
                _ if next.is_ascii_alphanumeric() => return Some((range, format!("'{next}'"))),
                _ => {}
            }
        }
        None
    }
}

fn lines_of(chars: &[(char, Range<usize>)]) -> Vec<Range<usize>> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    for (_, range) in chars {
        match lines.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => lines.push(range.clone()),
        }
    }
    lines
}

/// Takes the escapes out. Gives the text and the source offset of each of its bytes, and of its end.
fn unescape(chars: &[(char, Range<usize>)], end: usize, malformed: &mut Vec<Range<usize>>) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(chars.len());
    let mut offsets = Vec::with_capacity(chars.len() + 1);
    let mut at = 0;
    while let Some((c, range)) = chars.get(at) {
        at += 1;
        let decoded = match (c, chars.get(at).map(|(next, _)| *next)) {
            ('\\', Some('u')) => {
                at += 1;
                match unicode(chars, &mut at) {
                    Some(decoded) => decoded,
                    None => {
                        let stop = chars.get(at + 3).or(chars.last()).map_or(range.end, |(_, last)| last.end);
                        malformed.push(range.start..stop);
                        continue;
                    }
                }
            }
            ('\\', Some(next)) => {
                at += 1;
                match next {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'f' => '\u{c}',
                    other => other,
                }
            }
            _ => *c,
        };
        text.push(decoded);
        offsets.extend(std::iter::repeat_n(range.start, decoded.len_utf8()));
    }
    offsets.push(chars.last().map_or(end, |(_, range)| range.end));
    (text, offsets)
}

/// Four hexadecimal digits; a high surrogate takes its low half with it. A half alone becomes U+FFFD.
fn unicode(chars: &[(char, Range<usize>)], at: &mut usize) -> Option<char> {
    let unit = hex4(chars, *at)?;
    *at += 4;
    let pair = (0xd800..0xdc00).contains(&unit)
        && chars.get(*at).is_some_and(|(c, _)| *c == '\\')
        && chars.get(*at + 1).is_some_and(|(c, _)| *c == 'u');
    let low = if pair { hex4(chars, *at + 2).filter(|low| (0xdc00..0xe000).contains(low)) } else { None };
    if let Some(low) = low {
        *at += 6;
        return char::decode_utf16([unit, low]).next().and_then(Result::ok);
    }
    Some(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn hex4(chars: &[(char, Range<usize>)], at: usize) -> Option<u16> {
    let digits = chars.get(at..at + 4)?;
    let value = digits.iter().try_fold(0, |value, (c, _)| Some(value * 16 + c.to_digit(16)?))?;
    u16::try_from(value).ok()
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalogue::Lang;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let properties = parse(text, Origin::file("t.properties")).unwrap();
        properties.entries().iter().map(|e| (e.key.clone(), e.value.expose().to_owned())).collect()
    }

    /// What Java 17's `Properties.load` gave for each text. Three rows differ on purpose and are tested below: raw
    /// non-ASCII text, the byte order mark and the malformed escape.
    const OBSERVED: &[(&str, &[(&str, &str)])] = &[
        ("a=b", &[("a", "b")]),
        ("a:b", &[("a", "b")]),
        ("a b", &[("a", "b")]),
        ("a = b ", &[("a", "b ")]),
        (" a=b", &[("a", "b")]),
        ("a\\=x=b", &[("a=x", "b")]),
        ("a\\ b=c", &[("a b", "c")]),
        ("#c\n!d\na=b", &[("a", "b")]),
        ("a=b #not comment", &[("a", "b #not comment")]),
        ("a=b\\\n   c", &[("a", "bc")]),
        ("a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]),
        ("a=\\u5bc6", &[("a", "密")]),
        ("a", &[("a", "")]),
        ("=b", &[("", "b")]),
        ("a=C:\\temp", &[("a", "C:\temp")]),
        ("a=\\q", &[("a", "q")]),
        ("a\tb", &[("a", "b")]),
        ("a==b", &[("a", "=b")]),
        ("a=b\r\nc=d", &[("a", "b"), ("c", "d")]),
        ("# x \\\na=b", &[("a", "b")]),
        (
            "sasl.jaas.config=M required \\\n  user=\"a\" \\\n  pass=\"b\\\"c\";",
            &[("sasl.jaas.config", "M required user=\"a\" pass=\"b\"c\";")],
        ),
        ("a=\"b\"", &[("a", "\"b\"")]),
        ("a=\\tb", &[("a", "\tb")]),
        ("a=b\\", &[("a", "b")]),
        ("a\\:b:c", &[("a:b", "c")]),
        ("a : : b", &[("a", ": b")]),
        // Not in the observed list; from the same reader.
        ("a=b\\\n\nc=d", &[("a", "b"), ("c", "d")]),
        ("a=b\\\n#c", &[("a", "b#c")]),
        ("a=\\ud83d\\ude00", &[("a", "😀")]),
        ("a=b\rc=d", &[("a", "b"), ("c", "d")]),
        ("\\\n# x=1", &[]),
        ("\\\n  \\\n#x\ny=1", &[("y", "1")]),
    ];

    #[test]
    fn reads_what_java_reads() {
        for (text, expected) in OBSERVED {
            let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_of_two_wins_and_both_places_are_named() {
        let properties = parse("a=1\nb=0\na=2", Origin::file("t")).unwrap();
        assert_eq!(properties.get("a").unwrap().value.expose(), "2");
        let text = properties.warnings.render(Lang::En, crate::config::diagnostics::Style::Long);
        assert!(text.contains("warning[P0101]") && text.contains("t:3:1") && text.contains("t:1:1"), "{text}");
    }

    fn codes(diagnostics: &Diagnostics) -> Vec<&'static str> {
        diagnostics.iter().map(|d| d.code.name()).collect()
    }

    #[test]
    fn what_java_does_silently_gets_a_word() {
        let warned = |text: &str| codes(&parse(text, Origin::file("t")).unwrap().warnings);
        assert_eq!(warned("a=密"), ["P0105"]);
        assert_eq!(warned("# 密\na=b"), [""; 0]);
        assert_eq!(warned("a=\\u5bc6"), [""; 0]);
        assert_eq!(warned("a=C:\\temp"), ["P0103"]);
        assert_eq!(warned("a=\\q"), ["P0103"]);
        assert_eq!(warned("a=C\\:\\\\temp"), [""; 0]);
        assert_eq!(warned("=b"), ["P0003"]);
        assert_eq!(warned("a"), ["P0003"]);
        assert_eq!(warned("a="), [""; 0]);
    }

    #[test]
    fn refusals_point_at_the_character() {
        let refused = parse("x=1\na=\\u12", Origin::file("t")).unwrap_err();
        let first = refused.iter().next().unwrap();
        assert_eq!((first.code, first.line(), first.column()), (Code::P0002, Some(2), Some(3)));
        assert_eq!(codes(&parse("\u{feff}a=b", Origin::file("t")).unwrap_err()), ["P0001"]);
    }

    #[test]
    fn other_bytes_are_latin_1() {
        let properties = parse_bytes(b"a=\xe9", Origin::file("t")).unwrap();
        assert_eq!(properties.get("a").unwrap().value.expose(), "é");
        assert!(properties.warnings.is_empty());
    }

    #[test]
    fn a_value_knows_its_place_through_escapes_and_joins() {
        let properties = parse("k = a\\tb\\\n    cd", Origin::file("t")).unwrap();
        let value = &properties.get("k").unwrap().value;
        assert_eq!(value.expose(), "a\tbcd");
        let at = |byte: usize| value.place(&(byte..byte + 1));
        assert_eq!((at(0).line, at(0).column), (1, 5));
        assert_eq!((at(2).line, at(2).column), (1, 8));
        assert_eq!((at(3).line, at(3).column), (2, 5));
    }

    #[test]
    fn secrets_are_starred_in_every_snippet() {
        let text = "ssl.keystore.password=hunter2\\\n  more\nssl.keystore.password=hunter3";
        let properties = parse(text, Origin::file("t")).unwrap();
        let rendered = properties.warnings.render(Lang::En, crate::config::diagnostics::Style::Long);
        assert!(!rendered.contains("hunter") && rendered.contains("ssl.keystore.password=********"), "{rendered}");
        assert!(!format!("{properties:?}").contains("hunter"));
        for key in
            ["ssl.keystore.pasword", "ssl.key.passwrod", "x.passwd", "db.pass", "ssl.keystor.key", "sasl.jaas.confg"]
        {
            assert!(is_secret_name(key), "{key}");
        }
        for key in [
            "ssl.keystore.location",
            "socket.server.x",
            "ssl.secure.random.x",
            "log.segment.bytes",
            "super.users",
            "listeners",
        ] {
            assert!(!is_secret_name(key), "{key}");
        }
        let refused = parse("db.password=hunter2\\u1", Origin::file("t")).unwrap_err();
        assert!(!refused.to_string().contains("hunter"), "{refused}");
    }
}
