//! Decisions against a model that knows no index, and Kafka's cases one by one.

mod apache;
mod policies;

use proptest::prelude::*;

use super::filter::AclFilter;
use super::native::{AclChange, NativeAuthorizer, Settings};
use super::permit::{self, Permit, Reason, Resource, op};
use super::*;
use crate::model::acl::AclPermission;
use crate::model::resource::PatternType;
use crate::model::topic::TopicName;

fn acl(
    principal: &str,
    permission: AclPermission,
    operation: AclOperation,
    pattern: (PatternType, &str),
) -> AclBinding {
    AclBinding {
        pattern: ResourcePattern {
            resource_type: ResourceType::Topic,
            name: pattern.1.into(),
            pattern_type: pattern.0,
        },
        principal: principal.into(),
        host: "*".into(),
        operation,
        permission,
    }
}

fn allow(principal: &str, operation: AclOperation, pattern: (PatternType, &str)) -> AclBinding {
    acl(principal, AclPermission::Allow, operation, pattern)
}

fn deny(principal: &str, operation: AclOperation, pattern: (PatternType, &str)) -> AclBinding {
    acl(principal, AclPermission::Deny, operation, pattern)
}

const LITERAL: PatternType = PatternType::Literal;
const PREFIXED: PatternType = PatternType::Prefixed;

fn loaded(settings: Settings, acls: impl IntoIterator<Item = AclBinding>) -> NativeAuthorizer {
    let authorizer = NativeAuthorizer::new(settings);
    authorizer.load(acls.into_iter().enumerate().map(|(i, a)| (Uuid::from_u128(i as u128 + 1), a)), 7);
    authorizer.complete_initial_load();
    authorizer
}

fn judge(authorizer: &NativeAuthorizer, principal: &str, operation: AclOperation, topic: &str) -> Decision {
    judge_from(authorizer, principal, "127.0.0.1", operation, topic)
}

fn judge_from(a: &NativeAuthorizer, principal: &str, host: &str, operation: AclOperation, topic: &str) -> Decision {
    let principal = principal.parse().unwrap();
    let listener = ListenerName::new("CLIENT");
    let who = Requester { principal: &principal, host, listener: &listener, request: "Metadata" };
    let decisions = a.authorize(&who, &[Action::new(operation, ResourceType::Topic, topic)]).into_ready().unwrap();
    decisions[0]
}

fn by_type(a: &NativeAuthorizer, principal: &str, operation: AclOperation) -> bool {
    let principal = principal.parse().unwrap();
    let listener = ListenerName::new("CLIENT");
    let who = Requester { principal: &principal, host: "127.0.0.1", listener: &listener, request: "InitProducerId" };
    a.authorize_by_resource_type(&who, operation, ResourceType::Topic).into_ready().unwrap().is_allowed()
}

#[test]
fn deny_of_read_leaves_the_describe_that_an_allowed_read_implies() {
    let rules =
        [allow("User:*", AclOperation::Read, (LITERAL, "t")), deny("User:*", AclOperation::Read, (LITERAL, "t"))];
    let a = loaded(Settings::default(), rules);
    assert!(!judge(&a, "User:alice", AclOperation::Read, "t").is_allowed());
    assert!(judge(&a, "User:alice", AclOperation::Describe, "t").is_allowed());
}

#[test]
fn implications_are_kafkas() {
    for (granted, implied, expected) in [
        (AclOperation::Write, AclOperation::Describe, true),
        (AclOperation::Delete, AclOperation::Describe, true),
        (AclOperation::Alter, AclOperation::Describe, true),
        (AclOperation::Create, AclOperation::Describe, false),
        (AclOperation::AlterConfigs, AclOperation::DescribeConfigs, true),
        (AclOperation::AlterConfigs, AclOperation::Describe, false),
        (AclOperation::All, AclOperation::ClusterAction, true),
        (AclOperation::Describe, AclOperation::Read, false),
    ] {
        let a = loaded(Settings::default(), [allow("User:alice", granted, (LITERAL, "t"))]);
        assert_eq!(judge(&a, "User:alice", implied, "t").is_allowed(), expected, "{granted:?} {implied:?}");
    }
    let a = loaded(
        Settings::default(),
        [
            allow("User:alice", AclOperation::Describe, (LITERAL, "t")),
            deny("User:alice", AclOperation::All, (LITERAL, "t")),
        ],
    );
    assert!(!judge(&a, "User:alice", AclOperation::Describe, "t").is_allowed());
}

#[test]
fn prefixes_are_bytes_and_a_denied_prefix_beats_an_allowed_literal() {
    let a = loaded(Settings::default(), [allow("User:alice", AclOperation::Read, (PREFIXED, "a"))]);
    assert!(judge(&a, "User:alice", AclOperation::Read, "ab").is_allowed());
    assert!(judge(&a, "User:alice", AclOperation::Read, "a").is_allowed());
    assert!(!judge(&a, "User:alice", AclOperation::Read, "b").is_allowed());
    assert!(!judge(&a, "User:alice", AclOperation::Read, "A").is_allowed());
    let rules = [
        allow("User:alice", AclOperation::Read, (LITERAL, "abc")),
        deny("User:alice", AclOperation::Read, (PREFIXED, "ab")),
    ];
    let a = loaded(Settings::default(), rules);
    assert!(!judge(&a, "User:alice", AclOperation::Read, "abc").is_allowed());
    let star = loaded(Settings::default(), [allow("User:alice", AclOperation::Read, (PREFIXED, "*"))]);
    assert!(!judge(&star, "User:alice", AclOperation::Read, "abc").is_allowed());
    assert!(judge(&star, "User:alice", AclOperation::Read, "*abc").is_allowed());
    let wild = loaded(Settings::default(), [allow("User:alice", AclOperation::Read, (LITERAL, "*"))]);
    assert!(judge(&wild, "User:alice", AclOperation::Read, "abc").is_allowed());
    // A multi-byte name and a prefix that ends inside one of its characters' neighbours.
    let e = loaded(Settings::default(), [allow("User:alice", AclOperation::Read, (PREFIXED, "é"))]);
    assert!(judge(&e, "User:alice", AclOperation::Read, "éa").is_allowed());
    assert!(!judge(&e, "User:alice", AclOperation::Read, "èa").is_allowed());
}

#[test]
fn a_super_user_beats_deny_but_only_on_the_listeners_that_honour_it() {
    let rules = [deny("User:*", AclOperation::All, (LITERAL, "*"))];
    let settings = Settings { super_users: [KafkaPrincipal::user("root")].into(), ..Settings::default() };
    let a = loaded(settings.clone(), rules.clone());
    assert_eq!(judge(&a, "User:root", AclOperation::Write, "t").rule(), Rule::SuperUser);
    assert!(!judge(&a, "user:root", AclOperation::Write, "t").is_allowed(), "the type is case-sensitive");
    let elsewhere = Settings { super_user_listeners: Some([ListenerName::new("INTERNAL")].into()), ..settings };
    assert!(!judge(&loaded(elsewhere, rules), "User:root", AclOperation::Write, "t").is_allowed());
}

#[test]
fn hosts_and_principals_are_compared_as_text() {
    let host = |h: &str| AclBinding { host: h.into(), ..allow("User:alice", AclOperation::Read, (LITERAL, "t")) };
    let a = loaded(Settings::default(), [host("::1"), host("10.0.0.1")]);
    assert!(!judge_from(&a, "User:alice", "0:0:0:0:0:0:0:1", AclOperation::Read, "t").is_allowed());
    assert!(judge_from(&a, "User:alice", "10.0.0.1", AclOperation::Read, "t").is_allowed());
    let odd = [
        allow("user:alice", AclOperation::Read, (LITERAL, "t")),
        allow("Group:alice", AclOperation::Read, (LITERAL, "t")),
        allow("alice", AclOperation::Read, (LITERAL, "t")),
    ];
    assert!(!judge(&loaded(Settings::default(), odd), "User:alice", AclOperation::Read, "t").is_allowed());
}

#[test]
fn everyone_is_allowed_only_where_no_binding_is_about_the_resource() {
    let settings = Settings { allow_everyone_if_no_acl_found: true, ..Settings::default() };
    let a = loaded(settings.clone(), [allow("User:bob", AclOperation::Read, (LITERAL, "t"))]);
    assert_eq!(judge(&a, "User:alice", AclOperation::Read, "u").rule(), Rule::DefaultAllow);
    assert_eq!(judge(&a, "User:alice", AclOperation::Read, "t").rule(), Rule::DefaultDeny);
    let a = loaded(settings, [allow("User:bob", AclOperation::Read, (LITERAL, "*"))]);
    assert_eq!(judge(&a, "User:alice", AclOperation::Read, "u").rule(), Rule::DefaultDeny);
}

#[test]
fn nobody_but_super_users_before_the_rules_are_loaded() {
    let settings = Settings {
        super_users: [KafkaPrincipal::user("root")].into(),
        allow_everyone_if_no_acl_found: true,
        ..Settings::default()
    };
    let a = NativeAuthorizer::new(settings);
    assert_eq!(judge(&a, "User:alice", AclOperation::Read, "t").rule(), Rule::NotReady);
    assert!(judge(&a, "User:root", AclOperation::Read, "t").is_allowed());
    assert!(!by_type(&a, "User:alice", AclOperation::Write));
    a.complete_initial_load();
    assert!(judge(&a, "User:alice", AclOperation::Read, "t").is_allowed());
}

#[test]
fn strict_keeps_wildcards_from_anonymous_and_from_internal_topics() {
    let rules = [
        allow("User:*", AclOperation::Read, (LITERAL, "*")),
        allow("User:*", AclOperation::Write, (PREFIXED, "__")),
        deny("User:*", AclOperation::Delete, (LITERAL, "*")),
        allow("User:ANONYMOUS", AclOperation::Delete, (LITERAL, "open")),
        allow("User:op", AclOperation::Describe, (LITERAL, TopicName::CONSUMER_OFFSETS)),
    ];
    let compat = loaded(Settings::default(), rules.clone());
    let strict = loaded(Settings { strict: true, ..Settings::default() }, rules);
    assert!(judge(&compat, "User:ANONYMOUS", AclOperation::Read, "t").is_allowed());
    assert!(!judge(&strict, "User:ANONYMOUS", AclOperation::Read, "t").is_allowed());
    assert!(judge(&strict, "User:alice", AclOperation::Read, "t").is_allowed());
    for operation in [AclOperation::Read, AclOperation::Write] {
        assert!(judge(&compat, "User:alice", operation, TopicName::CONSUMER_OFFSETS).is_allowed());
        assert!(!judge(&strict, "User:alice", operation, TopicName::CONSUMER_OFFSETS).is_allowed());
    }
    assert!(judge(&strict, "User:op", AclOperation::Describe, TopicName::CONSUMER_OFFSETS).is_allowed());
    // A DENY keeps its full reach.
    assert!(!judge(&strict, "User:ANONYMOUS", AclOperation::Delete, "open").is_allowed());
    assert!(by_type(&compat, "User:ANONYMOUS", AclOperation::Read));
    assert!(!by_type(&strict, "User:ANONYMOUS", AclOperation::Read));
}

#[test]
fn a_resource_type_is_allowed_unless_every_allow_is_dominated() {
    let write = AclOperation::Write;
    let cases: [(&[AclBinding], bool); 8] = [
        (&[], false),
        (&[allow("User:a", write, (LITERAL, "t"))], true),
        (&[allow("User:a", write, (LITERAL, "t")), deny("User:*", write, (LITERAL, "*"))], false),
        (&[allow("User:a", write, (LITERAL, "t")), deny("User:a", write, (LITERAL, "t"))], false),
        (&[allow("User:a", write, (LITERAL, "tt")), deny("User:a", write, (PREFIXED, "t"))], false),
        (&[allow("User:a", write, (PREFIXED, "t")), deny("User:a", AclOperation::All, (PREFIXED, "t"))], false),
        (&[allow("User:*", AclOperation::All, (PREFIXED, "t")), deny("User:a", write, (PREFIXED, "tt"))], true),
        // Implication does not count here: only Write itself or All.
        (&[allow("User:a", AclOperation::Read, (LITERAL, "*"))], false),
    ];
    for (rules, expected) in cases {
        let a = loaded(Settings::default(), rules.to_vec());
        assert_eq!(by_type(&a, "User:a", write), expected, "{rules:?}");
    }
}

#[test]
fn the_audit_line_is_kafkas() {
    let a = loaded(Settings::default(), [allow("User:bob", AclOperation::Read, (PREFIXED, "ord"))]);
    let line = |principal: KafkaPrincipal, operation, name: &str| {
        let listener = ListenerName::new("CLIENT");
        let who = Requester { principal: &principal, host: "127.0.0.1", listener: &listener, request: "Metadata" };
        let action = Action::new(operation, ResourceType::Topic, name);
        let decision = a.authorize(&who, &[action]).into_ready().unwrap()[0];
        audit::AuditLine { who: &who, action: &action, decision, authorizer: &a }.to_string()
    };
    assert_eq!(
        line(KafkaPrincipal::user("alice"), AclOperation::Describe, "orders"),
        "Principal = User:alice is Denied operation = DESCRIBE from host = 127.0.0.1 on resource = Topic:LITERAL:orders for \
         request = Metadata with resourceRefCount = 1 based on rule DefaultDeny"
    );
    assert_eq!(
        line(KafkaPrincipal::user("bob"), AclOperation::Describe, "orders"),
        "Principal = User:bob is Allowed operation = DESCRIBE from host = 127.0.0.1 on resource = Topic:LITERAL:orders for \
         request = Metadata with resourceRefCount = 1 based on rule MatchingAcl(acl=StandardAcl[resourceType=TOPIC, \
         resourceName=ord, patternType=PREFIXED, principal=User:bob, host=*, operation=READ, permissionType=ALLOW])"
    );
    let forged =
        line(KafkaPrincipal::user("eve\nINFO Principal = User:bob"), AclOperation::Read, "\u{1b}[31mx\u{202e}");
    assert!(!forged.chars().any(|c| c.is_control() || c == '\u{202e}'), "{forged}");
}

#[test]
fn changes_take_effect_in_batches_and_move_the_generation() {
    let a = loaded(Settings::default(), []);
    let id = Uuid::from_u128(99);
    let rule = allow("User:alice", AclOperation::Read, (PREFIXED, "t"));
    let before = judge(&a, "User:alice", AclOperation::Read, "t");
    assert!(!before.is_allowed());
    assert_eq!(before.metadata_offset(), 7);
    a.apply([AclChange::Add(id, rule.clone())], 8);
    let after = judge(&a, "User:alice", AclOperation::Read, "t");
    assert_eq!((after.rule(), after.metadata_offset()), (Rule::Acl(id), 8));
    assert!(after.generation() > before.generation());
    assert!(a.contains(&rule));
    a.apply([], 9);
    assert_eq!(a.generation(), after.generation(), "an offset without changes moves nothing");
    a.apply([AclChange::Remove(id), AclChange::Remove(Uuid::from_u128(12345))], 10);
    assert!(!judge(&a, "User:alice", AclOperation::Read, "t").is_allowed());
    assert!(!a.contains(&rule));
    assert_eq!(a.acl_count(), 0);
    assert_eq!(a.acls(&AclFilter::ANY), Some(vec![]));
}

#[test]
fn a_permit_names_its_resource_and_goes_stale_with_the_rules() {
    let a = loaded(Settings::default(), [allow("User:alice", AclOperation::Read, (LITERAL, "t"))]);
    let (principal, listener) = (KafkaPrincipal::user("alice"), ListenerName::new("CLIENT"));
    let who = Requester { principal: &principal, host: "127.0.0.1", listener: &listener, request: "Fetch" };
    let topic = |name: &str, id| Resource::Topic { id: Uuid::from_u128(id), name: TopicName::new(name) };
    let wanted = vec![topic("t", 1).into(), topic("u", 2).into()];
    let mut admissions = permit::admit::<op::Read>(&a, &who, 42, wanted).into_ready().unwrap();
    assert!(!admissions.pop().unwrap().is_granted());
    let permit = admissions.pop().unwrap().granted().unwrap();
    assert_eq!((permit.topic_id(), permit.connection()), (Some(Uuid::from_u128(1)), Some(42)));
    assert!(permit.is_current(a.generation()));
    a.apply([AclChange::Remove(Uuid::from_u128(1))], 8);
    assert!(!permit.is_current(a.generation()));
    let internal = Permit::<op::Write>::internal(Reason::Test, topic("t", 1));
    assert!(internal.is_current(a.generation()) && internal.principal().is_none());
}

/// 50,000 bindings for others on one topic: a decision about one principal sees that principal's slice only.
#[test]
fn other_peoples_bindings_are_not_looked_at() {
    let others = (0..50_000).map(|i| allow(&format!("User:u{i}"), AclOperation::Read, (LITERAL, "t")));
    let mine = allow("User:alice", AclOperation::Write, (LITERAL, "t"));
    let a = loaded(Settings::default(), others.chain([mine]));
    assert!(judge(&a, "User:alice", AclOperation::Describe, "t").is_allowed());
    assert!(!judge(&a, "User:alice", AclOperation::Read, "t").is_allowed());
    assert!(by_type(&a, "User:alice", AclOperation::Write));
    assert_eq!(a.entries_seen(ResourceType::Topic, "t", &KafkaPrincipal::user("alice")), 1);
    a.apply([AclChange::Remove(Uuid::from_u128(50_001))], 8);
    assert!(!judge(&a, "User:alice", AclOperation::Describe, "t").is_allowed());
}

/// What StandardAuthorizer would do with a plain list.
fn model(acls: &[AclBinding], principal: &str, host: &str, operation: AclOperation, topic: &str) -> bool {
    let about = |a: &&AclBinding| match a.pattern.pattern_type {
        PatternType::Literal => {
            let reaches = !topic.starts_with('*') || a.permission == AclPermission::Deny;
            &*a.pattern.name == topic || &*a.pattern.name == "*" && reaches
        }
        _ => topic.starts_with(&*a.pattern.name),
    };
    let who = |a: &&AclBinding| &*a.principal == principal || &*a.principal == "User:*";
    let from = |a: &&AclBinding| &*a.host == host || &*a.host == "*";
    let implied = |a: &AclBinding| {
        operation == AclOperation::Describe
            && [AclOperation::Read, AclOperation::Write, AclOperation::Delete, AclOperation::Alter]
                .contains(&a.operation)
            || operation == AclOperation::DescribeConfigs && a.operation == AclOperation::AlterConfigs
    };
    let mine: Vec<_> = acls.iter().filter(about).filter(who).filter(from).collect();
    let same = |a: &AclBinding| a.operation == operation || a.operation == AclOperation::All;
    !mine.iter().any(|a| a.permission == AclPermission::Deny && same(a))
        && mine.iter().any(|a| a.permission == AclPermission::Allow && (same(a) || implied(a)))
}

fn any_acl() -> impl Strategy<Value = AclBinding> {
    let name = prop::sample::select(vec!["*", "a", "ab", "abc", "b", "*a", "aé", "aéb"]);
    let principal = prop::sample::select(vec!["User:*", "User:alice", "User:bob", "Group:alice"]);
    let host = prop::sample::select(vec!["*", "10.0.0.1", "10.0.0.2"]);
    let operation = prop::sample::select(OPERATIONS.to_vec());
    (name, principal, host, operation, any::<bool>(), any::<bool>()).prop_map(
        |(name, principal, host, op, prefixed, deny)| {
            let kind = if prefixed { PREFIXED } else { LITERAL };
            let permission = if deny { AclPermission::Deny } else { AclPermission::Allow };
            AclBinding { host: host.into(), ..acl(principal, permission, op, (kind, name)) }
        },
    )
}

const OPERATIONS: [AclOperation; 7] = [
    AclOperation::All,
    AclOperation::Read,
    AclOperation::Write,
    AclOperation::Alter,
    AclOperation::Describe,
    AclOperation::AlterConfigs,
    AclOperation::DescribeConfigs,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any interleaving of additions and removals, in any batches, decides as a list rebuilt from scratch would
    /// (CVE-2024-27309: one removed rule made a resource forget the others).
    #[test]
    fn decides_as_the_model_after_any_history(
        steps in prop::collection::vec(prop::collection::vec((any_acl(), 0_u128..12, any::<bool>()), 1..5), 1..10),
    ) {
        let authorizer = loaded(Settings::default(), []);
        let mut list: std::collections::HashMap<u128, AclBinding> = std::collections::HashMap::new();
        for batch in steps {
            let changes: Vec<AclChange> = batch.into_iter().map(|(binding, id, add)| {
                if add {
                    list.insert(id, binding.clone());
                    AclChange::Add(Uuid::from_u128(id), binding)
                } else {
                    list.remove(&id);
                    AclChange::Remove(Uuid::from_u128(id))
                }
            }).collect();
            authorizer.apply(changes, 1);
            let all: Vec<AclBinding> = list.values().cloned().collect();
            prop_assert_eq!(authorizer.acl_count(), all.len());
            for principal in ["User:alice", "User:bob", "User:carol"] {
                for host in ["10.0.0.1", "10.0.0.9"] {
                    for operation in OPERATIONS.into_iter().skip(1) {
                        for topic in ["a", "ab", "abcd", "b", "aéx", "*a"] {
                            let decision = judge_from(&authorizer, principal, host, operation, topic);
                            prop_assert_eq!(
                                decision.is_allowed(),
                                model(&all, principal, host, operation, topic),
                                "{} {} {:?} {}", principal, host, operation, topic
                            );
                            if let Rule::Acl(id) = decision.rule() {
                                let rule = &list[&u128::from_be_bytes(*id.as_bytes())];
                                prop_assert_eq!(rule.permission == AclPermission::Allow, decision.is_allowed());
                            }
                        }
                    }
                }
            }
            for binding in &all {
                prop_assert!(authorizer.contains(binding));
            }
        }
    }
}

/// Goal G7: one history of 100,000 additions and removals, compared every hundred with a list made from scratch.
#[test]
fn a_hundred_thousand_changes_decide_as_a_list_made_from_scratch() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let step = (any_acl(), 0_u128..300, any::<bool>());
    let question = (
        prop::sample::select(vec!["User:alice", "User:bob", "User:carol"]),
        prop::sample::select(vec!["10.0.0.1", "10.0.0.9"]),
        prop::sample::select(OPERATIONS[1..].to_vec()),
        prop::sample::select(vec!["a", "ab", "abcd", "b", "aéx", "*a"]),
    );
    let authorizer = loaded(Settings::default(), []);
    let mut list: std::collections::BTreeMap<u128, AclBinding> = std::collections::BTreeMap::new();
    let (mut allowed, mut most) = (0, 0);
    for number in 0..100_000 {
        let (binding, id, add) = step.new_tree(&mut runner).unwrap().current();
        let change = if add {
            list.insert(id, binding.clone());
            AclChange::Add(Uuid::from_u128(id), binding)
        } else {
            list.remove(&id);
            AclChange::Remove(Uuid::from_u128(id))
        };
        authorizer.apply([change], number);
        assert_eq!(authorizer.acl_count(), list.len(), "step {number}");
        most = most.max(list.len());
        if number % 100 == 0 {
            let all: Vec<AclBinding> = list.values().cloned().collect();
            let anew = loaded(Settings::default(), all.iter().cloned());
            for _ in 0..20 {
                let (principal, host, operation, topic) = question.new_tree(&mut runner).unwrap().current();
                let decision = judge_from(&authorizer, principal, host, operation, topic).is_allowed();
                let about = format!("step {number}: {principal} {host} {operation:?} {topic}");
                assert_eq!(decision, judge_from(&anew, principal, host, operation, topic).is_allowed(), "{about}");
                assert_eq!(decision, model(&all, principal, host, operation, topic), "{about}");
                allowed += usize::from(decision);
            }
        }
    }
    assert!(allowed > 100 && most > 100, "the history says little: {allowed} of 20,000, {most} rules");
}
