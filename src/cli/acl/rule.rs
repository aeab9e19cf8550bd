//! Rules as they are typed and shown: `read,describe topic orders`, `READ Topic:orders (literal)`.

use std::str::FromStr;

use anyhow::{Context as _, bail};

use crate::cli::client::table::Table;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::principal::KafkaPrincipal;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::network::outbound::{ClientError, Cluster};
use crate::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use crate::protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use crate::protocol::messages::describe_acls_request::DescribeAclsRequest;
use crate::security::authorizer::filter::AclFilter;

/// A resource as the words of a command name it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Resource {
    /// topic, group, cluster, transactional-id, delegation-token or user
    #[arg(value_name = "TYPE", value_parser = resource_type)]
    pub(in crate::cli) kind: ResourceType,
    /// Its name; NAME* is every name that begins so, * every name; a cluster has none
    name: Option<String>,
    /// A * at the end of the name is part of it
    #[arg(long)]
    literal: bool,
}

impl Resource {
    pub(in crate::cli) fn new(kind: ResourceType, name: Option<String>, literal: bool) -> Self {
        Self { kind, name, literal }
    }

    /// The name as it is typed.
    pub(in crate::cli) fn name(&self) -> anyhow::Result<&str> {
        match (self.kind, self.name.as_deref()) {
            (ResourceType::Cluster, None) => Ok(ResourcePattern::CLUSTER_NAME),
            (_, Some(name)) if !name.is_empty() => Ok(name),
            (kind, _) => bail!("a {} has a name", kind.log_name()),
        }
    }

    pub(in crate::cli) fn pattern(&self) -> anyhow::Result<ResourcePattern> {
        let name = self.name()?;
        Ok(if self.literal { ResourcePattern::literal(self.kind, name) } else { pattern(self.kind, name) })
    }
}

/// `orders` is one, `orders-*` those that begin so, `*` all.
pub(in crate::cli) fn pattern(resource_type: ResourceType, name: &str) -> ResourcePattern {
    match name.strip_suffix('*') {
        Some(prefix) if !prefix.is_empty() => {
            ResourcePattern { pattern_type: PatternType::Prefixed, ..ResourcePattern::literal(resource_type, prefix) }
        }
        _ => ResourcePattern::literal(resource_type, name),
    }
}

pub(in crate::cli) fn resource_type(word: &str) -> Result<ResourceType, String> {
    let known = |kind: &ResourceType| kind.name().replace('_', "-").eq_ignore_ascii_case(&word.replace('_', "-"));
    let names = || ResourceType::CONCRETE.map(|kind| kind.name().to_ascii_lowercase().replace('_', "-")).join(", ");
    ResourceType::CONCRETE.into_iter().find(known).ok_or_else(|| format!("it is none of {}", names()))
}

/// Operations as they are typed: `read,describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Operations(pub(in crate::cli) Vec<AclOperation>);

impl FromStr for Operations {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        words.split(',').map(|word| operation(word.trim())).collect::<Result<_, _>>().map(Self)
    }
}

/// One operation, of those that rules can be about.
pub(in crate::cli) fn operation(word: &str) -> Result<AclOperation, String> {
    let wanted = word.replace('-', "_");
    let mut known = AclOperation::CONCRETE.into_iter().chain([AclOperation::All]);
    known.find(|operation| operation.name().eq_ignore_ascii_case(&wanted)).ok_or_else(|| {
        let names = AclOperation::CONCRETE.map(|operation| operation.name().to_ascii_lowercase().replace('_', "-"));
        format!("'{word}' is none of all, {}", names.join(", "))
    })
}

/// `User:alice` of `alice`, or a whole `Type:name`.
pub(in crate::cli) fn principal(user: Option<&str>, principal: Option<&str>) -> anyhow::Result<Option<KafkaPrincipal>> {
    match (user, principal) {
        (Some(user), _) => Ok(Some(KafkaPrincipal::user(user))),
        (None, Some(text)) => Ok(Some(text.parse()?)),
        (None, None) => Ok(None),
    }
}

/// `Topic:orders`, `Group:billing-*`
pub(in crate::cli) fn resource_text(pattern: &ResourcePattern) -> String {
    let star = if pattern.pattern_type == PatternType::Prefixed { "*" } else { "" };
    format!("{}:{}{star}", pattern.resource_type.log_name(), pattern.name)
}

/// `from any host`, `from 10.0.0.9`
pub(in crate::cli) fn host_text(host: &str) -> String {
    if host == AclBinding::WILDCARD_HOST { "from any host".to_owned() } else { format!("from {host}") }
}

/// `READ Topic:orders (literal)`
pub(in crate::cli) fn rule_text(binding: &AclBinding) -> String {
    let ResourcePattern { resource_type, name, pattern_type } = &binding.pattern;
    let kind = pattern_type.name().to_ascii_lowercase();
    format!("{} {}:{name} ({kind})", binding.operation.name(), resource_type.log_name())
}

/// One line for the rules that say the same of several operations: `Granted  READ, DESCRIBE   Topic:orders   from any host`.
pub(in crate::cli) fn told(verb: &str, bindings: &[AclBinding]) -> Vec<String> {
    let mut groups: Vec<(&AclBinding, Vec<&str>)> = Vec::new();
    for binding in bindings {
        let alike = |other: &AclBinding| {
            (&other.pattern, &other.principal, &other.host, other.permission)
                == (&binding.pattern, &binding.principal, &binding.host, binding.permission)
        };
        match groups.iter_mut().find(|(first, _)| alike(first)) {
            Some((_, operations)) => operations.push(binding.operation.name()),
            None => groups.push((binding, vec![binding.operation.name()])),
        }
    }
    let resources = groups.iter().map(|(binding, _)| resource_text(&binding.pattern).chars().count());
    let width = resources.max().unwrap_or(0) + 4;
    let line = |(binding, operations): &(&AclBinding, Vec<&str>)| {
        let prefixed = if binding.pattern.pattern_type == PatternType::Prefixed { "   (prefix)" } else { "" };
        let (operations, resource) = (operations.join(", "), resource_text(&binding.pattern));
        format!("{verb}  {operations:<24}{resource:<width$}{}{prefixed}", host_text(&binding.host))
    };
    groups.iter().map(line).collect()
}

/// Adds rules; all of them, or the first refusal.
pub(in crate::cli) async fn create(cluster: &mut Cluster, bindings: &[AclBinding]) -> Result<(), ClientError> {
    let creations = bindings.iter().map(|binding| AclCreation {
        resource_type: binding.pattern.resource_type.code(),
        resource_name: (&*binding.pattern.name).into(),
        resource_pattern_type: binding.pattern.pattern_type.code(),
        principal: (&*binding.principal).into(),
        host: (&*binding.host).into(),
        operation: binding.operation.code(),
        permission_type: binding.permission.code(),
    });
    let answer = cluster.call(&CreateAclsRequest { creations: creations.collect() }).await?;
    for (result, binding) in answer.results.iter().zip(bindings) {
        let refusal = ClientError::refusal(rule_text(binding), result.error_code, result.error_message.as_deref());
        refusal.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// The rules that a filter selects.
pub(in crate::cli) async fn describe(cluster: &mut Cluster, filter: &AclFilter) -> anyhow::Result<Vec<AclBinding>> {
    let request = DescribeAclsRequest {
        resource_type_filter: filter.resource_type.code(),
        resource_name_filter: filter.name.as_deref().map(Into::into),
        pattern_type_filter: filter.pattern_type.code(),
        principal_filter: filter.principal.as_deref().map(Into::into),
        host_filter: filter.host.as_deref().map(Into::into),
        operation: filter.operation.code(),
        permission_type: filter.permission.code(),
    };
    let answer = cluster.call(&request).await?;
    if let Some(refusal) = ClientError::refusal("rules", answer.error_code, answer.error_message.as_deref()) {
        return Err(refusal.into());
    }
    let mut bindings = Vec::new();
    for resource in &answer.resources {
        let pattern = ResourcePattern {
            resource_type: ResourceType::from_code(resource.resource_type),
            name: (&*resource.resource_name).into(),
            pattern_type: PatternType::from_code(resource.pattern_type),
        };
        bindings.extend(resource.acls.iter().map(|acl| AclBinding {
            pattern: pattern.clone(),
            principal: (&*acl.principal).into(),
            host: (&*acl.host).into(),
            operation: AclOperation::from_code(acl.operation),
            permission: AclPermission::from_code(acl.permission_type),
        }));
    }
    // Person by person, resource by resource, what is denied first.
    bindings.sort_by(|a, b| {
        let key =
            |rule: &AclBinding| (rule.principal.clone(), rule.pattern.clone(), rule.permission, rule.host.clone());
        key(a).cmp(&key(b)).then(a.operation.cmp(&b.operation))
    });
    Ok(bindings)
}

/// Takes exactly these rules away.
pub(in crate::cli) async fn delete(cluster: &mut Cluster, bindings: &[AclBinding]) -> Result<(), ClientError> {
    let filters = bindings.iter().map(|binding| DeleteAclsFilter {
        resource_type_filter: binding.pattern.resource_type.code(),
        resource_name_filter: Some((&*binding.pattern.name).into()),
        pattern_type_filter: binding.pattern.pattern_type.code(),
        principal_filter: Some((&*binding.principal).into()),
        host_filter: Some((&*binding.host).into()),
        operation: binding.operation.code(),
        permission_type: binding.permission.code(),
    });
    let answer = cluster.call(&DeleteAclsRequest { filters: filters.collect() }).await?;
    for (result, binding) in answer.filter_results.iter().zip(bindings) {
        let of_rule = result.matching_acls.iter().map(|acl| (acl.error_code, acl.error_message.as_deref()));
        for (code, text) in of_rule.chain([(result.error_code, result.error_message.as_deref())]) {
            ClientError::refusal(rule_text(binding), code, text).map_or(Ok(()), Err)?;
        }
    }
    Ok(())
}

/// A table of rules.
pub(in crate::cli) fn table(bindings: &[AclBinding]) -> Table {
    let mut table = Table::new(&["PRINCIPAL", "RULE", "OPERATION", "RESOURCE", "PATTERN", "HOST"]);
    for binding in bindings {
        let resource = format!("{}:{}", binding.pattern.resource_type.log_name(), binding.pattern.name);
        let lower = |name: &str| serde_json::json!(name.to_ascii_lowercase());
        table.row(vec![
            serde_json::json!(&*binding.principal),
            lower(binding.permission.name()),
            serde_json::json!(binding.operation.name()),
            serde_json::json!(resource),
            lower(binding.pattern.pattern_type.name()),
            serde_json::json!(&*binding.host),
        ]);
    }
    table
}

/// The principal that a command must name.
pub(in crate::cli) fn required(principal: Option<KafkaPrincipal>) -> anyhow::Result<KafkaPrincipal> {
    principal.context("say who: --user NAME or --principal TYPE:NAME")
}
