//! What members do in any order, over a log that fails now and then.

use super::*;

/// Members that join, sync, beat, leave, fall silent and come back in any order, over a log that fails now and then: each
/// request gets one answer, a generation has one leader among its members, generations only grow, a share is one of its
/// generation, and the log tells another coordinator the same.
#[test]
fn whatever_members_do() {
    for seed in 0..300 {
        Storm::new(seed).run(160);
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    id: String,
    generation: i32,
    instance: Option<&'static str>,
    joining: Option<u64>,
    syncing: Option<(u64, i32)>,
}

struct Storm {
    house: House,
    members: Vec<Known>,
    leaders: BTreeMap<i32, BTreeSet<String>>,
    generation: i32,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut house = House::new();
        house.chance = Chance(seed);
        house.commits = false;
        let instances = [None, None, None, Some("i1"), Some("i2")];
        let members = instances.map(|instance| Known { instance, ..Default::default() }).to_vec();
        Self { house, members, leaders: BTreeMap::new(), generation: 0 }
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            let at = self.house.chance.below(self.members.len());
            match self.house.chance.below(12) {
                0..=3 => self.join(at),
                4..=5 => self.sync(at),
                6 => self.beat(at),
                7 => self.leave(at),
                8 if !self.house.pending.is_empty() => self.house.commit(),
                9 if !self.house.pending.is_empty() && self.house.chance.below(3) == 0 => {
                    self.house.fail(ErrorCode::NotEnoughReplicas);
                }
                9 | 8 => drop(self.house.commit_offset(1, -1, "")),
                _ => {
                    let ms = u64::try_from(self.house.chance.below(6_000)).unwrap();
                    self.house.pass(Duration::from_millis(ms));
                }
            }
            self.hear();
        }
        self.end();
    }

    fn join(&mut self, at: usize) {
        let known = self.members[at].clone();
        if known.joining.is_none() && known.syncing.is_none() {
            let version = if self.house.chance.below(2) == 0 { NEWEST } else { AT_ONCE };
            let to = self.house.join(&known.id, version, known.instance);
            self.members[at].joining = Some(to);
        }
    }

    fn sync(&mut self, at: usize) {
        let known = self.members[at].clone();
        if known.generation > 0 && known.joining.is_none() && known.syncing.is_none() {
            let ids: Vec<String> = self.members.iter().map(|member| member.id.clone()).collect();
            let shares: Vec<(&str, &'static [u8])> = ids.iter().map(|id| (&**id, &b"share"[..])).collect();
            let to = self.house.sync(&known.id, known.generation, &shares);
            self.members[at].syncing = Some((to, known.generation));
        }
    }

    fn beat(&mut self, at: usize) {
        let known = self.members[at].clone();
        let code = self.house.heartbeat(&known.id, known.generation);
        if code == ErrorCode::UnknownMemberId {
            self.members[at].id.clear();
        }
    }

    fn leave(&mut self, at: usize) {
        let id = std::mem::take(&mut self.members[at].id);
        self.house.leave(&id, None);
    }

    /// Takes in the answers that have come.
    fn hear(&mut self) {
        for member in &mut self.members {
            if let Some(Ok(GroupResponse::Join(answer))) = member.joining.and_then(|to| self.house.answers.get(&to)) {
                member.joining = None;
                match ErrorCode::from_code(answer.error_code) {
                    Some(ErrorCode::None) => {
                        assert!(answer.generation_id >= self.generation, "generations only grow");
                        self.generation = answer.generation_id;
                        member.id = answer.member_id.to_string();
                        member.generation = answer.generation_id;
                        if !answer.members.is_empty() {
                            let ids: Vec<&str> = answer.members.iter().map(|member| &*member.member_id).collect();
                            assert!(ids.contains(&&*answer.leader), "the leader is a member");
                        }
                        let leaders = self.leaders.entry(answer.generation_id).or_default();
                        leaders.insert(answer.leader.to_string());
                    }
                    Some(ErrorCode::MemberIdRequired) => member.id = answer.member_id.to_string(),
                    Some(ErrorCode::RebalanceInProgress) => {}
                    _ => member.id.clear(),
                }
            }
            let answer = member.syncing.and_then(|(to, generation)| Some((self.house.answers.get(&to)?, generation)));
            if let Some((Ok(GroupResponse::Sync(answer)), generation)) = answer {
                member.syncing = None;
                assert!(answer.error_code != 0 || generation <= self.generation);
                assert!(answer.error_code == 0 || answer.assignment.is_empty(), "a share without a generation");
                if answer.error_code == ErrorCode::UnknownMemberId.code() {
                    member.id.clear();
                }
            }
        }
    }

    /// When all is written and everybody's time is over, nobody waits.
    fn end(mut self) {
        while !self.house.pending.is_empty() {
            self.house.commit();
        }
        for _ in 0..200 {
            self.house.pass(Duration::from_secs(10));
            while !self.house.pending.is_empty() {
                self.house.commit();
            }
        }
        let waiting: Vec<u64> = (1..=self.house.asked).filter(|to| self.house.waits(*to)).collect();
        assert!(waiting.is_empty(), "never answered: {waiting:?}");
        let mut reloaded = self.house.reloaded();
        assert_eq!(self.house.committed(), reloaded.committed());
        assert_eq!((self.house.state(), reloaded.state()), ("Empty".to_owned(), "Empty".to_owned()));
        // A leader's place is inherited by its own next id only.
        assert!(self.leaders.values().all(|leaders| leaders.len() <= 3), "{:?}", self.leaders);
    }
}
