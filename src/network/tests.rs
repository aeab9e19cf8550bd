//! A small house behind real sockets: what a client sees of frames, order, the door, deadlines and TLS.

mod deadlines;
mod door;
mod exhaustion;
mod files;
mod house;
mod lines;
mod order;
mod tls;
