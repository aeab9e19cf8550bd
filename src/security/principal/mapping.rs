//! `ssl.principal.mapping.rules`: from a certificate's name to a user's (`SslPrincipalMapper`, KIP-371).
//!
//! `RULE:pattern/replacement/[LU]` and `DEFAULT`, separated by commas; the first whose pattern matches the whole name
//! decides. Patterns run in linear time: what needs backtracking (look-around, back references inside the pattern) is
//! refused when the rules are read.

use regex::{Captures, Regex, RegexBuilder};

/// The rules of one listener.
#[derive(Clone, Debug)]
pub struct PrincipalMapping {
    rules: Vec<Rule>,
}

/// The rules can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MappingError {
    #[error("Invalid rule: `{rule}`, unmatched substring: `{rest}`")]
    Unmatched { rule: String, rest: String },
    #[error("Invalid rule: `{rule}`: {source}")]
    Pattern { rule: String, source: regex::Error },
    #[error("Invalid rule: `{rule}`: in the replacement {problem}")]
    Replacement { rule: String, problem: &'static str },
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Map { whole: Regex, part: Regex, replacement: Vec<Piece>, case: Case },
}

/// A part of a replacement.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

/// Bytes of a compiled pattern; a rule is a line in a file.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// One rule, as Kafka's parser knows it.
const RULE: &str = r"(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?)";

impl Default for PrincipalMapping {
    /// `DEFAULT`: the name itself.
    fn default() -> Self {
        Self { rules: vec![Rule::Default] }
    }
}

impl PrincipalMapping {
    /// Reads the value of `ssl.principal.mapping.rules`.
    ///
    /// # Errors
    /// If a rule is malformed, with Kafka's text, or needs backtracking.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mut rules = Vec::new();
        let parser = compile(&format!("^(?:{RULE})"), text)?;
        // Between rules: white space and one comma. A rule may itself hold commas, so rules are read one after another.
        let mut rest = text.trim();
        while !rest.is_empty() {
            let unmatched = || MappingError::Unmatched {
                rule: rest.split(',').next().unwrap_or(rest).trim_end().to_owned(),
                rest: rest.split(',').next().unwrap_or(rest).trim_end().to_owned(),
            };
            let found = parser.captures(rest).ok_or_else(unmatched)?;
            let (rule, tail) = rest.split_at_checked(found.get_match().end()).ok_or_else(unmatched)?;
            rules.push(read_rule(rule, &found)?);
            let tail = tail.trim_start();
            rest = match tail.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if tail.is_empty() => tail,
                None => {
                    let rest = tail.split(',').next().unwrap_or(tail).trim_end().to_owned();
                    return Err(MappingError::Unmatched { rule: format!("{rule}{rest}"), rest });
                }
            };
        }
        if rules.is_empty() { Ok(Self::default()) } else { Ok(Self { rules }) }
    }

    /// The user's name by the first rule that matches the whole name; `None` if no rule does.
    pub fn map(&self, name: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| match rule {
            Rule::Default => Some(name.to_owned()),
            Rule::Map { whole, part, replacement, case } => whole.is_match(name).then(|| {
                let mapped = replace_all(part, name, replacement);
                match case {
                    Case::Kept => mapped,
                    Case::Lower => mapped.to_lowercase(),
                    Case::Upper => mapped.to_uppercase(),
                }
            }),
        })
    }
}

fn read_rule(rule: &str, found: &Captures<'_>) -> Result<Rule, MappingError> {
    let group = |n| found.get(n).map_or("", |m| m.as_str());
    if found.get(1).is_some() {
        return Ok(Rule::Default);
    }
    let pattern = from_java(group(2));
    let part = compile(&pattern, rule)?;
    let whole = compile(&format!(r"\A(?:{pattern})\z"), rule)?;
    let groups = part.captures_len().saturating_sub(1);
    let replacement = read_replacement(group(3), groups)
        .map_err(|problem| MappingError::Replacement { rule: rule.to_owned(), problem })?;
    let case = match group(4) {
        "L" => Case::Lower,
        "U" => Case::Upper,
        _ => Case::Kept,
    };
    Ok(Rule::Map { whole, part, replacement, case })
}

fn compile(pattern: &str, rule: &str) -> Result<Regex, MappingError> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map_err(|source| MappingError::Pattern { rule: rule.to_owned(), source })
}

/// Java's `\d`, `\w` and `\s` know ASCII only.
fn from_java(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('s') => out.push_str(r"[ \t\n\x0B\f\r]"),
            Some('S') => out.push_str(r"[^ \t\n\x0B\f\r]"),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

/// `$1` is a group (as many digits as make one that exists; one that does not is literal text, as in Kafka), `\x` is x.
fn read_replacement(text: &str, groups: usize) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => literal.push(chars.next().ok_or("a backslash stands at the end")?),
            '$' => {
                let first = chars.next_if(char::is_ascii_digit).and_then(|d| d.to_digit(10));
                let first = first.ok_or("a $ has no number behind it; write \\$ for the sign itself")?;
                let mut group = usize::try_from(first).unwrap_or_default();
                if group > groups {
                    literal.push('$');
                    literal.push_str(&first.to_string());
                    continue;
                }
                while let Some(digit) = chars.peek().and_then(|d| d.to_digit(10)) {
                    let longer = group.saturating_mul(10).saturating_add(usize::try_from(digit).unwrap_or_default());
                    if longer > groups {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Group(group));
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// `String.replaceAll`: unlike the regex crate's, it replaces an empty match right behind another one too.
fn replace_all(part: &Regex, name: &str, replacement: &[Piece]) -> String {
    let mut out = String::with_capacity(name.len());
    let (mut copied, mut from) = (0, 0);
    while let Some(found) = (from <= name.len()).then(|| part.captures_at(name, from)).flatten() {
        let whole = found.get_match();
        out.push_str(name.get(copied..whole.start()).unwrap_or_default());
        for piece in replacement {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(group) => out.push_str(found.get(*group).map_or("", |m| m.as_str())),
            }
        }
        copied = whole.end();
        from = if whole.is_empty() { next_char(name, whole.end()) } else { whole.end() };
    }
    out.push_str(name.get(copied..).unwrap_or_default());
    out
}

/// Where the character behind this place begins.
fn next_char(text: &str, at: usize) -> usize {
    let width = text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    at.saturating_add(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rules: &str, name: &str) -> Option<String> {
        PrincipalMapping::parse(rules).unwrap().map(name)
    }

    /// The example of Kafka's documentation.
    const DOCUMENTED: &str = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/, RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
                              RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L, DEFAULT";

    #[test]
    fn follows_the_documented_example() {
        let cases = [
            ("CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "serviceuser"),
            ("CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "adminuser@admin"),
            ("cn=Duke.OU,OU=ServiceUsers", "duke.ou"),
            ("OU=x,O=y", "OU=x,O=y"),
        ];
        for (name, user) in cases {
            assert_eq!(map(DOCUMENTED, name).as_deref(), Some(user), "{name}");
        }
    }

    #[test]
    fn the_first_rule_decides_and_the_whole_name_must_match() {
        assert_eq!(map("RULE:^CN=(.*?),.*$/$1/U,DEFAULT", "CN=alice,O=x").as_deref(), Some("ALICE"));
        assert_eq!(map("RULE:CN=/x/", "CN=alice"), None, "a part is not enough");
        assert_eq!(map("", "CN=a").as_deref(), Some("CN=a"));
        assert_eq!(map("RULE:^CN=(\\w+)$/$1/", "CN=é"), None, "\\w is ASCII");
        assert_eq!(map("RULE:.*/X/", "abc").as_deref(), Some("XX"), "as String.replaceAll");
        assert_eq!(map(r"RULE:^CN=([^,]*),(.*)$/$2\/$10$3\$/", "CN=a,b").as_deref(), Some("b/a0$3$"));
        assert_eq!(map(r"RULE:^CN=a\/b$/slash/", "CN=a/b").as_deref(), Some("slash"));
    }

    #[test]
    fn malformed_rules_are_refused_with_kafkas_text() {
        let text = |rules: &str| PrincipalMapping::parse(rules).unwrap_err().to_string();
        assert_eq!(text("DEFAULTx"), "Invalid rule: `DEFAULTx`, unmatched substring: `x`");
        assert_eq!(text("default"), "Invalid rule: `default`, unmatched substring: `default`");
        assert_eq!(text("RULE:a/b/Lx"), "Invalid rule: `RULE:a/b/Lx`, unmatched substring: `x`");
        assert!(text("RULE:CN=(?=x)/y/").contains("look-around"));
        assert!(text(r"RULE:(a)\1/y/").starts_with("Invalid rule: `RULE:"));
        assert!(text("RULE:a/$x/").contains("no number"));
        assert!(text("RULE:(a{1000}){1000}/y/").contains("size"));
    }

    #[test]
    fn a_catastrophic_pattern_runs_in_linear_time() {
        let mapping = PrincipalMapping::parse("RULE:^(a+)+$/$1/,DEFAULT").unwrap();
        let name = format!("{}b", "a".repeat(64 * 1024));
        assert_eq!(mapping.map(&name), Some(name));
    }
}
