//! What a session needs of the house behind it. The broker implements it; tests put a small house in its place.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::handlers::{self, Broker, Connection, Order, Reply, RequestContext};
use crate::model::time::Mono;
use crate::protocol::api::ApiKey;
use crate::protocol::header::RequestHeader;

/// Serves requests. One clone for each network thread.
pub trait Service: Clone + Send + 'static {
    fn mono(&self) -> Mono;

    /// How requests of this API stand to those before and behind them.
    fn order(&self, connection: &Connection, key: ApiKey) -> Order;

    /// Admits and enqueues one request. Called strictly in connection order, the next call after the answer of this one.
    fn dispatch(&self, connection: &Rc<Connection>, header: &RequestHeader, body: Bytes)
    -> impl Future<Output = Reply>;

    /// Takes one token of a SASL mechanism that comes without Kafka's headers (SaslHandshake v0). The reply's bytes are
    /// the length and the answering token.
    fn token(&self, connection: &Rc<Connection>, token: Bytes) -> impl Future<Output = Reply>;
}

/// The handlers' table.
#[derive(Clone, Debug)]
pub struct Handlers(pub Arc<Broker>);

impl Service for Handlers {
    fn mono(&self) -> Mono {
        self.0.clock.mono()
    }

    fn order(&self, connection: &Connection, key: ApiKey) -> Order {
        handlers::find(key, connection.listener.is_controller).map_or(Order::Barrier, |spec| spec.order)
    }

    async fn dispatch(&self, connection: &Rc<Connection>, header: &RequestHeader, body: Bytes) -> Reply {
        handlers::dispatch(&RequestContext { broker: &self.0, connection, header }, body).await
    }

    async fn token(&self, connection: &Rc<Connection>, token: Bytes) -> Reply {
        handlers::sasl_authenticate::raw_token(&self.0, connection, token).await
    }
}
