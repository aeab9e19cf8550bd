//! Real clients against the real binary, as their users would type it.

#[path = "../support/mod.rs"]
mod support;

mod admin_tools;
mod notes;
mod quickstart;
