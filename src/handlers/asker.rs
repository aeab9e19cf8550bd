//! A request that outlives its handler: what completing it needs to know of who asks.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use super::{Broker, Connection, RequestContext};
use crate::protocol::header::RequestHeader;
use crate::replica::writer::WriteTicket;

/// Owns what a [`RequestContext`] borrows, without holding the request's frame.
#[derive(Debug)]
pub(super) struct Asker {
    broker: Arc<Broker>,
    connection: Rc<Connection>,
    header: RequestHeader,
}

impl Asker {
    pub(super) fn new(context: &RequestContext<'_>) -> Self {
        Self {
            broker: Arc::clone(context.broker),
            connection: Rc::clone(context.connection),
            // The client's id is a slice of the frame, which is to be given back.
            header: RequestHeader { client_id: None, ..context.header.clone() },
        }
    }

    pub(super) fn context(&self) -> RequestContext<'_> {
        RequestContext { broker: &self.broker, connection: &self.connection, header: &self.header }
    }

    pub(super) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }
}

/// What this connection wrote so far and what may not be in the log yet.
pub(super) fn writes_before(context: &RequestContext<'_>) -> Vec<WriteTicket> {
    context.connection.writes.borrow_mut().unfinished()
}

/// Waits until all of it is in the log, or refused: a client reads its own writes.
pub(super) async fn after_writes(tickets: Vec<WriteTicket>) {
    for ticket in tickets {
        poll_fn(|context| ticket.poll_done(context)).await;
    }
}
