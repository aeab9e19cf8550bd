//! The rules of a file with `process.roles`: Kafka's for a quorum, of which this version builds the quorum of one.

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::keys::value::parse_voter;
use super::values::Values;
use super::written::{Written, WrittenKeys};

/// Checks roles, node id, controller listeners and voters. False if the roles are not built, so that nothing said about
/// the listeners would help.
pub(super) fn check(values: &Values, written: &WrittenKeys, out: &mut Diagnostics) -> bool {
    if is_alone(values, written) {
        return true;
    }
    let at = |key: &str| written.get(key).map(Written::value_place);
    let mut refuse = |code: Code, key: &str, text: String| {
        out.push(Diagnostic::error(code).arg(text).at_maybe(at(key)));
    };
    for key in ["node.id", "controller.listener.names"] {
        let synonym = if key == "node.id" { "broker.id" } else { key };
        if written.get(key).is_none() && written.get(synonym).is_none() {
            refuse(Code::P0303, key, format!("Missing required configuration \"{key}\" which has no default value."));
        }
    }
    let (node, broker) = (values.get("node.id").number(), values.get("broker.id").number());
    if values.is_set("node.id") && values.is_set("broker.id") && node != broker {
        refuse(Code::P0303, "node.id", "You must set `node.id` to the same value as `broker.id`.".to_owned());
    }
    let roles = values.list("process.roles");
    if !roles.is_empty() && roles.len() != 2 {
        refuse(Code::L0006, "process.roles", roles.join(","));
        return false;
    }
    let (voters, bootstrap) =
        (values.list("controller.quorum.voters"), values.list("controller.quorum.bootstrap.servers"));
    if voters.is_empty() && bootstrap.is_empty() {
        let text = "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap \
                    controllers or controller.quorum.voters must contain a parseable set of controllers.";
        refuse(Code::P0303, "process.roles", text.to_owned());
    }
    let ids: Vec<i32> = voters.iter().filter_map(|voter| Some(parse_voter(voter).ok()?.0)).collect();
    let own = if values.is_set("node.id") { node } else { broker.filter(|_| values.is_set("broker.id")) };
    if voters.len() > 1 {
        refuse(Code::L0005, "controller.quorum.voters", "controller.quorum.voters".to_owned());
    } else if bootstrap.len() > 1 && voters.is_empty() {
        refuse(Code::L0005, "controller.quorum.bootstrap.servers", "controller.quorum.bootstrap.servers".to_owned());
    } else if let (Some(own), [id]) = (own, ids.as_slice())
        && own != i64::from(*id)
    {
        let text = format!(
            "If process.roles contains the 'controller' role, the node id {own} must be included in the set of voters \
             controller.quorum.voters=Set({id})"
        );
        refuse(Code::P0303, "controller.quorum.voters", text);
    }
    true
}

/// A file written for Schloss (it names a profile) may leave the controllers out: both roles are this process, a quorum of
/// one that needs no socket. Kafka refuses such a file.
fn is_alone(values: &Values, written: &WrittenKeys) -> bool {
    const CONTROLLERS: [&str; 3] =
        ["controller.listener.names", "controller.quorum.voters", "controller.quorum.bootstrap.servers"];
    written.get("schloss.profile").is_some()
        && values.list("process.roles").len() == 2
        && values.is_set("node.id")
        && CONTROLLERS.iter().all(|key| written.get(key).is_none())
}
