//! Properties of cutting and joining, against a model that builds every packet from its fields.
#![allow(clippy::unwrap_used)] // Tests fail by panicking.

mod cut;
mod frames;
mod join;
mod link;
mod model;
mod rules;
mod stations;
mod total;
