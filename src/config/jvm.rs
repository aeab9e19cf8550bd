//! What `KAFKA_OPTS` holds for a broker without a JVM: its `-Dname=value` properties.

use std::collections::BTreeMap;

/// The JAAS file.
pub const LOGIN_CONFIG: &str = "java.security.auth.login.config";
/// Login modules that may be used, when set.
pub const ALLOWED_LOGIN_MODULES: &str = "org.apache.kafka.allowed.login.modules";
/// Login modules that may not be used.
pub const DISALLOWED_LOGIN_MODULES: &str = "org.apache.kafka.disallowed.login.modules";

/// The `-D` properties of an options string, cut as a shell cuts words: blanks separate, quotes join.
pub fn properties(options: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for word in words(options) {
        if let Some(property) = word.strip_prefix("-D") {
            let (name, value) = property.split_once('=').unwrap_or((property, ""));
            out.insert(name.to_owned(), value.to_owned());
        }
    }
    out
}

fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut started) = (Vec::new(), String::new(), false);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => (quote, started) = (Some(c), true),
            (None | Some('"'), '\\') => word.extend(chars.next()),
            (None, _) if c.is_whitespace() => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            _ => word.push(c),
        }
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    words
}

/// A list of names separated by commas, as the login module properties hold.
pub(super) fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_as_a_shell_does() {
        let found =
            properties("-Xmx1G -Djava.security.auth.login.config=/etc/k.conf  '-Da=b c' -Dd=\"e f\" -Dg -Dh=i\\ j");
        let expected = [(LOGIN_CONFIG, "/etc/k.conf"), ("a", "b c"), ("d", "e f"), ("g", ""), ("h", "i j")];
        let mut expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        expected.sort();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }
}
