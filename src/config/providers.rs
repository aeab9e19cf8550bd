//! `${file:path:key}`, `${dir:path:file}` and `${env:NAME}` in the operator's own files.
//!
//! The precedents are `ConfigTransformer`, `FileConfigProvider`, `DirectoryConfigProvider` and `EnvVarConfigProvider`.
//! Where Kafka leaves an unresolved reference as the value itself (a password nobody chose), the start is refused. Never
//! called for a value that came over the wire.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::properties::{self, MAX_FILE_BYTES};
use super::source::Located;
use super::written::{Written, WrittenKeys};

/// Where secrets are mounted by convention: always readable, beside the directory of the configuration.
const SECRET_DIRECTORIES: [&str; 2] = ["/run/secrets", "/etc/kafka/secrets"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    File,
    Dir,
    Env,
}

/// One provider: what it reads, and from where it may.
#[derive(Clone, Debug)]
struct Provider {
    kind: Kind,
    /// Directories and files that may be read; `None` is anywhere.
    allowed: Option<Vec<PathBuf>>,
    /// `allowlist.pattern`: names of variables, a literal or with `.*` at an end.
    pattern: Option<String>,
}

/// A reference inside a value.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Reference<'a> {
    provider: &'a str,
    path: &'a str,
    key: &'a str,
    range: Range<usize>,
}

/// Resolves every reference in `keys`. `home` is the directory of the configuration; `closed` limits files to it and to
/// the usual places of secrets (the strict profile).
pub(super) fn resolve(
    keys: &mut WrittenKeys,
    env: &BTreeMap<String, String>,
    home: Option<&Path>,
    closed: bool,
) -> Diagnostics {
    let mut out = Diagnostics::new();
    let providers = providers(keys, home, closed, &mut out);
    for (key, written) in keys.iter_mut() {
        if !key.starts_with("config.providers") {
            expand(written, &providers, env, &mut out);
        }
    }
    out
}

fn providers(
    keys: &WrittenKeys,
    home: Option<&Path>,
    closed: bool,
    out: &mut Diagnostics,
) -> BTreeMap<String, Provider> {
    let usual: Option<Vec<PathBuf>> =
        closed.then(|| home.into_iter().map(Path::to_owned).chain(SECRET_DIRECTORIES.map(PathBuf::from)).collect());
    let built_in = |kind| Provider { kind, allowed: usual.clone(), pattern: None };
    let mut providers = BTreeMap::from([
        ("file".to_owned(), built_in(Kind::File)),
        ("dir".to_owned(), built_in(Kind::Dir)),
        ("env".to_owned(), built_in(Kind::Env)),
    ]);
    for name in keys.text("config.providers").map(super::jvm::names).unwrap_or_default() {
        let class_key = format!("config.providers.{name}.class");
        let class = keys.get(&class_key);
        let kind = match class.map_or("", |class| class.text()) {
            "org.apache.kafka.common.config.provider.FileConfigProvider" => Kind::File,
            "org.apache.kafka.common.config.provider.DirectoryConfigProvider" => Kind::Dir,
            "org.apache.kafka.common.config.provider.EnvVarConfigProvider" => Kind::Env,
            "" if providers.contains_key(&name) => continue,
            other => {
                let place = class.or(keys.get("config.providers")).map(Written::value_place);
                let help = "FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider of \
                            org.apache.kafka.common.config.provider";
                out.push(Diagnostic::error(Code::P0405).arg(class_key).arg(other).arg(help).at_maybe(place));
                continue;
            }
        };
        let param = |param: &str| keys.get(&format!("config.providers.{name}.param.{param}"));
        let allowed = param("allowed.paths").map(|written| allowed_paths(written, out)).or_else(|| usual.clone());
        let pattern = param("allowlist.pattern").map(|written| written.text().to_owned());
        providers.insert(name, Provider { kind, allowed, pattern });
    }
    providers
}

fn allowed_paths(written: &Written, out: &mut Diagnostics) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = super::jvm::names(written.text()).into_iter().map(PathBuf::from).collect();
    for path in paths.iter().filter(|path| !path.exists()) {
        let text = format!("Path {} does not exist", path.display());
        out.push(Diagnostic::error(Code::P0302).arg(text).at(written.value_place()));
    }
    paths
}

fn expand(
    written: &mut Written,
    providers: &BTreeMap<String, Provider>,
    env: &BTreeMap<String, String>,
    out: &mut Diagnostics,
) {
    let value = written.value.clone();
    let text = value.expose();
    let references = references(text);
    if references.is_empty() {
        return;
    }
    let (mut expanded, mut offsets, mut at) = (String::new(), Vec::new(), 0);
    let copy = |range: Range<usize>, expanded: &mut String, offsets: &mut Vec<usize>| {
        expanded.push_str(text.get(range.clone()).unwrap_or_default());
        offsets.extend(range.map(|at| value.offset(at)));
    };
    for reference in &references {
        copy(at..reference.range.start, &mut expanded, &mut offsets);
        at = reference.range.end;
        match look_up(reference, providers, env, out, &value) {
            Ok(found) => {
                offsets.extend(std::iter::repeat_n(value.offset(reference.range.start), found.len()));
                expanded.push_str(&found);
            }
            Err(error) => out.push(error.at(value.place(&reference.range))),
        }
    }
    copy(at..text.len(), &mut expanded, &mut offsets);
    offsets.push(value.offset(text.len()));
    written.value = Located::new(expanded, std::sync::Arc::clone(value.source()), offsets);
    written.resolved = true;
}

/// `${provider:key}` and `${provider:path:key}`, as `ConfigTransformer.DEFAULT_PATTERN` finds them.
fn references(text: &str) -> Vec<Reference<'_>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(start) = text.get(at..).and_then(|rest| rest.find("${")).map(|found| at + found) {
        let inside = start + 2;
        let Some(close) = text.get(inside..).and_then(|rest| rest.find('}')).map(|found| inside + found) else { break };
        let body = text.get(inside..close).unwrap_or_default();
        at = close + 1;
        let Some((provider, rest)) = body.split_once(':') else { continue };
        let (path, key) = rest.split_once(':').unwrap_or(("", rest));
        out.push(Reference { provider, path, key, range: start..at });
    }
    out
}

fn look_up(
    reference: &Reference<'_>,
    providers: &BTreeMap<String, Provider>,
    env: &BTreeMap<String, String>,
    out: &mut Diagnostics,
    value: &Located,
) -> Result<String, Box<Diagnostic>> {
    let Reference { provider, path, key, .. } = *reference;
    let Some(found) = providers.get(provider) else {
        return Err(Box::new(Diagnostic::error(Code::P0202).arg(provider)));
    };
    let shown =
        if path.is_empty() { format!("${{{provider}:{key}}}") } else { format!("${{{provider}:{path}:{key}}}") };
    let unresolved = |why: String| Box::new(Diagnostic::error(Code::P0201).arg(&shown).arg(why));
    match found.kind {
        Kind::Env => {
            if !found.pattern.as_deref().is_none_or(|pattern| matches_pattern(pattern, key)) {
                return Err(unresolved("allowlist.pattern leaves it out".into()));
            }
            env.get(key).cloned().ok_or_else(|| unresolved("the variable is not set".into()))
        }
        Kind::File => {
            let path = allowed_path(Path::new(path), found, &shown)?;
            let file = properties::read(&path).map_err(|_| unresolved("the file cannot be read".into()))?;
            let entry = file.get(key).ok_or_else(|| unresolved("the file has no such key".into()))?;
            Ok(entry.value.expose().to_owned())
        }
        Kind::Dir => {
            let path = allowed_path(&Path::new(path).join(key), found, &shown)?;
            let text = read_text(&path).ok_or_else(|| unresolved("the file cannot be read".into()))?;
            let stripped = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
            if stripped.is_some() {
                out.push(Diagnostic::note(Code::P0203).arg(path.display()).at(value.place(&reference.range)));
            }
            Ok(stripped.unwrap_or(&text).to_owned())
        }
    }
}

/// The path with its links followed, if it lies under an allowed one.
#[allow(clippy::disallowed_methods)]
fn allowed_path(path: &Path, provider: &Provider, shown: &str) -> Result<PathBuf, Box<Diagnostic>> {
    let real = std::fs::canonicalize(path).map_err(|error| {
        Box::new(Diagnostic::error(Code::P0201).arg(shown).arg(format!("{}: {error}", path.display())))
    })?;
    let Some(allowed) = &provider.allowed else { return Ok(real) };
    let inside = allowed.iter().filter_map(|root| std::fs::canonicalize(root).ok()).any(|root| real.starts_with(root));
    if inside {
        return Ok(real);
    }
    let roots: Vec<String> = allowed.iter().map(|root| root.display().to_string()).collect();
    Err(Box::new(Diagnostic::error(Code::P0204).arg(path.display()).arg(roots.join(", "))))
}

#[allow(clippy::disallowed_methods)]
fn read_text(path: &Path) -> Option<String> {
    let size = std::fs::metadata(path).ok()?.len();
    if size > MAX_FILE_BYTES { None } else { std::fs::read_to_string(path).ok() }
}

/// The part of regular expressions that this list is written in: alternatives, and `.*` at either end.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    pattern.split('|').any(|one| {
        let one = one.trim_start_matches(['^', '(']).trim_end_matches(['$', ')']);
        match (one.strip_prefix(".*"), one.strip_suffix(".*")) {
            (Some(rest), Some(_)) => name.contains(rest.strip_suffix(".*").unwrap_or("")),
            (Some(suffix), None) => name.ends_with(suffix),
            (None, Some(prefix)) => name.starts_with(prefix),
            (None, None) => name == one,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    fn resolved(
        entries: &[(&str, &str)],
        env: &[(&str, &str)],
        closed: bool,
        home: &Path,
    ) -> (WrittenKeys, Diagnostics) {
        let pairs: Vec<_> = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (mut keys, _) = WrittenKeys::merge(None, &pairs);
        let out = resolve(&mut keys, &env, Some(home), closed);
        (keys, out)
    }

    fn codes(diagnostics: &Diagnostics) -> Vec<&'static str> {
        diagnostics.iter().map(|d| d.code.name()).collect()
    }

    #[test]
    fn values_come_from_files_directories_and_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.properties"), "k=v\nsp=a b \n").unwrap();
        std::fs::write(dir.path().join("pw"), "secret\n").unwrap();
        let d = dir.path().display();
        let two = format!("a-${{file:{d}/s.properties:k}}-b-${{file:{d}/s.properties:sp}}|");
        let pw = format!("${{dir:{d}:pw}}");
        let entries = [("x", two.as_str()), ("y", &pw), ("z", "${env:HOME}${env::HOME}"), ("n", "${nocolon}")];
        let (keys, out) = resolved(&entries, &[("HOME", "/h")], true, dir.path());
        assert_eq!(keys.text("x"), Some("a-v-b-a b |"));
        assert_eq!(keys.text("y"), Some("secret"));
        assert_eq!(keys.text("z"), Some("/h/h"));
        assert_eq!(keys.text("n"), Some("${nocolon}"));
        assert_eq!(codes(&out), ["P0203"]);
    }

    #[test]
    fn what_is_not_resolved_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.properties"), "k=v").unwrap();
        std::fs::write(other.path().join("s.properties"), "k=v").unwrap();
        let code = |value: String, closed| codes(&resolved(&[("x", &value)], &[], closed, dir.path()).1).join(" ");
        let (d, o) = (dir.path().display(), other.path().display());
        assert_eq!(code(format!("${{file:{d}/s.properties:nokey}}"), true), "P0201");
        assert_eq!(code("${file:/no/such:k}".into(), false), "P0201");
        assert_eq!(code("${env:NOPE}".into(), false), "P0201");
        assert_eq!(code("${vault:p:k}".into(), false), "P0202");
        assert_eq!(code(format!("${{file:{o}/s.properties:k}}"), true), "P0204");
        assert_eq!(code(format!("${{file:{o}/s.properties:k}}"), false), "");
        assert_eq!(
            code(format!("${{file:{d}/../{}/s.properties:k}}", other.path().file_name().unwrap().display()), true),
            "P0204"
        );
    }

    #[test]
    fn declared_providers_keep_their_limits() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            ("config.providers", "e,f,g"),
            ("config.providers.e.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider"),
            ("config.providers.e.param.allowlist.pattern", "KAFKA_.*"),
            ("config.providers.f.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
            ("config.providers.f.param.allowed.paths", "/nowhere"),
            ("config.providers.g.class", "no.such.Class"),
            ("x", "${e:KAFKA_A}"),
            ("y", "${e:PATH}"),
        ];
        let (keys, out) = resolved(&entries, &[("KAFKA_A", "1"), ("PATH", "2")], false, dir.path());
        assert_eq!(keys.text("x"), Some("1"));
        assert_eq!(codes(&out), ["P0302", "P0405", "P0201"]);
        assert!(out.to_string().contains("Path /nowhere does not exist"), "{out}");
    }
}
