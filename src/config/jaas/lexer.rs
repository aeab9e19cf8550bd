//! Words, strings and signs of a JAAS text, as Java's `StreamTokenizer` cuts them for both readers.
//!
//! One lexer in two modes: a static file is cut by `sun.security.provider.ConfigFile`, a `sasl.jaas.config` value by
//! Kafka's `JaasConfig`. They differ in one character: `*` is a letter in files alone. Where Java goes on silently and
//! the operator cannot have meant it (an unquoted `/`, a quote that its line does not close), the token says so.

use std::ops::Range;

/// Which of the two grammars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The file named by `java.security.auth.login.config`.
    File,
    /// The value of a `sasl.jaas.config` key.
    Property,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Word(String),
    /// Escapes are taken out. `quote` is `"` or `'`.
    Quoted {
        text: String,
        quote: char,
    },
    /// A string that its line (or the text) ends before its quote does.
    Unclosed,
    /// Digits, or what starts with them.
    Number,
    /// `${…}` outside quotes.
    Expansion,
    /// A `/` that starts a comment right behind a word or `=`, or at the end of a line.
    Slash,
    /// `{ } ; =`
    Sign(char),
    /// `#` and the rest of its line.
    Hash,
    /// Any other character.
    Other(char),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

/// What the lexer noticed by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    /// `\u` in quotes.
    BackslashU(Range<usize>),
    /// `/*` without `*/`.
    OpenComment(Range<usize>),
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    mode: Mode,
    at: usize,
    tokens: Vec<Token>,
    notices: Vec<Notice>,
}

/// Cuts the whole text.
pub(super) fn tokens(text: &str, mode: Mode) -> (Vec<Token>, Vec<Notice>) {
    let mut lexer = Lexer { text, mode, at: 0, tokens: Vec::new(), notices: Vec::new() };
    while lexer.step() {}
    (lexer.tokens, lexer.notices)
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn bump_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&keep) {
            self.bump();
        }
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, range: start..self.at });
    }

    /// Takes one token or one stretch that is none. False at the end.
    fn step(&mut self) -> bool {
        let start = self.at;
        let Some(c) = self.bump() else { return false };
        match c {
            '\0'..=' ' => {}
            '/' => self.slash(start),
            '"' | '\'' => self.quoted(start, c),
            '#' => {
                self.bump_while(|c| !is_line_end(c));
                self.push(Kind::Hash, start);
            }
            '{' | '}' | ';' | '=' => self.push(Kind::Sign(c), start),
            '0'..='9' | '.' => self.number(start),
            '-' if self.peek().is_some_and(|c| c.is_ascii_digit() || c == '.') => self.number(start),
            _ if self.is_letter(c) => self.word(start),
            _ => self.push(Kind::Other(c), start),
        }
        true
    }

    fn is_letter(&self, c: char) -> bool {
        c.is_ascii_alphabetic()
            || matches!(c, '_' | '$')
            || (c == '*' && self.mode == Mode::File)
            || u32::from(c) >= 0xa0
    }

    fn word(&mut self, start: usize) {
        while let Some(c) = self.peek().filter(|&c| self.is_letter(c) || c.is_ascii_digit() || matches!(c, '-' | '.')) {
            self.at += c.len_utf8();
        }
        let word = self.text.get(start..self.at).unwrap_or_default().to_owned();
        if word.ends_with('$') && self.peek() == Some('{') {
            self.bump_while(|c| !is_line_end(c) && c != '}' && c != ';');
            if self.peek() == Some('}') {
                self.bump();
            }
            return self.push(Kind::Expansion, start);
        }
        self.push(Kind::Word(word), start);
    }

    fn number(&mut self, start: usize) {
        while let Some(c) = self.peek().filter(|&c| self.is_letter(c) || c.is_ascii_digit() || matches!(c, '-' | '.')) {
            self.at += c.len_utf8();
        }
        self.push(Kind::Number, start);
    }

    fn slash(&mut self, start: usize) {
        match self.peek() {
            Some('*') => {
                let inside = self.at + 1;
                match self.text.get(inside..).and_then(|rest| rest.find("*/")) {
                    Some(end) => self.at = inside + end + 2,
                    None => {
                        self.at = self.text.len();
                        self.notices.push(Notice::OpenComment(start..start + 2));
                    }
                }
            }
            Some('/') => self.bump_while(|c| !is_line_end(c)),
            _ => {
                let behind_value = self.tokens.last().is_some_and(|last| match &last.kind {
                    Kind::Sign('=') => true,
                    Kind::Word(_) | Kind::Number | Kind::Other(_) | Kind::Expansion => last.range.end == start,
                    _ => false,
                });
                // Java takes the character behind `/` unseen: at the end of a line it loses the whole next line.
                let loses_a_line = self.peek().is_some_and(is_line_end);
                self.bump_while(|c| !is_line_end(c));
                if behind_value || loses_a_line {
                    self.tokens.push(Token { kind: Kind::Slash, range: start..start + 1 });
                }
            }
        }
    }

    fn quoted(&mut self, start: usize, quote: char) {
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.bump() {
                None => return self.push(Kind::Unclosed, start),
                Some(c) if is_line_end(c) => {
                    self.at = at;
                    return self.push(Kind::Unclosed, start);
                }
                Some(c) if c == quote => return self.push(Kind::Quoted { text, quote }, start),
                Some('\\') => self.escape(at, &mut text),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, start: usize, text: &mut String) {
        let Some(c) = self.bump() else { return };
        text.push(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0'..='7' => self.octal(c),
            _ => {
                if c == 'u' {
                    self.notices.push(Notice::BackslashU(start..self.at));
                }
                c
            }
        });
    }

    /// Up to three digits, the third only below `\400`.
    fn octal(&mut self, first: char) -> char {
        let mut value = first.to_digit(8).unwrap_or(0);
        let most = if first <= '3' { 2 } else { 1 };
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            value = value * 8 + digit;
            self.bump();
        }
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

const fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// Where values of secret options stand in a JAAS text, whatever its grammar makes of it: found before the text is cut,
/// so that a snippet of a broken file shows none of them either.
pub(super) fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if !is_key_char(c) {
            at += c.len_utf8();
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let quote = text.get(..at).unwrap_or_default().chars().next_back().filter(|c| matches!(c, '"' | '\''));
        let in_quotes = quote.and_then(|quote| {
            rest.find([quote, '\n']).filter(|&end| rest.get(end..).is_some_and(|rest| rest.starts_with(quote)))
        });
        let end = in_quotes.or_else(|| rest.find(|c| !is_key_char(c))).unwrap_or(rest.len());
        let key = rest.get(..end).unwrap_or_default();
        let start = at;
        at += key.len();
        if !is_secret_option(key) {
            if in_quotes.is_some() && is_misplaced(text, start..at) {
                out.push(start..at);
            }
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let closing = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
        let value = closing.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '=' | ':'));
        let start = text.len() - value.len();
        let (range, next) = secret_value(text, start);
        out.extend(range.into_iter().filter(|range| !range.is_empty()));
        at = next.max(at);
    }
    out
}

/// Whether a text in quotes is neither key nor value nor the name of a section or module: then it may be a password whose
/// key was forgotten.
fn is_misplaced(text: &str, inside: Range<usize>) -> bool {
    let before = text.get(..inside.start.saturating_sub(1)).unwrap_or_default().trim_end();
    let after = text.get(inside.end + 1..).unwrap_or_default().trim_start();
    !before.is_empty() && !before.ends_with(['=', ':', '{', '}', ';']) && !after.starts_with(['=', ':', '{'])
}

/// Options whose values are never shown: those of a password, a client secret, a token's HMAC, a user.
pub(super) fn is_secret_option(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("password") || key.contains("secret") || key.contains("hmac") || key.starts_with("user_")
}

fn is_key_char(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '=' | ';' | '{' | '}' | '"' | '\'' | ',' | ':')
}

/// The ranges to hide of the value that starts at `start`, and where to look on.
fn secret_value(text: &str, start: usize) -> ([Range<usize>; 2], usize) {
    let rest = text.get(start..).unwrap_or_default();
    let line = rest.get(..rest.find(is_line_end).unwrap_or(rest.len())).unwrap_or_default();
    let Some(quote) = line.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let stop = line.find(';').unwrap_or(line.len());
        let value = line.get(..stop).unwrap_or_default();
        let stop = next_option(value).unwrap_or(value.len());
        return ([start..start + stop, 0..0], start + stop);
    };
    let mut escaped = false;
    let close = line.char_indices().skip(1).find(|&(_, c)| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    let Some((close, _)) = close else {
        return ([start + 1..start + line.len(), 0..0], start + line.len());
    };
    // A quote inside the password has closed it too early: what is glued to it belongs to it.
    let glued = line.get(close + 1..).unwrap_or_default();
    let glued = glued.find(|c: char| c.is_whitespace() || matches!(c, ';' | ',')).unwrap_or(glued.len());
    let next = start + close + 1 + glued;
    ([start + 1..start + close, start + close + 1..next], next)
}

/// Where `key=` starts inside an unquoted value that holds blanks.
fn next_option(value: &str) -> Option<usize> {
    value.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at).find(|&at| {
        let rest = value.get(at..).unwrap_or_default().trim_start();
        let rest = rest.trim_start_matches('"');
        let key = rest.find(|c| !is_key_char(c)).unwrap_or(rest.len());
        key > 0 && rest.get(key..).unwrap_or_default().trim_start_matches('"').trim_start().starts_with('=')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = text.to_owned();
        for range in secret_ranges(text).into_iter().rev() {
            out.replace_range(range, "*");
        }
        out
    }

    #[test]
    fn secrets_are_found_in_broken_texts_too() {
        assert_eq!(shown("username=\"admin\" password=\"pw\";"), "username=\"admin\" password=\"*\";");
        assert_eq!(shown("user_alice = pw b=c;"), "user_alice = * b=c;");
        assert_eq!(shown("user_a@b=\"pw\";"), "user_a@b=\"*\";");
        assert_eq!(shown("\"user_a b\"=\"pw\""), "\"user_a b\"=\"*\"");
        assert_eq!(shown("password=\"never closed; };\nx=y"), "password=\"*\nx=y");
        assert_eq!(shown("password=my pass word; x"), "password=*; x");
        assert_eq!(shown("password=\"a\"b\"; x"), "password=\"*\"*; x");
        assert_eq!(shown("password=\"a\\\"b\"; x"), "password=\"*\"; x");
        assert_eq!(shown("password == 'pw' k=v"), "password == '*' k=v");
        assert_eq!(shown("clientSecret:pw;"), "clientSecret:*;");
        assert_eq!(shown("keyTab=/etc/x;"), "keyTab=/etc/x;");
        assert_eq!(shown("S { a.B \"pw\"; };"), "S { a.B \"*\"; };");
        assert_eq!(shown("S { a.B required \"pw\" \"x\"=\"y\"; };"), "S { a.B required \"*\" \"x\"=\"y\"; };");
        assert_eq!(shown("T{}; \"S\" { \"a.B\" required k=\"v\"; };"), "T{}; \"S\" { \"a.B\" required k=\"v\"; };");
    }
}
