//! The brokers of a cluster: which one answers for what.

use std::collections::HashMap;
use std::time::Duration;

use super::{ClientError, Endpoint, Link, Security};
use crate::model::error_code::ErrorCode;
use crate::protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use crate::protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use crate::protocol::wire::Request;

/// How often what may pass is tried again, and how long is waited between.
pub(super) const TRIES: usize = 40;
pub(super) const PAUSE: Duration = Duration::from_millis(150);

/// A cluster, reached by any of its brokers.
#[derive(Debug)]
pub struct Cluster {
    bootstrap: Vec<Endpoint>,
    security: Security,
    timeout: Duration,
    first: Option<Link>,
    brokers: HashMap<i32, Endpoint>,
    links: HashMap<i32, Link>,
    coordinators: HashMap<String, i32>,
}

impl Cluster {
    /// Nothing is asked yet.
    pub fn new(bootstrap: Vec<Endpoint>, security: Security, timeout: Duration) -> Self {
        let (brokers, links, coordinators) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { bootstrap, security, timeout, first: None, brokers, links, coordinators }
    }

    /// Asks whichever broker of the bootstrap list answers.
    ///
    /// # Errors
    /// None does.
    pub async fn call<Q: Request>(&mut self, request: &Q) -> Result<Q::Response, ClientError> {
        let link = match self.first.take() {
            Some(link) => link,
            None => self.reach().await?,
        };
        let link = self.first.insert(link);
        let answer = link.call(request).await;
        if answer.is_err() {
            self.first = None;
        }
        answer
    }

    async fn reach(&self) -> Result<Link, ClientError> {
        let mut last = None;
        for endpoint in &self.bootstrap {
            match Link::open(endpoint, &self.security, self.timeout).await {
                Ok(link) => return Ok(link),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ClientError::NoTrust))
    }

    /// The connection to a broker that was named by an answer before.
    ///
    /// # Errors
    /// It can't be reached.
    pub async fn broker(&mut self, id: i32) -> Result<&mut Link, ClientError> {
        if !self.brokers.contains_key(&id) {
            self.metadata(Some(&[])).await?;
        }
        if !self.links.contains_key(&id) {
            let unknown = || ClientError::Refused {
                what: format!("broker {id}"),
                code: ErrorCode::BrokerNotAvailable,
                text: None,
            };
            let endpoint = self.brokers.get(&id).cloned().ok_or_else(unknown)?;
            let link = Link::open(&endpoint, &self.security, self.timeout).await?;
            self.links.insert(id, link);
        }
        // Just put there.
        self.links.get_mut(&id).ok_or(ClientError::NoTrust)
    }

    /// Forgets a connection that failed.
    pub fn drop_broker(&mut self, id: i32) {
        self.links.remove(&id);
    }

    /// Forgets every connection, as after a wait that was broken off in the middle of an answer.
    pub fn drop_all(&mut self) {
        self.first = None;
        self.links.clear();
    }

    /// What the cluster says of these topics, or of all.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn metadata(&mut self, topics: Option<&[&str]>) -> Result<MetadataResponse, ClientError> {
        let named = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = self.call(&request).await?;
        for broker in &answer.brokers {
            let port = u16::try_from(broker.port).unwrap_or(0);
            self.brokers.insert(broker.node_id, Endpoint { host: broker.host.to_string(), port });
        }
        Ok(answer)
    }

    /// One topic that exists and may be seen.
    ///
    /// # Errors
    /// Kafka's refusal.
    pub async fn topic(&mut self, name: &str) -> Result<MetadataResponseTopic, ClientError> {
        let answer = self.metadata(Some(&[name])).await?;
        let topic = answer.topics.into_iter().next().unwrap_or_default();
        match ClientError::refusal(format!("topic {name}"), topic.error_code, None) {
            Some(refusal) => Err(refusal),
            None => Ok(topic),
        }
    }

    /// The broker that coordinates a group, which may have to be made ready first.
    ///
    /// # Errors
    /// Kafka's refusal, or nobody coordinates it for long.
    pub async fn coordinator(&mut self, group: &str) -> Result<i32, ClientError> {
        let request = FindCoordinatorRequest { key: group.into(), key_type: 0, coordinator_keys: vec![group.into()] };
        let mut tries = 0;
        loop {
            let answer = self.call(&request).await?;
            let found = answer.coordinators.first();
            let (code, node) = found.map_or((answer.error_code, answer.node_id), |c| (c.error_code, c.node_id));
            match ClientError::refusal(format!("group {group}"), code, None) {
                None => return Ok(node),
                Some(refusal) if refusal.code() != Some(ErrorCode::CoordinatorNotAvailable) || tries == TRIES => {
                    return Err(refusal);
                }
                Some(_) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Asks a group's coordinator; `code` finds the error in the answer, so that what passes by itself is waited for.
    ///
    /// # Errors
    /// The coordinator can't be reached. What the answer says is the caller's to look at.
    pub async fn call_coordinator<Q: Request>(
        &mut self,
        group: &str,
        request: &Q,
        longer: Duration,
        code: impl Fn(&Q::Response) -> i16,
    ) -> Result<Q::Response, ClientError> {
        let passing = [
            ErrorCode::CoordinatorLoadInProgress.code(),
            ErrorCode::CoordinatorNotAvailable.code(),
            ErrorCode::NotCoordinator.code(),
        ];
        // A broker that starts again is back before long.
        let most = TRIES.max(usize::try_from(self.timeout.as_millis() / PAUSE.as_millis()).unwrap_or(TRIES));
        let mut tries = 0;
        loop {
            let node = match self.coordinators.get(group) {
                Some(node) => *node,
                None => match self.coordinator(group).await {
                    Err(error) if error.is_passing() && tries < most => {
                        tries += 1;
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    found => found?,
                },
            };
            let answer = match self.broker(node).await {
                Ok(link) => link.call_waiting(request, longer).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) if passing.contains(&code(&answer)) && tries < TRIES => {}
                Ok(answer) => {
                    self.coordinators.insert(group.to_owned(), node);
                    return Ok(answer);
                }
                // What a coordinator is asked can be asked again: the same generation, the same position.
                Err(error) if error.is_passing() && tries < most => self.drop_broker(node),
                Err(error) => return Err(error),
            }
            self.coordinators.remove(group);
            tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
