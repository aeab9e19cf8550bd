//! What is wrong with an operator's file, where, and what to write instead.
//!
//! The shape is the one compilers have taught everybody: a code that never changes its meaning, `file:line:column`, the
//! line with a caret, notes, and help with text to paste. The words are in [`super::catalogue`], in English and Chinese.
//! Secrets are starred before they get here (see [`super::source`]).

use std::fmt;

pub use super::catalogue::Code;
use super::catalogue::{Lang, Wording};
use super::source::{Place, cells};

/// How bad it is. Errors stop the start; warnings and notes are said once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Severity {
    Note,
    Warning,
    Error,
}

/// How much is printed of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// With the line, caret, notes and help.
    Long,
    /// `file:line:column: error[CODE]: message`, one line each.
    Short,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// What the catalogue's `{0}`, `{1}` ... stand for.
    args: Vec<String>,
    pub place: Option<Box<Place>>,
    /// Other places that belong to it, for example the first of two sections of one name.
    related: Vec<Place>,
    notes: Vec<String>,
    /// What it sums up, one line each. Not rendered: for those who ask for more.
    details: Vec<String>,
    /// Text to paste; stands in place of the catalogue's help.
    help: Option<String>,
}

impl Diagnostic {
    pub fn new(severity: Severity, code: Code) -> Self {
        Self {
            code,
            severity,
            args: Vec::new(),
            place: None,
            related: Vec::new(),
            notes: Vec::new(),
            details: Vec::new(),
            help: None,
        }
    }

    pub fn error(code: Code) -> Self {
        Self::new(Severity::Error, code)
    }

    pub fn warning(code: Code) -> Self {
        Self::new(Severity::Warning, code)
    }

    pub fn note(code: Code) -> Self {
        Self::new(Severity::Note, code)
    }

    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }

    #[must_use]
    pub fn at_maybe(mut self, place: Option<Place>) -> Self {
        self.place = place.map(Box::new);
        self
    }

    #[must_use]
    pub fn arg(mut self, value: impl fmt::Display) -> Self {
        self.args.push(value.to_string());
        self
    }

    #[must_use]
    pub fn related(mut self, place: Place) -> Self {
        self.related.push(place);
        self
    }

    #[must_use]
    pub fn with_note(mut self, text: impl fmt::Display) -> Self {
        self.notes.push(text.to_string());
        self
    }

    #[must_use]
    pub fn with_detail(mut self, text: impl fmt::Display) -> Self {
        self.details.push(text.to_string());
        self
    }

    pub fn details(&self) -> &[String] {
        &self.details
    }

    #[must_use]
    pub fn with_help(mut self, text: impl fmt::Display) -> Self {
        self.help = Some(text.to_string());
        self
    }

    pub fn message(&self, lang: Lang) -> String {
        self.fill(self.wording(lang).message)
    }

    /// The text beside the caret; empty if there is none.
    pub fn label(&self, lang: Lang) -> String {
        self.fill(self.wording(lang).label)
    }

    pub fn help(&self, lang: Lang) -> Option<String> {
        self.help.clone().or_else(|| Some(self.fill(self.wording(lang).help)).filter(|text| !text.is_empty()))
    }

    pub fn line(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.line)
    }

    pub fn column(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.column)
    }

    pub fn render(&self, lang: Lang, style: Style) -> String {
        match style {
            Style::Long => self.render_long(lang),
            Style::Short => self.render_short(lang),
        }
    }

    fn wording(&self, lang: Lang) -> &'static Wording {
        self.code.wording(lang)
    }

    fn fill(&self, template: &str) -> String {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            text.push_str(before);
            let digit = after.chars().nth(1).and_then(|c| c.to_digit(10)).and_then(|n| usize::try_from(n).ok());
            match digit.filter(|_| after.get(2..3) == Some("}")) {
                Some(index) => {
                    text.push_str(self.args.get(index).map_or("", String::as_str));
                    rest = after.get(3..).unwrap_or_default();
                }
                None => {
                    text.push('{');
                    rest = after.get(1..).unwrap_or_default();
                }
            }
        }
        text.push_str(rest);
        text
    }

    fn head(&self, lang: Lang) -> String {
        let (word, colon) = (lang.severity(self.severity), lang.colon());
        format!("{word}[{}]{colon}{}", self.code, self.message(lang))
    }

    fn render_short(&self, lang: Lang) -> String {
        match &self.place {
            Some(place) => format!("{}:{}:{}: {}\n", place.origin, place.line, place.column, self.head(lang)),
            None => format!("{}\n", self.head(lang)),
        }
    }

    fn render_long(&self, lang: Lang) -> String {
        let places: Vec<&Place> = self.place.as_deref().into_iter().chain(&self.related).collect();
        let gutter = places.iter().map(|place| place.line.to_string().len()).max().unwrap_or(0);
        let pad = " ".repeat(gutter);
        let mut out = format!("{}\n", self.head(lang));
        for (index, place) in places.iter().enumerate() {
            let label = if index == 0 { self.label(lang) } else { String::new() };
            let Place { origin, line, column, snippet } = place;
            out.push_str(&format!(" --> {origin}:{line}:{column}\n{pad} |\n{line:>gutter$} | {}\n", snippet.text));
            let caret = format!("{}{}", " ".repeat(snippet.caret_at), "^".repeat(snippet.caret_width));
            out.push_str(format!("{pad} | {caret} {label}").trim_end());
            out.push('\n');
        }
        let help = self.help(lang);
        if !places.is_empty() && (help.is_some() || !self.notes.is_empty()) {
            out.push_str(&format!("{pad} |\n"));
        }
        let hang = format!("\n{pad}   {}", " ".repeat(cells(lang.help_word())));
        for note in &self.notes {
            out.push_str(&format!("{pad} = {}{}\n", lang.note_word(), note.replace('\n', &hang)));
        }
        if let Some(help) = help {
            out.push_str(&format!("{pad} = {}{}\n", lang.help_word(), help.replace('\n', &hang)));
        }
        out
    }
}

/// All findings of one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// More than these are counted, not kept: the first ones are the ones to repair.
    pub const MAX: usize = 20;

    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a finding once. When full, an error takes the place of the last one that is not an error.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.contains(&diagnostic) {
            return;
        }
        if self.list.len() >= Self::MAX {
            self.left_out += 1;
            let softer = self.list.iter().rposition(|kept| kept.severity < diagnostic.severity);
            match softer {
                Some(index) => {
                    self.list.remove(index);
                }
                None => return,
            }
        }
        self.list.push(diagnostic);
    }

    pub fn extend_maybe(&mut self, diagnostic: Option<Diagnostic>) {
        if let Some(diagnostic) = diagnostic {
            self.push(diagnostic);
        }
    }

    pub fn extend(&mut self, other: Self) {
        self.left_out += other.left_out;
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }

    /// How many findings did not fit.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// How many of this severity are kept.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    pub fn render(&self, lang: Lang, style: Style) -> String {
        let mut parts: Vec<String> = self.list.iter().map(|diagnostic| diagnostic.render(lang, style)).collect();
        if self.left_out > 0 {
            parts.push(format!("{}\n", lang.and_more(self.left_out)));
        }
        parts.join(if style == Style::Long { "\n" } else { "" })
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { list: vec![diagnostic], left_out: 0 }
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Lang::En, Style::Long))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::super::source::{Origin, Source};
    use super::*;

    fn slash() -> Diagnostic {
        let source = Source::new(Origin::file("jaas/k.conf"), "\n\n\n    keyTab=/etc/security/kafka.keytab\n".into());
        Diagnostic::error(Code::J0008).at(source.place(&(14..15))).with_help("keyTab=\"/etc/security/kafka.keytab\"")
    }

    #[test]
    fn the_long_form_draws_the_line() {
        assert_eq!(
            slash().render(Lang::En, Style::Long),
            "error[J0008]: an unquoted '/' starts a comment\n \
             --> jaas/k.conf:4:12\n  \
             |\n\
             4 |     keyTab=/etc/security/kafka.keytab\n  \
             |            ^ everything after this is lost\n  \
             |\n  \
             = help: keyTab=\"/etc/security/kafka.keytab\"\n"
        );
    }

    #[test]
    fn the_same_in_chinese() {
        let text = slash().render(Lang::Zh, Style::Long);
        assert!(text.starts_with("错误[J0008]：未加引号的“/”会开始一段注释\n --> jaas/k.conf:4:12\n"), "{text}");
        assert!(text.contains("^ 此处之后的内容都会丢失\n"), "{text}");
        assert!(text.ends_with("  = 建议：keyTab=\"/etc/security/kafka.keytab\"\n"), "{text}");
    }

    #[test]
    fn the_short_form_is_one_line() {
        let text = slash().render(Lang::En, Style::Short);
        assert_eq!(text, "jaas/k.conf:4:12: error[J0008]: an unquoted '/' starts a comment\n");
    }

    #[test]
    fn env_and_command_line_are_places_too() {
        let env = Source::new(Origin::Env("KAFKA_LISTENERS".into()), "PLAINTEXT://:x".into());
        let text = Diagnostic::error(Code::P0302).arg("bad").at(env.place(&(13..14))).render(Lang::En, Style::Long);
        assert!(text.contains(" --> env KAFKA_LISTENERS:1:14\n"), "{text}");
        let line = Source::new(Origin::CommandLine("--override".into()), "a=b".into());
        let text = Diagnostic::error(Code::P0302).arg("bad").at(line.place(&(0..1))).render(Lang::En, Style::Short);
        assert_eq!(text, "command line --override:1:1: error[P0302]: bad\n");
    }

    #[test]
    fn at_most_twenty_and_errors_first() {
        let mut all = Diagnostics::new();
        for number in 0..25 {
            all.push(Diagnostic::warning(Code::J0102).arg(number));
            all.push(Diagnostic::warning(Code::J0102).arg(0));
        }
        all.push(Diagnostic::error(Code::J0008));
        assert_eq!((all.iter().count(), all.left_out()), (Diagnostics::MAX, 6));
        assert!(all.has_errors());
        assert!(all.render(Lang::En, Style::Short).ends_with("... and 6 more\n"));
    }
}
