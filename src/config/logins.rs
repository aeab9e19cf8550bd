//! Which JAAS entry a listener's mechanism uses, and what it says.

use std::path::PathBuf;

use super::broker_config::Parts;
use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::jaas::check::{ClearPasswords, Credentials, ModuleKind, Rules, check, credentials};
use super::jaas::{self, Expansions, JaasFile, LoginModule};
use super::jvm;
use super::tls::Guard;
use super::values::Values;
use super::written::Written;
use crate::model::listener::ListenerName;

/// The JAAS file beside the configuration, if nothing else names one.
const JAAS_BESIDE: &str = "jaas/kafka_server_jaas.conf";

/// JAAS contexts: read once, judged when first used.
pub(super) struct Logins<'a> {
    parts: &'a Parts<'a>,
    file: Option<(PathBuf, JaasFile)>,
    /// The file has errors: nothing more is said about what is missing in it.
    broken: bool,
    rules: Rules,
    guard: Guard,
    judged: Vec<String>,
    clear: ClearPasswords,
}

impl<'a> Logins<'a> {
    pub(super) fn new(parts: &'a Parts<'a>, values: &Values, out: &mut Diagnostics) -> Self {
        let options = parts.sources.env.get("KAFKA_OPTS").map(|options| jvm::properties(options)).unwrap_or_default();
        let list = |name: &str| options.get(name).map(|list| jvm::names(list));
        let rules = Rules {
            profile: parts.profile,
            allowed: list(jvm::ALLOWED_LOGIN_MODULES),
            disallowed: list(jvm::DISALLOWED_LOGIN_MODULES).unwrap_or_default(),
        };
        let beside = || parts.home.as_ref().map(|home| home.join(JAAS_BESIDE)).filter(|path| path.exists());
        let named =
            options.get(jvm::LOGIN_CONFIG).map(|path| PathBuf::from(path.strip_prefix("file:").unwrap_or(path)));
        let path = parts.sources.jaas.clone().or(named).or_else(beside);
        let expansions = Expansions { properties: Some(&options), env: Some(&parts.sources.env) };
        let mut logins = Self {
            parts,
            file: None,
            broken: false,
            rules,
            guard: parts.guard(values),
            judged: Vec::new(),
            clear: ClearPasswords::default(),
        };
        match path.map(|path| (jaas::read_file(&path, &expansions), path)) {
            Some((Ok(file), path)) => {
                out.extend(file.warnings.clone());
                logins.file = Some((path, file));
            }
            Some((Err(errors), _)) => {
                out.extend(errors);
                logins.broken = true;
            }
            None => {}
        }
        logins
    }

    /// `listener.name.<l>.<m>.sasl.jaas.config`, then `<l>.KafkaServer`, then `KafkaServer`.
    pub(super) fn of(
        &mut self,
        listener: &ListenerName,
        mechanism: &str,
        out: &mut Diagnostics,
    ) -> Option<Credentials> {
        let kind = if mechanism == "PLAIN" { ModuleKind::Plain } else { ModuleKind::Scram };
        let (lower, mechanism_lower) = (listener.as_str().to_lowercase(), mechanism.to_lowercase());
        let key = format!("{}{mechanism_lower}.sasl.jaas.config", listener.config_prefix());
        let modules = match self.parts.written.get(&key) {
            Some(written) => Some(vec![self.property(written, out)?]),
            None => self.section(&lower, out),
        };
        let Some(modules) = modules else {
            if kind == ModuleKind::Plain && !self.broken && !self.parts.sources.only_format {
                let missing = Diagnostic::error(Code::J0040).arg(listener).arg(mechanism);
                out.push(missing.arg(lower).arg(mechanism_lower));
            }
            return None;
        };
        let found = credentials(&modules, kind);
        if kind == ModuleKind::Plain && found.users.is_empty() {
            out.push(Diagnostic::warning(Code::J0107).arg(listener));
        }
        Some(found)
    }

    /// What is said once all listeners have been asked for.
    pub(super) fn finish(self, out: &mut Diagnostics) {
        out.extend(self.clear.findings(self.rules.profile));
    }

    fn property(&mut self, written: &Written, out: &mut Diagnostics) -> Option<LoginModule> {
        match jaas::parse_property(&written.value) {
            Ok((module, warnings)) => {
                out.extend(warnings);
                out.extend(check(std::slice::from_ref(&module), &self.rules, &mut self.clear));
                Some(module)
            }
            Err(errors) => {
                let raw = written.value.source().expose();
                let range = written.value.range(&(0..written.value.expose().len()));
                if raw.get(range).is_some_and(loses_a_backslash) {
                    out.push(Diagnostic::warning(Code::P0106).at(written.value_place()));
                }
                out.extend(errors);
                None
            }
        }
    }

    fn section(&mut self, listener: &str, out: &mut Diagnostics) -> Option<Vec<LoginModule>> {
        let (path, file) = self.file.as_ref()?;
        let own = format!("{listener}.KafkaServer");
        let (name, modules) = match file.section(&own) {
            Some(modules) => (own.as_str(), modules),
            None => ("KafkaServer", file.section("KafkaServer")?),
        };
        if !self.judged.iter().any(|judged| judged == name) {
            out.extend(check(modules, &self.rules, &mut self.clear));
            let holds_passwords = modules.iter().any(|module| !module.options.is_empty());
            if self.judged.is_empty() && holds_passwords {
                out.extend_maybe(self.guard.check_mode(path, Code::J0203, None));
            }
            self.judged.push(name.to_owned());
        }
        Some(modules.to_vec())
    }
}

/// `\"` where JAAS needed `\\\"` to see a quote inside quotes.
fn loses_a_backslash(raw: &str) -> bool {
    let mut run = 0;
    for c in raw.chars() {
        if c == '"' && run == 1 {
            return true;
        }
        run = if c == '\\' { run + 1 } else { 0 };
    }
    false
}
