//! `schloss users`: SCRAM users, and in one step what they may do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Subcommand;
use serde_json::json;

use super::acl::rule::{create, delete, describe, pattern, told};
use super::client::client_files::{ClientFiles, new_password};
use super::client::table::Table;
use super::client::{AdminArgs, Role, Session, confirmed, finish, say, talk};
use super::exit;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::model::scram::ScramMechanism;
use crate::model::secret::Secret;
use crate::network::outbound::{ClientError, Cluster};
use crate::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use crate::protocol::messages::describe_user_scram_credentials_request::{
    DescribeUserScramCredentialsRequest, UserName,
};
use crate::security::authorizer::filter::AclFilter;
use crate::security::sasl::scram_keys::{random_salt, salted_password};
use crate::server::files;

/// How a password is stored.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PasswordArgs {
    /// SCRAM-SHA-256 or SCRAM-SHA-512
    #[arg(long, default_value = "SCRAM-SHA-512", value_parser = mechanism)]
    mechanism: ScramMechanism,
    /// How often the password is hashed: 4096 to 16384
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(i32).range(4096..=16384))]
    iterations: i32,
    /// Take the password from standard input's first line instead of making one
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a user; his password is the last line printed, and printed once
    Add {
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        /// Topics he may write to; NAME* is every one that begins so
        #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
        produce: Vec<String>,
        /// Topics he may read
        #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
        consume: Vec<String>,
        /// Groups he may read with
        #[arg(long, value_name = "GROUP", value_delimiter = ',')]
        group: Vec<String>,
        /// Write NAME.properties, NAME.kcat.conf and NAME.env into this folder
        #[arg(long, value_name = "DIR")]
        client_files: Option<PathBuf>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Users and the mechanisms they log in with
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Give a user a new password; the old one ends at once for new connections
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take a user away, with his rules where that is said
    Remove {
        name: String,
        /// His rules too
        #[arg(long)]
        with_acls: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

fn mechanism(name: &str) -> Result<ScramMechanism, String> {
    let known = || ScramMechanism::ALL.map(ScramMechanism::name).join(", ");
    ScramMechanism::from_name(&name.to_ascii_uppercase()).ok_or_else(|| format!("it is none of {}", known()))
}

pub(super) fn run(verb: &Verb, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(verb, env))
}

fn carry_out(verb: &Verb, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let (Verb::Add { admin, .. } | Verb::List { admin } | Verb::Passwd { admin, .. } | Verb::Remove { admin, .. }) =
        verb;
    let mut session = Session::open(&admin.connect, env, Role::Admin)?;
    match verb {
        Verb::Add { name, password, produce, consume, group, client_files, .. } => {
            let rules = rules(name, produce, consume, group);
            add(&mut session, name, password, &rules, client_files.as_deref(), admin)?;
        }
        Verb::List { .. } => {
            let users = session.run(async |cluster| users(cluster, None).await)?;
            let mut table = Table::new(&["USER", "MECHANISMS", "ITERATIONS"]);
            for (user, credentials) in users {
                let join = |texts: Vec<String>| json!(texts.join(","));
                let mechanisms = credentials.iter().map(|(mechanism, _)| mechanism.name().to_owned()).collect();
                let iterations = credentials.iter().map(|(_, iterations)| iterations.to_string()).collect();
                table.row(vec![json!(user), join(mechanisms), join(iterations)]);
            }
            table.print(admin.output)?;
        }
        Verb::Passwd { name, password, .. } => {
            session.run(async |cluster| {
                let known = users(cluster, Some(name)).await?;
                let credentials = known.get(name).with_context(|| format!("there is no SCRAM user {name}"))?;
                if !credentials.iter().any(|(mechanism, _)| *mechanism == password.mechanism) {
                    talk(&format!("note: {name} had no {} password before", password.mechanism.name()));
                }
                Ok(())
            })?;
            if admin.dry_run {
                talk(&format!("Would change the {} password of {name}.", password.mechanism.name()));
                return Ok(0);
            }
            let secret = chosen(password)?;
            session.run(async |cluster| set_password(cluster, name, password, &secret).await)?;
            talk(&format!("Changed the {} password of {name}.", password.mechanism.name()));
            tell_password(password, &secret)?;
        }
        Verb::Remove { name, with_acls, .. } => return remove(&mut session, name, *with_acls, admin),
    }
    Ok(0)
}

/// What a producer of these topics and a consumer of those, with these groups, needs.
fn rules(user: &str, produce: &[String], consume: &[String], groups: &[String]) -> Vec<AclBinding> {
    use AclOperation::{Describe, Read, Write};
    let of = |kind, names: &[String], operations: &[AclOperation]| -> Vec<AclBinding> {
        let rule = |name: &String, operation: &AclOperation| AclBinding {
            pattern: pattern(kind, name),
            principal: format!("User:{user}").into(),
            host: AclBinding::WILDCARD_HOST.into(),
            operation: *operation,
            permission: AclPermission::Allow,
        };
        names.iter().flat_map(|name| operations.iter().map(move |operation| rule(name, operation))).collect()
    };
    let mut rules = of(ResourceType::Topic, produce, &[Write, Describe]);
    rules.extend(of(ResourceType::Topic, consume, &[Read, Describe]));
    rules.extend(of(ResourceType::Group, groups, &[Read]));
    rules
}

fn add(
    session: &mut Session,
    name: &str,
    password: &PasswordArgs,
    rules: &[AclBinding],
    client_files: Option<&Path>,
    admin: &AdminArgs,
) -> anyhow::Result<()> {
    if client_files.is_some() && (name.contains(['/', '\0']) || name.starts_with('.')) {
        bail!("{name:?} can't be the name of a file: leave --client-files out");
    }
    let is_known = session.run(async |cluster| Ok(users(cluster, Some(name)).await?.contains_key(name)))?;
    if is_known {
        bail!("user {name} is there already: schloss users passwd {name} gives a new password");
    }
    let mechanism = password.mechanism.name();
    if admin.dry_run {
        talk(&format!("Would create user {name} ({mechanism})."));
        told("Would grant", rules).iter().for_each(|line| talk(line));
        return Ok(());
    }
    let secret = chosen(password)?;
    session.run(async |cluster| {
        set_password(cluster, name, password, &secret).await?;
        talk(&format!("Created user {name} ({mechanism})."));
        if !rules.is_empty() {
            create(cluster, rules).await.context("the user is there, his rules are not")?;
            told("Granted", rules).iter().for_each(|line| talk(line));
        }
        Ok(())
    })?;
    if let Some(folder) = client_files {
        files::create_dir(folder)?;
        let (bootstrap, protocol) = (session.bootstrap().to_owned(), session.protocol().to_owned());
        let ca = session.ca().map(super::absolute);
        let files = ClientFiles {
            bootstrap: &bootstrap,
            protocol: &protocol,
            mechanism,
            user: name,
            password: &secret,
            ca: ca.as_deref(),
        };
        for path in files.write(folder)? {
            talk(&format!("Wrote {}", path.display()));
        }
    }
    tell_password(password, &secret)
}

/// The password that was given, or a new one.
fn chosen(password: &PasswordArgs) -> anyhow::Result<Secret> {
    if !password.password_stdin {
        return Ok(new_password());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("no password can be read from standard input")?;
    let line = line.trim_end_matches(['\n', '\r']);
    if line.is_empty() {
        bail!("standard input's first line is empty: that is no password");
    }
    Ok(Secret::new(line))
}

/// Only one that was made here is shown.
fn tell_password(password: &PasswordArgs, secret: &Secret) -> anyhow::Result<()> {
    if !password.password_stdin {
        talk("Password, shown once:");
        say(secret.expose())?;
    }
    Ok(())
}

async fn set_password(
    cluster: &mut Cluster,
    name: &str,
    password: &PasswordArgs,
    secret: &Secret,
) -> anyhow::Result<()> {
    let salt = random_salt()?;
    let rounds = u32::try_from(password.iterations).ok().and_then(NonZeroU32::new).context("no iterations")?;
    let salted = salted_password(password.mechanism, secret.expose().as_bytes(), &salt, rounds);
    let upsertion = ScramCredentialUpsertion {
        name: name.into(),
        mechanism: password.mechanism.code(),
        iterations: password.iterations,
        salt: Bytes::from(salt),
        salted_password: Bytes::from(salted),
    };
    alter(cluster, AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] }).await
}

async fn alter(cluster: &mut Cluster, request: AlterUserScramCredentialsRequest) -> anyhow::Result<()> {
    let answer = cluster.call(&request).await?;
    for result in &answer.results {
        let what = format!("user {}", result.user);
        ClientError::refusal(what, result.error_code, result.error_message.as_deref()).map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Users with mechanisms and iterations: all, or the one that is named.
async fn users(
    cluster: &mut Cluster,
    name: Option<&str>,
) -> anyhow::Result<BTreeMap<String, BTreeSet<(ScramMechanism, i32)>>> {
    let users = name.map(|name| vec![UserName { name: name.into() }]);
    let answer = cluster.call(&DescribeUserScramCredentialsRequest { users }).await?;
    if let Some(refusal) = ClientError::refusal("users", answer.error_code, answer.error_message.as_deref()) {
        return Err(refusal.into());
    }
    let mut users = BTreeMap::new();
    for result in answer.results {
        let what = format!("user {}", result.user);
        match ClientError::refusal(what, result.error_code, result.error_message.as_deref()) {
            Some(refusal) if refusal.code() == Some(ErrorCode::ResourceNotFound) => continue,
            Some(refusal) => return Err(refusal.into()),
            None => {}
        }
        let credentials = result.credential_infos.iter();
        let known = credentials.filter_map(|info| Some((ScramMechanism::from_code(info.mechanism)?, info.iterations)));
        users.insert(result.user.to_string(), known.collect());
    }
    Ok(users)
}

fn remove(session: &mut Session, name: &str, with_acls: bool, admin: &AdminArgs) -> anyhow::Result<u8> {
    let principal = format!("User:{name}");
    let filter = AclFilter { principal: Some(principal.as_str().into()), ..AclFilter::ANY };
    let (credentials, rules) = session.run(async |cluster| {
        let users = users(cluster, Some(name)).await?;
        let credentials = users.get(name).cloned().with_context(|| format!("there is no SCRAM user {name}"))?;
        Ok((credentials, describe(cluster, &filter).await?))
    })?;
    let rules_too =
        if with_acls && !rules.is_empty() { format!(" and {} rule(s)", rules.len()) } else { String::new() };
    if admin.dry_run {
        talk(&format!("Would remove user {name}{rules_too}."));
        return Ok(0);
    }
    if !confirmed(admin, &format!("User {name}{rules_too} will be gone."))? {
        return Ok(exit::NO);
    }
    let deletions = credentials
        .iter()
        .map(|(mechanism, _)| ScramCredentialDeletion { name: name.into(), mechanism: mechanism.code() });
    let request = AlterUserScramCredentialsRequest { deletions: deletions.collect(), upsertions: Vec::new() };
    session.run(async |cluster| {
        alter(cluster, request).await?;
        if with_acls && !rules.is_empty() {
            delete(cluster, &rules).await.context("the user is gone, his rules are not")?;
        }
        Ok(())
    })?;
    talk(&format!("Removed user {name}{rules_too}."));
    if !with_acls && !rules.is_empty() {
        talk(&format!("{} rule(s) of {principal} remain: schloss acl remove --user {name}", rules.len()));
    }
    Ok(0)
}
