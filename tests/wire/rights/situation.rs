//! A right and the situations it is asked for in: which ACLs stand when the request comes.

use std::fmt;

use serde_json::{Value, json};

/// Who asks.
pub const USER: &str = "alice";

const OPERATIONS: [(&str, i8); 14] = [
    ("All", 2),
    ("Read", 3),
    ("Write", 4),
    ("Create", 5),
    ("Delete", 6),
    ("Alter", 7),
    ("Describe", 8),
    ("ClusterAction", 9),
    ("DescribeConfigs", 10),
    ("AlterConfigs", 11),
    ("IdempotentWrite", 12),
    ("CreateTokens", 13),
    ("DescribeTokens", 14),
    ("TwoPhaseCommit", 15),
];
const TYPES: [(&str, i8); 4] = [("Topic", 2), ("Group", 3), ("Cluster", 4), ("TransactionalId", 5)];
/// A cluster has one name, and Kafka takes no ACL with another.
const CLUSTER_NAME: &str = "kafka-cluster";

/// What a request needs: `Describe Topic orders`, `Alter Cluster`.
#[derive(Clone, Debug)]
pub struct Right {
    operation: &'static str,
    resource: i8,
    name: String,
}

impl Right {
    pub fn parse(text: &str) -> Self {
        let mut words = text.splitn(3, ' ');
        let [operation, resource] = [(); 2].map(|()| words.next().unwrap_or_else(|| panic!("{text:?} is no right")));
        let (operation, _) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
        let (_, resource) = TYPES.iter().find(|(name, _)| *name == resource).expect("a type of resource");
        Self { operation, resource: *resource, name: words.next().unwrap_or(CLUSTER_NAME).to_owned() }
    }

    fn is_cluster(&self) -> bool {
        self.name == CLUSTER_NAME
    }

    /// The literal ALLOW of just this.
    pub fn rule(&self) -> Rule {
        Rule {
            resource: self.resource,
            name: self.name.clone(),
            prefixed: false,
            principal: format!("User:{USER}"),
            host: "*".to_owned(),
            operation: self.operation,
            allows: true,
        }
    }

    /// Operations whose ALLOW is one of this too, `All` left aside.
    fn implied_by(&self) -> &'static [&'static str] {
        match self.operation {
            "Describe" => &["Read", "Write", "Delete", "Alter"],
            "DescribeConfigs" => &["AlterConfigs"],
            _ => &[],
        }
    }
}

/// One ACL.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    resource: i8,
    name: String,
    prefixed: bool,
    principal: String,
    host: String,
    operation: &'static str,
    allows: bool,
}

impl Rule {
    /// The literal ALLOW of a right to somebody.
    pub fn of(user: &str, right: &Right) -> Self {
        Self { principal: format!("User:{user}"), ..right.rule() }
    }

    /// The user's rules for somebody else.
    pub fn granted_to(self, principal: &str) -> Self {
        if self.principal == format!("User:{USER}") { Self { principal: principal.to_owned(), ..self } } else { self }
    }

    /// As CreateAcls takes it.
    pub fn creation(&self) -> Value {
        let (_, operation) = OPERATIONS.iter().find(|(name, _)| *name == self.operation).unwrap();
        json!({
            "ResourceType": self.resource,
            "ResourceName": self.name,
            "ResourcePatternType": if self.prefixed { 4 } else { 3 },
            "Principal": self.principal,
            "Host": self.host,
            "Operation": operation,
            "PermissionType": if self.allows { 3 } else { 2 },
        })
    }
}

/// How it stands with one right while the request's other rights are granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Situation {
    /// Not even the other rights.
    NoRightsAtAll,
    None,
    Allowed,
    AllowedFromHere,
    AllowedByPrefix,
    AllowedByWildcard,
    AllowedToEverybody,
    /// By an ALLOW of an operation that includes it.
    Implied(&'static str),
    Denied,
    DeniedFromHere,
    DeniedByPrefix,
    DeniedByWildcard,
    DeniedToEverybody,
    DeniedByAll,
    /// An operation that would imply it is denied: that denies nothing.
    DeniedImplied(&'static str),
    /// Allowed, with denials beside it that do not fit.
    DeniedElsewhere,
    AllowedElsewhere,
    AllowedFromAnotherHost,
    /// Every operation but those that include it.
    OtherOperations,
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRightsAtAll => f.write_str("no rights at all"),
            Self::None => f.write_str("none"),
            Self::Allowed => f.write_str("allowed"),
            Self::AllowedFromHere => f.write_str("allowed from here"),
            Self::AllowedByPrefix => f.write_str("allowed by prefix"),
            Self::AllowedByWildcard => f.write_str("allowed by wildcard"),
            Self::AllowedToEverybody => f.write_str("allowed to everybody"),
            Self::Implied(by) => write!(f, "implied by {by}"),
            Self::Denied => f.write_str("denied"),
            Self::DeniedFromHere => f.write_str("denied from here"),
            Self::DeniedByPrefix => f.write_str("denied by prefix"),
            Self::DeniedByWildcard => f.write_str("denied by wildcard"),
            Self::DeniedToEverybody => f.write_str("denied to everybody"),
            Self::DeniedByAll => f.write_str("denied by All"),
            Self::DeniedImplied(by) => write!(f, "{by} denied"),
            Self::DeniedElsewhere => f.write_str("denied elsewhere"),
            Self::AllowedElsewhere => f.write_str("allowed elsewhere"),
            Self::AllowedFromAnotherHost => f.write_str("allowed from another host"),
            Self::OtherOperations => f.write_str("other operations"),
        }
    }
}

impl Situation {
    /// Those that this right can be in. [`Self::NoRightsAtAll`] is one of the request, not of a right.
    pub fn all(right: &Right) -> Vec<Self> {
        let mut all = vec![
            Self::None,
            Self::Allowed,
            Self::AllowedFromHere,
            Self::AllowedByPrefix,
            Self::AllowedToEverybody,
            Self::Implied("All"),
            Self::Denied,
            Self::DeniedFromHere,
            Self::DeniedByPrefix,
            Self::DeniedToEverybody,
            Self::DeniedByAll,
            Self::DeniedElsewhere,
            Self::AllowedElsewhere,
            Self::AllowedFromAnotherHost,
            Self::OtherOperations,
        ];
        if !right.is_cluster() {
            all.extend([Self::AllowedByWildcard, Self::DeniedByWildcard]);
        }
        for by in right.implied_by() {
            all.extend([Self::Implied(by), Self::DeniedImplied(by)]);
        }
        all
    }

    /// The ACLs of this situation of `right`.
    pub fn rules(self, right: &Right) -> Vec<Rule> {
        let allow = right.rule();
        let deny = Rule { allows: false, ..allow.clone() };
        let here = "127.0.0.1".to_owned();
        let everybody = "User:*".to_owned();
        let everywhere = if right.is_cluster() { CLUSTER_NAME } else { "*" };
        // The longest that still is one: a cluster's name takes no other.
        let prefix = if right.is_cluster() { CLUSTER_NAME } else { &right.name[..right.name.len() - 1] };
        let beside = |deny: Rule| vec![deny, Rule { operation: "All", name: everywhere.to_owned(), ..allow.clone() }];
        match self {
            Self::NoRightsAtAll | Self::None => vec![],
            Self::Allowed => vec![allow],
            Self::AllowedFromHere => vec![Rule { host: here, ..allow }],
            Self::AllowedByPrefix => vec![Rule { name: prefix.to_owned(), prefixed: true, ..allow }],
            Self::AllowedByWildcard => vec![Rule { name: everywhere.to_owned(), ..allow }],
            Self::AllowedToEverybody => vec![Rule { principal: everybody, ..allow }],
            Self::Implied(operation) => vec![Rule { operation, ..allow }],
            Self::Denied => beside(deny),
            Self::DeniedFromHere => beside(Rule { host: here, ..deny }),
            Self::DeniedByPrefix => beside(Rule { name: prefix.to_owned(), prefixed: true, ..deny }),
            Self::DeniedByWildcard => beside(Rule { name: everywhere.to_owned(), ..deny }),
            Self::DeniedToEverybody => beside(Rule { principal: everybody, ..deny }),
            Self::DeniedByAll => beside(Rule { operation: "All", ..deny }),
            Self::DeniedImplied(operation) => vec![allow, Rule { operation, ..deny }],
            Self::DeniedElsewhere => elsewhere(right, &deny).into_iter().chain([allow]).collect(),
            Self::AllowedElsewhere => elsewhere(right, &allow),
            Self::AllowedFromAnotherHost => vec![Rule { host: "10.1.2.3".to_owned(), ..allow }],
            Self::OtherOperations => {
                let includes =
                    |name: &&str| *name == "All" || *name == right.operation || right.implied_by().contains(name);
                let others = OPERATIONS.iter().map(|(name, _)| *name).filter(|name| !includes(name));
                others.map(|operation| Rule { operation, ..allow.clone() }).collect()
            }
        }
    }
}

/// Rules that look like `rule` and reach somebody or something else.
fn elsewhere(right: &Right, rule: &Rule) -> Vec<Rule> {
    let principals = ["User:Alice", "User:alic", "User:alice2", "User:alice ", "Group:alice", "User:bob"];
    let hosts = ["127.0.0.2", "127.0.0", "0:0:0:0:0:0:0:1"];
    let mut rules: Vec<Rule> =
        principals.iter().map(|principal| Rule { principal: (*principal).to_owned(), ..rule.clone() }).collect();
    rules.extend(hosts.iter().map(|host| Rule { host: (*host).to_owned(), ..rule.clone() }));
    if !right.is_cluster() {
        let longer = format!("{}-2", right.name);
        rules.push(Rule { prefixed: true, name: longer.clone(), ..rule.clone() });
        rules.push(Rule { name: longer, ..rule.clone() });
        rules.push(Rule { name: right.name.to_uppercase(), ..rule.clone() });
        rules.push(Rule { name: right.name[..1].to_owned(), ..rule.clone() });
        let others = TYPES.iter().filter(|(name, code)| *name != "Cluster" && *code != right.resource);
        rules.extend(others.map(|(_, resource)| Rule { resource: *resource, ..rule.clone() }));
    }
    rules
}
