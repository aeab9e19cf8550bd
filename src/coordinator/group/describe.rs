//! What groups look like from outside: DescribeGroups and ListGroups.

use std::collections::BTreeMap;

use crate::model::error_code::ErrorCode;
use crate::protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::protocol::messages::list_groups_response::ListedGroup;

use super::classic::{Group, State};
use super::member::Member;
use super::request::GroupId;

/// From this version of DescribeGroups on, a group that does not exist is an error.
const GROUP_ID_NOT_FOUND_FROM: i16 = 6;
/// `Group.GroupType`
const CLASSIC: &str = "classic";

/// Members show what they say and have only while the group is stable.
pub(super) fn describe(id: &str, group: Option<&Group>, version: i16) -> DescribedGroup {
    let Some(group) = group else { return dead(id, version) };
    let protocol = group.protocol_name.as_deref().filter(|_| group.is(State::Stable));
    DescribedGroup {
        group_id: id.into(),
        group_state: group.state.name().into(),
        protocol_type: group.protocol_type.as_deref().unwrap_or_default().into(),
        protocol_data: protocol.unwrap_or_default().into(),
        members: group.members().map(|member| described(member, protocol)).collect(),
        ..Default::default()
    }
}

fn dead(id: &str, version: i16) -> DescribedGroup {
    let dead = DescribedGroup { group_id: id.into(), group_state: "Dead".into(), ..Default::default() };
    if version < GROUP_ID_NOT_FOUND_FROM {
        return dead;
    }
    let text = format!("Group {id} not found.");
    DescribedGroup { error_code: ErrorCode::GroupIdNotFound.code(), error_message: Some(text.into()), ..dead }
}

fn described(member: &Member, protocol: Option<&str>) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: (&*member.id).into(),
        group_instance_id: member.instance.as_deref().map(Into::into),
        client_id: member.client_id.as_str().into(),
        client_host: member.client_host.as_str().into(),
        member_metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
        member_assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
    }
}

/// The groups in these states and of these types, in any letter case.
pub(super) fn list(groups: &BTreeMap<GroupId, Group>, states: &[String], types: &[String]) -> Vec<ListedGroup> {
    let is_in =
        |filter: &[String], name: &str| filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(name));
    if !is_in(types, CLASSIC) {
        return Vec::new();
    }
    let listed = groups.iter().filter(|(_, group)| is_in(states, group.state.name())).map(|(id, group)| ListedGroup {
        group_id: (&**id).into(),
        protocol_type: group.protocol_type.as_deref().unwrap_or_default().into(),
        group_state: group.state.name().into(),
        group_type: CLASSIC.into(),
    });
    listed.collect()
}
