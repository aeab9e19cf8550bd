//! One side on which cells are played: its ACLs are those of the cell, and nobody else's.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::situation::{Right, Rule, Situation, USER};
use super::table::{Case, Cell};
use crate::script::{Names, Peer, Play, Script, Step};
use crate::support;

pub struct Stage<'a> {
    play: Play<'a>,
    is_kafka: bool,
    /// Names that the world has given, before each cell.
    names: Names,
    /// Who asks, and who that is in ACLs.
    user: String,
    principal: String,
    /// Of the cell that is played, counted by the ACLs that were set.
    number: usize,
}

/// In a request or a right: part of a name that is another one in each cell and version.
pub const NEW: &str = "{new}";

/// A filter of ACLs that leaves none out.
fn every_acl() -> Value {
    json!({
        "ResourceTypeFilter": 1,
        "ResourceNameFilter": null,
        "PatternTypeFilter": 1,
        "PrincipalFilter": null,
        "HostFilter": null,
        "Operation": 1,
        "PermissionType": 1,
    })
}

fn step(user: &str, api: &str, version: i16, request: Value) -> Step {
    Step { user: user.to_owned(), api: api.to_owned(), version, request, ..Default::default() }
}

impl<'a> Stage<'a> {
    /// Builds the world that every cell finds.
    pub fn new(peer: &'a mut Peer, world: &Script) -> Self {
        let is_kafka = peer.is_kafka();
        let mut play = Play::new(peer);
        for step in &world.steps {
            let start = Instant::now();
            loop {
                let before = play.names.clone();
                let given = play.step(step);
                if is_error_free(&given) {
                    break;
                }
                assert!(start.elapsed() < support::PATIENCE, "{}: {given}", step.api);
                play.names = before;
                thread::sleep(Duration::from_millis(50));
            }
        }
        let names = play.names.clone();
        Self { play, is_kafka, names, user: USER.to_owned(), principal: format!("User:{USER}"), number: 0 }
    }

    /// From now on another asks, who has the rights instead.
    pub fn lets(&mut self, user: &str, principal: &str) {
        self.user = user.to_owned();
        self.principal = principal.to_owned();
    }

    /// A case's request in each of its versions, and the messages that answer it in this cell.
    pub fn play(&mut self, api: &str, case: &Case, cell: Cell) -> Vec<(Step, Vec<Value>)> {
        let mut answers = Vec::new();
        for (at, mut step) in steps(case, api).into_iter().enumerate() {
            self.play.names = self.names.clone();
            for before in &case.before {
                self.play.step(before);
            }
            if at == 0 || !case.before.is_empty() || case.has_new_names() {
                self.number += 1;
                self.set_acls(&rules(&case.rights(&self.new_name()), cell, &self.principal));
            }
            step.user.clone_from(&self.user);
            step.request = replaced(&case.request, NEW, &self.new_name());
            let messages =
                self.play.exchange(&step).iter().map(|message| replaced(message, &self.new_name(), NEW)).collect();
            answers.push((step, messages));
        }
        answers
    }

    /// Anything else.
    pub fn ask(&mut self, step: &Step) -> Vec<Value> {
        self.play.exchange(step)
    }

    /// What stands for [`NEW`] in this cell: nothing that could be hexadecimal.
    fn new_name(&self) -> String {
        format!("x{:05}", self.number)
    }

    fn set_acls(&mut self, rules: &[Rule]) {
        let deleted = self.play.step(&step("admin", "DeleteAcls", 3, json!({ "Filters": [every_acl()] })));
        assert!(is_error_free(&deleted), "{deleted}");
        // One that is there for its name: where it is, the others are.
        let marker = Right::parse(&format!("Read Topic cell-{}", self.number));
        let mut distinct: Vec<Rule> = vec![Rule::of("bob", &marker)];
        for rule in rules {
            if !distinct.contains(rule) {
                distinct.push(rule.clone());
            }
        }
        let creations: Vec<Value> = distinct.iter().map(Rule::creation).collect();
        let created = self.play.step(&step("admin", "CreateAcls", 3, json!({ "Creations": creations })));
        assert!(is_error_free(&created), "{creations:?}: {created}");
        if self.is_kafka {
            for side in ["admin", "controller"] {
                self.wait_for_acls(side, distinct.len());
            }
        }
    }

    /// Apache Kafka's broker and controller each have rights of their own, somewhat after the answer.
    fn wait_for_acls(&mut self, side: &str, wanted: usize) {
        let start = Instant::now();
        let marker = format!("cell-{}", self.number);
        loop {
            let described = self.play.step(&step(side, "DescribeAcls", 3, every_acl()));
            let resources = described["Resources"].as_array().unwrap();
            let found: usize = resources.iter().map(|resource| resource["Acls"].as_array().unwrap().len()).sum();
            if found == wanted && resources.iter().any(|resource| resource["ResourceName"] == marker) {
                return;
            }
            assert!(start.elapsed() < support::PATIENCE, "{side}: {found} ACLs of {wanted}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn is_error_free(answer: &Value) -> bool {
    match answer {
        Value::Object(fields) => {
            fields.iter().all(|(name, value)| if name == "ErrorCode" { value == 0 } else { is_error_free(value) })
        }
        Value::Array(items) => items.iter().all(is_error_free),
        Value::String(text) => text != "closed",
        _ => true,
    }
}

/// The ACLs of a cell.
fn rules(needs: &[Right], cell: Cell, principal: &str) -> Vec<Rule> {
    let mut rules = cell.situation.rules(&needs[cell.need]);
    if cell.situation != Situation::NoRightsAtAll {
        let others = needs.iter().enumerate().filter(|(other, _)| *other != cell.need);
        rules.extend(others.map(|(_, right)| right.rule()));
    }
    rules.into_iter().map(|rule| rule.granted_to(principal)).collect()
}

fn replaced(value: &Value, from: &str, to: &str) -> Value {
    serde_json::from_str(&value.to_string().replace(from, to)).unwrap()
}

/// The request of a case in each of its versions.
pub fn steps(case: &Case, api: &str) -> Vec<Step> {
    let served = schloss::handlers::table().iter().find(|spec| spec.key.name() == api).expect(api).key.versions();
    let (min, max) = case.versions.unwrap_or((served.min, served.max));
    (min..=max)
        .map(|version| Step {
            unordered: case.unordered.clone(),
            differs: case.differs.clone(),
            ..step(USER, api, version, case.request.clone())
        })
        .collect()
}
