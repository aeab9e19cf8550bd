//! Sections, modules and options out of tokens; recovers at `;`, `}` and the next `key=`, to find all errors in one run.

use std::ops::Range;

use super::lexer::{self, Kind, Mode, Notice, Token, is_secret_option};
use super::{ControlFlag, Expansions, JaasOption, LoginModule, Section};
use crate::config::diagnostics::{Code, Diagnostic, Diagnostics, Severity};
use crate::config::source::{Located, STARS};
use crate::model::secret::Secret;

/// The sections of a static file. With errors the sections are of no use.
pub(super) fn file(text: &Located, expansions: &Expansions<'_>) -> (Vec<Section>, Diagnostics) {
    let mut parser = Parser::new(text, Mode::File, expansions);
    let mut sections: Vec<Section> = Vec::new();
    while parser.peek().is_some() {
        let Some(section) = parser.section() else { continue };
        if let Some(first) = sections.iter().find(|earlier| earlier.name == section.name) {
            let first = text.place(&first.name_range);
            parser.report(
                Diagnostic::error(Code::J0003).arg(&section.name).at(text.place(&section.name_range)).related(first),
            );
        }
        parser.judge_section(&section);
        sections.push(section);
    }
    (sections, parser.diagnostics)
}

/// The modules of a `sasl.jaas.config` value.
pub(super) fn property(text: &Located) -> (Vec<LoginModule>, Diagnostics) {
    let nothing = Expansions::default();
    let mut parser = Parser::new(text, Mode::Property, &nothing);
    let mut modules = Vec::new();
    while parser.peek().is_some() {
        modules.extend(parser.module());
    }
    (modules, parser.diagnostics)
}

struct Parser<'a> {
    text: &'a Located,
    mode: Mode,
    expansions: &'a Expansions<'a>,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// End of the token taken last.
    last_end: usize,
    /// Where passwords stand, as far as their keys tell: never repeated in a message.
    hidden: Vec<Range<usize>>,
    diagnostics: Diagnostics,
}

impl<'a> Parser<'a> {
    fn new(text: &'a Located, mode: Mode, expansions: &'a Expansions<'a>) -> Self {
        let (tokens, notices) = lexer::tokens(text.expose(), mode);
        let mut diagnostics = Diagnostics::new();
        for notice in notices {
            let (code, range) = match notice {
                Notice::BackslashU(range) => (Code::J0103, range),
                Notice::OpenComment(range) => (Code::J0104, range),
            };
            diagnostics.push(Diagnostic::warning(code).at(text.place(&range)));
        }
        let mut kept = Vec::with_capacity(tokens.len());
        for token in tokens {
            if token.kind == Kind::Hash {
                diagnostics
                    .push(Diagnostic::error(Code::J0011).at(text.place(&(token.range.start..token.range.start + 1))));
            } else {
                kept.push(token);
            }
        }
        Self {
            text,
            mode,
            expansions,
            tokens: kept.into_iter().peekable(),
            last_end: 0,
            hidden: lexer::secret_ranges(text.expose()),
            diagnostics,
        }
    }

    fn peek(&mut self) -> Option<&Token> {
        self.tokens.peek()
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.next();
        self.last_end = token.as_ref().map_or(self.last_end, |token| token.range.end);
        token
    }

    fn next_is(&mut self, sign: char) -> bool {
        self.peek().is_some_and(|token| token.kind == Kind::Sign(sign))
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.next_is(sign);
        if found {
            self.next();
        }
        found
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn error_at(&mut self, code: Code, range: &Range<usize>) -> Diagnostic {
        Diagnostic::error(code).at(self.text.place(range))
    }

    /// A text where one is allowed: a word, or a string in the quotes this mode knows.
    fn text_of(&self, token: &Token) -> Option<String> {
        match &token.kind {
            Kind::Word(text) => Some(text.clone()),
            Kind::Quoted { text, quote } if *quote == '"' || self.mode == Mode::Property => Some(text.clone()),
            _ => None,
        }
    }

    /// Takes a text, or reports what stands there instead (without taking it).
    fn expect_text(&mut self, what: &str) -> Option<(String, Range<usize>)> {
        let Some(token) = self.peek().cloned() else {
            let end = self.last_end..self.last_end + 1;
            let error = self.error_at(Code::J0002, &end).arg(what).arg("the end");
            self.report(error);
            return None;
        };
        if let Some(text) = self.text_of(&token) {
            self.next();
            return Some((text, token.range));
        }
        let error = self.misplaced(&token, what, None);
        self.report(error);
        None
    }

    /// The error for a token that cannot stand where a text must. `key` is the option whose value is missing.
    fn misplaced(&mut self, token: &Token, what: &str, key: Option<&str>) -> Diagnostic {
        let written = self.written(token.range.start);
        let shown = |text: &str| match key {
            Some(key) if is_secret_option(key) => format!("{}=\"{}\"", quoted(key), STARS),
            Some(key) => format!("{}=\"{text}\"", quoted(key)),
            None => format!("\"{text}\""),
        };
        match &token.kind {
            Kind::Other(c) => {
                self.error_at(Code::J0007, &token.range).arg(self.character(*c, &token.range)).with_help(match c {
                    ',' => "options are separated by blanks, without commas".to_owned(),
                    _ => shown(&written),
                })
            }
            Kind::Expansion => self.error_at(Code::J0007, &token.range).arg('{').with_help(shown(&written)),
            Kind::Slash => self.error_at(Code::J0008, &token.range).with_help(shown(&written)),
            Kind::Unclosed => self.error_at(Code::J0010, &token.range),
            Kind::Number => self
                .error_at(Code::J0006, &token.range)
                .arg("a bare word that starts with a digit")
                .with_help(shown(&written)),
            Kind::Quoted { quote: '\'', .. } if self.mode == Mode::File => {
                let error = self.error_at(Code::J0009, &token.range);
                if key.is_some_and(is_secret_option) { error.with_help(shown("")) } else { error }
            }
            Kind::Sign(sign) => self.error_at(Code::J0002, &token.range).arg(what).arg(format!("'{sign}'")),
            Kind::Word(_) | Kind::Quoted { .. } | Kind::Hash => {
                self.error_at(Code::J0002, &token.range).arg(what).arg("another text")
            }
        }
    }

    /// What the operator wrote there, up to the next blank or `;`.
    fn written(&self, start: usize) -> String {
        let rest = self.text.expose().get(start..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ';' | ',')).unwrap_or(rest.len());
        self.shown(&(start..start + end))
    }

    /// A character that needs quotes; not even one of a password is shown.
    fn character(&self, c: char, range: &Range<usize>) -> String {
        let text = self.shown(range);
        if text == STARS { text } else { c.to_string() }
    }

    /// What the operator wrote there; stars if any of it belongs to a password.
    fn shown(&self, range: &Range<usize>) -> String {
        if self.hidden.iter().any(|hidden| hidden.start < range.end && range.start < hidden.end) {
            return STARS.to_owned();
        }
        self.text.expose().get(range.clone()).unwrap_or_default().to_owned()
    }

    fn section(&mut self) -> Option<Section> {
        let Some((name, name_range)) = self.expect_text("the name of a section") else {
            self.skip_section();
            return None;
        };
        if !self.take('{') {
            let error = match self.peek().cloned() {
                Some(token) if token.kind == Kind::Slash => self.misplaced(&token, "'{'", None),
                _ => {
                    let found = self.found();
                    self.error_at(Code::J0002, &found.1).arg("'{'").arg(found.0)
                }
            };
            self.report(error);
            self.skip_section();
            return None;
        }
        let mut modules = Vec::new();
        while !self.take('}') {
            if self.peek().is_none() {
                let end = self.last_end..self.last_end + 1;
                if !self.diagnostics.has_errors() {
                    let error = self.error_at(Code::J0002, &end).arg("'};'").arg("the end of the file");
                    self.report(error);
                }
                return Some(Section { name, modules, name_range });
            }
            modules.extend(self.module());
        }
        let end = self.last_end..self.last_end + 1;
        if !self.take(';') {
            let error = self.error_at(Code::J0004, &end).arg("'}'");
            self.report(error);
            // One brace too many is one mistake.
            if self.take('}') {
                self.take(';');
            }
        }
        Some(Section { name, modules, name_range })
    }

    fn found(&mut self) -> (String, Range<usize>) {
        let Some(token) = self.peek().cloned() else { return ("the end".into(), self.last_end..self.last_end + 1) };
        let text = match &token.kind {
            Kind::Word(_) | Kind::Sign(_) => format!("'{}'", self.shown(&token.range)),
            _ => "another text".into(),
        };
        (text, token.range)
    }

    fn skip_section(&mut self) {
        while let Some(token) = self.next() {
            if token.kind == Kind::Sign('}') {
                self.take(';');
                return;
            }
        }
    }

    /// One `class flag options ;`. `None` when it had no usable class or flag; its errors are reported.
    fn module(&mut self) -> Option<LoginModule> {
        let Some((class, class_range)) = self.expect_text("the class name of a login module") else {
            self.skip_module();
            return None;
        };
        let flag = self.flag();
        let mut options: Vec<JaasOption> = Vec::new();
        let mut broken = false;
        while !self.take(';') {
            if self.peek().is_none() || self.next_is('}') {
                if !broken {
                    let end = self.last_end..self.last_end + 1;
                    let after = if options.is_empty() { "the control flag" } else { "the last option" };
                    let error = self.error_at(Code::J0004, &end).arg(after);
                    self.report(error);
                }
                break;
            }
            match self.option() {
                Ok(option) => {
                    self.judge_twice(&options, &option);
                    options.push(option);
                }
                Err(error) => {
                    self.report(error);
                    broken = true;
                    self.skip_to_option();
                }
            }
        }
        let text = self.text.clone();
        flag.map(|flag| LoginModule { class, flag, options, class_range, text })
    }

    fn flag(&mut self) -> Option<ControlFlag> {
        let end = self.last_end..self.last_end + 1;
        let Some(token) = self.peek().cloned() else {
            let error = self.error_at(Code::J0005, &end).arg("the end");
            self.report(error);
            return None;
        };
        let Some(text) = self.text_of(&token) else {
            let error = match &token.kind {
                Kind::Sign(sign) => self.error_at(Code::J0005, &token.range).arg(sign),
                _ => self.misplaced(&token, "a control flag", None),
            };
            self.report(error);
            return None;
        };
        let flag = ControlFlag::from_name(&text);
        if flag.is_none() {
            let error = self.error_at(Code::J0005, &token.range).arg(self.shown(&token.range));
            self.report(error);
        }
        let mut ahead = self.tokens.clone();
        ahead.next();
        let is_option = ahead.peek().is_some_and(|token| token.kind == Kind::Sign('='));
        if flag.is_some() || !is_option {
            self.next();
        }
        flag
    }

    fn option(&mut self) -> Result<JaasOption, Diagnostic> {
        let Some(token) = self.next() else {
            let end = self.last_end..self.last_end + 1;
            return Err(self.error_at(Code::J0004, &end).arg("the last option"));
        };
        let Some(key) = self.text_of(&token) else {
            return Err(match &token.kind {
                Kind::Sign('=') => self.error_at(Code::J0006, &token.range).arg("'=' without a key"),
                _ => self.misplaced(&token, "an option", None),
            });
        };
        let key_range = token.range;
        if !self.take('=') {
            return Err(match self.peek().cloned() {
                Some(slash) if slash.kind == Kind::Slash => self.misplaced(&slash, "'='", None),
                _ => self.no_equals(&key_range),
            });
        }
        let equals_end = self.last_end..self.last_end + 1;
        let Some(token) = self.peek().cloned() else {
            return Err(self
                .error_at(Code::J0006, &equals_end)
                .arg(format!("'{}=' without a value", self.shown(&key_range))));
        };
        let Some(value) = self.text_of(&token) else {
            if let Kind::Sign(_) = token.kind {
                return Err(self
                    .error_at(Code::J0006, &token.range)
                    .arg(format!("'{}=' without a value", self.shown(&key_range))));
            }
            self.next();
            return Err(self.misplaced(&token, "a value", Some(&key)));
        };
        self.next();
        self.glued(&key, &token)?;
        let value = self.expand(&value, &token.range)?;
        Ok(JaasOption { key, value: Secret::new(value), key_range, value_range: token.range })
    }

    fn no_equals(&mut self, key_range: &Range<usize>) -> Diagnostic {
        match self.peek().cloned() {
            Some(Token { kind: Kind::Other(c), range }) if c != ',' && range.start == key_range.end => {
                let rest = self.text.expose().get(key_range.start..).unwrap_or_default();
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ';' | '=')).unwrap_or(rest.len());
                let whole = self.shown(&(key_range.start..key_range.start + end));
                self.error_at(Code::J0007, &range)
                    .arg(self.character(c, &range))
                    .with_help(format!("\"{whole}\"=\"...\""))
            }
            _ => self.error_at(Code::J0006, key_range).arg(format!("'{}' without '='", self.shown(key_range))),
        }
    }

    /// A value is over where its word is; a character glued to it that no word may hold needs quotes around the whole.
    fn glued(&mut self, key: &str, value: &Token) -> Result<(), Diagnostic> {
        if !matches!(value.kind, Kind::Word(_)) {
            return Ok(());
        }
        let Some(next) = self.peek().cloned().filter(|next| next.range.start == value.range.end) else { return Ok(()) };
        let written = self.written(value.range.start);
        let shown = if is_secret_option(key) { STARS } else { &written };
        let help = format!("{}=\"{shown}\"", quoted(key));
        match next.kind {
            Kind::Other(',') => Err(self.misplaced(&next, "an option", None)),
            Kind::Other(c) => {
                let c = self.character(c, &next.range);
                Err(self.error_at(Code::J0007, &next.range).arg(c).with_help(help))
            }
            Kind::Slash => Err(self.error_at(Code::J0008, &next.range).with_help(help)),
            _ => Ok(()),
        }
    }

    /// To the next `;` (left there), `}` (left there) or `key=`.
    fn skip_to_option(&mut self) {
        while let Some(token) = self.peek() {
            if matches!(token.kind, Kind::Sign(';' | '}')) {
                return;
            }
            let is_key = matches!(token.kind, Kind::Word(_) | Kind::Quoted { .. });
            let mut ahead = self.tokens.clone();
            ahead.next();
            if is_key && ahead.peek().is_some_and(|token| token.kind == Kind::Sign('=')) {
                return;
            }
            self.next();
        }
    }

    fn skip_module(&mut self) {
        while let Some(token) = self.peek() {
            if token.kind == Kind::Sign('}') && self.mode == Mode::File {
                return;
            }
            if self.next().is_some_and(|token| token.kind == Kind::Sign(';')) {
                return;
            }
        }
    }

    fn judge_twice(&mut self, earlier: &[JaasOption], option: &JaasOption) {
        let Some(first) = earlier.iter().rev().find(|earlier| earlier.key == option.key) else { return };
        let credential = is_secret_option(&option.key) || option.key == "username";
        let severity = if credential { Severity::Error } else { Severity::Warning };
        let place = self.text.place(&option.key_range);
        let first = self.text.place(&first.key_range);
        self.report(Diagnostic::new(severity, Code::J0101).arg(self.shown(&option.key_range)).at(place).related(first));
    }

    fn judge_section(&mut self, section: &Section) {
        let place = self.text.place(&section.name_range);
        let (prefix, last) =
            section.name.rsplit_once('.').map_or(("", section.name.as_str()), |(prefix, last)| (prefix, last));
        if last.eq_ignore_ascii_case("KafkaServer") && last != "KafkaServer" {
            let meant = if prefix.is_empty() { "KafkaServer".to_owned() } else { format!("{prefix}.KafkaServer") };
            self.report(Diagnostic::warning(Code::J0102).arg(&section.name).arg(meant).at(place));
        } else if last == "KafkaServer" && prefix != prefix.to_lowercase() {
            let meant = format!("{}.KafkaServer", prefix.to_lowercase());
            self.report(Diagnostic::warning(Code::J0102).arg(&section.name).arg(meant).at(place));
        } else if section.name == "Client" {
            self.report(Diagnostic::note(Code::J0105).arg(&section.name).at(place));
        } else if section.modules.is_empty() && !self.diagnostics.has_errors() {
            self.report(Diagnostic::warning(Code::J0102).arg(&section.name).arg("KafkaServer { ... };").at(place));
        }
    }

    /// `${name}` of a static file (`sun.security.util.PropertyExpander`): `${/}` is `/`, `${{…}}` stays as it is, an
    /// opening without an end too. `${env:NAME}` is ours.
    fn expand(&self, value: &str, range: &Range<usize>) -> Result<String, Diagnostic> {
        if self.mode == Mode::Property {
            return Ok(value.to_owned());
        }
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            if after.starts_with('{') {
                let end = after.find("}}").map_or(after.len(), |at| at + 2);
                out.push_str("${");
                out.push_str(after.get(..end).unwrap_or_default());
                rest = after.get(end..).unwrap_or_default();
                continue;
            }
            let Some((name, tail)) = after.split_once('}') else {
                out.push_str("${");
                rest = after;
                break;
            };
            match self.value_of(name) {
                Some(found) => out.push_str(found),
                None => {
                    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':'));
                    let shown = if is_name { format!("${{{name}}}") } else { self.shown(range) };
                    return Err(Diagnostic::error(Code::J0012).arg(shown).at(self.text.place(range)));
                }
            }
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value_of(&self, name: &str) -> Option<&str> {
        match name.strip_prefix("env:") {
            _ if name == "/" => Some("/"),
            Some(variable) => self.expansions.env?.get(variable).map(String::as_str),
            None => self.expansions.properties?.get(name).map(String::as_str),
        }
    }
}

/// A key as it must be written: in quotes unless it is a plain word.
fn quoted(key: &str) -> String {
    let plain = key.chars().enumerate().all(|(at, c)| {
        c.is_ascii_alphabetic() || matches!(c, '_' | '$') || (at > 0 && (c.is_ascii_digit() || matches!(c, '-' | '.')))
    });
    if plain && !key.is_empty() { key.to_owned() } else { format!("\"{key}\"") }
}
